/* large.c: blocks above MID_MAX, from the shared pool (whole slabs) or with a mapping of their own. */
#include "lib/core/huge.h"
#include "lib/core/pool.h"
#include "lib/front/internal.h"

#include <errno.h>

void *heap_no_memory(void)
{
    heap_count(offsetof(struct hak_slot_full, thread.failed));
    errno = ENOMEM;
    return NULL;
}

/* Whether a SuperSlab has room for it. */
static bool in_slabs(size_t n, size_t align)
{
    return n <= LARGE_MAX && align <= SS_SIZE && slabs_of(n ? n : 1) + slabs_of(align) <= SS_SLABS + 1;
}

/* ---- runs that the thread has just freed ----
 *
 * A buffer that is made and dropped again and again needs no pool: where large blocks are often asked for, a heap
 * keeps the last few runs that its thread freed, for requests of exactly their length.  To the pool they are claimed,
 * and no block to all that look at blocks (SLAB_KEPT).
 *
 * A cell is 0, or the address of a run's struct with half its length in the lower bits.  Only the heap's thread
 * makes it other than 0, by a store (release); anybody makes it 0, by an exchange (acquire), and who finds a run in
 * what it returns has it.  So nobody needs to hold the heap, and what interrupts the thread, in a child of a fork,
 * too, loses a run at worst. */

#define LOOK_EVERY 16                       /* requests that need no pool */
#define OFTEN      8                        /* requests between two ticks that are worth the memory of what is kept */
#define KEPT_SLABS ((unsigned)(MIB / SLAB_SIZE))    /* of all runs that a heap keeps */
#define HALF_RUN   ((uintptr_t)sizeof(struct slab) - 1)
_Static_assert(KEPT_SLABS / 2 <= HALF_RUN, "the lower bits have room for half of the longest run");

static uintptr_t kept_word(const struct slab *slab)
{
    return (uintptr_t)slab | slab->run / 2;
}

static uintptr_t kept_read(const struct heap_cold *c, unsigned i)
{
    return atomic_load_explicit(&c->kept[i], memory_order_relaxed);
}

/* NULL: it is empty, or somebody was faster. */
static struct slab *kept_remove(struct heap_cold *c, unsigned i)
{
    return (struct slab *)(atomic_exchange_explicit(&c->kept[i], 0, memory_order_acquire) & ~HALF_RUN);
}

static void kept_drop(struct heap_cold *c, unsigned i)
{
    struct slab *slab = kept_read(c, i) ? kept_remove(c, i) : NULL;

    if (slab)
        pool_give(slab);
}

static struct slab *kept_take(struct heap_cold *c, size_t n, size_t align)
{
    const unsigned run = slabs_of(n ? n : 1);

    for (unsigned i = 0; i < LARGE_KEPT && n <= KEPT_SLABS * SLAB_SIZE; i++) {
        uintptr_t word = kept_read(c, i);
        if (!word || (word & HALF_RUN) != run / 2)
            continue;
        struct slab *slab = kept_remove(c, i);
        if (!slab)
            continue;
        if (likely(slab->run == run && !((uintptr_t)slab->base & (align - 1)))) {
            slab->kind = SLAB_LARGE;
            return slab;
        }
        pool_give(slab);
    }
    return NULL;
}

static unsigned kept_empty(const struct heap_cold *c, unsigned most, unsigned *slabs)
{
    unsigned empty = most;

    for (unsigned i = most; i-- > 0;) {
        uintptr_t word = kept_read(c, i);
        *slabs += 2 * (unsigned)(word & HALF_RUN);
        if (!word)
            empty = i;
    }
    return empty;
}

/* An empty cell for one more run.  The next in turn make room for it. */
static unsigned kept_place(struct heap_cold *c, unsigned run, unsigned most)
{
    for (;;) {
        unsigned slabs = run, i = kept_empty(c, most, &slabs);
        if (likely(i < most && slabs <= KEPT_SLABS))
            return i;
        kept_drop(c, c->kept_turn++ % most);
    }
}

