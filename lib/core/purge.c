/* purge.c: pages of free slabs go back to the kernel once nobody has used them for a while. */
#include "lib/base/os.h"
#include "lib/base/usdt.h"
#include "lib/core/internal.h"

_Atomic uint32_t core_now_ms;
struct lock purge_lock;

/* Of the slabs in `map`, those in pages of the kernel's all of whose slabs are: one may be longer than a slab. */
static slab_map whole_pages(slab_map map)
{
    unsigned n = (unsigned)(os_page / (2 * SLAB_SIZE));

    return n == 0 ? map : map_of_pairs((pairs_in_row(map_pairs(map), n) & pairs_multiples(n)) * bits_of(0, n));
}

/* All slabs of those pages that may be there. */
static slab_map dirty_pages(const struct superslab *ss)
{
    return ~whole_pages(~map_read(&ss->dirty_map));
}

size_t pool_purge_pages(char *from, size_t bytes)
{
    struct hak_slot_full *slot = hak_my_slot();
    uint64_t start = os_now_ns();
    size_t done = os_purge(from, bytes) ? bytes : 0;
    uint64_t ns = os_now_ns() - start;

    hak_hist_add(slot->hist.os_unmap, ns);
    COUNT(slot->thread.os_purge, 1);
    COUNT(slot->thread.os_purge_bytes, done);
    usdt_os_purge(from, bytes, ns);
    return done;
}

static size_t purge_slabs(struct superslab *ss, slab_map map)
{
    size_t bytes = 0;

    for (unsigned first = 0, end; first < SS_SLABS; first = end + 1) {
        slab_map row = 0;
        for (end = first; end < SS_SLABS && map_has(map, end); end++)
            row |= map_of_slab(end);
        size_t purged = row ? pool_purge_pages(ss->base + first * SLAB_SIZE, (end - first) * SLAB_SIZE) : 0;
        if (purged)
            map_clear(&ss->dirty_map, row);
        bytes += purged;
    }
    hak_trace(HAK_TRACE_OS_PURGE, 0xFFFF, bytes);
    return bytes;
}

/* The free slabs of a live SuperSlab: claimed like any others, purged, given back. */
static size_t purge_live(struct superslab *ss)
{
    slab_map map = map_read(&ss->free_map), mask;

    do {
        mask = whole_pages(map) & dirty_pages(ss);
        if (!mask)
            return 0;
    } while (!map_exchange(&ss->free_map, &map, map & ~mask));
    superslab_note_taken(map);
    size_t bytes = purge_slabs(ss, mask);
    pool_release(ss, mask);
    return bytes;
}

static bool aged(struct superslab *ss, uint32_t now_ms, uint32_t age_ms)
{
    return (int32_t)(now_ms - atomic_load_explicit(&ss->freed_ms, memory_order_relaxed)) >= (int32_t)age_ms;
}

static size_t purge_lru(uint32_t now_ms, uint32_t age_ms)
{
    size_t bytes = 0;

    if (!lock_take(&pool_lock))
        return 0;
    for (struct superslab *ss = lru.next; ss != &lru; ss = ss->next) {
        slab_map dirty = dirty_pages(ss);
        if (dirty && aged(ss, now_ms, age_ms))
            bytes += purge_slabs(ss, dirty);
    }
    bytes += superslab_trim();
    lock_drop(&pool_lock);
    return bytes;
}

size_t pool_purge(uint32_t now_ms, uint32_t age_ms)
{
    size_t bytes = 0;

    if (!lock_try(&purge_lock))
        return 0;
    for (unsigned i = 0; i < pool_superslabs(); i++) {
        struct superslab *ss = pool_superslab(i);
        if (atomic_load_explicit(&ss->state, memory_order_relaxed) == SS_LIVE && aged(ss, now_ms, age_ms))
            bytes += purge_live(ss);
    }
    bytes += purge_lru(now_ms, age_ms);
    lock_drop(&purge_lock);
    return bytes;
}
