/* batch.c: tables as text, JSON lines and CSV; see batch.h.
 *
 * Text has the figures that the screen has.  JSON and CSV have exact ones: a U_FLOW column is the
 * count within interval_ns, and totals are left to the reader. */
#include "hakstat/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- Text ------------------------------------------------------------------------------------- */

static void print_text_head(const struct view *v, const struct span *span)
{
    struct shm_sums sums;
    char bytes[24];

    span_sums(span, SHM_ALL, ALL_BINS, &sums);
    printf("%s  pid %d  %.3f s  threads %u  generation %" PRIu64 " applied by %u/%u"
           "  live %s in %" PRIu64 " blocks%s\n",
           v->seg->proc.comm, v->seg->proc.pid, span->seconds, v->now->threads,
           v->now->state.generation, snap_applied(v->now), v->now->threads,
           shm_bytes_text(sums.live_bytes, bytes), sums.live,
           v->now->exact ? "" : "  NOT EXACT");
}

/* What row i says in a column; -1 is the head. */
static const char *text_at(const struct table *t, int i, unsigned c, char buf[TABLE_CELL_MAX])
{
    return i < 0 ? table_title(t, c, buf) : table_cell(t, &t->rows[i], c, buf);
}

static bool is_text(enum unit unit)
{
    return unit == U_TEXT || unit == U_MAP || unit == U_TENTHS;
}

static int text_width(const struct table *t, unsigned c)
{
    char buf[TABLE_CELL_MAX];
    int width = 0;

    for (int i = -1; i < (int)t->count; i++) {
        int len = (int)strlen(text_at(t, i, c, buf));
        width = len > width ? len : width;
    }
    return width;
}

static void print_text_row(const struct table *t, int i, const int widths[TABLE_COLUMNS])
{
    char buf[TABLE_CELL_MAX];

    for (unsigned c = 0; c < t->column_count; c++) {
        const char *text = text_at(t, i, c, buf);
        const char *gap = c != 0 ? " " : "";

        if (t->columns[c].unit == U_SHARES)
            continue;
        if (!is_text(t->columns[c].unit))
            printf("%s%*s", gap, widths[c], text);
        else if (c + 1 < t->column_count)
            printf("%s%-*s", gap, widths[c], text);
        else
            printf("%s%s", gap, text);
    }
    putchar('\n');
}

static void print_text(const struct view *v, const struct table *t, const struct span *span)
{
    int widths[TABLE_COLUMNS];

    print_text_head(v, span);
    for (unsigned c = 0; c < t->column_count; c++)
        widths[c] = text_width(t, c);
    for (int i = -1; i < (int)t->count; i++)
        print_text_row(t, i, widths);
    if (t->count == 0 && screens[v->screen]->empty != NULL)
        puts(screens[v->screen]->empty(span));
    putchar('\n');
}

/* ---- JSON ------------------------------------------------------------------------------------- */

static json_t *json_cell(const struct column *column, const struct cell *cell)
{
    if (cell->text != NULL) {
        json_t *text = json_string(cell->text);
        return text != NULL ? text : json_null();       /* a hostile segment's is no UTF-8 */
    }
    if (!isfinite(cell->number))
        return json_null();
    return column->unit == U_PART ? json_real(cell->number)
                                  : json_integer((json_int_t)cell->number);
}

static json_t *json_rows(const struct table *t)
{
    json_t *rows = json_array();

    for (unsigned i = 0; i < t->count; i++) {
        json_t *row;

        if (t->rows[i].pinned)
            continue;
        row = json_object();
        for (unsigned c = 0; c < t->column_count; c++)
            if (t->columns[c].unit != U_SHARES)
                json_object_set_new(row, t->columns[c].name,
                                    json_cell(&t->columns[c], &t->rows[i].cell[c]));
        json_array_append_new(rows, row);
    }
    return rows;
}

