/* view.h: what is on the screen, and how it gets there.
 *
 *   view_run:  sample if it is time ─> draw a frame ─> wait for a key ─> keys.c
 *
 * watch.c fills a view, keys.c changes it, view.c shows it; screens only read spans.  One thread. */
#ifndef HAKSTAT_VIEW_H
#define HAKSTAT_VIEW_H

#include "hakstat/draw.h"
#include "hakstat/kernel.h"
#include "hakstat/record.h"
#include "hakstat/screens.h"
#include "hakstat/span.h"
#include "hakstat/table.h"

/* Where somebody is in one screen. */
struct place {
    uint64_t chosen;            /* row id */
    unsigned index;             /* where it was last seen: used when it is gone */
    unsigned top;               /* first row shown */
    int sort;                   /* column; -1: the table's own order */
    bool reverse;
};

/* A line being typed at the bottom. */
struct prompt {
    bool open;
    char label[64];
    char text[64];
    void (*changed)(struct view *view);                     /* NULL: nothing */
    void (*done)(struct view *view, const char *text);
    unsigned knob;              /* view_edit_knob: which */
};

enum { SPARK_VALUES = 60, EVENTS_MOST = 1000 };

struct view {
    struct shm_seg *seg;                /* NULL: no process chosen yet */
    struct shm_snap *before, *now, *reset;      /* NULL where there is none */
    char ended[480];                    /* why there are no newer figures; "": there are */
    enum shm_code end_code;             /* and the exit code for that */
    const char *follow;                 /* --follow: name of the process to go on with; NULL: none */
    struct recorder *recorder;          /* --record; NULL: none */
    char record_error[480];             /* why it has stopped; "": it has not */
    struct replay *replay;              /* --replay: samples come from here, and `seg` is its own */
    unsigned replay_at;                 /* number of the next one */
    struct kernel kernel;
    uint64_t rss_bytes;
    struct hak_trace_record events[EVENTS_MOST];    /* the newest of the ring, oldest first */
    size_t event_count;
    struct shm_superslab map[HAK_MAP_SUPERSLABS];
    size_t map_count;
    uint64_t due_ms;                    /* CLOCK_MONOTONIC of the next sample */

    unsigned screen, back;              /* in screens[]; back: where Esc leads from help */
    struct place place[SCREENS];
    struct table table;                 /* of the screen, as drawn last */
    unsigned page;                      /* rows of it that are seen */
    int open_class;                     /* -1: none */
    char filter[64];
    struct prompt prompt;

    unsigned interval_ms;
    bool paused, cumulative, readonly, quit;
    char message[480];                  /* at the bottom, until the next key */
    enum ink message_ink;
    double allocs_s[SPARK_VALUES], frees_s[SPARK_VALUES];   /* the latest last */
};

/* ---- view.c ---- */

/* Watches until `q` or a signal. */
void view_run(struct view *view);

/* Draws a frame. */
void view_draw(struct view *view);

/* Puts a message on the bottom line. */
void view_say(struct view *view, enum ink ink, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- watch.c ---- */

/* Watches `proc` from now on.  On an error nothing has changed. */
int view_attach(struct view *view, const struct shm_proc *proc, struct shm_error *err);

/* Where the process has ended: goes on with what its pid has become by exec, or with the newest
 * process of the name that is followed.  False: there is none. */
bool view_go_on(struct view *view);

/* Takes a sample and records it, or says in `ended` why there is none. */
void view_sample(struct view *view);

/* Replay: shows sample i, or the first or last where there is no such. */
void view_seek(struct view *view, long i);

/* The span that is shown.  The view must have a sample. */
struct span view_span(const struct view *view);

/* Frees a snapshot that the view no longer points to. */
void view_release(struct view *view, struct shm_snap *snap);

/* Gives everything back. */
void view_free(struct view *view);

/* CLOCK_MONOTONIC. */
uint64_t now_ms(void);

/* ---- keys.c ---- */

/* Does what a key means. */
void view_key(struct view *view, int key);

/* Opens the prompt for the value of knob `index`. */
void view_edit_knob(struct view *view, uint64_t index);

#endif
