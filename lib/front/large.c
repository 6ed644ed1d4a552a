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
 * A buffer that is made and dropped again and again needs no pool: a heap keeps the last few runs that its thread
 * freed, the latest last, for requests of exactly their length.  To all that look at blocks they are free, to the
 * pool they are claimed.  One that is taken leaves the list before it is a block, and one that comes is none by then:
 * a child that a signal handler forks in between has lost it, or, while the list closes a gap, those behind it. */

#define LOOK_EVERY 16                       /* frees, about; of a request that needs no pool */

static struct slab *kept_remove(struct heap_cold *c, unsigned i)
{
    struct slab *slab = c->kept[i];
    unsigned n = c->kept_n;

    c->kept_n = i;
    if (unlikely(i + 1 < n)) {
        atomic_signal_fence(memory_order_seq_cst);
        for (; i + 1 < n; i++)
            c->kept[i] = c->kept[i + 1];
        atomic_signal_fence(memory_order_seq_cst);
        c->kept_n = n - 1;
    }
    return slab;
}

static struct slab *kept_take(struct heap *h, size_t n, size_t align)
{
    struct heap_cold *c = &h->cold;
    unsigned i = n <= LARGE_MAX ? c->kept_n : 0, run = slabs_of(n ? n : 1);

    while (i-- > 0) {
        struct slab *slab = c->kept[i];
        if (slab->run != run || ((uintptr_t)slab->base & (align - 1)))
            continue;
        kept_remove(c, i);
        if (unlikely(!c->kept_used))
            c->kept_used = true;
        if (unlikely(h->hot.countdown % LOOK_EVERY == 0))
            heap_look(h);
        COUNT(h->slot.thread.large_cache_hits, 1);
        slab->kind = SLAB_LARGE;
        return slab;
    }
    return NULL;
}

void large_trim(struct heap *h, unsigned n, unsigned slabs)
{
    struct heap_cold *c = &h->cold;
    unsigned kept = 0, sum = 0;

    while (kept < c->kept_n && kept < n && (sum += c->kept[c->kept_n - 1 - kept]->run) <= slabs)
        kept++;
    while (c->kept_n > kept)
        pool_give(kept_remove(c, 0));
}

static void give_slabs(struct heap *h, struct slab *slab)
{
    struct heap_cold *c = &h->cold;
    unsigned n = (unsigned)c->knobs.large_cache;

    if (n == 0 || slab->run > LARGE_KEPT_SLABS || slab->outgrown) {
        slab->outgrown = false;
        pool_give(slab);
        return;
    }
    slab->kind = SLAB_FREE;
    if (unlikely(slab->clean))
        slab->clean = false;
    large_trim(h, n - 1, LARGE_KEPT_SLABS - slab->run);
    c->kept[c->kept_n] = slab;
    atomic_signal_fence(memory_order_release);
    c->kept_n++;
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

static __attribute__((noinline)) void *take_anew(struct heap *h, size_t n, size_t align, bool *zero)
{
    heap_look(h);
    void *p = take(h, n, align, zero);
    if (unlikely(!p) && heap_make_room())
        p = take(h, n, align, zero);
    return p;
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
    heap_enter(h);
    struct slab *slab = kept_take(h, n, align);
    void *p = slab ? hand_out(&h->slot, slab, n, zero) : take_anew(h, n, align, zero);
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
        heap_enter(h);
        give_slabs(h, slab);
        heap_leave(h);
    } else if (!ss && (bytes = huge_give(p)) != 0) {
        COUNT(h->slot.row[HAK_ROW_HUGE].slow_frees, 1);
        COUNT(h->slot.thread.huge_free_bytes, bytes);
    } else {
        front_foreign(p);
    }
    if (--h->hot.countdown <= 0)
        heap_tick(h);
}

size_t heap_usable(const void *p)
{
    uintptr_t owner = address_owner((uintptr_t)p);

    if (likely(owner))
        return bin_info[bin_of_owner(owner)].size;
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
    while (!pool_resize(slab, run)) {
        if (h->cold.kept_n == 0) {
            slab->outgrown = true;
            return NULL;
        }
        large_trim(h, 0, 0);                            /* one of them may be in the way */
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