static void set_number(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static void print_json(const struct view *v, const struct table *t, const struct span *span)
{
    const struct shm_snap *snap = v->now;
    json_t *line = json_pack("{s:s, s:i, s:s, s:b}", "version", v->seg->header.version, "pid",
                             v->seg->proc.pid, "comm", v->seg->proc.comm, "exact", snap->exact);
    struct shm_sums sums;

    span_sums(span, SHM_ALL, ALL_BINS, &sums);
    set_number(line, "generation", snap->state.generation);
    set_number(line, "threads", snap->threads);
    set_number(line, "applied", snap_applied(snap));
    set_number(line, "time_ns", snap->time_ns);
    set_number(line, "uptime_ns", snap->boot_ns - v->seg->header.born_ns);
    set_number(line, "interval_ns", span_ns(span));
    set_number(line, "live", sums.live);
    set_number(line, "live_bytes", sums.live_bytes);
    set_number(line, "rss_bytes", v->rss_bytes);
    json_object_set_new(line, screens[v->screen]->name, json_rows(t));
    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(line);
}

/* ---- CSV -------------------------------------------------------------------------------------- */

static void csv_string(const char *s)
{
    if (strpbrk(s, ",\"\n") == NULL) {
        fputs(s, stdout);
        return;
    }
    putchar('"');
    for (; *s != '\0'; s++)
        printf(*s == '"' ? "\"\"" : "%c", *s);
    putchar('"');
}

static void print_csv_head(const struct table *t)
{
    fputs("time_ns,pid,interval_ns", stdout);
    for (unsigned c = 0; c < t->column_count; c++)
        if (t->columns[c].unit != U_SHARES)
            printf(",%s", t->columns[c].name);
    putchar('\n');
}

static void print_csv(const struct view *v, const struct table *t, const struct span *span)
{
    for (unsigned i = 0; i < t->count; i++) {
        if (t->rows[i].pinned)
            continue;
        printf("%" PRIu64 ",%d,%" PRIu64, v->now->time_ns, v->seg->proc.pid, span_ns(span));
        for (unsigned c = 0; c < t->column_count; c++) {
            if (t->columns[c].unit == U_SHARES)
                continue;
            putchar(',');
            if (t->rows[i].cell[c].text != NULL)
                csv_string(t->rows[i].cell[c].text);
            else if (isfinite(t->rows[i].cell[c].number))
                printf("%.*f", t->columns[c].unit == U_PART ? 6 : 0, t->rows[i].cell[c].number);
        }
        putchar('\n');
    }
}

/* ---- The loop --------------------------------------------------------------------------------- */

static void print_sample(struct view *v, enum format format, bool first)
{
    const struct screen *screen = screens[v->screen];
    struct span span = view_span(v);
    struct table *t = &v->table;

    table_begin(t, screen->columns, screen->column_count);
    t->rate = span.rate;
    t->seconds = span.seconds;
    screen->fill(&span, t);
    if (format == FORMAT_JSON) {
        print_json(v, t, &span);
    } else if (format == FORMAT_CSV) {
        if (first)
            print_csv_head(t);
        print_csv(v, t, &span);
    } else {
        print_text(v, t, &span);
    }
}

/* To a moment, not for a time: what printing takes does not add up. */
static void sleep_until(struct timespec *at, unsigned ms)
{
    at->tv_sec += ms / 1000;
    at->tv_nsec += ms % 1000 * 1000000L;
    if (at->tv_nsec >= 1000000000L) {
        at->tv_sec++;
        at->tv_nsec -= 1000000000L;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, at, NULL) == EINTR)
        ;
}

/* Takes a sample: the last one of a process that has ended, then of the one that follows.  False:
 * there is none. */
static bool next_sample(struct view *v, struct timespec *at)
{
    for (;;) {
        if ((v->seg != NULL || v->replay != NULL) && v->ended[0] == '\0') {
            const struct shm_snap *was = v->now;

            view_sample(v);
            if (v->now != was)
                return true;
        }
        if (v->replay == NULL && view_go_on(v))
            continue;
        if (v->replay != NULL || v->follow == NULL)
            return false;
        sleep_until(at, v->interval_ms);
    }
}

int batch_run(struct view *v, enum format format, unsigned long count, struct shm_error *err)
{
    unsigned long printed = 0;
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    for (bool more = false;; more = true) {
        if (v->replay != NULL && v->replay_at == replay_count(v->replay))
            return SHM_OK;
        if (v->replay == NULL && v->ended[0] == '\0' && more)
            sleep_until(&at, v->interval_ms);
        if (!next_sample(v, &at))
            return shm_fail(err, v->end_code, "%s", v->ended);
        if (v->record_error[0] != '\0')
            return shm_fail(err, SHM_EIO, "%s", v->record_error);
        if (v->before == NULL && !v->cumulative)
            continue;                           /* a rate takes two */
        print_sample(v, format, printed == 0);
        if (fflush(stdout) != 0 || ferror(stdout))
            return shm_fail(err, SHM_EIO, "standard output: %s", strerror(errno));
        if (++printed == count)
            return SHM_OK;
    }
}
