/* tick.c: what a thread does from time to time: apply knobs, drain, purge. */
#include "lib/base/os.h"
#include "lib/base/usdt.h"
#include "lib/core/huge.h"
#include "lib/core/pool.h"
#include "lib/front/internal.h"

#include <errno.h>

/* ---- knobs ---- */

static unsigned refill_count(const union hak_knobs *k, unsigned bin)
{
    const struct bin_info *i = &bin_info[bin];
    uint64_t n = i->cls <= 3 ? k->refill_count_hot : i->cls <= 7 ? k->refill_count_mid : i->fast_cache / 2u;

    if (k->refill_batch && n > k->refill_batch)
        n = k->refill_batch;
    return n < i->fast_cache ? (unsigned)n : i->fast_cache;
}

/* Blocks that TinyHeapV2 may hold. */
static unsigned l0_room(const union hak_knobs *k, unsigned bin)
{
    const struct bin_info *i = &bin_info[bin];
    unsigned cls = i->cls < HAK_CLASS_MID ? i->cls : HAK_CLASS_MID - 1;     /* mid goes with C7 */

    if (!k->heap_v2_enable || !(k->heap_v2_class_mask >> cls & 1) || (i->cls == HAK_CLASS_MID && !k->heap_v2_mid))
        return 0;
    return i->fast_cache < L0_CAP ? i->fast_cache : L0_CAP;
}

static void apply_to_bin(struct heap *h, unsigned bin)
{
    const union hak_knobs *k = &h->cold.knobs;
    struct bin_cold *c = &h->cold.bin[bin];

    c->refill = (uint16_t)refill_count(k, bin);
    c->sll_on = !k->front_direct && row_is_tiny(bin);
    c->l0_room = (uint16_t)l0_room(k, bin);
    if (h->cold.hot_bins >> bin & 1) {                  /* else when it is first used */
        l0_open(h, bin);
        if (c->l0_room == 0)
            l0_flush(h, bin);
    }
    empties_trim(h, bin, (unsigned)k->pool_empty_slabs);
}

int32_t heap_tick_frees(const struct heap *h)
{
    return h->cold.knobs.sll_drain_interval < TICK_FREES ? (int32_t)h->cold.knobs.sll_drain_interval : TICK_FREES;
}

/* A table becomes capacities; those of a bin that is not used yet when it is (l1_grow).  The acknowledgement comes
 * last: a tool that sees it finds everything after it served by the new table. */
static void apply(struct heap *h, const struct hak_orders *o)
{
    h->cold.knobs = o->knobs;
    core_apply(&o->knobs);
    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        apply_to_bin(h, bin);
    if (o->knobs.front_direct)
        sll_drain(h);
    large_apply(h);
    h->hot.countdown = heap_tick_frees(h);
    h->cold.drain_left = (int32_t)o->knobs.sll_drain_interval;
    h->cold.epoch = o->epoch;
    __atomic_store_n(&h->slot.head.epoch, o->epoch, __ATOMIC_RELAXED);
    __atomic_store_n(&h->slot.head.applied, o->generation, __ATOMIC_RELEASE);
    hak_trace(HAK_TRACE_KNOB_APPLY, 0xFFFF, o->generation);
    usdt_knob_apply(o->generation, o->epoch);
}

/* ---- purging ---- */

void heap_give_back_caches(struct heap *h, bool to_heir)
{
    sll_drain(h);
    batches_flush(h);
    queue_drain(h);
    large_trim(h);
    uint64_t bins = h->cold.hot_bins;
    for (unsigned bin; next_bin(&bins, &bin);) {
        l0_flush(h, bin);
        l1_trim(h, bin, stack_count(&h->hot.bin[bin].l1));
    }
    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        to_heir ? empties_leave(h, bin) : empties_trim(h, bin, 0);
    hak_assert(heap_is_sound(h));
}

/* What can be had of another thread's heap without its thread. */
static void give_back_for(struct heap *h)
{
    sll_drain(h);
    queue_drain(h);
    large_trim(h);
    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        empties_trim(h, bin, 0);
    hak_assert(heap_is_sound(h));
    if (h->cold.ended) {                                /* L0 and L1 are empty */
        h->cold.bare = os_purge(h, offsetof(struct heap, slot));
        if (h->cold.bare)
            heap_forget_l1(h);
        char *from = (char *)round_up((uintptr_t)h->cold.l1, os_page);
        os_purge(from, (size_t)((char *)(h + 1) - from));
    }
}

static size_t purge(bool holes)
{
    heap_notice_fork();
    struct heap *h = heap_mine();
    uint32_t now = (uint32_t)(os_now_ns() / 1000000);
    size_t bytes = 0;

    if (h) {
        heap_enter(h);
        heap_give_back_caches(h, false);
        bytes += holes ? holes_purge(h) : 0;
        heap_leave(h);
    }
    for (struct heap *e = heap_first(); e; e = e->cold.next_all) {
        if (e == h || !heap_try(e))
            continue;
        heap_ensure_slot(e);
        give_back_for(e);
        heap_drop(e);
        bytes += holes ? holes_purge(e) : 0;
    }
    return bytes + pool_purge(now, 0) + huge_purge(now, 0);
}

