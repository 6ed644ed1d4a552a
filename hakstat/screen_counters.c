/* screen_counters.c: every counter that is not of a bin: the shared pool, the kernel, threads. */
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

static void detail(const struct span *span, const struct row *chosen, int row)
{
    (void)span;
    draw_wrapped(row, 2, INK_TEXT, chosen->cell[HELP].text);
}

const struct screen screen_counters = {
    .name = "counters", COLUMNS(columns), .fill = fill, .detail = detail, .detail_rows = 2,
    .needs_process = true,
};
