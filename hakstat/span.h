/* span.h: what happened between two snapshots of one process, or since its start.
 *
 * A counter that went backwards (a hostile segment, a reused slot) counts as unmoved, and every
 * whole is the sum of its parts' differences, so that no share is ever above one. */
#ifndef HAKSTAT_SPAN_H
#define HAKSTAT_SPAN_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/shm.h"

struct probes_reading;

struct span {
    const struct shm_seg  *seg;
    const struct shm_snap *from;        /* NULL: the start of the process */
    const struct shm_snap *to;
    double seconds;                     /* above 0 */
    bool   rate;                        /* to be shown per second */
    int    open_class;                  /* the classes screen shows the bins of this one; -1: none */
    int    proc_pid;                    /* whose /proc may be read; 0: none (replay, dead) */
    const struct hak_trace_record *events;      /* of the trace ring, oldest first */
    size_t event_count;
    const struct shm_superslab *map;            /* of SuperSlabs, as of its end */
    size_t map_count;
    const struct probes_reading *kernel;        /* its counts at the end; NULL: there are none, */
    const struct probes_reading *kernel_from;   /* and at the start; NULL: of when counting began */
    const char *kernel_why;                     /* because */
};

/* How long it is; 0 where the clock of a hostile segment says less. */
uint64_t span_ns(const struct span *span);

/* Which bins: one, those of a class, or all (both -1). */
struct bin_set { int cls, bin; };
#define ALL_BINS ((struct bin_set){ -1, -1 })

/* Calls in the span; live, live_bytes and inherited are as of its end. */
void span_sums(const struct span *span, unsigned slot, struct bin_set set, struct shm_sums *sums);

/* Movement of a BIN counter by name, summed over the set; of a THREAD and a GLOBAL one. */
uint64_t span_bins(const struct span *span, unsigned slot, struct bin_set set, const char *name);
uint64_t span_thread(const struct span *span, unsigned slot, const char *name);
uint64_t span_global(const struct span *span, const char *name);

/* Movement of any counter of scope GLOBAL, THREAD or BIN, summed over everything. */
uint64_t span_total(const struct span *span, const struct hak_stat_desc *stat);

/* The upper bound of the bucket that holds the given part of all, in ns: NAN where there is nothing,
 * INFINITY in the last one, which has none. */
double hist_below(const uint64_t buckets[HAK_HIST_BUCKETS], double part);

/* Movement of a histogram. */
void span_hist(const struct span *span, const struct hak_stat_desc *stat,
               uint64_t buckets[HAK_HIST_BUCKETS]);

/* Bytes in a slot's caches at the end of the span, by the law of abi/stats.def: what came in less
 * what went out. */
uint64_t span_cached_bytes(const struct span *span, unsigned slot, struct bin_set set);

/* As of a snapshot, by name, all threads together; 0 where the library has no such counter. */
uint64_t snap_global(const struct shm_snap *snap, const char *name);
uint64_t snap_thread(const struct shm_snap *snap, const char *name);

/* Live threads that work by the generation in force, or one that came after the snapshot. */
unsigned snap_applied(const struct shm_snap *snap);

#endif
