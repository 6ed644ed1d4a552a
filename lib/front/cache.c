/* cache.c: FastCache, the SLL and the slabs of a heap: the slow exits of malloc and free. */
#include "lib/base/os.h"
#include "lib/base/usdt.h"
#include "lib/core/pool.h"
#include "lib/front/internal.h"

#include <errno.h>
#include <string.h>

/* ---- lists of slabs: a bin's slabs are in `avail` or in `full` ---- */

void avail_remove(struct heap *h, struct slab *slab)
{
    struct bin_cold *c = &h->cold.bin[slab->bin];

    *(slab->prev ? &slab->prev->next : &c->avail) = slab->next;
    *(slab->next ? &slab->next->prev : &c->avail_tail) = slab->prev;
    if (h->cold.hole_at == slab)
        h->cold.hole_at = slab->next;
    slab->list = ON_NONE;
}

/* At the tail: a slab that has just got its first free block waits for more of them. */
void avail_push(struct heap *h, struct slab *slab)
{
    struct bin_cold *c = &h->cold.bin[slab->bin];

    slab->next = NULL;
    slab->prev = c->avail_tail;
    *(slab->prev ? &slab->prev->next : &c->avail) = slab;
    c->avail_tail = slab;
    slab->list = ON_AVAIL;
}

void full_remove(struct heap *h, struct slab *slab)
{
    *(slab->prev ? &slab->prev->next : &h->cold.bin[slab->bin].full) = slab->next;
    if (slab->next)
        slab->next->prev = slab->prev;
    slab->list = ON_NONE;
}

void full_push(struct heap *h, struct slab *slab)
{
    struct bin_cold *c = &h->cold.bin[slab->bin];

    slab->prev = NULL;
    slab->next = c->full;
    if (c->full)
        c->full->prev = slab;
    c->full = slab;
    slab->list = ON_FULL;
}

/* ---- slab -> caches ---- */

static bool slab_exhausted(const struct slab *slab)
{
    return slab->used == slab->capacity;
}

/* Takes given-back blocks, lowest address first.  The array is filled from its end down, since a
 * stack gives out the last one first; what is filled are the last so many as come back. */
static unsigned take_freed(struct slab *slab, void **out, unsigned want)
{
    const unsigned left = (unsigned)(slab->carved - slab->used), words = (slab->carved + 63u) / 64;
    const size_t size = slab->size;
    void **to = out + want, **end = to - (want < left ? want : left);

    for (unsigned w = 0; to > end && w < words; w++) {
        uint64_t bits = slab->map[w];
        char *block = slab->base + w * 64 * size;
        if (!bits)
            continue;
        while (bits && to > end) {
            unsigned first = (unsigned)__builtin_ctzll(bits), n = bits_ones(bits >> first);
            if (n > to - end)
                n = (unsigned)(to - end);
            bits &= ~bits_of(first, n);
            void **stop = to - n;
            for (char *b = block + first * size; to > stop; b += size)
                *--to = b;
        }
        slab->map[w] = bits;
    }
    return (unsigned)(out + want - to);
}

/* Cuts untouched memory, into the last `got` of the array in the same order. */
static unsigned carve(struct slab *slab, void **out, unsigned want, unsigned most)
{
    unsigned left = (unsigned)(slab->capacity - slab->carved), got = want < left ? want : left;
    char *first = slab->base + (size_t)slab->carved * slab->size;

    if (got > most)
        got = most;
    for (unsigned i = 0; i < got; i++)
        out[want - 1 - i] = first + (size_t)i * slab->size;
    slab->carved = (uint16_t)(slab->carved + got);
    return got;
}

/* How many slabs to take for a bin whose slabs are all full: as many as it has, of a tiny bin an eighth as many, down
 * to a power of two, so that a bin holds little more than it uses; at least a quarter of a whole run, and at most
 * all of it. */
static unsigned next_run(const struct heap *h, unsigned bin)
{
    const unsigned most = bin_info[bin].run, least = (most + 3) / 4, part = row_is_tiny(bin) ? 8 : 1;
    unsigned has = 0;

    for (const struct slab *slab = h->cold.bin[bin].full; slab && has < part * most; slab = slab->next)
        has += slab->run;
    has /= part;
    return has < least ? least : has < most ? 1u << log2_floor(has) : most;
}

