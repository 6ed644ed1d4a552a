/* remote.c: blocks that another thread's heap owns.
 *
 * The thread that frees them collects their addresses in a parcel for their owner and hands the parcel
 * over with one compare-exchange on the owner's queue word: an address in the lower 48 bits and in the
 * upper 16 how many blocks hang on it (saturating, advisory).  A node of the queue is a parcel (bit 0 of
 * its address is set) or a single block (bit 1: its free was counted before); the first word of either is the
 * next node.  A block in a parcel
 * is not touched on its way: its cache line goes from the thread that used it last to the one that uses
 * it next, and nowhere else.
 *
 *   push   node.next = head; compare-exchange head -> node              release
 *   drain  exchange head -> 0                                           acquire
 *
 * Only who holds the heap drains, and always takes everything, so that no one ever pops a single
 * node and the ABA problem does not arise: a push needs its expected head to be the current one, not
 * never to have been away.  The release makes the next pointers, the parcel, and all the user wrote before
 * free visible to the drain.  A queue is valid as long as its heap, which is for ever.
 *
 * Empty parcels go home the same way: pushed to `parcels_back` by who drained them, taken all at once by
 * the home's thread.  A parcel is in exactly one of: its home's lists, a batch there, a queue, a drain.
 *
 * A run can change its owner between the free of a block and the drain (heap_adopt_slab).  Whoever
 * drains looks at the owner word again and passes on what is no longer the heap's; so does who moves blocks
 * from a cache to their slabs.
 * tests/model/queue.pml is a model of this. */
#include "lib/base/os.h"
#include "lib/base/usdt.h"
#include "lib/front/internal.h"

#include <errno.h>
#include <string.h>

#define QUEUE_BYTES  MIB
#define QUEUE_BLOCKS 8192
#define QUEUE_FEW    64                    /* the same of small parcels */
#define COUNT_SHIFT  48
#define ADDRESS(word) ((uintptr_t)((word) & (((uint64_t)1 << COUNT_SHIFT) - 1)))
#define IS_PARCEL    ((uintptr_t)1)
#define WAS_COUNTED  ((uintptr_t)2)
#define LINK(node)   ((struct block *)((node) & ~(IS_PARCEL | WAS_COUNTED)))

/* ---- the queue ---- */

/* Returns how many blocks are in the queue now. */
static unsigned queue_push(struct heap *to, uintptr_t node, unsigned n)
{
    struct block *link = LINK(node);
    uint64_t old = atomic_load_explicit(&to->cold.queue, memory_order_relaxed), fresh;

    do {
        uint64_t count = (old >> COUNT_SHIFT) + n;
        link->next = (struct block *)ADDRESS(old);
        fresh = node | (count > UINT16_MAX ? UINT16_MAX : count) << COUNT_SHIFT;
    } while (!atomic_compare_exchange_weak_explicit(&to->cold.queue, &old, fresh, memory_order_release,
                                                    memory_order_relaxed));
    return (unsigned)(fresh >> COUNT_SHIFT);
}

unsigned queue_length(struct heap *h)
{
    return (unsigned)(atomic_load_explicit(&h->cold.queue, memory_order_relaxed) >> COUNT_SHIFT);
}

static uintptr_t next_node(uintptr_t node)
{
    return (uintptr_t)LINK(node)->next;
}

/* The blocks of a node; one that is no parcel is its own. */
struct contents {
    void *const *block;
    uint64_t n, counted;                    /* of the first so many the free was counted before */
    void *alone;
};

static void contents_of(uintptr_t node, struct contents *c)
{
    const struct parcel *parcel = (struct parcel *)(node & ~IS_PARCEL);

    if (node & IS_PARCEL)
        *c = (struct contents){ parcel->block, parcel->n, parcel->counted, NULL };
    else
        *c = (struct contents){ &c->alone, 1, (node & WAS_COUNTED) != 0, LINK(node) };
}

static hak_cold _Noreturn void no_block(void *p)
{
    hak_die("free(): block freed twice, or not the start of a block", p);
}

void remote_free_now(uintptr_t owner, void *p)
{
    if ((uintptr_t)p & (IS_PARCEL | WAS_COUNTED))
        no_block(p);
    queue_push(heap_of_owner(owner), (uintptr_t)p, 1);
}

/* For who looks at a queue without emptying it: of a block that is in it twice the ring would never end. */
static uintptr_t next_of(uintptr_t node, unsigned *seen)
{
    if (unlikely(++*seen == 1u << 24))
        no_block(LINK(node));
    return next_node(node);
}

/* What is written to first must be a block, of that bin; its slab is not ours, but does not go while it is out. */
static void pass_on(unsigned bin, void *p, bool counted)
{
    uintptr_t owner = address_owner((uintptr_t)p);

    if (!owner || bin_of_owner(owner) != bin ||         /* its slab has gone: it had come back before */
        ((uintptr_t)p - (uintptr_t)slab_of(p)->base) % bin_info[bin].size != 0)
        no_block(p);
    queue_push(heap_of_owner(owner), (uintptr_t)p | (counted ? WAS_COUNTED : 0), 1);
}

