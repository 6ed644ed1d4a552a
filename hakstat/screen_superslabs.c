/* screen_superslabs.c: SuperSlabs, the shared pool and the kernel: every counter that is not of
 * a bin, and above all a cell for each SuperSlab that is mapped. */
#include <math.h>

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

/* The meaning of the chosen counter, and a cell for each SuperSlab: those in use, the empty ones of
 * the LRU, and those given back since the peak. */
static void detail(const struct span *span, const struct row *chosen, int row)
{
    double live = (double)snap_global(span->to, "superslabs_live");
    double lru = (double)snap_global(span->to, "superslabs_lru");
    double peak = fmax((double)snap_global(span->to, "superslabs_peak"), live + lru);
    int width = draw_width() - 2;

    draw_wrapped(row, 2, INK_TEXT, chosen->cell[HELP].text);
    draw_text(row + 2, 0, INK_DIM, "SuperSlabs: %.0f in use, %.0f empty in the LRU, %.0f at most",
              live, lru, peak);
    if (peak > 0)
        draw_shares(row + 3, 1, peak < width ? (int)peak : width, live / peak, lru / peak,
                    (peak - live - lru) / peak);
}

const struct screen screen_superslabs = {
    .name = "superslabs", COLUMNS(columns), .fill = fill, .detail = detail, .detail_rows = 4,
    .needs_process = true,
};
