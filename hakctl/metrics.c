/* metrics.c: the figures of `stats` in the text formats of Prometheus (0.0.4) and OpenMetrics (1.0).
 *
 * Both want a family's samples together, so families are the outer loop and processes the inner. */
#include <inttypes.h>
#include <string.h>

#include "hakctl/hakctl.h"

struct writer {
    FILE *to;
    bool  openmetrics;
    const json_t *processes;
};

/* ---- Lines --------------------------------------------------------------------------------- */

/* A text between quotes or after HELP. */
static void put_escaped(FILE *to, const char *text, bool quoted)
{
    for (; *text; text++) {
        if (*text == '\\' || (quoted && *text == '"'))
            fprintf(to, "\\%c", *text);
        else if (*text == '\n')
            fputs("\\n", to);
        else
            putc(*text, to);
    }
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* OpenMetrics names the family without _total, and its unit. */
static void put_head(const struct writer *w, const char *name, const char *type, const char *help)
{
    static const char *const units[] = { "bytes", "seconds" };
    const char *total = !strcmp(type, "counter") && !w->openmetrics ? "_total" : "";
    fprintf(w->to, "# TYPE hakmem_%s%s %s\n", name, total, type);
    for (int i = 0; w->openmetrics && i < 2; i++)
        if (ends_with(name, units[i]))
            fprintf(w->to, "# UNIT hakmem_%s %s\n", name, units[i]);
    fprintf(w->to, "# HELP hakmem_%s%s ", name, total);
    put_escaped(w->to, help, w->openmetrics);
    putc('\n', w->to);
}

static void put_labels(const struct writer *w, const json_t *process, const char *label,
                       const char *value)
{
    fprintf(w->to, "{pid=\"%" PRIu64 "\",comm=\"", num(process, "pid"));
    put_escaped(w->to, str(process, "comm"), true);
    putc('"', w->to);
    if (label) {
        fprintf(w->to, ",%s=\"", label);
        put_escaped(w->to, value, true);
        putc('"', w->to);
    }
    fputs("} ", w->to);
}

/* ---- Families ------------------------------------------------------------------------------ */

/* Of members of the process's object. */
static void put_process(const struct writer *w)
{
    static const struct { const char *key, *name, *help; } gauges[] = {
        { "threads", "threads", "Live threads that have allocated." },
        { "generation", "generation", "Number of the last accepted knob change." },
        { "exact", "exact", "1 while the figures are exact, 0 where something is not counted." },
        { "uptime_ns", "uptime_seconds", "Age of the segment." },
    };
    size_t i;
    json_t *p;
    put_head(w, w->openmetrics ? "build" : "build_info", w->openmetrics ? "info" : "gauge",
             "Version of the library.");
    json_array_foreach(w->processes, i, p) {
        fputs("hakmem_build_info", w->to);
        put_labels(w, p, "version", str(p, "version"));
        fputs("1\n", w->to);
    }
    for (size_t g = 0; g < sizeof gauges / sizeof *gauges; g++) {
        put_head(w, gauges[g].name, "gauge", gauges[g].help);
        json_array_foreach(w->processes, i, p) {
            const json_t *value = json_object_get(p, gauges[g].key);
            if (json_is_null(value))
                continue;
            fprintf(w->to, "hakmem_%s", gauges[g].name);
            put_labels(w, p, NULL, NULL);
            if (ends_with(gauges[g].key, "_ns"))
                fprintf(w->to, "%.3f\n", (double)json_integer_value(value) / 1e9);
            else
                fprintf(w->to, "%d\n", (int)(json_is_boolean(value) ? json_is_true(value)
                                                                   : json_integer_value(value)));
        }
    }
}

static const struct { const char *key, *name, *type, *help; } by_class[] = {
    { "allocs", "allocs", "counter", "Allocations." },
    { "frees", "frees", "counter", "Frees." },
    { "heap_v2_hits", "heap_v2_hits", "counter", "Allocations that TinyHeapV2 (L0) served." },
    { "fast_cache_hits", "fast_cache_hits", "counter", "Allocations that FastCache (L1) served." },
    { "slow_allocs", "slow_allocs", "counter", "Allocations that took the slow path." },
    { "remote_frees", "remote_frees", "counter", "Frees of a block of another thread." },
    { "realloc_in_place", "realloc_in_place", "counter", "Calls of realloc that moved nothing." },
    { "inherited", "inherited_blocks", "gauge", "Blocks that were live at fork." },
    { "live", "live_blocks", "gauge", "Blocks in use." },
    { "live_bytes", "live_bytes", "gauge", "Bytes in use, in blocks' sizes." },
    { "waste_bytes_estimate", "estimated_waste_bytes", "gauge",
      "Bytes in use that nobody asked for, estimated from sampled requests." },
};

static void put_classes(const struct writer *w)
{
    for (size_t f = 0; f < sizeof by_class / sizeof *by_class; f++) {
        size_t i, c;
        json_t *p, *row;
        put_head(w, by_class[f].name, by_class[f].type, by_class[f].help);
        json_array_foreach(w->processes, i, p) {
            json_array_foreach(json_object_get(p, "classes"), c, row) {
                if (json_is_null(json_object_get(row, by_class[f].key)))
                    continue;
                fprintf(w->to, "hakmem_%s%s", by_class[f].name,
                        strcmp(by_class[f].type, "counter") ? "" : "_total");
                put_labels(w, p, "class", str(row, "class"));
                fprintf(w->to, "%" PRIu64 "\n", num(row, by_class[f].key));
            }
        }
    }
}

static bool is_by_class(const char *name)
{
    for (size_t f = 0; f < sizeof by_class / sizeof *by_class; f++)
        if (!strcmp(by_class[f].key, name))
            return true;
    return false;
}

/* The description that the first process to have it gives; NULL if one before `process` did. */
static const json_t *new_family(const struct writer *w, size_t process, const char *members,
                                const char *name)
{
    for (size_t i = 0; i < process; i++)
        if (json_object_get(json_object_get(json_array_get(w->processes, i), members), name))
            return NULL;
    const json_t *p = json_array_get(w->processes, process);
    return json_object_get(json_object_get(json_object_get(p, "about"), members), name);
}

static void put_counter(const struct writer *w, const char *name, const json_t *about)
{
    size_t i;
    json_t *p;
    bool counts = !strcmp(str(about, "kind"), "counter");
    put_head(w, name, counts ? "counter" : "gauge", str(about, "help"));
    json_array_foreach(w->processes, i, p) {
        const json_t *value = json_object_get(json_object_get(p, "counters"), name);
        if (!value)
            continue;
        fprintf(w->to, "hakmem_%s%s", name, counts ? "_total" : "");
        put_labels(w, p, NULL, NULL);
        fprintf(w->to, "%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
    }
}

static void put_counters(const struct writer *w)
{
    size_t i;
    json_t *p, *value;
    const char *name;
    json_array_foreach(w->processes, i, p) {
        json_object_foreach(json_object_get(p, "counters"), name, value) {
            const json_t *about = is_by_class(name) ? NULL : new_family(w, i, "counters", name);
            if (about)
                put_counter(w, name, about);
        }
    }
}

/* ---- Histograms ---------------------------------------------------------------------------- */

/* Bucket i counts durations below 2^(i+1) ns: at most one less, in whole nanoseconds.  There is no
 * sum of the durations, and none is made up. */
static void put_buckets(const struct writer *w, const char *name, const json_t *p,
                        const json_t *buckets)
{
    uint64_t count = 0;
    size_t n = json_array_size(buckets);
    for (size_t i = 0; i < n; i++) {
        char bound[32] = "+Inf";
        count += (uint64_t)json_integer_value(json_array_get(buckets, i));
        if (i + 1 < n)
            snprintf(bound, sizeof bound, "%.10g", (double)((UINT64_C(2) << i) - 1) * 1e-9);
        fprintf(w->to, "hakmem_%s_seconds_bucket", name);
        put_labels(w, p, "le", bound);
        fprintf(w->to, "%" PRIu64 "\n", count);
    }
}

static void put_latencies(const struct writer *w)
{
    size_t i, k;
    json_t *p, *q, *buckets;
    const char *name;
    json_array_foreach(w->processes, i, p) {
        json_object_foreach(json_object_get(p, "latencies"), name, buckets) {
            char family[HAK_NAME_MAX + 20], seconds[HAK_NAME_MAX + 30];
            const json_t *about = new_family(w, i, "latencies", name);
            if (!about)
                continue;
            snprintf(family, sizeof family, "%s_latency", name);
            snprintf(seconds, sizeof seconds, "%s_seconds", family);
            put_head(w, seconds, "histogram", str(about, "help"));
            json_array_foreach(w->processes, k, q) {
                const json_t *its = json_object_get(json_object_get(q, "latencies"), name);
                if (its)
                    put_buckets(w, family, q, its);
            }
        }
    }
}

void write_metrics(FILE *to, bool openmetrics, const json_t *processes)
{
    struct writer w = { to, openmetrics, processes };
    put_process(&w);
    put_classes(&w);
    put_counters(&w);
    put_latencies(&w);
    if (openmetrics)
        fputs("# EOF\n", to);
}
