/* trace.c: the trace ring.  Threads write records side by side; a record says its own number, so
 * that one which was overwritten while it was read is told from a whole one. */
#include "lib/control/internal.h"

static _Atomic uint64_t next;           /* records begun; the shared count is for readers alone */

static void put_record(struct hak_trace_record *r, uint64_t number, enum hak_trace_kind kind,
                       unsigned bin, uint64_t arg)
{
    put(r->order, (uint64_t)0);
    put(r->ns, clock_ns(CLOCK_MONOTONIC));
    put(r->tid, hak_my_slot()->head.tid);
    put(r->kind, (uint16_t)kind);
    put(r->bin, (uint16_t)bin);
    put(r->arg, arg);
    put(r->order, number + 1);          /* pairs with the reader's acquire */
}

static void trace_event(enum hak_trace_kind kind, unsigned bin, uint64_t arg)
{
    uint64_t number = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed);

    put_record(&seg.trace[number % HAK_TRACE_RECORDS], number, kind, bin, arg);
    __atomic_fetch_add(&seg.state->state.trace_next, 1, __ATOMIC_RELEASE);
}

/* Called by the holder of tick.c's lock, at start, and in a fork's child, whose ring is empty. */
void trace_switch(bool on)
{
    hak_trace_fn *f = NULL, *now = atomic_load_explicit(&hak_trace_hook, memory_order_relaxed);

    if (on == (now != NULL))
        return;
    if (on && seg.trace
        && seg_back((char *)seg.trace, HAK_TRACE_RECORDS * sizeof *seg.trace, seg.at.trace))
        f = trace_event;
    atomic_store_explicit(&hak_trace_hook, f, memory_order_release);
}

void trace_child(void)
{
    atomic_store_explicit(&hak_trace_hook, NULL, memory_order_relaxed);
    atomic_store_explicit(&next, 0, memory_order_relaxed);
}