/* A slab with blocks to give: the head of `avail`, or one that another thread has no use for, or a new one. */
static struct slab *slab_for(struct heap *h, unsigned bin)
{
    struct slab *slab = h->cold.bin[bin].avail;

    if (likely(slab != NULL))
        return slab;
    if ((slab = heap_adopt_slab(h, bin)) != NULL)
        return slab;
    const size_t size = bin_info[bin].size;             /* what it is a multiple of, its blocks are aligned to */
    slab = pool_take_aligned(bin, next_run(h, bin), slabs_of(size & -size));
    if (unlikely(!slab))
        return NULL;
    address_set_owner((uintptr_t)slab->base, slab->run, (uintptr_t)&h->hot.bin[bin]);
    atomic_signal_fence(memory_order_release);          /* a child that finds it in the list may hand out its blocks */
    h->cold.bin[bin].empties++;
    avail_push(h, slab);
    return slab;
}

/* In a child alone: the rest of the slab was being taken when the process was forked, and is lost.  It counts as
 * in use. */
static hak_cold void slab_lost(struct heap *h, struct slab *slab)
{
    if (slab->used == 0)
        h->cold.bin[slab->bin].empties--;
    COUNT(h->slot.row[slab->bin].used_moved, slab->capacity - slab->used);
    slab->used = slab->capacity;
}

unsigned slabs_take(struct heap *h, unsigned bin, void **out, unsigned want)
{
    unsigned left = want;                               /* the array is filled from the end down */

    while (left) {
        struct slab *slab = left < want ? h->cold.bin[bin].avail : slab_for(h, bin);
        if (!slab)
            break;
        slab->still = 0;                                /* holes.c */
        unsigned n = take_freed(slab, out, left);
        if (left - n == want)                           /* given-back blocks first: carve for want of any */
            n = carve(slab, out, left, (unsigned)h->cold.knobs.bump_chunk);
        if (slab->used == 0 && n)
            h->cold.bin[bin].empties--;
        slab->used = (uint16_t)(slab->used + n);
        left -= n;
        if (unlikely(left == want))                     /* nothing came, of a slab with blocks to give */
            slab_lost(h, slab);
        if (!slab_exhausted(slab))
            break;
        avail_remove(h, slab);
        full_push(h, slab);
    }
    if (left)
        memmove(out, out + left, (want - left) * sizeof *out);
    COUNT(h->slot.row[bin].refilled, want - left);
    return want - left;
}

/* ---- caches -> slab ---- */

static void slab_release(struct heap *h, struct slab *slab)
{
    avail_remove(h, slab);
    address_set_owner((uintptr_t)slab->base, slab->run, 0);
    pool_give(slab);
}

void slab_release_empty(struct heap *h, struct slab *slab)
{
    h->cold.bin[slab->bin].empties--;
    slab_release(h, slab);
}

static hak_cold void slab_emptied(struct heap *h, struct slab *slab)
{
    struct bin_cold *c = &h->cold.bin[slab->bin];

    memset(slab->map, 0, (slab->carved + 63u) / 64 * sizeof *slab->map);
    slab->carved = 0;                                   /* cut it anew */
    slab->clean = false;
    if (c->empties >= h->cold.knobs.pool_empty_slabs)
        slab_release(h, slab);
    else
        c->empties++;
}

/* A block that is free already would be handed out twice. */
static hak_cold _Noreturn void twice(void *p)
{
    hak_die("free(): block freed twice, or not the start of a block", p);
}

hak_cold void slab_turned(struct heap *h, struct slab *slab)
{
    if (slab->list == ON_FULL) {
        full_remove(h, slab);
        avail_push(h, slab);
    }
    if (slab->used == 0 && slab->list == ON_AVAIL)      /* a child forked in between may find it in none */
        slab_emptied(h, slab);
}

/* m blocks of a slab have come back. */
hak_inline void marked(struct heap *h, struct slab *slab, unsigned m)
{
    slab->used = (uint16_t)(slab->used - m);
    if (unlikely(slab->used == 0 || slab->list == ON_FULL))
        slab_turned(h, slab);
}