void remote_pass_on(struct heap *h, unsigned bin, void *p)
{
    COUNT(h->slot.row[bin].used_moved, 1);              /* come_back takes it away again */
    pass_on(bin, p, true);
}

/* ---- parcels ---- */

static unsigned kind_of(unsigned room)
{
    return room == FEW_BLOCKS;
}

static void parcel_keep(struct heap *h, struct parcel *parcel)
{
    struct parcel **list = &h->cold.parcels[kind_of(parcel->room)];

    parcel->link.next = (struct block *)*list;
    *list = parcel;
}

static struct parcel *parcel_take(struct heap *h, unsigned room)
{
    struct parcel **list = &h->cold.parcels[kind_of(room)], *parcel = *list;

    if (!parcel)
        parcel = atomic_exchange_explicit(&h->cold.parcels_back[kind_of(room)], NULL, memory_order_acquire);
    if (parcel) {
        *list = (struct parcel *)parcel->link.next;
    } else if ((parcel = os_meta(PARCEL_BYTES(room))) != NULL) {
        parcel->home = h;
        parcel->room = (uint16_t)room;
    } else {
        return NULL;
    }
    parcel->n = parcel->counted = 0;
    return parcel;
}

static void parcel_send_home(struct parcel *parcel)
{
    struct heap *home = parcel->home;
    struct parcel *_Atomic *back = &home->cold.parcels_back[kind_of(parcel->room)];
    struct parcel *old = atomic_load_explicit(back, memory_order_relaxed);

    if (home == heap_self) {
        parcel_keep(home, parcel);
        return;
    }
    do
        parcel->link.next = (struct block *)old;
    while (!atomic_compare_exchange_weak_explicit(back, &old, parcel, memory_order_release, memory_order_relaxed));
}

/* ---- giving ---- */

/* Few blocks go in a parcel for few, and the one in which they were gathered stays. */
static struct parcel *repack(struct heap *h, struct parcel *parcel)
{
    struct parcel *small = parcel->n <= FEW_BLOCKS ? parcel_take(h, FEW_BLOCKS) : NULL;

    if (!small)
        return parcel;
    memcpy(small->block, parcel->block, parcel->n * sizeof *small->block);
    small->n = parcel->n;
    small->counted = parcel->counted;
    parcel_keep(h, parcel);
    return small;
}

/* A queue that grows beyond QUEUE_BYTES, taking this batch for an average one, belongs to a thread that
 * doesn't come by: its blocks are put back for it.  Where blocks of many owners come in turn, queues of small
 * parcels are kept so short that the processor's caches hold them all (crowded).  The batch lets go of the parcel
 * first: a fork in between loses blocks, and does not have them twice.  A child can inherit a parcel that nothing
 * had been put into yet: n is 0 then. */
static void batch_flush(struct heap *h, struct batch *t, bool crowded)
{
    struct parcel *parcel = t->parcel;
    uint64_t n = parcel->n, bytes = t->bytes;

    t->parcel = NULL;
    t->bytes = 0;
    atomic_signal_fence(memory_order_seq_cst);
    parcel = repack(h, parcel);
    unsigned most = crowded && parcel->room == FEW_BLOCKS ? QUEUE_FEW : QUEUE_BLOCKS;
    unsigned length = queue_push(t->to, (uintptr_t)parcel | IS_PARCEL, (unsigned)n);
    COUNT(h->slot.thread.remote_batches, 1);
    if (unlikely(length * bytes > n * QUEUE_BYTES || length > most))
        heap_help(t->to);
}

void batches_flush(struct heap *h)
{
    for (struct batch *t = h->cold.batch; t < h->cold.batch + BATCHES; t++)
        if (t->parcel)
            batch_flush(h, t, false);
}

/* The batch was another heap's, or is none. */
static hak_cold bool batch_begin(struct heap *h, struct batch *t, struct heap *to)
{
    if (t->parcel)
        batch_flush(h, t, true);
    t->to = to;
    return (t->parcel = parcel_take(h, BATCH_BLOCKS)) != NULL;
}

/* Heaps lie at most of the multiples of HEAP_ALIGN, or at every second one: all bits of it count. */
hak_inline unsigned batch_of(const struct heap *to)
{
    return (uint32_t)((uintptr_t)to / HEAP_ALIGN) * UINT32_C(2654435769) >> (32 - BATCH_BITS);
}

/* Puts a block of another heap into a batch; without memory for a parcel it goes alone. */
static void batch_add(struct heap *h, uintptr_t owner, void *p)
{
    struct heap *to = heap_of_owner(owner);
    struct batch *t = &h->cold.batch[batch_of(to)];

    if (unlikely(t->to != to || !t->parcel) && !batch_begin(h, t, to)) {
        remote_free_now(owner, p);
        return;
    }
    struct parcel *parcel = t->parcel;
    parcel->block[parcel->n] = p;
    atomic_signal_fence(memory_order_release);
    parcel->n++;
    t->bytes += size_of_owner(owner);
    if (unlikely(parcel->n == BATCH_BLOCKS || t->bytes >= BATCH_BYTES))
        batch_flush(h, t, false);
}

/* ---- taking ---- */

