/* front.h: a front without a control layer and without an API: the test itself gives the knobs and asks
 * for walks, and calls heap_alloc and heap_free. */
#ifndef TESTS_UNIT_FRONT_H
#define TESTS_UNIT_FRONT_H

#include "tests/unit/interleave.h"
#include "lib/base/lock.h"
#include "lib/core/huge.h"
#include "lib/core/pool.h"
#include "lib/front/internal.h"

/* Tables of knobs; epoch i is in force by table i - 1, modulo their number. */
enum { TABLES = 8 };
static union hak_knobs table[TABLES];
static _Atomic uint64_t epoch = 1, walk_wanted, purge_wanted;

static bool orders_of_test(struct hak_orders *o)
{
    uint64_t now = atomic_load(&epoch);

    o->walk = atomic_load(&walk_wanted);
    o->purge = atomic_load(&purge_wanted);
    if (o->epoch == now)
        return false;
    o->epoch = o->generation = now;
    o->knobs = table[(now - 1) % TABLES];
    return true;
}

/* What lib/api does in a child, less the control layer. */
__attribute__((unused))
static void child_of_fork(void)
{
    if (!front_is_forked())
        return;
    os_meta_after_fork();
    pool_after_fork();
    huge_after_fork();
    front_fork_child();
    front_fork_sort();
}

/* From the defaults on, every table has something that the others have not. */
__attribute__((unused))
static void start_front(void)
{
    for (int i = 0; i < TABLES; i++)
        table[i] = default_knobs();
    table[1].heap_v2_class_mask = 0;
    table[2].heap_v2_leftover_mode = 1;
    table[3].front_direct = 0;
    table[3].sll_drain_interval = 64;
    table[4].pool_empty_slabs = 0;
    table[4].sll_drain_interval = 16;
    table[5].bump_chunk = 3;
    table[5].refill_batch = 5;
    table[5].front_direct = 0;
    table[5].inline_sll = 1;
    table[6].p0_no_drain = 1;
    table[6].pool_lru_max = 0;
    table[7].heap_v2_debug = 1;
    table[7].p0_drain_thresh = 20;
    os_init();
    hak_tick = orders_of_test;
    front_init();
    pool_init(&table[0]);
    core_apply(&table[0]);
    front_forked = child_of_fork;
    pthread_atfork(front_fork_prepare, front_fork_parent, child_of_fork);
}

/* The end of a thread, as its destructors see to it. */
__attribute__((unused))
static void end_of_thread(void)
{
    while (!heap_is_none(heap_self))
        heap_thread_exit(heap_self);
}

/* This thread's slow paths look at its queue and batches. */
__attribute__((unused))
static void drain_mine(void)
{
    struct heap *h = heap_self;

    heap_enter(h);
    batches_flush(h);
    queue_drain(h);
    heap_leave(h);
}

__attribute__((unused))
static unsigned heaps_made(void)
{
    unsigned n = 0;

    for (struct heap *h = heap_first(); h; h = h->cold.next_all)
        n++;
    return n;
}

#endif
