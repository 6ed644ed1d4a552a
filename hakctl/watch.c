/* watch.c: the verb watch: counters and their rates, a line a sample.
 *
 * A counter of the bins can be watched for one class as well, as C1.heap_v2_hits.  Counters are
 * shown as a rate, a second; what goes up and down as it stands. */
#define _GNU_SOURCE
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hakctl/hakctl.h"

struct item {
    char name[HAK_NAME_MAX + 10];
    int  cls;                   /* -1: all */
    const struct hak_stat_desc *stat;
};
struct items {
    struct item *item;
    size_t count;
};

/* ---- What to watch ------------------------------------------------------------------------- */

/* Everything that there is, totals first. */
static bool all_items(const struct shm_seg *seg, struct items *items)
{
    *items = (struct items){ calloc((size_t)seg->stat_count * (seg->class_count + 1) + 1,
                                    sizeof *items->item), 0 };
    for (int cls = -1; items->item && cls < (int)seg->class_count; cls++)
        for (unsigned i = 0; i < seg->stat_count; i++) {
            const struct hak_stat_desc *stat = &seg->stats[i];
            if (stat->scope > HAK_SCOPE_BIN || (cls >= 0 && stat->scope != HAK_SCOPE_BIN))
                continue;
            struct item *item = &items->item[items->count++];
            *item = (struct item){ .cls = cls, .stat = stat };
            snprintf(item->name, sizeof item->name, "%s%s%s", cls < 0 ? "" : seg->classes[cls].name,
                     cls < 0 ? "" : ".", stat->name);
        }
    return items->item;
}

static const char *item_name(size_t i, const void *ctx)
{
    const struct items *items = ctx;
    return i < items->count ? items->item[i].name : NULL;
}

/* Keeps those that a glob matches, in the order of the globs. */
static int choose(const struct call *call, const struct items *all, struct items *chosen,
                  struct shm_error *err)
{
    chosen->count = 0;
    for (int g = 0; g < call->argc; g++) {
        size_t before = chosen->count;
        for (size_t i = 0; i < all->count && chosen->count < all->count; i++)
            if (!fnmatch(call->argv[g], all->item[i].name, 0))
                chosen->item[chosen->count++] = all->item[i];
        if (chosen->count > before)
            continue;
        const char *nearest = shm_nearest(call->argv[g], item_name, all);
        return shm_fail(err, SHM_EREFUSED, "%s: no such counter%s%s", call->argv[g],
                        nearest ? ", the nearest is " : "", nearest ? nearest : "");
    }
    return SHM_OK;
}

/* ---- Samples ------------------------------------------------------------------------------- */

static uint64_t value_of(const struct item *item, const struct shm_snap *snap)
{
    if (item->cls < 0)
        return shm_total(snap, item->stat);
    uint64_t sum = 0;
    for (unsigned bin = 0; bin < snap->seg->bin_count; bin++)
        if ((int)snap->seg->bins[bin].cls == item->cls)
            sum += shm_bin(snap, SHM_ALL, item->stat, bin);
    return sum;
}

/* In two's complement, so that a counter that goes down has a negative rate. */
static double rate_of(const struct item *item, const struct shm_snap *from,
                      const struct shm_snap *to)
{
    double seconds = (double)(to->boot_ns - from->boot_ns) / 1e9;
    return (double)(int64_t)(value_of(item, to) - value_of(item, from)) / seconds;
}

/* Of its column. */
static int width_of(const struct item *item)
{
    int width = (int)strlen(item->name) + 2;
    return width < 12 ? 12 : width;
}

static void print_line(const struct items *items, const struct shm_snap *from,
                       const struct shm_snap *to)
{
    char when[16];
    struct tm tm;
    time_t seconds = (time_t)(to->time_ns / 1000000000);
    strftime(when, sizeof when, "%H:%M:%S", localtime_r(&seconds, &tm));
    printf("%s", when);
    for (size_t i = 0; i < items->count; i++) {
        const struct item *item = &items->item[i];
        if (item->stat->kind == HAK_COUNTER)
            printf(" %*.0f/s", width_of(item) - 2, rate_of(item, from, to));
        else
            printf(" %*" PRIu64, width_of(item), value_of(item, to));
    }
    putchar('\n');
}

static void print_json(const struct items *items, const struct shm_snap *from,
                       const struct shm_snap *to)
{
    json_t *values = json_object(), *rates = json_object();
    for (size_t i = 0; i < items->count; i++) {
        const struct item *item = &items->item[i];
        json_object_set_new(values, item->name, json_u64(value_of(item, to)));
        if (item->stat->kind == HAK_COUNTER)
            json_object_set_new(rates, item->name, json_real(rate_of(item, from, to)));
    }
    json_t *line = json_pack("{s:i, s:s, s:o, s:f, s:o, s:o}", "pid", to->seg->proc.pid, "comm",
                             to->seg->proc.comm, "time_ns", json_u64(to->time_ns), "seconds",
                             (double)(to->boot_ns - from->boot_ns) / 1e9, "values", values,
                             "rates", rates);
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(line);
}

static void print_head(const struct items *items)
{
    printf("%-8s", "TIME");
    for (size_t i = 0; i < items->count; i++)
        printf(" %*s", width_of(&items->item[i]), items->item[i].name);
    putchar('\n');
}

static int watch_items(const struct call *call, const struct shm_seg *seg,
                       const struct items *items, struct shm_error *err)
{
    struct shm_snap *from = NULL, *to;
    int code = shm_snapshot_sums(seg, &from, err);
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    if (!call->json && !code)
        print_head(items);
    for (unsigned n = 0; !code && (!call->count || n < call->count); n++) {
        fflush(stdout);
        next.tv_sec += call->interval_ms / 1000;
        next.tv_nsec += call->interval_ms % 1000 * 1000000;
        next.tv_sec += next.tv_nsec / 1000000000;
        next.tv_nsec %= 1000000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
        if (!shm_alive(seg)) {
            code = shm_fail(err, SHM_EGONE, "the process has ended");
        } else if (!(code = shm_snapshot_sums(seg, &to, err))) {
            (call->json ? print_json : print_line)(items, from, to);
            shm_snap_free(from);
            from = to;
        }
    }
    shm_snap_free(from);
    return code;
}

static int watch(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    (void)out;
    struct items all, chosen;
    bool room = all_items(seg, &all);
    chosen.item = room ? calloc(all.count + 1, sizeof *chosen.item) : NULL;
    int code = chosen.item ? choose(call, &all, &chosen, err)
                           : shm_fail(err, SHM_EIO, "out of memory");
    if (!code)
        code = watch_items(call, seg, &chosen, err);
    free(all.item);
    free(chosen.item);
    return code;
}

const struct command cmd_watch = {
    .name = "watch", .operands = "GLOB...", .options = "iC",
    .help = "counters and their rates, a line a sample", .least = 1, .most = INT32_MAX,
    .just_one = true, .each = watch,
};