size_t heap_purge(void)
{
    return purge(true);
}

size_t heap_make_room(void)
{
    size_t bytes = purge(false);                        /* a hole would make no room for another tier */

    return bytes + pool_unmap_empty();
}

/* Old pages go back: of each thread's runs by itself, of the rest by one of them, every quarter of the decay time. */
static void decay(struct heap *h)
{
    static _Atomic uint32_t last;
    const bool holes = heap_has_holes_purged(h);
    uint32_t now = (uint32_t)(os_now_ns() / 1000000), age = core_decay_ms();
    uint32_t then = atomic_load_explicit(&last, memory_order_relaxed);

    if (atomic_load_explicit(&core_now_ms, memory_order_relaxed) != now)
        atomic_store_explicit(&core_now_ms, now, memory_order_relaxed);
    if (holes)
        holes_tick(h, now, age);
    if (now - then < age / 4 + 1 ||
        !atomic_compare_exchange_strong_explicit(&last, &then, now, memory_order_relaxed, memory_order_relaxed))
        return;
    heaps_trim_idle();
    if (holes)
        holes_of_idle(now - then);
    pool_purge(now, age);
    huge_purge(now, age);
}

/* ---- ticks ---- */

void heap_look(struct heap *h)
{
    struct hak_orders o;                                /* the knobs in it only where there are new ones */

    o.epoch = h->cold.epoch;
    o.purge = h->cold.purge;
    o.walk = h->cold.walk;
    heap_seen(h);
    COUNT(h->slot.thread.ticks, 1);
    if (unlikely(hak_tick(&o)))
        apply(h, &o);
    if (unlikely(o.purge != h->cold.purge)) {
        h->cold.purge = o.purge;
        size_t bytes = heap_purge();
        if (likely(h->cold.purge == o.purge))           /* else a child, forked in the middle: forget_orders */
            hak_purged(o.purge, bytes);
    }
    if (unlikely(o.walk != h->cold.walk))
        heap_walk(h, o.walk);
}

void heap_catch_up(void)
{
    heap_notice_fork();
    struct heap *h = heap_self;
    int saved = errno;

    if (heap_is_none(h))                                /* it applies what is in force at its birth */
        return;
    heap_enter(h);
    heap_look(h);
    heap_leave(h);
    errno = saved;
}

/* A bin whose L0 served no call since the last drain is not in use: L0 goes to L1.  One pair after the other
 * leaves it as full as it was, so that only its counters tell; without counters it stays. */
static void idle_l0(struct heap *h, unsigned bin)
{
    const struct hak_row *r = &h->slot.row[bin];
    struct bin_cold *c = &h->cold.bin[bin];
    uint64_t n = stack_count(&h->hot.bin[bin].l0), calls;

    if (n && n == c->l0_seen) {
        calls = r->l0_hits + r->l0_pushes + r->l0_leftover;
        if (calls && calls == c->l0_calls_seen)
            l0_flush(h, bin);
        c->l0_calls_seen = calls;
    }
    c->l0_seen = (uint16_t)n;
}

/* A bin whose L1 stands as it stood a drain ago is not in use: half of it goes back. */
static void idle_l1(struct heap *h, unsigned bin)
{
    struct bin_cold *c = &h->cold.bin[bin];
    unsigned n = stack_count(&h->hot.bin[bin].l1);

    if (n && n == c->l1_seen)
        l1_trim(h, bin, (n + 1) / 2);
    c->l1_seen = (uint16_t)stack_count(&h->hot.bin[bin].l1);
}

static void idle_trim(struct heap *h)
{
    uint64_t bins = h->cold.hot_bins;

    for (unsigned bin; next_bin(&bins, &bin);) {
        idle_l1(h, bin);
        idle_l0(h, bin);
    }
}

static void drain(struct heap *h)
{
    uint64_t start = os_now_ns();

    h->cold.drain_left = (int32_t)h->cold.knobs.sll_drain_interval;
    sll_drain(h);
    batches_flush(h);
    queue_drain(h);
    idle_trim(h);
    COUNT(h->slot.thread.drains, 1);
    uint64_t ns = os_now_ns() - start;
    hak_hist_add(h->slot.hist.drain, ns);
    usdt_drain(h->cold.knobs.sll_drain_interval, ns);
}

void heap_tick(struct heap *h)
{
    int saved = errno;

    heap_enter(h);
    h->cold.drain_left -= heap_tick_frees(h);
    h->hot.countdown = heap_tick_frees(h);
    heap_look(h);
    large_tick(h);
    if (h->cold.drain_left <= 0)
        drain(h);
    heap_visit(h);
    decay(h);
    heap_leave(h);
    errno = saved;
}
