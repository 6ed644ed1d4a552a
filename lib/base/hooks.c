/* hooks.c: the defaults of hooks.h, for an allocator without a control layer. */
#include "lib/base/hooks.h"

static bool tick_nothing(struct hak_orders *orders)
{
    (void)orders;
    return false;
}

static void purged_nothing(uint64_t request, uint64_t bytes)
{
    (void)request, (void)bytes;
}

static uint16_t *map_nothing(uint32_t superslab)
{
    (void)superslab;
    return NULL;
}

static struct hak_slot_full slot_nobody;
static struct hak_globals globals_private;

static struct hak_slot_full *slot_of_nobody(void)
{
    return &slot_nobody;
}

hak_tick_fn *hak_tick = tick_nothing;
hak_purged_fn *hak_purged = purged_nothing;
hak_map_fn *hak_map = map_nothing;
hak_trace_fn *_Atomic hak_trace_hook;
hak_slot_fn *hak_my_slot_hook = slot_of_nobody;
struct hak_globals *_Atomic hak_globals = &globals_private;

struct hak_slot_full *hak_my_slot(void)
{
    return hak_my_slot_hook();
}

void hak_globals_after_fork(void)
{
    if (atomic_load_explicit(&hak_globals, memory_order_relaxed) == &globals_private)
        return;
    globals_private = (struct hak_globals){ 0 };
    atomic_store_explicit(&hak_globals, &globals_private, memory_order_release);
}

void hak_gauge_add(_Atomic uint64_t *gauge, _Atomic uint64_t *peak, uint64_t n)
{
    uint64_t now = atomic_fetch_add_explicit(gauge, n, memory_order_relaxed) + n;
    uint64_t top = atomic_load_explicit(peak, memory_order_relaxed);

    while (now > top && !atomic_compare_exchange_weak_explicit(peak, &top, now, memory_order_relaxed,
                                                               memory_order_relaxed))
        ;
}

void hak_hist_add(uint64_t *buckets, uint64_t ns)
{
    unsigned b = ns ? log2_floor(ns) : 0;

    COUNT(buckets[b < HAK_HIST_BUCKETS ? b : HAK_HIST_BUCKETS - 1], 1);
}
