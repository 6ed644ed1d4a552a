/* remote.c: blocks that another thread's heap owns.
 *
 * The thread that frees them chains them in a batch for their owner and hands the whole chain over
 * with one compare-exchange on the owner's queue word: an address in the lower 48 bits and in the
 * upper 16 how many blocks hang on it (saturating, advisory).
 *
 *   push   chain.tail->next = head; compare-exchange head -> chain      release
 *   drain  exchange head -> 0                                           acquire
 *
 * Only who holds the heap drains, and always takes everything, so that no one ever pops a single
 * node and the ABA problem does not arise: a push needs its expected head to be the current one, not
 * never to have been away.  The release makes the next pointers, and all the user wrote before free,
 * visible to the drain.  A queue is valid as long as its heap, which is for ever.
 *
 * A run can change its owner between the free of a block and the drain (heap_adopt_slab).  Whoever
 * drains looks at the owner word again and passes on what is no longer the heap's.  All of this is
 * tests/model/queue.pml, in every order of its steps. */
#include "lib/base/usdt.h"
#include "lib/front/internal.h"

#include <errno.h>

#define QUEUE_BYTES  MIB
#define QUEUE_BLOCKS 8192
#define COUNT_SHIFT  48
#define ADDRESS(word) ((struct block *)((word) & (((uint64_t)1 << COUNT_SHIFT) - 1)))

/* Returns how many blocks are in the queue now. */
static unsigned queue_push(struct heap *to, struct block *head, struct block *tail, unsigned n)
{
    uint64_t old = atomic_load_explicit(&to->cold.queue, memory_order_relaxed), fresh;

    do {
        uint64_t count = (old >> COUNT_SHIFT) + n;
        tail->next = ADDRESS(old);
        fresh = (uint64_t)(uintptr_t)head | (count > UINT16_MAX ? UINT16_MAX : count) << COUNT_SHIFT;
    } while (!atomic_compare_exchange_weak_explicit(&to->cold.queue, &old, fresh, memory_order_release,
                                                    memory_order_relaxed));
    return (unsigned)(fresh >> COUNT_SHIFT);
}

unsigned queue_length(struct heap *h)
{
    return (unsigned)(atomic_load_explicit(&h->cold.queue, memory_order_relaxed) >> COUNT_SHIFT);
}

/* A queue that grows beyond QUEUE_BYTES, taking this batch for an average one, belongs to a thread that
 * doesn't come by: its blocks are put back for it. */
static void batch_flush(struct heap *h, struct batch *t)
{
    unsigned length = queue_push(t->to, t->head, t->tail, t->n);
    bool long_queue = (size_t)length * t->bytes / t->n > QUEUE_BYTES || length > QUEUE_BLOCKS;

    t->head = NULL;
    t->n = t->bytes = 0;
    COUNT(h->slot.thread.remote_batches, 1);
    if (unlikely(long_queue))
        heap_help(t->to);
}

void batches_flush(struct heap *h)
{
    for (struct batch *t = h->cold.batch; t < h->cold.batch + BATCHES; t++)
        if (t->n)
            batch_flush(h, t);
}

void batch_add(struct heap *h, uintptr_t owner, void *p)
{
    struct heap *to = heap_of_owner(owner);
    struct batch *t = &h->cold.batch[(uintptr_t)to / HEAP_ALIGN % BATCHES];
    struct block *b = p;

    if (unlikely(t->to != to)) {
        if (t->n)
            batch_flush(h, t);
        t->to = to;
    }
    if (!t->head)
        t->tail = b;
    b->next = t->head;
    t->head = b;
    t->n++;
    t->bytes += bin_info[bin_of_owner(owner)].size;
    if (t->n >= BATCH_BLOCKS || t->bytes >= BATCH_BYTES)
        batch_flush(h, t);
}

void remote_free_now(uintptr_t owner, void *p)
{
    queue_push(heap_of_owner(owner), p, p, 1);
}

void queue_drain(struct heap *h)
{
    if (!atomic_load_explicit(&h->cold.queue, memory_order_relaxed))
        return;
    uint64_t word = atomic_exchange_explicit(&h->cold.queue, 0, memory_order_acquire);
    struct slab_cursor at = { 0 };
    size_t n = 0;

    for (struct block *b = ADDRESS(word), *next; b; b = next, n++) {
        next = b->next;
        struct slab *slab = slab_at(&at, b);
        if (likely(atomic_load_explicit(&slab->owner, memory_order_relaxed) == h)) {
            COUNT(h->slot.row[slab->bin].drained, 1);
            slabs_put(h, slab, b);
        } else {
            remote_free_now(address_owner((uintptr_t)b), b);
        }
    }
    COUNT(h->slot.thread.remote_drains, 1);
    hak_trace(HAK_TRACE_REMOTE_DRAIN, 0xFFFF, n);
    usdt_remote_drain(n);
}

void heap_free_other(void *p, struct heap *h)
{
    uintptr_t owner = address_owner((uintptr_t)p);
    int saved = errno;

    if (!p)
        return;
    if (unlikely(heap_is_none(h))) {
        if (heap_for_free())
            heap_free(p);
        else
            late_free(p);
        errno = saved;
        return;
    }
    heap_notice_fork();
    if (owner) {
        COUNT(h->slot.row[bin_of_owner(owner)].remote_frees, 1);
        batch_add(h, owner, p);
    } else {
        large_free(h, p);
    }
    if (--h->hot.countdown <= 0)
        heap_tick(h);
    errno = saved;
}