/* Marks block i as given back. */
hak_inline void mark(struct heap *h, struct slab *slab, unsigned i)
{
    uint64_t before = slab->map[i / 64], after = before | (uint64_t)1 << (i % 64);

    if (unlikely(after == before))
        twice(slab->base + i * slab->size);
    slab->map[i / 64] = after;
    marked(h, slab, 1);
}

/* The same for m blocks, from number i on; one is marked in fewer instructions alone. */
static __attribute__((noinline)) void mark_row(struct heap *h, struct slab *slab, unsigned i, unsigned m)
{
    unsigned shift = i % 64, left = m;

    for (unsigned w = i / 64; left; w++, shift = 0) {
        unsigned here = left < 64 - shift ? left : 64 - shift;
        uint64_t bits = bits_of(shift, here), back = slab->map[w] & bits;
        if (unlikely(back != 0))
            twice(slab->base + (w * 64 + (unsigned)__builtin_ctzll(back)) * slab->size);
        slab->map[w] |= bits;
        left -= here;
    }
    marked(h, slab, m);
}

/* The number of a block of the bin with that magic. */
hak_inline unsigned number_of(const struct slab *slab, uint64_t magic, void *p)
{
    __extension__ typedef unsigned __int128 wide;
    wide i = (wide)((uintptr_t)p - (uintptr_t)slab->base) * magic;

    if (unlikely((uint64_t)(i >> 64) >= slab->carved || (uint64_t)i >= magic))
        twice(p);
    hak_assert(slab->kind == SLAB_BIN);
    return (unsigned)(i >> 64);
}

void slabs_put(struct heap *h, struct slab *slab, void *p)
{
    mark(h, slab, number_of(slab, slab->magic, p));
}

static __attribute__((noinline)) void put_one(struct heap *h, unsigned bin, void *p)
{
    if (likely(address_owner((uintptr_t)p) == (uintptr_t)&h->hot.bin[bin]))
        slabs_put(h, slab_of(p), p);
    else
        remote_pass_on(h, bin, p);
}

/* How many of the first blocks, at most `most`, lie `step` bytes from one to the next. */
hak_inline unsigned row_length(void **blocks, unsigned most, ptrdiff_t step)
{
    void **b = blocks + 1, **end = blocks + most;

    for (char *next = (char *)blocks[0] + step; b < end && *b == next; next += step)
        b++;
    return (unsigned)(b - blocks);
}

/* The first of the blocks is number i of the slab, the second its neighbour, `step` bytes away.  Puts back
 * all that go on like this; how many they were. */
static __attribute__((noinline)) unsigned put_row(struct heap *h, struct slab *slab, unsigned i,
                                                  ptrdiff_t step, void **blocks, unsigned n)
{
    unsigned room = step > 0 ? slab->carved - i : i + 1;
    unsigned m = row_length(blocks, room < n ? room : n, step);

    mark_row(h, slab, step > 0 ? i : i + 1 - m, m);
    return m;
}

/* Blocks that were this heap's, n > 0.  Neighbours in the array are often neighbours in a slab; the last one has
 * none. */
static void put_all(struct heap *h, unsigned bin, void **blocks, unsigned n)
{
    const ptrdiff_t size = bin_info[bin].size;
    const uint64_t magic = magic_of((unsigned)size);
    const uintptr_t mine = (uintptr_t)&h->hot.bin[bin];
    void **last = blocks + n - 1;

    COUNT(h->slot.row[bin].returned, n);
    while (blocks < last) {
        char *p = *blocks;
        struct address_at at = address_at((uintptr_t)p);
        struct slab *slab = (struct slab *)address_slab_at(at);
        if (unlikely(address_owner_at(at) != mine)) {   /* as may be if its SuperSlab is unmapped: p was freed twice */
            remote_pass_on(h, bin, p);
            blocks++;
            continue;
        }
        unsigned i = number_of(slab, magic, p);
        ptrdiff_t step = (char *)blocks[1] - p;
        if (unlikely(step == size || step == -size)) {
            blocks += put_row(h, slab, i, step, blocks, (unsigned)(last - blocks) + 1);
        } else {
            mark(h, slab, i);
            blocks++;
        }
    }
    if (blocks == last)
        put_one(h, bin, *last);
}

