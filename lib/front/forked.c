/* forked.c: a heap on both sides of a fork (heap.h says how a child notices). */
#include "lib/base/lock.h"
#include "lib/base/os.h"
#include "lib/core/huge.h"
#include "lib/core/pool.h"
#include "lib/front/internal.h"

#include <string.h>

/* For a heap that another thread holds: some 10 to 20 ms (os_pause).  That may wait itself, for what a signal handler
 * has interrupted. */
#define FORK_TRIES 1200

/* The next look applies the child's table; nothing was asked of the child yet. */
static void forget_orders(struct heap *h)
{
    h->cold.epoch = UINT64_MAX;
    h->cold.purge = h->cold.walk = 0;
}

/* ---- the parent ----
 *
 * From our handler before a fork to the one after it the thread's caches are put away: `hot` is in `saved`, and empty,
 * as it will be in the child.  Handlers of others come after the one and before the other, and may allocate: they take
 * the slow paths, which have the caches back while they hold the heap (heap_enter, heap_leave).  No block in
 * `saved` is so in use, and the child has them from there.  And the heap is held, by nobody, so that the child does not
 * find it in the middle of another thread's help.
 *
 * A signal handler may fork or allocate at any point of this.  It finds `hot` whole or put away, since signals are held
 * while it goes the one way or the other: what a handler took out of one copy in between would still be in the other.  In
 * the parent it leaves it as it found it (forks); a child of fork has it whole, and may go on with what was interrupted: it
 * may be a malloc or free that has read `top` of a cache that was put away, which is why that stays.  A handler of others
 * that leaves by longjmp leaves the thread on its slow paths. */

static void copy_hot(struct heap_hot *to, const struct heap_hot *from, uint64_t bins)
{
    to->countdown = from->countdown;
    for (unsigned bin; next_bin(&bins, &bin);)
        to->bin[bin] = from->bin[bin];
}

void heap_bring_back(struct heap *h)
{
    uint64_t signals = os_hold_signals();

    if (h->cold.away)
        copy_hot(&h->hot, &h->cold.saved, h->cold.hot_bins);
    h->cold.away = false;
    os_release_signals(signals);
}

/* Neither blocks nor room. */
static void close_stack(struct stack *s)
{
    s->end = NULL;
    s->base = s->top;
}

static void close_bins(struct heap *h)
{
    uint64_t bins = h->cold.hot_bins;

    for (unsigned bin; next_bin(&bins, &bin);) {
        close_stack(&h->hot.bin[bin].l0);
        close_stack(&h->hot.bin[bin].l1);
    }
}

void heap_put_away(struct heap *h)
{
    uint64_t signals = os_hold_signals();

    if (!h->cold.away) {
        copy_hot(&h->cold.saved, &h->hot, h->cold.hot_bins);
        close_bins(h);
    }
    h->cold.away = true;
    os_release_signals(signals);
}

/* A slow path that we are on top of, or that waited for the heap, goes on with it. */
static void drop_after_fork(struct heap *h)
{
    if (heap_held(h) == HELD_TO_FORK)
        atomic_store_explicit(&h->cold.held, h->cold.depth ? HELD_BY_OWN : HELD_BY_NONE, memory_order_release);
}

void heap_leave_to_fork(struct heap *h)
{
    if (h->cold.depth == 1 && !h->cold.away)
        heap_put_away(h);
}

void heap_drop_again(struct heap *h)
{
    uint32_t own = HELD_BY_OWN;

    atomic_compare_exchange_strong_explicit(&h->cold.held, &own, HELD_BY_NONE, memory_order_release,
                                            memory_order_relaxed);
}

void front_fork_prepare(void)
{
    heap_notice_fork();
    struct heap *h = heap_self;

    if (heap_is_none(h))
        return;
    h->cold.forks = h->cold.forks << 1 | !h->cold.away;
    if (!h->cold.away)
        heap_put_away(h);
    heap_wait(h, HELD_TO_FORK, FORK_TRIES);             /* else it may be lost to the child */
}

void front_fork_parent(void)
{
    heap_notice_fork();
    struct heap *h = heap_self;

    if (heap_is_none(h))                                /* nor before the fork */
        return;
    if (h->cold.forks == NO_FORKS) {                    /* it had none then, or a child goes on */
        drop_after_fork(h);
        return;
    }
    if (h->cold.away && (h->cold.forks & 1))
        heap_bring_back(h);
    h->cold.forks >>= 1;
    if (h->cold.forks == NO_FORKS)
        drop_after_fork(h);
}

void heap_forget_forks(struct heap *h)
{
    h->cold.away = false;
    h->cold.forks = NO_FORKS;
    drop_after_fork(h);
}