static void give_slabs(struct heap_cold *c, struct slab *slab)
{
    const unsigned most = c->kept_most;

    if (most == 0 || slab->run > KEPT_SLABS || slab->outgrown) {
        c->kept_none = slab->run;
        slab->outgrown = false;
        pool_give(slab);
        return;
    }
    unsigned i = kept_place(c, slab->run, most);
    slab->kind = SLAB_KEPT;
    if (unlikely(slab->clean))
        slab->clean = false;
    if (unlikely(c->kept_old >> i & 1))
        c->kept_old &= ~(1u << i);
    atomic_store_explicit(&c->kept[i], kept_word(slab), memory_order_release);
}

void large_trim(struct heap *h)
{
    for (unsigned i = 0; i < LARGE_KEPT; i++)
        kept_drop(&h->cold, i);
}

void large_apply(struct heap *h)
{
    h->cold.kept_most = 0;
    large_trim(h);
}

void large_tick(struct heap *h)
{
    struct heap_cold *c = &h->cold;

    c->kept_most = c->kept_hits - c->kept_seen >= OFTEN ? (unsigned)c->knobs.large_cache : 0;
    c->kept_seen = c->kept_hits;
    for (unsigned i = 0; i < LARGE_KEPT; i++) {
        if (i >= c->kept_most || (c->kept_old >> i & 1))
            kept_drop(c, i);
        c->kept_old |= (unsigned)(kept_read(c, i) != 0) << i;
    }
}

/* Whether one of them lies in the slabs that a block would grow to. */
static bool kept_in_way(const struct heap_cold *c, const struct slab *slab, unsigned run)
{
    for (unsigned i = 0; i < LARGE_KEPT; i++) {
        uintptr_t other = kept_read(c, i) & ~HALF_RUN;
        if (other - (uintptr_t)slab < run * sizeof *slab)   /* their structs lie as they do */
            return true;
    }
    return false;
}

static void *hand_out(struct hak_slot_full *slot, struct slab *slab, size_t n, bool *zero)
{
    if (zero)
        *zero = slab->clean;
    COUNT(slot->row[HAK_ROW_LARGE].slow_allocs, 1);
    COUNT(slot->thread.large_alloc_bytes, slab->run * SLAB_SIZE);
    sample(slot, HAK_ROW_LARGE, n, slab->run * SLAB_SIZE);
    return slab->base;
}

static void *take_slabs(struct hak_slot_full *slot, size_t n, size_t align, bool *zero)
{
    struct slab *slab = pool_take_aligned(HAK_ROW_LARGE, slabs_of(n ? n : 1), slabs_of(align));

    return slab ? hand_out(slot, slab, n, zero) : NULL;
}

static void *take_mapping(struct hak_slot_full *slot, size_t n, size_t align, bool *zero)
{
    size_t bytes;
    bool fresh;
    void *p = huge_take(n, align, &bytes, &fresh);

    if (!p)
        return NULL;
    if (zero)
        *zero = fresh;
    COUNT(slot->row[HAK_ROW_HUGE].slow_allocs, 1);
    COUNT(slot->thread.huge_alloc_bytes, bytes);
    sample(slot, HAK_ROW_HUGE, n, bytes);
    return p;
}

static void *take(struct heap *h, size_t n, size_t align, bool *zero)
{
    return in_slabs(n, align) ? take_slabs(&h->slot, n, align, zero) : take_mapping(&h->slot, n, align, zero);
}

static void *take_anew(struct heap *h, size_t n, size_t align, bool *zero)
{
    if (n <= KEPT_SLABS * SLAB_SIZE && slabs_of(n ? n : 1) == h->cold.kept_none)
        h->cold.kept_hits++;                            /* it would have been one */
    heap_look(h);
    void *p = take(h, n, align, zero);
    if (unlikely(!p) && heap_make_room())
        p = take(h, n, align, zero);
    return p;
}

static __attribute__((noinline)) void look(struct heap *h)
{
    heap_enter(h);
    heap_look(h);
    heap_leave(h);
}

void *heap_alloc_large(size_t n, size_t align, bool *zero)
{
    struct heap *h;

    if (unlikely(n > PTRDIFF_MAX || align > PTRDIFF_MAX - n))
        return heap_no_memory();
    heap_notice_fork();
    h = heap_self;
    if (unlikely(heap_is_none(h)) && !(h = heap_mine()))
        return late_alloc_large(n, align, zero);
    struct slab *slab = kept_take(&h->cold, n, align);
    if (likely(slab != NULL)) {
        COUNT(h->slot.thread.large_cache_hits, 1);
        if (unlikely(++h->cold.kept_hits % LOOK_EVERY == 0 || !heap_was_seen(h)))
            look(h);
        return hand_out(&h->slot, slab, n, zero);
    }
    heap_enter(h);
    void *p = take_anew(h, n, align, zero);
    heap_leave(h);
    return likely(p != NULL) ? p : heap_no_memory();
}