/* A block has come back.  The owner's own thread, whose caches these are, keeps it in FastCache if there
 * is room: the block counts as one that was given to its slab and taken again.  One whose free was counted
 * before, by the parent of a fork or into another heap's cache, is one block in use less.  How many have been drained. */
hak_inline unsigned come_back(struct heap *h, struct slab_cursor *at, void *p, bool counted)
{
    uintptr_t owner = address_owner((uintptr_t)p);

    if (unlikely(heap_of_owner(owner) != h)) {
        if (!owner)
            no_block(p);
        pass_on(bin_of_owner(owner), p, counted);
        return 0;
    }
    struct bin *b = (struct bin *)owner;
    unsigned bin = bin_index(h, b);
    if (unlikely(counted))
        COUNT(row_of(b)->used_moved, -(uint64_t)1);
    else
        COUNT(row_of(b)->drained, 1);
    if (h == heap_self && l1_keep(b, bin, p))
        COUNT(row_of(b)->refilled, 1);
    else
        slabs_put(h, slab_at(at, p), p);
    return !counted;
}

void queue_drain(struct heap *h)
{
    if (!atomic_load_explicit(&h->cold.queue, memory_order_relaxed))
        return;
    uint64_t word = atomic_exchange_explicit(&h->cold.queue, 0, memory_order_acquire);
    struct slab_cursor at = { 0 };
    size_t n = 0;

    for (uintptr_t node = ADDRESS(word), next; node; node = next) {
        struct contents c;
        contents_of(node, &c);
        next = next_node(node);
        for (uint64_t i = 0; i < c.n; i++)
            n += come_back(h, &at, c.block[i], i < c.counted);
        if (node & IS_PARCEL)
            parcel_send_home((struct parcel *)(node & ~IS_PARCEL));
    }
    COUNT(h->slot.thread.remote_drains, 1);
    hak_trace(HAK_TRACE_REMOTE_DRAIN, 0xFFFF, n);
    usdt_remote_drain(n);
}

/* One that was freed twice may have no bin any more; the drain will say so. */
static unsigned bin_to_walk(const void *p)
{
    uintptr_t owner = address_owner((uintptr_t)p);

    return owner ? bin_of_owner(owner) : 0;
}

void queue_walk(struct heap *h)
{
    for (const struct batch *t = h->cold.batch; t < h->cold.batch + BATCHES; t++)
        for (uint64_t i = t->parcel ? t->parcel->counted : 0; t->parcel && i < t->parcel->n; i++)
            h->slot.row[bin_to_walk(t->parcel->block[i])].walk.batch++;
    uint64_t word = atomic_load_explicit(&h->cold.queue, memory_order_acquire);
    unsigned seen = 0;
    for (uintptr_t node = ADDRESS(word); node; node = next_of(node, &seen)) {
        struct contents c;
        contents_of(node, &c);
        for (uint64_t i = c.counted; i < c.n; i++)
            h->slot.row[bin_to_walk(c.block[i])].walk.queue++;
    }
}

/* What a parcel holds is free, and no free of this process's. */
static void parcel_inherit(struct parcel *parcel, uint64_t *inherited)
{
    parcel->counted = parcel->n;
    for (uint64_t i = 0; i < parcel->n; i++)
        inherited[bin_to_walk(parcel->block[i])]--;
}

void queue_inherit(struct heap *h, uint64_t *inherited)
{
    for (struct batch *t = h->cold.batch; t < h->cold.batch + BATCHES; t++)
        if (t->parcel)
            parcel_inherit(t->parcel, inherited);
    uint64_t word = atomic_load_explicit(&h->cold.queue, memory_order_acquire);
    struct block *before = NULL;
    unsigned seen = 0;
    for (uintptr_t node = ADDRESS(word); node; before = LINK(node), node = next_of(node, &seen)) {
        if (node & IS_PARCEL) {
            parcel_inherit((struct parcel *)(node & ~IS_PARCEL), inherited);
            continue;
        }
        inherited[bin_to_walk(LINK(node))]--;
        if (before)
            before->next = (struct block *)(node | WAS_COUNTED);
        else
            atomic_store_explicit(&h->cold.queue, word | WAS_COUNTED, memory_order_relaxed);
    }
}

/* ---- free of what is not this thread's ---- */

static hak_cold void free_without_heap(void *p)
{
    int saved = errno;

    if (heap_for_free())
        heap_free(p);
    else
        late_free(p);
    errno = saved;
}

void heap_free_other(void *p, struct heap *h)
{
    heap_notice_fork();
    if (unlikely(h != heap_self)) {                     /* a child that has given it up */
        heap_free(p);
        return;
    }
    if (unlikely(!p))
        return;
    if (unlikely(heap_is_none(h))) {
        free_without_heap(p);
        return;
    }
    uintptr_t owner = address_owner((uintptr_t)p);
    if (unlikely(!owner)) {
        large_free(h, p);
        return;
    }
    COUNT(h->slot.row[bin_of_owner(owner)].remote_frees, 1);
    batch_add(h, owner, p);
    if (--h->hot.countdown <= 0)
        heap_tick(h);
}
