/* walk.c: the state of a heap itself, next to what the counters say it should be. */
#include "lib/core/pool.h"
#include "lib/front/internal.h"

#include <string.h>

/* Puts the slabs on the map on the way. */
static uint64_t used_in(const struct slab *s)
{
    uint64_t used = 0;

    for (; s; s = s->next) {
        used += s->used;
        pool_map_fill(s);
    }
    return used;
}

static void walk_bin(struct heap *h, unsigned bin)
{
    struct hak_row *r = &h->slot.row[bin];
    struct hak_walk *w = &r->walk;
    struct law_base *base = &h->cold.base[bin];

    w->batch = w->queue = 0;
    w->used = used_in(h->cold.bin[bin].avail) + used_in(h->cold.bin[bin].full);
    w->l0 = stack_count(&h->hot.bin[bin].l0);
    w->l1 = stack_count(&h->hot.bin[bin].l1);
    w->sll = h->cold.bin[bin].sll_n;
    w->l0_law = r->l0_pushes + r->l0_leftover - r->l0_hits - r->l0_flushed;
    w->cached_law = r->refilled + r->l0_pushes + r->l1_pushes + r->slow_frees - r->l0_hits - r->l1_hits -
                    r->slow_allocs - r->returned;
    w->used_law = r->refilled - r->returned - r->drained + r->used_moved;
    if (h->cold.rebase) {
        base->l0 = w->l0 - w->l0_law;
        base->cached = w->l0 + w->l1 + w->sll - w->cached_law;
        base->used = w->used - w->used_law;
    }
    w->l0_law += base->l0;
    w->cached_law += base->cached;
    w->used_law += base->used;
}

/* A child that is forked in the middle has forgotten the request, and its slot is a new one: the number is kept
 * here, not read back, so that it ends even. */
hak_cold void heap_walk(struct heap *h, uint64_t request)
{
    struct hak_slot *head = &h->slot.head;
    uint32_t seq = head->walk_seq | 1;

    hak_assert(heap_is_sound(h));
    h->cold.walk = request;
    __atomic_store_n(&head->walk_seq, seq, __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_release);
    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        walk_bin(h, bin);
    queue_walk(h);
    if (unlikely(h->cold.walk != request)) {
        __atomic_store_n(&head->walk_seq, 0, __ATOMIC_RELAXED);
        return;
    }
    h->cold.rebase = false;
    __atomic_store_n(&head->walk, request, __ATOMIC_RELAXED);
    __atomic_store_n(&head->walk_seq, seq + 1, __ATOMIC_RELEASE);
}
