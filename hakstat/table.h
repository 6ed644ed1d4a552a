/* table.h: what every screen is: columns, each a const record, and rows of cells.
 *
 * A screen fills a table once a sample; sorting, filtering, the terminal, plain text, JSON and
 * CSV all work from it, so that a new screen is its columns and one function.
 *
 * Not thread-safe; memory that can't be had ends the program. */
#ifndef HAKSTAT_TABLE_H
#define HAKSTAT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a number means, and so how it is written. */
enum unit {
    U_TEXT,             /* no number; left-aligned */
    U_COUNT,            /* things there are now */
    U_FLOW,             /* things that happened in the span; on screen a rate, if rates are shown */
    U_BYTES,
    U_ABOUT,            /* bytes, estimated: written with '~' */
    U_PART,             /* 0 to 1, written in per cent */
    U_NS,
    U_SHARES,           /* no cell: the row's shares as a bar, on screen only */
    U_MAP,              /* a text of a letter a slab; how full each is says the next column's text, */
    U_TENTHS,           /* of a digit a slab, which the screen draws with it */
};

struct column {
    const char *name;   /* in JSON and CSV */
    const char *title;  /* on screen; "/S" is added to a rate */
    short width;        /* on screen, in columns, 0: never there; the last shown U_TEXT or U_SHARES takes the rest */
    short rank;         /* where room is short, higher ranks are left out first */
    enum unit unit;
};

#define TABLE_COLUMNS 24

struct cell {
    const char *text;   /* NULL: the number counts */
    double number;      /* NAN: there is none, written '-' */
};

struct row {
    uint64_t id;        /* stays the same from sample to sample */
    bool pinned;        /* a total: stays last, is not filtered */
    bool dim;           /* of less interest: an ended thread, an unused class */
    double shares[3];   /* L0, FastCache, slow */
    struct cell cell[TABLE_COLUMNS];
};

struct table {
    const struct column *columns;
    unsigned column_count;
    struct row *rows;
    unsigned count, room;
    struct text_chunk *texts;
    bool rate;          /* U_FLOW cells are counts; write them divided by `seconds` */
    double seconds;
};

/* Empties a table (all zero before its first use) for new columns. */
void table_begin(struct table *t, const struct column *columns, unsigned count);
void table_free(struct table *t);

/* Adds a row; all cells are '-'.  Valid until the next table_add(). */
struct row *table_add(struct table *t, uint64_t id);

/* A text that lives as long as the table's rows. */
const char *table_text(struct table *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Sorts by a column: numbers from high to low, texts from A to Z; `reverse` the other way round.
 * Equal rows keep their order, pinned ones stay last, '-' comes before them. */
void table_sort(struct table *t, unsigned column, bool reverse);

/* Drops rows none of whose texts contains `text`, capitals or not. */
void table_filter(struct table *t, const char *text);

/* How a cell is written for people, without control characters; returns buf. */
#define TABLE_CELL_MAX 256
const char *table_cell(const struct table *t, const struct row *row, unsigned column,
                       char buf[TABLE_CELL_MAX]);

/* How a column is headed for people; returns buf. */
const char *table_title(const struct table *t, unsigned column, char buf[TABLE_CELL_MAX]);

/* Numbers for people: 99999, 123k, 1.23M, - for NAN; 12.3M of 1024 * 1024 bytes; 1.5us, open for
 * infinity.  They return buf. */
#define NUMBER_MAX 16
const char *number_count(double n, char buf[NUMBER_MAX]);
const char *number_bytes(double n, char buf[NUMBER_MAX]);
const char *number_ns(double n, char buf[NUMBER_MAX]);

/* part / whole, NAN where there is no whole. */
double part_of(double part, double whole);

#endif
