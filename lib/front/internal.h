/* internal.h: what the files of lib/front share.  All of these are for whoever holds the heap; what
 * reads or writes `hot` is for its own thread only, or for an ended heap. */
#ifndef HAK_FRONT_INTERNAL_H
#define HAK_FRONT_INTERNAL_H

#include "lib/base/lock.h"
#include "lib/core/pool.h"
#include "lib/front/heap.h"

#include <limits.h>

/* ---- cache.c: slabs <-> caches ---- */

/* Moves up to `want` blocks from the heap's slabs to `out`; how many. */
unsigned slabs_take(struct heap *h, unsigned bin, void **out, unsigned want);

/* The slab of a block, remembering the last one.  A slab that has gone back to the pool meanwhile is
 * not found again: none of our blocks lies in it any more. */
struct slab_cursor {
    struct slab *slab;
    uintptr_t base;
    size_t bytes;
};

hak_inline struct slab *slab_at(struct slab_cursor *c, const void *p)
{
    if ((uintptr_t)p - c->base >= c->bytes) {
        c->slab = slab_of(p);
        c->base = (uintptr_t)c->slab->base;
        c->bytes = c->slab->run * SLAB_SIZE;
    }
    return c->slab;
}

/* Gives a block back to its slab, which the heap owns.  Counts nothing. */
void slabs_put(struct heap *h, struct slab *slab, void *p);

/* What a block that has come back may bring with it: its slab was full, or is empty now. */
void slab_turned(struct heap *h, struct slab *slab);

/* Gives a run back to the pool of which nothing is in use. */
void slab_release_empty(struct heap *h, struct slab *slab);

/* Gives every block of the SLLs back. */
void sll_drain(struct heap *h);

/* The capacity of L0 of a bin in use, as the heap's knobs say. */
void l0_open(struct heap *h, unsigned bin);

/* Empties L0 of a bin into L1, and where that is full into the slabs. */
void l0_flush(struct heap *h, unsigned bin);

/* Puts a block into L1, which may grow for it; false: it is as large as it may be, and full. */
bool l1_keep(struct bin *b, unsigned bin, void *p);

/* Gives the n oldest blocks of L1 of a bin back to the slabs. */
void l1_trim(struct heap *h, unsigned bin, unsigned n);

/* Gives the empty slabs that a bin keeps, beyond `keep`, back to the pool. */
void empties_trim(struct heap *h, unsigned bin, unsigned keep);
void empties_leave(struct heap *h, unsigned bin);       /* all but one of a single slab */

/* What was asked for and what was given, of a request that comes by a slow path: internal waste is
 * estimated from these.  `row`: its bin, or that of its tier. */
hak_inline void sample(struct hak_slot_full *slot, unsigned row, size_t asked, size_t given)
{
    COUNT(slot->row[row].sample.asked, asked);
    COUNT(slot->row[row].sample.given, given);
}

void avail_remove(struct heap *h, struct slab *slab);
void avail_push(struct heap *h, struct slab *slab);
void full_remove(struct heap *h, struct slab *slab);
void full_push(struct heap *h, struct slab *slab);

/* ---- remote.c ---- */

void batches_flush(struct heap *h);
unsigned queue_length(struct heap *h);              /* at most 65535 are counted */
void queue_drain(struct heap *h);

/* Counts what is in the batches and in the queue into the walk. */
void queue_walk(struct heap *h);

/* In the child of a fork: what is in the batches and in the queue has been freed by the parent.  Takes it
 * out of `inherited` (front_inherited). */
void queue_inherit(struct heap *h, uint64_t *inherited);

/* Hands one block over at once. */
void remote_free_now(uintptr_t owner, void *p);

/* The same for one from a cache of h, whose slab is another heap's by now. */
void remote_pass_on(struct heap *h, unsigned bin, void *p);

/* ---- heap.c ---- */

#define NO_FORKS 1u                                 /* cold.forks: none is under way */

/* While the thread forks: `hot` into `saved`, and back (forked.c). */
void heap_put_away(struct heap *h);
void heap_bring_back(struct heap *h);

/* Who works on a heap's `cold`.  A forked child leaves a heap alone on which somebody did. */
enum held {
    HELD_BY_NONE,
    HELD_BY_OTHER,                                  /* a thread that helps */
    HELD_BY_OWN,                                    /* its thread, or the one that takes it over */
    HELD_TO_FORK,                                   /* nobody, and its thread forks: it may go on to work on it */
};