/* ---- the child ---- */

/* The parent's slot is not inherited, and a child that no handler has prepared may have mapped something in its place.
 * False: it has.  The heap is of no use here. */
static bool keep_place(struct heap *h)
{
    h->cold.has_slot = false;
    if (h->cold.in_segment)
        h->cold.in_segment = !os_map_gap(&h->slot, round_up(sizeof h->slot, os_page));
    return !h->cold.in_segment;
}

/* What was not put away is lost to the child: raw clone calls no handler. */
void front_fork_child(void)
{
    struct heap *h = heap_self;

    heap_fork_noticed();
    if (heap_is_none(h))
        return;
    bool kept = keep_place(h);
    if (!kept && (h->cold.depth || h == late))          /* a slow path goes on with it */
        hak_die("a forked child has no place for a thread's counters", &h->slot);
    if (!kept || heap_held(h) == HELD_BY_OTHER) {       /* another thread was in the middle of helping */
        heap_self = (struct heap *)&heap_none;
        return;
    }
    if (h->cold.away) {
        heap_fill_offsets(h);
        heap_bring_back(h);
    } else {
        heap_reset_hot(h);
    }
    heap_forget_forks(h);
    forget_orders(h);
}

/* Other threads do not exist here.  A heap that somebody held may be in the middle of anything: nobody
 * drops it, so that it is left alone for ever, unless it was this thread, on top of which a signal handler
 * has forked; then it goes on to use it, as it may the heap of threads past their end.  Any other heap waits
 * for a thread, less what its caches held: their counts were wiped. */
static void sort_heap(struct heap *h)
{
    if (!keep_place(h)) {
        atomic_store_explicit(&h->cold.held, HELD_BY_OTHER, memory_order_relaxed);
        if (h == late)
            late = NULL;
        return;
    }
    h->cold.rebase = true;
    forget_orders(h);
    atomic_store_explicit(&h->cold.wanted, 0, memory_order_relaxed);
    const uint32_t held = heap_held(h);
    const bool busy = held == HELD_BY_OTHER || held == HELD_BY_OWN || h->cold.depth;
    heap_reset_hot(h);
    if (busy)
        return;
    heap_forget_forks(h);                               /* its thread was forking, too */
    if (h != late) {
        h->cold.ended = true;
        heap_push_ended(h);
    }
}

/* The bytes of the large and huge blocks that are inherited count as handed out, since those of a
 * block, unlike its class, are known only while it lives. */
static void add_large(const struct slab *slab, void *slabs)
{
    if (slab->kind == SLAB_LARGE)
        *(size_t *)slabs += slab->run;
}

void front_fork_sort(void)
{
    struct heap *mine = heap_self;
    size_t large = 0;

    lock_after_fork(&heaps_lock);
    if (lock_after_fork(&late_lock))
        late = NULL;
    else if (heap_is_none(mine))                        /* this thread goes on without it: a handler may need it */
        lock_drop(&late_lock);
    heaps_ended = NULL;
    atomic_store_explicit(&heaps_ended_count, 0, memory_order_relaxed);
    for (struct heap *h = heap_first(); h; h = h->cold.next_all)
        if (h != mine)
            sort_heap(h);
    if (heap_is_none(mine))
        return;
    mine->cold.rebase = true;
    heap_ensure_slot(mine);
    heap_begin_slot(mine);
    pool_each_run(add_large, &large);
    COUNT(mine->slot.thread.large_alloc_bytes, large * SLAB_SIZE);
    COUNT(mine->slot.thread.huge_alloc_bytes, huge_bytes_in_use());
}

static void add_blocks(const struct slab *slab, void *inherited)
{
    ((uint64_t *)inherited)[slab->bin] += slab->kind == SLAB_BIN ? slab->used : slab->kind == SLAB_LARGE;
}

/* What lives in the child: what is out of the slabs, less what is on its way back and what this thread's
 * caches hold. */
void front_inherited(uint64_t *inherited)
{
    struct heap *h = heap_self;

    memset(inherited, 0, HAK_ROWS * sizeof *inherited);
    pool_each_run(add_blocks, inherited);
    inherited[HAK_ROW_HUGE] = huge_in_use();
    for (struct heap *e = heap_first(); e; e = e->cold.next_all)
        queue_inherit(e, inherited);
    if (heap_is_none(h))
        return;
    uint64_t bins = h->cold.hot_bins | h->cold.sll_bins;
    for (unsigned bin; next_bin(&bins, &bin);)
        inherited[bin] -= stack_count(&h->hot.bin[bin].l0) + stack_count(&h->hot.bin[bin].l1) + h->cold.bin[bin].sll_n;
}
