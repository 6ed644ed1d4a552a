/* blocks.h: blocks that tests of lib/front allocate and free: which are out, what they hold, and what must hold of all
 * heaps then. */
#ifndef TESTS_UNIT_BLOCKS_H
#define TESTS_UNIT_BLOCKS_H

#include "tests/unit/front.h"

/* ---- blocks: what is out, by address ---- */

enum { SS_MOST = 64 };
static _Atomic uint8_t is_out[SS_MOST][SS_SIZE / 8];

static _Atomic uint8_t *record_of(void *p)
{
    struct superslab *ss = superslab_of(p);

    if (ss->index >= SS_MOST)
        bail("more than %d SuperSlabs", SS_MOST);
    return &is_out[ss->index][((uintptr_t)p - (uintptr_t)ss->base) / 8];
}

/* A block says at its start whose it is and at its end that nobody wrote there. */
static void *alloc(size_t n)
{
    char *p = heap_alloc(n);

    if (!p)
        bail("no memory");
    must(atomic_exchange(record_of(p), 1) == 0);
    memcpy(p, &p, 8);
    memset(p + heap_usable(p) - 1, 0x5A, 1);
    return p;
}

static void release(void *p)
{
    char *b = p;
    size_t n = heap_usable(p);

    must(n == 8 || (memcmp(b, &p, 8) == 0 && b[n - 1] == 0x5A));
    must(atomic_exchange(record_of(p), 0) == 1);
    heap_free(p);
}

/* ---- the state as a whole, while nobody is at work ---- */

struct sums {
    uint64_t allocs, frees, remote_frees, drained, left, moved;
};

static void add_heap(struct heap *h, struct sums *s)
{
    for (unsigned bin = 0; bin < HAK_BINS; bin++) {
        const struct hak_row *r = &h->slot.row[bin];
        const struct hak_walk *w = &h->slot.row[bin].walk;
        s->allocs += r->l0_hits + r->l1_hits + r->slow_allocs;
        s->frees += r->l0_pushes + r->l1_pushes + r->slow_frees + r->remote_frees;
        s->remote_frees += r->remote_frees;
        s->drained += r->drained;
        s->left += w->batch + w->queue;
        s->moved += r->used_moved;
#ifndef HAK_NO_STATS
        must(w->l0 == w->l0_law);
        must(w->l0 + w->l1 + w->sll == w->cached_law);
        must(w->used == w->used_law);
#endif
    }
}

__attribute__((unused))
static uint64_t passed_on;              /* free blocks on the way from a cache to their slab */

/* Every heap is sound and keeps its laws; of all blocks so many are out. */
static void check(uint64_t out)
{
    struct sums s = { 0 };
    uint64_t used = 0, cached = 0;

    for (struct heap *h = heap_first(); h; h = h->cold.next_all) {
        must(heap_try(h) && heap_is_sound(h));
        heap_walk(h, h->cold.walk);
        add_heap(h, &s);
        for (unsigned bin = 0; bin < HAK_BINS; bin++) {
            const struct hak_walk *w = &h->slot.row[bin].walk;
            used += w->used;
            cached += w->l0 + w->l1 + w->sll + w->batch + w->queue;
        }
        heap_drop(h);
    }
#ifndef HAK_NO_STATS
    must(used - cached == out + s.moved);               /* those that one heap has passed on to another */
    must(s.allocs - s.frees == out);
    must(s.remote_frees - s.drained == s.left);
    passed_on = s.moved;
#else
    must(used - cached >= out);
    (void)s;
#endif
}

/* After a purge by a thread that is not one of them: every slab is the pool's again. */
static void *purges(void *arg)
{
    heap_purge();
    heap_purge();                       /* what the first has passed on */
    end_of_thread();
    return arg;
}

static void nothing_left(void)
{
    heap_purge();
    run_threads(1, purges, NULL);
    heap_purge();
    for (unsigned i = 0; i < pool_superslabs(); i++)
        must(pool_superslab(i)->state != SS_LIVE || map_read(&pool_superslab(i)->free_map) == ~(slab_map)0);
    check(0);
}

/* Another thread's part begins, by the same one. */
__attribute__((unused))
static struct heap *thread_begins(void)
{
    heap_past_end = 0;
    heap_self = (struct heap *)&heap_none;
    must(heap_mine() != NULL);
    return heap_self;
}

/* No thread was seen for so long. */
__attribute__((unused))
static void time_passes(unsigned ms)
{
    atomic_fetch_add(&core_now_ms, ms);
}

#endif
