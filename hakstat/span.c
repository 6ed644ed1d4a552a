/* span.c: differences of snapshots; see span.h. */
#include "hakstat/span.h"

#include <math.h>

static uint64_t minus(uint64_t to, uint64_t from)
{
    return to > from ? to - from : 0;
}

uint64_t span_ns(const struct span *span)
{
    return minus(span->to->boot_ns,
                 span->from != NULL ? span->from->boot_ns : span->seg->header.born_ns);
}

static void subtract(struct shm_sums *s, const struct shm_sums *from)
{
    s->heap_v2_hits = minus(s->heap_v2_hits, from->heap_v2_hits);
    s->fast_cache_hits = minus(s->fast_cache_hits, from->fast_cache_hits);
    s->slow_allocs = minus(s->slow_allocs, from->slow_allocs);
    s->heap_v2_pushes = minus(s->heap_v2_pushes, from->heap_v2_pushes);
    s->fast_cache_pushes = minus(s->fast_cache_pushes, from->fast_cache_pushes);
    s->slow_frees = minus(s->slow_frees, from->slow_frees);
    s->remote_frees = minus(s->remote_frees, from->remote_frees);
    s->realloc_in_place = minus(s->realloc_in_place, from->realloc_in_place);
    s->allocs = s->heap_v2_hits + s->fast_cache_hits + s->slow_allocs;
    s->frees = s->heap_v2_pushes + s->fast_cache_pushes + s->slow_frees + s->remote_frees;
}

/* Whether the span's start knows this slot. */
static bool has_start(const struct span *span, unsigned slot)
{
    return span->from != NULL && (slot == SHM_ALL || slot < span->from->slot_count);
}

static bool in_set(const struct shm_seg *seg, struct bin_set set, unsigned bin)
{
    return set.bin >= 0 ? bin == (unsigned)set.bin
                        : set.cls < 0 || seg->bins[bin].cls == (uint32_t)set.cls;
}

static void snap_sums(const struct shm_snap *snap, unsigned slot, struct bin_set set,
                      struct shm_sums *sums)
{
    if (set.bin >= 0)
        shm_sum_bin(snap, slot, (unsigned)set.bin, sums);
    else if (set.cls >= 0)
        shm_sum_class(snap, slot, (unsigned)set.cls, sums);
    else
        shm_sum_all(snap, slot, sums);
}

void span_sums(const struct span *span, unsigned slot, struct bin_set set, struct shm_sums *sums)
{
    struct shm_sums from;

    snap_sums(span->to, slot, set, sums);
    if (has_start(span, slot)) {
        snap_sums(span->from, slot, set, &from);
        subtract(sums, &from);
    }
}

uint64_t span_bins(const struct span *span, unsigned slot, struct bin_set set, const char *name)
{
    const struct hak_stat_desc *stat = shm_stat(span->seg, HAK_SCOPE_BIN, name);
    uint64_t sum = 0;

    for (unsigned bin = 0; bin < span->seg->bin_count; bin++)
        if (in_set(span->seg, set, bin))
            sum += minus(shm_bin(span->to, slot, stat, bin),
                         has_start(span, slot) ? shm_bin(span->from, slot, stat, bin) : 0);
    return sum;
}

uint64_t span_thread(const struct span *span, unsigned slot, const char *name)
{
    const struct hak_stat_desc *stat = shm_stat(span->seg, HAK_SCOPE_THREAD, name);

    return minus(shm_thread(span->to, slot, stat),
                 has_start(span, slot) ? shm_thread(span->from, slot, stat) : 0);
}

uint64_t span_global(const struct span *span, const char *name)
{
    return minus(snap_global(span->to, name), span->from != NULL ? snap_global(span->from, name) : 0);
}

uint64_t span_total(const struct span *span, const struct hak_stat_desc *stat)
{
    uint64_t from = span->from != NULL ? shm_total(span->from, stat) : 0;

    return minus(shm_total(span->to, stat), from);
}

void span_hist(const struct span *span, const struct hak_stat_desc *stat,
               uint64_t buckets[HAK_HIST_BUCKETS])
{
    uint64_t from[HAK_HIST_BUCKETS];

    shm_hist(span->to, SHM_ALL, stat, buckets);
    if (span->from == NULL)
        return;
    shm_hist(span->from, SHM_ALL, stat, from);
    for (int i = 0; i < HAK_HIST_BUCKETS; i++)
        buckets[i] = minus(buckets[i], from[i]);
}

/* The counters' side of cached_law: what came in by `refilled` and frees, less what went out. */
static uint64_t cached_blocks(const struct shm_snap *snap, unsigned slot, unsigned bin,
                              const struct hak_stat_desc *refilled,
                              const struct hak_stat_desc *returned)
{
    struct shm_sums s;

    shm_sum_bin(snap, slot, bin, &s);
    return minus(shm_bin(snap, slot, refilled, bin) + s.frees - s.remote_frees,
                 shm_bin(snap, slot, returned, bin) + s.allocs);
}

uint64_t span_cached_bytes(const struct span *span, unsigned slot, struct bin_set set)
{
    const struct shm_seg *seg = span->seg;
    const struct hak_stat_desc *refilled = shm_stat(seg, HAK_SCOPE_BIN, "refilled");
    const struct hak_stat_desc *returned = shm_stat(seg, HAK_SCOPE_BIN, "returned");
    uint64_t bytes = 0;

    /* Large and huge, of size 0, have no caches. */
    for (unsigned bin = 0; bin < seg->bin_count; bin++)
        if (seg->bins[bin].size != 0 && in_set(seg, set, bin))
            bytes += cached_blocks(span->to, slot, bin, refilled, returned) * seg->bins[bin].size;
    return bytes;
}

uint64_t snap_global(const struct shm_snap *snap, const char *name)
{
    return shm_global(snap, shm_stat(snap->seg, HAK_SCOPE_GLOBAL, name));
}

uint64_t snap_thread(const struct shm_snap *snap, const char *name)
{
    return shm_thread(snap, SHM_ALL, shm_stat(snap->seg, HAK_SCOPE_THREAD, name));
}

unsigned snap_applied(const struct shm_snap *snap)
{
    unsigned applied = 0;

    for (unsigned i = 0; i < snap->slot_count; i++) {
        const struct hak_slot *slot = shm_slot(snap, i);
        applied += slot->state == HAK_SLOT_LIVE &&
                   (int64_t)(slot->applied - snap->state.generation) >= 0;
    }
    return applied;
}

double hist_below(const uint64_t buckets[HAK_HIST_BUCKETS], double part)
{
    double all = 0, seen = 0;

    for (int i = 0; i < HAK_HIST_BUCKETS; i++)
        all += (double)buckets[i];
    if (all <= 0)
        return NAN;
    for (int i = 0; i < HAK_HIST_BUCKETS - 1; i++) {
        seen += (double)buckets[i];
        if (seen >= part * all)
            return ldexp(1, i + 1);
    }
    return INFINITY;
}