void large_free(struct heap *h, void *p)
{
    struct superslab *ss = superslab_of(p);
    struct slab *slab = ss ? slab_of(p) : NULL;
    size_t bytes;

    if (slab && slab->kind == SLAB_LARGE && slab->base == p) {
        COUNT(h->slot.row[HAK_ROW_LARGE].slow_frees, 1);
        COUNT(h->slot.thread.large_free_bytes, slab->run * SLAB_SIZE);
        give_slabs(&h->cold, slab);
    } else if (!ss && (bytes = huge_give(p)) != 0) {
        COUNT(h->slot.row[HAK_ROW_HUGE].slow_frees, 1);
        COUNT(h->slot.thread.huge_free_bytes, bytes);
    } else {
        front_foreign(p);
    }
    if (--h->hot.countdown <= 0)
        heap_tick(h);
}

size_t heap_usable_large(const void *p)
{
    struct superslab *ss = superslab_of(p);
    if (!ss)
        return huge_bytes(p);
    struct slab *slab = slab_of(p);
    return slab && slab->kind == SLAB_LARGE && slab->base == p ? slab->run * SLAB_SIZE : 0;
}

/* A block that shrinks to more than half of what its tier begins with stays there, so that it grows back in place.
 *
 * The difference is counted as bytes handed out or given back; the block stays one block.  One slab, for an
 * alignment's sake, stays where it is as a whole only. */
static void *resize_slabs(struct heap *h, struct slab *slab, size_t n)
{
    unsigned had = slab->run, run = slabs_of(n);

    if ((n <= MID_MAX / 2 && n != had * SLAB_SIZE) || n > LARGE_MAX)
        return NULL;
    if (!pool_resize(slab, run)) {
        bool in_way = kept_in_way(&h->cold, slab, run);
        if (in_way)
            large_trim(h);
        if (!in_way || !pool_resize(slab, run)) {
            slab->outgrown = true;
            return NULL;
        }
    }
    if (run > had)
        COUNT(h->slot.thread.large_alloc_bytes, (run - had) * SLAB_SIZE);
    else
        COUNT(h->slot.thread.large_free_bytes, (had - run) * SLAB_SIZE);
    COUNT(h->slot.row[HAK_ROW_LARGE].realloc_in_place, 1);
    return slab->base;
}

/* A mapping that is short, for an alignment's sake, is not made shorter. */
static void *resize_mapping(struct heap *h, void *p, size_t n)
{
    size_t old, bytes;
    void *q = n > LARGE_MAX / 2 || n == huge_bytes(p) ? huge_resize(p, n, &old, &bytes) : NULL;

    if (!q)
        return NULL;
    if (q == p) {
        COUNT(h->slot.row[HAK_ROW_HUGE].realloc_in_place, 1);
        if (bytes > old)
            COUNT(h->slot.thread.huge_alloc_bytes, bytes - old);
        else
            COUNT(h->slot.thread.huge_free_bytes, old - bytes);
        return q;
    }
    COUNT(h->slot.row[HAK_ROW_HUGE].slow_allocs, 1);
    COUNT(h->slot.row[HAK_ROW_HUGE].slow_frees, 1);
    COUNT(h->slot.thread.huge_alloc_bytes, bytes);
    COUNT(h->slot.thread.huge_free_bytes, old);
    return q;
}

void *heap_resize_large(void *p, size_t n)
{
    struct superslab *ss = superslab_of(p);
    int saved = errno;
    void *q;

    heap_notice_fork();
    struct heap *h = heap_self;
    if (heap_is_none(h) && !(h = heap_mine()))
        return NULL;                                    /* a thread past its end copies */
    heap_enter(h);
    q = ss ? resize_slabs(h, slab_of(p), n) : resize_mapping(h, p, n);
    heap_leave(h);
    errno = saved;
    return q;
}
