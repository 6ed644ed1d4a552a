/* screen_classes.c: calls per class, and which tier served them. */
#include "hakstat/screens.h"
#include "hakstat/view.h"

enum {
    CLASS, SIZE_MAX_, ALLOCS, FREES, L0_PART, FAST_PART, SLOW_PART, LIVE, LIVE_BYTES, WASTE, BAR,
    CACHED_BYTES, REFILLED, REMOTE_FREES, DRAINED, L0_HITS, FAST_HITS, SLOW_ALLOCS, RETURNED,
    IN_PLACE,
};

static const struct column columns[] = {
    [CLASS]        = { "class", "CLASS", 5, 0, U_TEXT },
    [SIZE_MAX_]    = { "size_max", "UP TO", 5, 1, U_BYTES },
    [ALLOCS]       = { "allocs", "ALLOCS", 8, 0, U_FLOW },
    [FREES]        = { "frees", "FREES", 7, 0, U_FLOW },
    [L0_PART]      = { "heap_v2_part", "L0 %", 5, 0, U_PART },
    [FAST_PART]    = { "fast_cache_part", "FAST %", 6, 0, U_PART },
    [SLOW_PART]    = { "slow_part", "SLOW %", 6, 0, U_PART },
    [LIVE]         = { "live", "LIVE", 5, 1, U_COUNT },
    [LIVE_BYTES]   = { "live_bytes", "BYTES", 5, 1, U_BYTES },
    [WASTE]        = { "waste_bytes_estimate", "WASTE", 6, 2, U_ABOUT },
    [BAR]          = { "", "L0 FAST SLOW", 12, 2, U_SHARES },
    [CACHED_BYTES] = { "cached_bytes", "CACHED", 6, 3, U_BYTES },
    [REFILLED]     = { "refilled", "REFILLED", 10, 4, U_FLOW },
    [REMOTE_FREES] = { "remote_frees", "REMOTE", 8, 4, U_FLOW },
    [DRAINED]      = { "remote_drained", "DRAINED", 9, 5, U_FLOW },
    [L0_HITS]      = { "heap_v2_hits", "L0 HITS", 9, 6, U_FLOW },
    [FAST_HITS]    = { "fast_cache_hits", "FAST HITS", 11, 6, U_FLOW },
    [SLOW_ALLOCS]  = { "slow_allocs", "SLOW", 8, 6, U_FLOW },
    [RETURNED]     = { "returned", "RETURNED", 10, 7, U_FLOW },
    [IN_PLACE]     = { "realloc_in_place", "IN PLACE", 10, 8, U_FLOW },
};

#define TOTAL UINT64_MAX        /* the id of the last row */

static struct row *add(const struct span *span, struct table *table, uint64_t id,
                       const char *name, uint64_t size_max, struct bin_set set)
{
    struct row *row = table_add(table, id);
    struct shm_sums s;

    span_sums(span, SHM_ALL, set, &s);
    row->cell[CLASS].text = name;
    if (size_max != 0)
        row->cell[SIZE_MAX_].number = (double)size_max;
    row->cell[ALLOCS].number = (double)s.allocs;
    row->cell[FREES].number = (double)s.frees;
    row->cell[L0_PART].number = part_of((double)s.heap_v2_hits, (double)s.allocs);
    row->cell[FAST_PART].number = part_of((double)s.fast_cache_hits, (double)s.allocs);
    row->cell[SLOW_PART].number = part_of((double)s.slow_allocs, (double)s.allocs);
    for (int i = 0; i < 3; i++)
        row->shares[i] = row->cell[L0_PART + i].number;
    row->cell[LIVE].number = (double)s.live;
    row->cell[LIVE_BYTES].number = (double)s.live_bytes;
    if (s.sampled_bytes != 0)
        row->cell[WASTE].number = (double)s.waste_bytes;
    row->cell[CACHED_BYTES].number = (double)span_cached_bytes(span, SHM_ALL, set);
    row->cell[REFILLED].number = (double)span_bins(span, SHM_ALL, set, "refilled");
    row->cell[REMOTE_FREES].number = (double)s.remote_frees;
    row->cell[DRAINED].number = (double)span_bins(span, SHM_ALL, set, "remote_drained");
    row->cell[L0_HITS].number = (double)s.heap_v2_hits;
    row->cell[FAST_HITS].number = (double)s.fast_cache_hits;
    row->cell[SLOW_ALLOCS].number = (double)s.slow_allocs;
    row->cell[RETURNED].number = (double)span_bins(span, SHM_ALL, set, "returned");
    row->cell[IN_PLACE].number = (double)s.realloc_in_place;
    row->dim = s.allocs == 0 && s.frees == 0;
    return row;
}

static void add_bins(const struct span *span, struct table *table)
{
    const struct shm_seg *seg = span->seg;
    const char *name = seg->classes[span->open_class].name;

    for (unsigned bin = 0; bin < seg->bin_count; bin++)
        if (seg->bins[bin].cls == (uint32_t)span->open_class)
            add(span, table, bin, name, seg->bins[bin].size,
                (struct bin_set){ -1, (int)bin });
}

static void add_classes(const struct span *span, struct table *table)
{
    const struct shm_seg *seg = span->seg;

    for (unsigned cls = 0; cls < seg->class_count; cls++)
        add(span, table, cls, seg->classes[cls].name, seg->classes[cls].size_max,
            (struct bin_set){ (int)cls, -1 });
}

static void fill(const struct span *span, struct table *table)
{
    if (span->open_class >= 0)
        add_bins(span, table);
    else
        add_classes(span, table);
    add(span, table, TOTAL, "total", 0, (struct bin_set){ span->open_class, -1 })
        ->pinned = true;
}

static void enter(struct view *view, uint64_t id)
{
    if (view->open_class < 0 && id != TOTAL)
        view->open_class = (int)id;
}

const struct screen screen_classes = {
    .name = "classes", COLUMNS(columns), .fill = fill, .enter = enter, .needs_process = true,
};