hak_inline bool heap_try_as(struct heap *h, uint32_t as)
{
    uint32_t not = HELD_BY_NONE;

    return atomic_compare_exchange_strong_explicit(&h->cold.held, &not, as, memory_order_acquire, memory_order_relaxed);
}

/* Another thread's heap, if nobody works on it. */
hak_inline bool heap_try(struct heap *h)
{
    return heap_try_as(h, HELD_BY_OTHER);
}

hak_inline uint32_t heap_held(const struct heap *h)
{
    return atomic_load_explicit(&h->cold.held, memory_order_relaxed);
}

/* Asked by its own thread. */
hak_inline bool heap_held_by_own(const struct heap *h)
{
    return heap_held(h) >= HELD_BY_OWN;
}

hak_inline void heap_drop(struct heap *h)
{
    atomic_store_explicit(&h->cold.held, HELD_BY_NONE, memory_order_release);
}

/* Its own thread's turn, as HELD_BY_OWN or HELD_TO_FORK, unless it is so already.  Gives up after so many tries. */
void heap_wait(struct heap *h, uint32_t as, unsigned tries_max);

/* heap_leave while the thread forks: puts `hot` away again. */
void heap_leave_to_fork(struct heap *h);

/* heap_drop, if it is held by its own thread. */
void heap_drop_again(struct heap *h);

/* Every slow path that touches `cold` starts and ends with these; they nest.  A fork is noticed, and
 * one that happens in between leaves the heap alone in the child.  What a fork under way has put away is back in
 * between (forked.c).
 *
 * A signal handler may enter at any point of either.  It looks at `held` for whether its thread holds the heap,
 * since at the ends of a slow path `depth` says so too early and too late; what it has taken there it leaves to the slow
 * path. */
hak_inline void heap_enter(struct heap *h)
{
    heap_notice_fork();
    h->cold.depth++;
    atomic_signal_fence(memory_order_seq_cst);
    if (!heap_held_by_own(h) && unlikely(!heap_try_as(h, HELD_BY_OWN)))
        heap_wait(h, HELD_BY_OWN, UINT_MAX);
    if (unlikely(h->cold.away))
        heap_bring_back(h);
}

hak_inline void heap_leave(struct heap *h)
{
    if (unlikely(h->cold.forks > NO_FORKS))
        heap_leave_to_fork(h);
    if (h->cold.depth == 1 && heap_held(h) == HELD_BY_OWN)
        heap_drop(h);
    atomic_signal_fence(memory_order_seq_cst);
    h->cold.depth--;
    atomic_signal_fence(memory_order_seq_cst);
    if (h->cold.depth == 0 && unlikely(heap_held(h) == HELD_BY_OWN))
        heap_drop_again(h);
}

/* Drains the queue of another thread's heap, if that can be had. */
void heap_help(struct heap *to);

void heap_fork_noticed(void);

/* Takes the lowest bin out of a set; false: it is empty. */
hak_inline bool next_bin(uint64_t *bins, unsigned *bin)
{
    if (*bins == 0)
        return false;
    *bin = (unsigned)__builtin_ctzll(*bins);
    *bins &= *bins - 1;
    return true;
}

/* Guards the list of the ended heaps, the latest first, and the making of new ones. */
extern struct lock heaps_lock;
extern struct heap *heaps_ended;
extern _Atomic unsigned heaps_ended_count;
void heap_push_ended(struct heap *h);

/* A heap for a thread: an ended one's, or a new one; held, until its first slow path ends.  NULL: no memory; or
 * *busy, another thread has heaps_lock: called with signals held, it does not wait. */
struct heap *heap_take(bool *busy);

/* This thread has given its heap up, and gets no other. */
extern hak_tls uint8_t heap_past_end;

/* In a child, a heap gets a slot of the child's own when it is first used. */
void heap_ensure_slot(struct heap *h);
void heap_begin_slot(struct heap *h);               /* it is this thread's */

void heap_reset_hot(struct heap *h);                /* empty caches, as at birth */
void heap_forget_l1(struct heap *h);                /* after that: gives up the arrays of L1 */
void heap_fill_offsets(struct heap *h);