void empties_trim(struct heap *h, unsigned bin, unsigned keep)
{
    struct bin_cold *c = &h->cold.bin[bin];

    for (struct slab *slab = c->avail, *next; slab && c->empties > keep; slab = next) {
        next = slab->next;
        if (slab->used == 0)
            slab_release_empty(h, slab);
    }
}

void empties_leave(struct heap *h, unsigned bin)
{
    struct bin_cold *c = &h->cold.bin[bin];
    unsigned left = 0;

    for (struct slab *slab = c->avail, *next; slab && c->empties > left; slab = next) {
        next = slab->next;
        if (slab->used == 0 && slab->run == 1 && !left)
            left = 1;
        else if (slab->used == 0)
            slab_release_empty(h, slab);
    }
}

/* ---- SLL ---- */

static void sll_push(struct heap *h, unsigned bin, void **blocks, unsigned n)
{
    struct bin_cold *c = &h->cold.bin[bin];

    for (unsigned i = 0; i < n; i++) {
        struct block *b = blocks[i];
        b->next = c->sll;
        c->sll = b;
    }
    c->sll_n += n;
    h->cold.sll_bins |= (uint64_t)1 << bin;
    COUNT(h->slot.row[bin].sll_in, n);
    hak_trace(HAK_TRACE_SLL_PUSH, bin, n);
}

static unsigned sll_take(struct heap *h, unsigned bin, void **out, unsigned want)
{
    struct bin_cold *c = &h->cold.bin[bin];
    unsigned got = 0;

    for (; c->sll && got < want; c->sll = c->sll->next)
        out[got++] = c->sll;
    c->sll_n -= got;
    if (!c->sll)
        h->cold.sll_bins &= ~((uint64_t)1 << bin);
    COUNT(h->slot.row[bin].sll_out, got);
    return got;
}

void sll_drain(struct heap *h)
{
    void *blocks[64];

    while (h->cold.sll_bins) {
        unsigned bin = (unsigned)__builtin_ctzll(h->cold.sll_bins);
        hak_trace(HAK_TRACE_SLL_DRAIN, bin, h->cold.bin[bin].sll_n);
        for (unsigned n; (n = sll_take(h, bin, blocks, 64)) != 0;)
            put_all(h, bin, blocks, n);
    }
}

/* ---- L0 and L1 as a whole ---- */

/* For a signal handler, or a child, that comes in between it is empty and full. */
static void stack_begin(struct stack *s, cell *base, unsigned n)
{
    s->base = base;
    atomic_signal_fence(memory_order_seq_cst);
    s->top = base + n;
    atomic_signal_fence(memory_order_seq_cst);
}

static void stack_end(struct stack *s)
{
    s->end = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    s->top = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    s->base = NULL;
    atomic_signal_fence(memory_order_seq_cst);
}

static void check_block(unsigned bin, void *p)
{
    struct superslab *ss = superslab_of(p);
    struct slab *slab = ss ? slab_of(p) : NULL;

    if (!slab || slab->kind != SLAB_BIN || slab->bin != bin ||
        ((uintptr_t)p - (uintptr_t)slab->base) % slab->size != 0)
        hak_die("TinyHeapV2 holds a block that is not of its bin", p);
}

void l0_open(struct heap *h, unsigned bin)
{
    struct bin *b = &h->hot.bin[bin];

    if (!b->l0.base || !b->l0.top)                      /* or half begun: by what a child of a fork is on top of */
        stack_begin(&b->l0, b->l0_cells, 0);
    b->l0.end = b->l0_cells + (h->cold.knobs.heap_v2_leftover_mode ? 0 : h->cold.bin[bin].l0_room);
}

void l0_flush(struct heap *h, unsigned bin)
{
    struct bin *b = &h->hot.bin[bin];
    unsigned n = stack_count(&b->l0);

    if (h->cold.knobs.heap_v2_debug)
        for (unsigned i = 0; i < n; i++)
            check_block(bin, b->l0_cells[i]);
    b->l0.top = b->l0.base;
    COUNT(h->slot.row[bin].l0_flushed, n);
    for (unsigned i = 0; i < n; i++)
        if (!stack_push(&b->l1, b->l0_cells[i]))
            put_all(h, bin, &b->l0_cells[i], 1);
}

