/* holes.c: pages of runs in use on which no block is in use.
 *
 * One block keeps its run, of up to 512 KiB, from other sizes.  It need not keep the pages: the map says which blocks
 * are free, nothing is stored in those, and whoever holds the heap is the only one to hand them out.  So the pages
 * between them go back to the kernel, once the run has stood still for the decay time, and come back as zeroes
 * when the blocks are used again.  A run that has been empty for so long goes back to the pool, and one
 * that an ended thread has left, before that.
 *
 * A thread looks at its own runs, once every quarter of the decay time; of those whose threads sleep or have ended,
 * decay() sees to a few each time.  The effort is bounded by time: with other threads at work the kernel interrupts
 * their processors for every madvise, which takes some 1 to 20 us.  Where it ends the next look goes on. */
#include "lib/base/os.h"
#include "lib/core/pool.h"
#include "lib/front/internal.h"

#define LOOKS        64                     /* at most, between two glances at the clock */
#define HOLE_MIN     (8 * KIB)              /* smaller ones are not worth the call */
#define TRIES        16                     /* for a heap that is held */
#define SLEEP        1000                   /* os_pause: 50 us or some more */

_Static_assert(MAP_BITS_MAX * 2 < 1 << 13, "every `used` fits into slab.still_used");

/* The first block from number i on that is free, or that is not; `capacity`: there is none. */
static unsigned next_block(const struct slab *slab, unsigned i, bool free)
{
    if (i == slab->capacity)
        return i;
    for (; i < slab->carved; i = (i | 63) + 1) {
        uint64_t word = slab->map[i / 64], found = (free ? word : ~word) >> i % 64;
        if (found) {
            i += (unsigned)__builtin_ctzll(found);
            if (i < slab->carved)
                return i;
        }
    }
    return free ? slab->carved : slab->capacity;
}

/* Gives the pages back that lie in rows of free blocks.  Bytes. */
static size_t purge_holes(struct slab *slab)
{
    const size_t size = slab->size, touched = slab->clean ? slab->carved * size : slab->run * SLAB_SIZE;
    const uintptr_t base = (uintptr_t)slab->base, end = base + slab->run * SLAB_SIZE;
    size_t bytes = 0;

    for (unsigned first = 0, stop; (first = next_block(slab, first, true)) * size < touched; first = stop) {
        stop = next_block(slab, first, false);
        uintptr_t from = round_up(base + first * size, os_page);
        uintptr_t to = stop < slab->capacity ? base + stop * size : round_up(base + touched, os_page);
        if (to > end)
            to = end;
        to &= ~(os_page - 1);                           /* a page may be longer than a slab: the next run lies on it, too */
        if (from + HOLE_MIN <= to)
            bytes += pool_purge_pages((char *)from, to - from);
        if (stop == slab->capacity)
            break;
    }
    return bytes;
}

/* Meanwhile the run is in no list, so that a signal handler on top of us gets none of its blocks.  It waits at the
 * tail then: others are taken from before it, and it may come to be empty. */
static size_t purge_run(struct heap *h, struct slab *slab)
{
    const unsigned bin = slab->bin;

    avail_remove(h, slab);
    size_t bytes = purge_holes(slab);
    slab->still_used = slab->used;
    slab->still = SLAB_STILL;
    avail_push(h, slab);
    if (unlikely(slab->used == 0)) {                    /* the handler has freed the rest */
        slab->still = 0;
        slab_turned(h, slab);
    }
    COUNT(hak_my_slot()->thread.os_purge_holes, bytes);
    if (bytes)
        hak_trace(HAK_TRACE_OS_PURGE, bin, bytes);
    return bytes;
}

struct effort {
    uint64_t until;                         /* os_now_ns */
    bool now;                               /* all runs, but for those that are as at their last purge */
    size_t bytes;                           /* done */
};

/* Whether a run has just stood still for long enough.  What takes blocks from it says that it has not (slabs_take). */
static bool is_due(struct slab *slab, bool now)
{
    if (slab->used != slab->still_used) {
        slab->still_used = slab->used;
        slab->still = 0;
        return now;
    }
    return slab->still < SLAB_STILL && (++slab->still == SLAB_STILL || now);
}

/* Looks at runs of h from where the last look stopped: hole_at, and the bins after its own, hole_bins (avail_remove
 * keeps hole_at right).  Stops after one that was due.  True: that was the last run; the next look begins anew. */
static bool look_on(struct heap *h, struct effort *e)
{
    struct heap_cold *c = &h->cold;
    bool due = false;

    if (!c->hole_at && !c->hole_bins)
        c->hole_bins = bits_of(0, HAK_BINS);
    for (unsigned looks = 0; looks < LOOKS && !due; looks++) {
        struct slab *slab = c->hole_at;
        unsigned bin;
        if (slab) {
            c->hole_at = slab->next;
            due = is_due(slab, e->now);
            if (slab->used == 0 && (due || c->ended))
                slab_release_empty(h, slab);
            else if (due)
                e->bytes += purge_run(h, slab);
        } else if (next_bin(&c->hole_bins, &bin)) {
            c->hole_at = c->bin[bin].avail;
        } else {
            break;
        }
    }
    return !c->hole_at && !c->hole_bins;
}

/* A heap that is not this thread's is held for one run at a time: its thread may need it, or fork.  False: there is no
 * time left. */
static bool look_at(struct heap *h, struct effort *e)
{
    const bool mine = h == heap_self;           /* held by the caller */
    bool done;

    do {
        for (unsigned tries = 0; !mine && !heap_try(h); tries++) {
            if (!e->now || tries == TRIES)
                return true;
            os_pause(SLEEP);
        }
        done = look_on(h, e);
        if (!mine) {
            heap_drop(h);
            if (unlikely(atomic_load_explicit(&h->cold.wanted, memory_order_relaxed)))
                os_pause(SLEEP);
        }
    } while (!done && os_now_ns() < e->until);
    return done;
}

static struct effort effort_after(uint32_t ms)
{
    return (struct effort){ .until = os_now_ns() + HOLES_NS_A_MS * (ms < HOLES_MS_MAX ? ms : HOLES_MS_MAX) };
}

void holes_tick(struct heap *h, uint32_t now_ms, uint32_t age_ms)
{
    uint32_t ms = now_ms - h->cold.holes_ms;

    if (ms < age_ms / 4 + 1)
        return;
    h->cold.holes_ms = now_ms;
    struct effort e = effort_after(ms);
    look_at(h, &e);
}

void holes_of_idle(uint32_t ms)
{
    static struct heap *_Atomic turn;       /* several threads may be here, each at a heap that it holds */
    struct heap *begin = atomic_load_explicit(&turn, memory_order_relaxed), *h = begin ? begin : heap_first();
    struct effort e = effort_after(ms);

    do {
        if (h != heap_self && heap_is_idle(h) && !look_at(h, &e))
            break;
        h = h->cold.next_all;
        if (!h && begin)
            h = heap_first();
    } while (h != begin && os_now_ns() < e.until);
    atomic_store_explicit(&turn, h, memory_order_relaxed);
}

size_t holes_purge(struct heap *h)
{
    struct effort e = { .until = UINT64_MAX, .now = true };

    look_at(h, &e);                         /* to the end of the look under way, which may have begun before */
    look_at(h, &e);
    return e.bytes;
}
