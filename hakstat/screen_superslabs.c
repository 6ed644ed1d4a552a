/* screen_superslabs.c: SuperSlabs, the shared pool and the kernel: every counter that is not of
 * a bin, and above all a cell for each SuperSlab that is mapped. */
#include "hakstat/draw.h"
#include "hakstat/screens.h"

enum { COUNTER, VALUE, CHANGE, UNIT, HELP };

static const struct column columns[] = {
    [COUNTER] = { "counter", "COUNTER", 20, 0, U_TEXT },
    [VALUE]   = { "value", "NOW", 8, 0, U_COUNT },
    [CHANGE]  = { "change", "CHANGE", 9, 0, U_FLOW },
    [UNIT]    = { "unit", "UNIT", 5, 0, U_TEXT },
    [HELP]    = { "help", "MEANING", 8, 0, U_TEXT },
};

static void add(const struct span *span, struct table *table, unsigned i)
{
    const struct hak_stat_desc *stat = &span->seg->stats[i];
    struct row *row = table_add(table, i);
    uint64_t now = shm_total(span->to, stat);

    row->cell[COUNTER].text = stat->name;
    row->cell[VALUE].number = (double)now;
    if (stat->kind == HAK_COUNTER)
        row->cell[CHANGE].number = (double)span_total(span, stat);
    row->cell[UNIT].text = stat->unit;
    row->cell[HELP].text = stat->help;
    row->dim = now == 0;
}

static void fill(const struct span *span, struct table *table)
{
    static const enum hak_stat_scope order[] = { HAK_SCOPE_GLOBAL, HAK_SCOPE_THREAD };

    for (unsigned scope = 0; scope < 2; scope++)
        for (unsigned i = 0; i < span->seg->stat_count; i++)
            if (span->seg->stats[i].scope == order[scope])
                add(span, table, i);
}

/* Live ones, then the empty ones of the LRU, then room up to the peak. */
static void detail(const struct span *span, const struct row *chosen, int row)
{
    double live = (double)snap_global(span->to, "superslabs_live");
    double lru = (double)snap_global(span->to, "superslabs_lru");
    double peak = (double)snap_global(span->to, "superslabs_peak");
    int width = draw_width() - 2;

    (void)chosen;
    draw_text(row, 0, INK_DIM, "SuperSlabs of 2 MiB: %.0f live, %.0f empty in the LRU, peak %.0f",
              live, lru, peak);
    if (peak < live + lru)
        peak = live + lru;
    if (peak <= 0)
        return;
    if (width > peak && peak > 0)
        width = (int)peak;
    draw_shares(row + 1, 1, width, live / peak, lru / peak, (peak - live - lru) / peak);
    draw_text(row + 2, 0, INK_DIM, " slab runs taken: %llu reused, %llu claimed, %llu acquired",
              (unsigned long long)snap_thread(span->to, "pool_reuse"),
              (unsigned long long)snap_thread(span->to, "pool_claim"),
              (unsigned long long)snap_thread(span->to, "pool_acquire"));
}

const struct screen screen_superslabs = {
    .name = "superslabs", COLUMNS(columns), .fill = fill, .detail = detail, .detail_rows = 3,
    .needs_process = true,
};
