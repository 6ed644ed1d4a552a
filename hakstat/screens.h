/* screens.h: a screen is one const record and its functions, in a file of its own.
 *
 * To add one: screen_NAME.c with a const struct screen, its declaration and place here, its name
 * in screens[] (screens.c). */
#ifndef HAKSTAT_SCREENS_H
#define HAKSTAT_SCREENS_H

#include "hakstat/span.h"
#include "hakstat/table.h"

struct view;

struct screen {
    const char *name;
    const struct column *columns;
    unsigned column_count;

    /* Adds the rows.  `span` is NULL for a screen that needs no process. */
    void (*fill)(const struct span *span, struct table *table);

    /* What to say where there are no rows; NULL: nothing. */
    const char *(*empty)(const struct span *span);

    /* Draws lines about the chosen row below the table, if there is room for detail_rows lines;
     * NULL: none. */
    void (*detail)(const struct span *span, const struct row *chosen, int row);
    int detail_rows;

    /* Enter on a row; NULL: nothing. */
    void (*enter)(struct view *view, uint64_t id);

    bool needs_process;
    bool newest_first;          /* rows come in at the top */
    bool walks;                 /* while it is shown, threads are asked to walk their state */
};

/* The first MAIN_SCREENS have a key, from 1 on (keys.def), and a tab. */
enum { MAIN_SCREENS = 8, SCREEN_PROCESSES = MAIN_SCREENS, SCREEN_HELP, SCREENS };
extern const struct screen *const screens[SCREENS];

extern const struct screen screen_classes, screen_threads, screen_superslabs, screen_knobs,
    screen_latencies, screen_events, screen_counters, screen_probes, screen_processes, screen_help;

#define COLUMNS(array) .columns = (array), .column_count = sizeof(array) / sizeof(*(array))

#endif
