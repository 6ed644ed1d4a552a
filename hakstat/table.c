/* table.c: rows, cells and how they are written; see table.h. */
#define _GNU_SOURCE
#include "hakstat/table.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hakstat/memory.h"

/* Texts of a table, never moved, so that cells can point to them. */
struct text_chunk {
    struct text_chunk *next;
    size_t used;
    char bytes[4096];
};

void table_begin(struct table *t, const struct column *columns, unsigned count)
{
    while (t->texts != NULL) {
        struct text_chunk *next = t->texts->next;
        free(t->texts);
        t->texts = next;
    }
    t->columns = columns;
    t->column_count = count;
    t->count = 0;
}

void table_free(struct table *t)
{
    table_begin(t, NULL, 0);
    free(t->rows);
    memset(t, 0, sizeof *t);
}

struct row *table_add(struct table *t, uint64_t id)
{
    struct row *row;

    if (t->count == t->room) {
        t->room = t->room != 0 ? 2 * t->room : 64;
        t->rows = must_realloc(t->rows, t->room * sizeof *t->rows);
    }
    row = &t->rows[t->count++];
    memset(row, 0, sizeof *row);
    row->id = id;
    for (unsigned i = 0; i < TABLE_COLUMNS; i++)
        row->cell[i].number = NAN;
    return row;
}

const char *table_text(struct table *t, const char *format, ...)
{
    char text[1024];
    va_list args;
    size_t size;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size = strlen(text) + 1;
    if (t->texts == NULL || t->texts->used + size > sizeof t->texts->bytes) {
        struct text_chunk *chunk = must_realloc(NULL, sizeof *chunk);
        chunk->next = t->texts;
        chunk->used = 0;
        t->texts = chunk;
    }
    t->texts->used += size;
    return memcpy(t->texts->bytes + t->texts->used - size, text, size);
}

/* qsort has no argument of ours in C11. */
static struct { unsigned column; bool reverse; const struct row *base; } sorting;

static int compare_cells(const struct cell *a, const struct cell *b)
{
    int order;

    if (a->text != NULL && b->text != NULL)
        order = strcasecmp(a->text, b->text);
    else if (isnan(a->number) || isnan(b->number))
        return isnan(a->number) - isnan(b->number);
    else
        order = (a->number < b->number) - (a->number > b->number);
    return sorting.reverse ? -order : order;
}

static int compare_rows(const void *pa, const void *pb)
{
    const struct row *a = sorting.base + *(const unsigned *)pa;
    const struct row *b = sorting.base + *(const unsigned *)pb;
    int order = a->pinned - b->pinned;

    if (order == 0)
        order = compare_cells(&a->cell[sorting.column], &b->cell[sorting.column]);
    return order != 0 ? order : (a > b) - (a < b);
}

void table_sort(struct table *t, unsigned column, bool reverse)
{
    unsigned *order = must_realloc(NULL, (t->count + 1) * sizeof *order);
    struct row *sorted = must_realloc(NULL, (t->room + 1) * sizeof *sorted);

    for (unsigned i = 0; i < t->count; i++)
        order[i] = i;
    sorting.column = column;
    sorting.reverse = reverse;
    sorting.base = t->rows;
    qsort(order, t->count, sizeof *order, compare_rows);
    for (unsigned i = 0; i < t->count; i++)
        sorted[i] = t->rows[order[i]];
    free(order);
    free(t->rows);
    t->rows = sorted;
}

static bool row_contains(const struct table *t, const struct row *row, const char *text)
{
    for (unsigned i = 0; i < t->column_count; i++)
        if (row->cell[i].text != NULL && strcasestr(row->cell[i].text, text) != NULL)
            return true;
    return false;
}

void table_filter(struct table *t, const char *text)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < t->count; i++)
        if (t->rows[i].pinned || row_contains(t, &t->rows[i], text))
            t->rows[kept++] = t->rows[i];
    t->count = kept;
}

/* Three digits and a letter, from `exact` on. */
static const char *scaled(double n, double step, double exact, const char *letters, char *buf)
{
    int i = -1;

    while (fabs(n) >= exact && letters[i + 1] != '\0') {
        n /= step;
        exact = 999.5;
        i++;
    }
    if (i < 0)
        snprintf(buf, NUMBER_MAX, n > 0 && n < 9.95 && n != floor(n) ? "%.1f" : "%.0f", n);
    else
        snprintf(buf, NUMBER_MAX, "%.*f%c", n < 9.995 ? 2 : n < 99.95 ? 1 : 0, n, letters[i]);
    return buf;
}

const char *number_count(double n, char buf[NUMBER_MAX])
{
    if (isnan(n))
        return strcpy(buf, "-");
    return scaled(n, 1000, 99999.5, "kMGTPE", buf);
}

const char *number_bytes(double n, char buf[NUMBER_MAX])
{
    return scaled(n, 1024, 9999.5, "KMGTPE", buf);
}

const char *number_ns(double n, char buf[NUMBER_MAX])
{
    static const char *const units[] = { "ns", "us", "ms", "s" };
    int i = 0;

    if (isinf(n))
        return strcpy(buf, "open");
    for (; i < 3 && n >= 999.5; i++)
        n /= 1000;
    snprintf(buf, NUMBER_MAX, "%.*f%s", i == 0 || n >= 99.95 ? 0 : 1, n, units[i]);
    return buf;
}

double part_of(double part, double whole)
{
    return whole > 0 ? part / whole : NAN;
}

const char *table_cell(const struct table *t, const struct row *row, unsigned column,
                       char buf[TABLE_CELL_MAX])
{
    const struct cell *cell = &row->cell[column];
    double n = cell->number;

    if (cell->text != NULL) {
        snprintf(buf, TABLE_CELL_MAX, "%s", cell->text);
        for (char *c = buf; *c != '\0'; c++)
            if (iscntrl((unsigned char)*c))
                *c = '?';
        return buf;
    }
    if (isnan(n))
        return strcpy(buf, "-");
    switch (t->columns[column].unit) {
    case U_FLOW:
        return number_count(t->rate ? n / t->seconds : n, buf);
    case U_BYTES:
        return number_bytes(n, buf);
    case U_ABOUT:
        buf[0] = '~';
        number_bytes(n, buf + 1);
        return buf;
    case U_NS:
        return number_ns(n, buf);
    case U_PART:
        snprintf(buf, TABLE_CELL_MAX, "%.1f", 100 * n);
        return buf;
    default:
        return number_count(n, buf);
    }
}

const char *table_title(const struct table *t, unsigned column, char buf[TABLE_CELL_MAX])
{
    const struct column *c = &t->columns[column];

    snprintf(buf, TABLE_CELL_MAX, "%s%s", c->title, c->unit == U_FLOW && t->rate ? "/S" : "");
    return buf;
}
