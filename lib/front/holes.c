/* holes.c: pages of runs in use on which no block is in use.
 *
 * One block keeps its run, of up to 512 KiB, from other sizes.  It need not keep the pages: the map says which blocks
 * are free, nothing is stored in those, and whoever holds the heap is the only one to hand them out.  So the pages
 * between them go back to the kernel, once the run has stood still for the decay time, and come back as zeroes
 * when the blocks are used again.
 *
 * decay() calls holes_decay once every quarter of the decay time, which goes on where it stopped: a bounded number of
 * runs each time, of all heaps in turn.  A run whose `used` is the same as at the last look stands still; one in
 * which as many blocks came as went may pass for that, which costs it some page faults. */
#include "lib/base/os.h"
#include "lib/core/pool.h"
#include "lib/front/internal.h"

#include <limits.h>

#define LOOKS_A_MS 32                       /* runs and bins looked at, some 0.1 us each; a purge takes some 3 us */

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
    const uintptr_t base = (uintptr_t)slab->base, end = base + slab->run * SLAB_SIZE;
    size_t bytes = 0;

    for (unsigned first = 0, stop; (first = next_block(slab, first, true)) < slab->capacity; first = stop) {
        stop = next_block(slab, first, false);
        uintptr_t from = round_up(base + first * (size_t)slab->size, os_page);
        uintptr_t to = stop < slab->capacity ? base + stop * (size_t)slab->size : end;
        to &= ~(os_page - 1);
        if (from < to)
            bytes += pool_purge_pages((char *)from, to - from);
    }
    return bytes;
}

/* Meanwhile the run is in no list, so that a signal handler on top of us gets none of its blocks.  It waits at the
 * tail then: others are taken from before it, and it may come to be empty. */
static size_t purge(struct heap *h, struct slab *slab)
{
    const bool empty = slab->used == 0;
    const unsigned bin = slab->bin;

    avail_remove(h, slab);
    size_t bytes = purge_holes(slab);
    slab->still_used = slab->used;
    slab->still = SLAB_STILL;
    avail_push(h, slab);
    if (unlikely(slab->used == 0 && !empty))            /* the handler has freed the rest */
        slab_turned(h, slab);
    COUNT(hak_my_slot()->thread.os_purge_holes, bytes);
    hak_trace(HAK_TRACE_OS_PURGE, bin, bytes);
    return bytes;
}

/* Whether to purge a run: it has just stood still for long enough, or `now`, it is not as at the last purge. */
static bool is_due(struct slab *slab, bool now)
{
    if (slab->used != slab->still_used) {
        slab->still_used = slab->used;
        slab->still = 0;
        return now;
    }
    return slab->still < SLAB_STILL && (++slab->still == SLAB_STILL || now);
}

struct effort {
    unsigned looks, purges;                 /* left */
    size_t bytes;                           /* done */
};

/* Looks at the runs of h from where the last time stopped: c->hole_at and the bins after its own, c->hole_bins.
 * avail_remove keeps hole_at right.  False: there is no effort left, nor the end reached. */
static bool look_at(struct heap *h, bool now, struct effort *e)
{
    struct heap_cold *c = &h->cold;

    if (!c->hole_at && !c->hole_bins)
        c->hole_bins = bits_of(0, HAK_BINS);
    for (; e->looks && e->purges; e->looks--) {
        struct slab *slab = c->hole_at;
        unsigned bin;
        if (slab) {
            c->hole_at = slab->next;
            if (is_due(slab, now)) {
                e->bytes += purge(h, slab);
                e->purges--;
            }
        } else if (next_bin(&c->hole_bins, &bin)) {
            c->hole_at = c->bin[bin].avail;
        } else {
            return true;
        }
    }
    return false;
}

void holes_decay(uint32_t ms)
{
    static struct heap *_Atomic turn;       /* several threads may be here, each at a heap that it holds */
    struct heap *begin = atomic_load_explicit(&turn, memory_order_relaxed), *h = begin ? begin : heap_first();
    const unsigned share = ms < HOLES_MS_MAX ? ms : HOLES_MS_MAX;
    struct effort e = { .looks = share * LOOKS_A_MS, .purges = share * HOLES_A_MS };

    do {
        bool done = true;
        if (h == heap_self) {
            done = look_at(h, false, &e);
        } else if (heap_try(h)) {
            done = look_at(h, false, &e);
            heap_drop(h);
        }
        if (!done)
            break;
        h = h->cold.next_all;
        if (!h && begin)
            h = heap_first();
    } while (h != begin);
    atomic_store_explicit(&turn, h, memory_order_relaxed);
}

size_t holes_purge(struct heap *h)
{
    struct effort e = { .looks = UINT_MAX, .purges = UINT_MAX };

    h->cold.hole_at = NULL;
    h->cold.hole_bins = 0;
    look_at(h, true, &e);
    return e.bytes;
}