/* Moves the n oldest blocks of L1 on, to the SLL or the slabs.  Meanwhile L1 says that it is empty: a
 * fork in a signal handler in between finds no block in two places. */
static void l1_move_oldest(struct heap *h, unsigned bin, unsigned n, bool to_sll)
{
    struct stack *l1 = &h->hot.bin[bin].l1;
    unsigned left = stack_count(l1) - n;

    l1->top = l1->base;
    atomic_signal_fence(memory_order_seq_cst);
    if (to_sll)
        sll_push(h, bin, l1->base, n);
    else
        put_all(h, bin, l1->base, n);
    memmove(l1->base, l1->base + n, left * sizeof *l1->base);
    atomic_signal_fence(memory_order_seq_cst);
    l1->top = l1->base + left;
}

void l1_trim(struct heap *h, unsigned bin, unsigned n)
{
    if (n)                                              /* an L1 not used yet has no array */
        l1_move_oldest(h, bin, n, false);
}

/* The older half of a full L1 moves on. */
static void l1_make_room(struct heap *h, unsigned bin)
{
    l1_move_oldest(h, bin, (stack_count(&h->hot.bin[bin].l1) + 1) / 2, h->cold.bin[bin].sll_on);
}

static unsigned l1_size(unsigned cap)                   /* its array is L1_START << this long */
{
    return log2_floor(2 * cap - 1) - log2_floor(L1_START);
}

/* A signal handler that finds the lists in use by what it is on top of leaves them alone: there is room for all arrays,
 * were none of them used again. */
static bool l1_lists_begin(struct heap *h)
{
    if (h->cold.l1_lists_busy)
        return false;
    h->cold.l1_lists_busy = true;
    atomic_signal_fence(memory_order_seq_cst);
    return true;
}

static void l1_lists_end(struct heap *h)
{
    atomic_signal_fence(memory_order_seq_cst);
    h->cold.l1_lists_busy = false;
}

static void **l1_array(struct heap *h, unsigned size)
{
    void **array = NULL;

    if (l1_lists_begin(h)) {
        if ((array = h->cold.l1_free[size]) != NULL)
            h->cold.l1_free[size] = *array;
        l1_lists_end(h);
    }
    return array ? array : h->cold.l1 + __atomic_fetch_add(&h->cold.l1_used, L1_START << size, __ATOMIC_RELAXED);
}

static void l1_outgrown(struct heap *h, void **array, unsigned size)
{
    if (l1_lists_begin(h)) {
        *array = h->cold.l1_free[size];
        h->cold.l1_free[size] = array;
        l1_lists_end(h);
    }
}

/* L1 starts small and doubles each time it is too small.  A signal handler may do so with another bin meanwhile.  A child
 * that it forks may find this one empty, what was in it lost, or without room: then it begins it anew. */
static bool l1_grow(struct bin *b, unsigned bin)
{
    struct heap *h = heap_of_owner((uintptr_t)b);
    unsigned most = bin_info[bin].fast_cache, had = stack_room(&b->l1), room = had ? 2 * had : L1_START;
    unsigned n = had ? stack_count(&b->l1) : 0;
    cell *old = b->l1.base;

    if (had == most)
        return false;
    if (room > most)
        room = most;
    __atomic_fetch_or(&h->cold.hot_bins, (uint64_t)1 << bin, __ATOMIC_RELAXED);
    if (!had)
        l0_open(h, bin);
    void **array = l1_array(h, l1_size(room));
    for (unsigned i = 0; i < n; i++)
        array[i] = old[i];
    stack_end(&b->l1);
    stack_begin(&b->l1, array, n);
    b->l1.end = array + room;
    if (had)
        l1_outgrown(h, (void **)old, l1_size(had));
    return true;
}

bool l1_keep(struct bin *b, unsigned bin, void *p)
{
    return stack_push(&b->l1, p) || (l1_grow(b, bin) && stack_push(&b->l1, p));
}

/* ---- the slow exits: the heap they are called with may be one that a child gives up ---- */

