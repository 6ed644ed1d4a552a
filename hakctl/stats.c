/* stats.c: the verb stats: calls by class, every counter, latencies, and the conservation laws. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hakctl/hakctl.h"

/* ---- Collecting ---------------------------------------------------------------------------- */

static json_t *class_row(const struct shm_snap *snap, unsigned cls)
{
    struct shm_sums s;
    const struct hak_class_desc *desc = &snap->seg->classes[cls];
    shm_sum_class(snap, SHM_ALL, cls, &s);
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                     "class", desc->name,
                     "size_max", desc->size_max ? json_u64(desc->size_max) : json_null(),
                     "allocs", json_u64(s.allocs), "frees", json_u64(s.frees),
                     "heap_v2_hits", json_u64(s.heap_v2_hits),
                     "fast_cache_hits", json_u64(s.fast_cache_hits),
                     "slow_allocs", json_u64(s.slow_allocs),
                     "remote_frees", json_u64(s.remote_frees),
                     "realloc_in_place", json_u64(s.realloc_in_place),
                     "inherited", json_u64(s.inherited),
                     "live", json_u64(s.live), "live_bytes", json_u64(s.live_bytes),
                     "waste_bytes_estimate",
                     s.sampled_bytes ? json_u64(s.waste_bytes) : json_null());
}

static json_t *all_classes(const struct shm_snap *snap)
{
    json_t *rows = json_array();
    for (unsigned cls = 0; cls < snap->seg->class_count; cls++)
        json_array_append_new(rows, class_row(snap, cls));
    return rows;
}

static json_t *all_counters(const struct shm_snap *snap)
{
    json_t *counters = json_object();
    for (unsigned i = 0; i < snap->seg->stat_count; i++) {
        const struct hak_stat_desc *stat = &snap->seg->stats[i];
        if (stat->scope <= HAK_SCOPE_BIN)
            json_object_set_new(counters, stat->name, json_u64(shm_total(snap, stat)));
    }
    return counters;
}

/* Histograms: buckets[i] counts durations of 2^i to 2^(i+1) nanoseconds. */
static json_t *all_latencies(const struct shm_snap *snap)
{
    json_t *latencies = json_object();
    for (unsigned i = 0; i < snap->seg->stat_count; i++) {
        const struct hak_stat_desc *stat = &snap->seg->stats[i];
        if (stat->scope != HAK_SCOPE_HIST)
            continue;
        uint64_t buckets[HAK_HIST_BUCKETS];
        json_t *list = json_array();
        shm_hist(snap, SHM_ALL, stat, buckets);
        for (unsigned b = 0; b < HAK_HIST_BUCKETS; b++)
            json_array_append_new(list, json_u64(buckets[b]));
        json_object_set_new(latencies, stat->name, list);
    }
    return latencies;
}

static const char *verdict_name(enum shm_verdict verdict)
{
    return verdict == SHM_HOLDS ? "holds" : verdict == SHM_BROKEN ? "broken" : "not checked";
}

static int check(struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    struct shm_law laws[SHM_LAWS];
    json_t *list = json_array();
    int code = shm_check(seg, SHM_WAIT_MS, laws, err);
    for (int i = 0; i < SHM_LAWS; i++)
        json_array_append_new(list, json_pack(
            "{s:s, s:s, s:s, s:i, s:s}", "law", laws[i].name, "equation", laws[i].text, "verdict",
            verdict_name(laws[i].verdict), "checked", (int)laws[i].checked, "detail",
            laws[i].detail));
    json_object_set_new(out, "laws", list);
    return code;
}

