/* screen_latencies.c: how long the slow paths take, from their log2 histograms. */
#include <inttypes.h>
#include <math.h>

#include "hakstat/draw.h"
#include "hakstat/screens.h"

enum { PATH, COUNT, P50, P90, P99, P999, LONGEST, HELP };

static const struct column columns[] = {
    [PATH]    = { "path", "PATH", 18, 0, U_TEXT },
    [COUNT]   = { "count", "COUNT", 9, 0, U_FLOW },
    [P50]     = { "p50_below_ns", "P50 <", 7, 0, U_NS },
    [P90]     = { "p90_below_ns", "P90 <", 7, 0, U_NS },
    [P99]     = { "p99_below_ns", "P99 <", 7, 0, U_NS },
    [P999]    = { "p999_below_ns", "P99.9 <", 7, 1, U_NS },
    [LONGEST] = { "max_below_ns", "MAX <", 7, 1, U_NS },
    [HELP]    = { "help", "MEANING", 20, 2, U_TEXT },
};

static uint64_t sum(const uint64_t buckets[HAK_HIST_BUCKETS])
{
    uint64_t total = 0;

    for (int i = 0; i < HAK_HIST_BUCKETS; i++)
        total += buckets[i];
    return total;
}

static void fill(const struct span *span, struct table *table)
{
    for (unsigned i = 0; i < span->seg->stat_count; i++) {
        const struct hak_stat_desc *stat = &span->seg->stats[i];
        uint64_t buckets[HAK_HIST_BUCKETS];
        struct row *row;

        if (stat->scope != HAK_SCOPE_HIST)
            continue;
        row = table_add(table, i);
        span_hist(span, stat, buckets);
        row->cell[PATH].text = stat->name;
        row->cell[COUNT].number = (double)sum(buckets);
        row->cell[P50].number = hist_below(buckets, 0.5);
        row->cell[P90].number = hist_below(buckets, 0.9);
        row->cell[P99].number = hist_below(buckets, 0.99);
        row->cell[P999].number = hist_below(buckets, 0.999);
        row->cell[LONGEST].number = hist_below(buckets, 1);
        row->cell[HELP].text = stat->help;
        row->dim = sum(buckets) == 0;
    }
}

/* The histogram of the chosen path: the DETAIL - 1 buckets around what there is. */
enum { DETAIL = 9 };

static void detail(const struct span *span, const struct row *chosen, int row)
{
    const struct hak_stat_desc *stat = &span->seg->stats[chosen->id];
    uint64_t buckets[HAK_HIST_BUCKETS], most = 0;
    int first = HAK_HIST_BUCKETS, last = 0;
    char bound[NUMBER_MAX];

    span_hist(span, stat, buckets);
    for (int i = 0; i < HAK_HIST_BUCKETS; i++)
        if (buckets[i] != 0) {
            first = i < first ? i : first;
            last = i;
            most = buckets[i] > most ? buckets[i] : most;
        }
    draw_text(row, 0, INK_DIM, "%s %s", stat->name, most != 0 ? "" : "did not happen");
    if (last - first > DETAIL - 2)
        first = last - (DETAIL - 2);            /* the slow end is what people look for */
    for (int i = first; i <= last; i++) {
        draw_text(++row, 1, INK_TEXT, "%s %6s %10" PRIu64,
                  i < HAK_HIST_BUCKETS - 1 ? "<" : ">",
                  number_ns(ldexp(1, i < HAK_HIST_BUCKETS - 1 ? i + 1 : i), bound), buckets[i]);
        draw_bar(row, 21, draw_width() - 22, INK_FAST, (double)buckets[i] / (double)most);
    }
}

const struct screen screen_latencies = {
    .name = "latencies", COLUMNS(columns), .fill = fill, .detail = detail, .detail_rows = DETAIL,
    .needs_process = true,
};