void heap_overflow(void *p, struct heap *h, struct bin *b)
{
    int saved = errno;

    heap_notice_fork();
    if (unlikely(h != heap_self)) {
        heap_free(p);
        errno = saved;
        return;
    }
    heap_enter(h);
    unsigned bin = bin_index(h, b);
    COUNT(row_of(b)->slow_frees, 1);
    if (b->l1.base && stack_count(&b->l0) < h->cold.bin[bin].l0_room) {     /* leftover mode; not at the first use */
        *b->l0.top = p;
        b->l0.top++;
        COUNT(row_of(b)->l0_leftover, 1);
    } else if (!l1_keep(b, bin, p)) {
        l1_make_room(h, bin);
        stack_push(&b->l1, p);
    }
    if (--h->hot.countdown <= 0)
        heap_tick(h);
    heap_leave(h);
    errno = saved;
}

static bool queue_is_due(struct heap *h)
{
    unsigned queued = queue_length(h);

    return queued && queued >= h->cold.knobs.p0_drain_thresh && !h->cold.knobs.p0_no_drain;
}

/* Fills an empty L1, with at most as many blocks as the knobs say; how many came.  A thread's first refill of a bin
 * from slabs brings few, each next one an eighth more, and L1 grows with them: what a thread is given beyond its need, and
 * has to give back at its end, is about an eighth of that. */
static unsigned l1_fill(struct heap *h, unsigned bin)
{
    struct bin *b = &h->hot.bin[bin];
    struct bin_cold *c = &h->cold.bin[bin];

    if (!stack_room(&b->l1))
        l1_grow(b, bin);
    unsigned room = stack_room(&b->l1), want = c->refill < room ? c->refill : room;
    if (c->sll)
        return sll_take(h, bin, b->l1.base, h->cold.knobs.inline_sll ? 1 : want);
    if (queue_is_due(h)) {
        queue_drain(h);
        if (stack_count(&b->l1))
            return stack_count(&b->l1);
    }
    if (want > h->cold.fill[bin])
        want = h->cold.fill[bin];
    if (want < c->refill) {
        if (want == room)
            l1_grow(b, bin);
        h->cold.fill[bin] = (uint16_t)(want + want / 8);
    }
    return slabs_take(h, bin, b->l1.base, want);
}

/* The block for malloc, and more in L1. */
static void *refill(struct heap *h, unsigned bin)
{
    struct bin *b = &h->hot.bin[bin];
    uint64_t start = os_now_ns();
    unsigned got = l1_fill(h, bin);
    void *p;

    if (!got)
        return NULL;
    p = b->l1.base[--got];
    b->l1.top = b->l1.base + got;
    COUNT(h->slot.row[bin].slow_allocs, 1);
    COUNT(h->slot.thread.refills, 1);
    uint64_t ns = os_now_ns() - start;
    hak_hist_add(h->slot.hist.refill, ns);
    hak_trace(HAK_TRACE_REFILL, bin, got + 1);
    usdt_refill(bin, bin_info[bin].size, got + 1, ns);
    return p;
}

void *heap_refill(size_t n, struct heap *h)
{
    if (unlikely(heap_is_none(h)))
        front_start();                                  /* the tables */
    return heap_refill_bin(n, n <= TINY_MAX ? bin_of_tiny(n) : bin_of_mid(n), h);
}

void *heap_refill_bin(size_t n, unsigned bin, struct heap *h)
{
    void *p;

    heap_notice_fork();
    h = heap_self;
    if (unlikely(heap_is_none(h)) && !(h = heap_mine()))
        return late_alloc(n, bin);
    heap_enter(h);
    heap_look(h);
    struct bin *b = &h->hot.bin[bin];
    if (unlikely(bin_pop(b, &p))) {                     /* a fork, or the knobs, moved something */
        heap_leave(h);
        return p;
    }
    p = refill(h, bin);
    if (unlikely(!p) && heap_make_room())
        p = refill(h, bin);
    if (likely(p != NULL))
        sample(&h->slot, bin, n, bin_info[bin].size);
    heap_leave(h);
    return likely(p != NULL) ? p : heap_no_memory();
}