/* What the exposition formats say about each counter; used_adopted may fall, so it is a gauge. */
static json_t *about_all(const struct shm_seg *seg)
{
    json_t *counters = json_object(), *latencies = json_object();
    for (unsigned i = 0; i < seg->stat_count; i++) {
        const struct hak_stat_desc *stat = &seg->stats[i];
        bool counts = stat->kind == HAK_COUNTER && strcmp(stat->name, "used_adopted");
        if (stat->scope <= HAK_SCOPE_HIST)
            json_object_set_new(stat->scope == HAK_SCOPE_HIST ? latencies : counters, stat->name,
                                json_pack("{s:s, s:s}", "kind", counts ? "counter" : "gauge",
                                          "help", stat->help));
    }
    return json_pack("{s:o, s:o}", "counters", counters, "latencies", latencies);
}

static void put_state(json_t *out, const struct shm_seg *seg, const struct shm_snap *snap)
{
    bool live = seg->proc.live;
    json_object_set_new(out, "version", json_string(seg->header.version));
    json_object_set_new(out, "state", json_string(state_name(seg, snap)));
    json_object_set_new(out, "generation", json_u64(snap->state.generation));
    json_object_set_new(out, "threads", json_integer(live ? snap->threads : 0));
    json_object_set_new(out, "exact", json_boolean(snap->exact));
    json_object_set_new(out, "time_ns", json_u64(snap->time_ns));
    json_object_set_new(out, "uptime_ns", live ? json_u64(snap->boot_ns - seg->header.born_ns)
                                               : json_null());
}

static int stats(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    struct shm_snap *snap;
    int code = shm_snapshot_sums(seg, &snap, err);
    if (code)
        return code;
    put_state(out, seg, snap);
    json_object_set_new(out, "classes", all_classes(snap));
    json_object_set_new(out, "counters", all_counters(snap));
    json_object_set_new(out, "latencies", all_latencies(snap));
    if (call->format)
        json_object_set_new(out, "about", about_all(seg));
    shm_snap_free(snap);
    return call->check ? check(seg, out, err) : SHM_OK;
}

/* ---- Printing ------------------------------------------------------------------------------ */

static const char *percent(uint64_t part, uint64_t whole, char buf[16])
{
    if (whole)
        snprintf(buf, 16, "%.1f", 100.0 * (double)part / (double)whole);
    else
        strcpy(buf, "-");
    return buf;
}

static const char *known(const json_t *n, const char *before, char buf[24])
{
    strcpy(buf, "-");
    if (json_is_integer(n))
        snprintf(buf, 24, "%s%lld", before, (long long)json_integer_value(n));
    return buf;
}

static void print_class(const char *name, const json_t *size, const uint64_t v[7],
                        const json_t *waste)
{
    char l0[16], l1[16], slow[16], max[24], about[24];
    printf("%-5s %8s %14" PRIu64 " %14" PRIu64 " %11" PRIu64 " %14" PRIu64 " %11s %6s %6s %6s\n",
           name, known(size, "", max), v[0], v[1], v[2], v[3], known(waste, "~", about),
           percent(v[4], v[0], l0), percent(v[5], v[0], l1), percent(v[6], v[0], slow));
}

static void print_classes(const json_t *classes)
{
    static const char *const key[7] = {
        "allocs", "frees", "live", "live_bytes", "heap_v2_hits", "fast_cache_hits", "slow_allocs",
    };
    uint64_t total[7] = { 0 };
    size_t i;
    json_t *row, *waste = json_integer(0);
    printf("%-5s %8s %14s %14s %11s %14s %11s %6s %6s %6s\n", "CLASS", "SIZE_MAX", "ALLOCS",
           "FREES", "LIVE", "LIVE_BYTES", "WASTE", "L0%", "L1%", "SLOW%");
    json_array_foreach(classes, i, row) {
        uint64_t v[7];
        for (int k = 0; k < 7; k++)
            total[k] += v[k] = num(row, key[k]);
        const json_t *its = json_object_get(row, "waste_bytes_estimate");
        json_integer_set(waste, json_integer_value(waste) + json_integer_value(its));
        print_class(str(row, "class"), json_object_get(row, "size_max"), v, its);
    }
    print_class("total", NULL, total, waste);
    json_decref(waste);
}