/* ---- forked.c ---- */

void heap_forget_forks(struct heap *h);             /* the thread is in the middle of none, and `hot` where it belongs */

/* ---- tick.c ---- */

int32_t heap_tick_frees(const struct heap *h);

/* Empty runs go back as well, but for what is left to an heir. */
void heap_give_back_caches(struct heap *h, bool to_heir);

/* No memory: heap_purge, and what is mapped but empty is address space that another tier may need. */
size_t heap_make_room(void);

/* What a tick does besides draining; part of every refill. */
void heap_look(struct heap *h);

/* ---- walk.c ---- */

void heap_walk(struct heap *h, uint64_t request);

/* ---- ended.c ---- */

/* The heap of all threads past their end. */
extern struct lock late_lock;
extern struct heap *late;

/* Takes a run with free blocks of a bin over from the heap of a thread that has ended, or of one that was not seen for
 * a while; NULL: there is none, or none was found at once. */
struct slab *heap_adopt_slab(struct heap *h, unsigned bin);

/* This thread is at work. */
hak_inline void heap_seen(struct heap *h)
{
    uint32_t now = atomic_load_explicit(&core_now_ms, memory_order_relaxed);

    atomic_store_explicit(&h->cold.ticked_ms, now, memory_order_relaxed);
}

hak_inline bool heap_was_seen(const struct heap *h)     /* since the clock has moved */
{
    return atomic_load_explicit(&h->cold.ticked_ms, memory_order_relaxed) ==
        atomic_load_explicit(&core_now_ms, memory_order_relaxed);
}

/* Not for some time. */
#define IDLE_MS 10
hak_inline bool heap_is_idle(const struct heap *h)
{
    uint32_t now = atomic_load_explicit(&core_now_ms, memory_order_relaxed);

    return (int32_t)(now - atomic_load_explicit(&h->cold.ticked_ms, memory_order_relaxed)) >= IDLE_MS;
}

/* A hole would split a hugepage. */
hak_inline bool heap_has_holes_purged(const struct heap *h)
{
    return h->cold.knobs.os_purge_holes && !h->cold.knobs.os_thp;
}

/* What threads keep that were not seen for a while goes back to the pool. */
void heaps_trim_idle(void);

/* Looks after one other heap, the next in turn. */
void heap_visit(struct heap *h);

/* This thread's heap, made if need be; NULL: no memory, or the thread is past its end. */
struct heap *heap_mine(void);

/* The same for free: a thread gets a heap only after some frees, since the last thing that happens
 * in a thread, after all destructors, is that libc frees what it kept for it. */
struct heap *heap_for_free(void);

/* malloc and free of a thread past its end, on a heap that all such threads share under a lock. */
void *late_alloc(size_t n, unsigned bin);
void *late_alloc_large(size_t n, size_t align, bool *zero);
void late_free(void *p);

/* ---- sound.c ---- */

/* Whether the bins and slabs of a heap and their lists are as heap.h and superslab.h say. */
bool heap_is_sound(const struct heap *h);

/* ---- holes.c ---- */

/* Pages of runs that have stood still on which no block is in use go back to the kernel.  So long at most for each
 * millisecond since the last time, and for so many of them: at most 1 ms at a time, and less than 1 % of a processor. */
#define HOLES_NS_A_MS UINT64_C(8000)
#define HOLES_MS_MAX  128

/* At a tick: of this thread's heap, if a quarter of the decay time has passed. */
void holes_tick(struct heap *h, uint32_t now_ms, uint32_t age_ms);

/* Of the heaps of threads that sleep or have ended, `ms` after the last time. */
void holes_of_idle(uint32_t ms);

/* Of all runs of h, now: this thread's, which it holds, or another's, which it does not.  Bytes. */
size_t holes_purge(struct heap *h);

/* ---- large.c ---- */

/* Gives the large runs that a heap keeps back to the pool.  By any thread. */
void large_trim(struct heap *h);

/* At a tick: those that served nobody since the last one go, and where they serve seldom all. */
void large_tick(struct heap *h);

/* The knobs have changed. */
void large_apply(struct heap *h);

/* Frees what has no bin: large, huge or foreign. */
void large_free(struct heap *h, void *p);

#endif
