/* hooks.h: what the layers below call without knowing who answers.  The control layer sets these;
 * until then they point to defaults, so that the allocator works alone. */
#ifndef HAK_HOOKS_H
#define HAK_HOOKS_H

#include "abi/layout.h"
#include "lib/base/base.h"

/* What a thread learns at a tick. */
struct hak_orders {
    uint64_t epoch;                 /* in: the table the caller works by; out: the one in force */
    uint64_t generation;            /* out: the generation that table acknowledges */
    uint64_t purge, walk;           /* out: the numbers of the last requests (struct hak_control) */
    union hak_knobs knobs;          /* out, if true was returned */
};

/* Called at every tick, by any thread, concurrently.  Costs a few loads when nothing has changed;
 * blocks never; makes no system call but for a change.  True: the table in force is another than
 * orders->epoch, and `knobs` is a consistent copy of it. */
typedef bool hak_tick_fn(struct hak_orders *orders);
extern hak_tick_fn *hak_tick;

/* A purge asked for by number `request` has been carried out and gave back so many bytes. */
typedef void hak_purged_fn(uint64_t request, uint64_t bytes);
extern hak_purged_fn *hak_purged;

/* An event of a slow path.  Costs one load and a test while trace.ring is off. */
typedef void hak_trace_fn(enum hak_trace_kind kind, unsigned bin, uint64_t arg);
extern hak_trace_fn *_Atomic hak_trace_hook;         /* NULL while off */

hak_inline void hak_trace(enum hak_trace_kind kind, unsigned bin, uint64_t arg)
{
    hak_trace_fn *f = atomic_load_explicit(&hak_trace_hook, memory_order_relaxed);

    if (unlikely(f != NULL))
        f(kind, bin, arg);
}

/* The cells of a SuperSlab on the map for those who look from outside (struct hak_seg_header), or NULL
 * where it has none.  For slow paths: it may make a system call.  Cells are written, never read. */
typedef uint16_t *hak_map_fn(uint32_t superslab);
extern hak_map_fn *hak_map;

/* Counters of the whole process: in the state page, or private where there is no segment.  Written
 * by atomic additions, on slow paths only. */
extern struct hak_globals *_Atomic hak_globals;

#define hak_global(field) \
    ((_Atomic uint64_t *)&atomic_load_explicit(&hak_globals, memory_order_acquire)->field)
#define GLOBAL_ADD(field, n) \
    ((void)atomic_fetch_add_explicit(hak_global(field), (uint64_t)(n), memory_order_relaxed))

/* In the child of a fork, first of all: from here on it counts from 0, privately.  A second call does
 * nothing. */
void hak_globals_after_fork(void);

/* Adds to a gauge and moves its peak. */
void hak_gauge_add(_Atomic uint64_t *gauge, _Atomic uint64_t *peak, uint64_t n);

/* The slot of the calling thread for what is counted per thread on slow paths; never NULL: a
 * thread without a heap has a private one that nobody reads. */
struct hak_slot_full *hak_my_slot(void);             /* set by the front: hak_my_slot_hook */
typedef struct hak_slot_full *hak_slot_fn(void);
extern hak_slot_fn *hak_my_slot_hook;

/* Adds `ns` to a log2 histogram. */
void hak_hist_add(uint64_t *buckets, uint64_t ns);

#endif