static void print_counters(const json_t *counters)
{
    const char *name;
    json_t *value;
    printf("\n%-24s %20s\n", "COUNTER", "VALUE");
    json_object_foreach((json_t *)counters, name, value)
        printf("%-24s %20lld\n", name, (long long)json_integer_value(value));
}

/* The upper end of the bucket that holds the q-th part of all; buckets are powers of two. */
static const char *quantile(const json_t *buckets, uint64_t count, double q, char buf[24])
{
    uint64_t seen = 0;
    strcpy(buf, "-");
    for (size_t i = 0; count && i < json_array_size(buckets); i++) {
        seen += (uint64_t)json_integer_value(json_array_get(buckets, i));
        if ((double)seen < q * (double)count)
            continue;
        if (i == HAK_HIST_BUCKETS - 1)
            snprintf(buf, 24, ">%" PRIu64, UINT64_C(1) << i);
        else
            snprintf(buf, 24, "<%" PRIu64, UINT64_C(2) << i);
        break;
    }
    return buf;
}

static void print_latencies(const json_t *latencies)
{
    const char *name;
    json_t *buckets, *one;
    size_t i;
    printf("\n%-24s %14s %12s %12s %12s\n", "LATENCY", "COUNT", "P50_NS", "P99_NS", "MAX_NS");
    json_object_foreach((json_t *)latencies, name, buckets) {
        char p50[24], p99[24], most[24];
        uint64_t count = 0;
        json_array_foreach(buckets, i, one)
            count += (uint64_t)json_integer_value(one);
        printf("%-24s %14" PRIu64 " %12s %12s %12s\n", name, count,
               quantile(buckets, count, 0.5, p50), quantile(buckets, count, 0.99, p99),
               quantile(buckets, count, 1, most));
    }
}

static void print_laws(const json_t *laws)
{
    size_t i;
    json_t *law;
    if (laws)
        printf("\n%-8s %-11s %8s %s\n", "LAW", "VERDICT", "CHECKED", "EQUATION");
    json_array_foreach(laws, i, law) {
        const char *detail = str(law, "detail");
        printf("%-8s %-11s %8" PRIu64 " %s%s%s%s\n", str(law, "law"), str(law, "verdict"),
               num(law, "checked"), str(law, "equation"), *detail ? " (" : "", detail,
               *detail ? ")" : "");
    }
}

static void print_stats(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    (void)call;
    printf("pid %" PRIu64 " (%s), %s, libhakmem %s, %" PRIu64 " thread%s, generation %" PRIu64
           ", %s\n\n", num(out, "pid"), str(out, "comm"), str(out, "state"), str(out, "version"),
           num(out, "threads"), shm_s(num(out, "threads")), num(out, "generation"),
           seg->header.flags & 1 ? "counters compiled out"
           : json_is_true(json_object_get(out, "exact")) ? "exact" : "not exact");
    print_classes(json_object_get(out, "classes"));
    print_counters(json_object_get(out, "counters"));
    print_latencies(json_object_get(out, "latencies"));
    print_laws(json_object_get(out, "laws"));
}

/* The processes that could be read, in the format asked for. */
static int print_metrics(const struct call *call, const json_t *processes, struct shm_error *err)
{
    size_t i;
    json_t *p, *good = json_array();
    bool openmetrics = !strcmp(call->format, "openmetrics");
    struct new_file file;
    json_array_foreach(processes, i, p)
        if (json_object_get(p, "classes"))
            json_array_append(good, p);
    int code = call->output ? new_file_open(&file, call->output, err) : SHM_OK;
    if (!code)
        write_metrics(call->output ? file.stream : stdout, openmetrics, good);
    if (!code && call->output)
        code = new_file_finish(&file, err);
    json_decref(good);
    return code;
}

const struct command cmd_stats = {
    .name = "stats", .operands = "[--check]", .options = "KPOo",
    .help = "calls by class, counters, latencies; of dead processes too",
    .dead_too = true, .each = stats, .print = print_stats, .print_all = print_metrics,
};
