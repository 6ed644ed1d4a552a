/* print.c: see print.h. */
#include "probes/print.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static bool same(const struct hakprobe_id *a, const struct hakprobe_id *b)
{
    return a->pid_ns == b->pid_ns && a->pid == b->pid;
}

static bool nothing(const struct hakprobe_counts *c)
{
    return !probes_sum(c->histogram) && !c->unfinished;
}

/* ---- Text ----------------------------------------------------------------------------------- */

/* Every bucket but the last has an upper end, in ns. */
static uint64_t upper(int bucket)
{
    return (uint64_t)2 << bucket;
}

static const char *ns_text(uint64_t ns, char buf[24])
{
    static const char *const units[] = { "ns", "us", "ms", "s" };
    double value = (double)ns;
    int unit = 0;

    for (; unit < 3 && value >= 1000; unit++)
        value /= 1000;
    snprintf(buf, 24, value < 10 && unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return buf;
}

/* The end of the bucket in which a part of all calls has returned. */
static const char *below(const uint64_t histogram[HAKPROBE_BUCKETS], double part, char buf[24])
{
    double wanted = part * (double)probes_sum(histogram), seen = 0;

    if (wanted <= 0)
        return "-";
    for (int i = 0; i < HAKPROBE_BUCKETS - 1; i++)
        if ((seen += (double)histogram[i]) >= wanted)
            return ns_text(upper(i), buf);
    return "longer";
}

static void print_histogram(const uint64_t histogram[HAKPROBE_BUCKETS])
{
    char buf[24];

    for (int i = 0; i < HAKPROBE_BUCKETS; i++)
        if (histogram[i])
            printf("      %s %8s %12" PRIu64 "\n", i < HAKPROBE_BUCKETS - 1 ? "<" : ">",
                   ns_text(upper(i < HAKPROBE_BUCKETS - 1 ? i : i - 1), buf), histogram[i]);
}

static void print_counts(const struct print *print, const char *call, const char *whose,
                         const struct hakprobe_counts *c)
{
    char p50[24], p99[24], most[24], bytes[24];

    printf("  %-10s %-9s %10" PRIu64 " %8" PRIu64 " %11s %8s %8s %8s", call, whose,
           probes_sum(c->histogram), c->errors, c->bytes ? shm_bytes_text(c->bytes, bytes) : "-",
           below(c->histogram, 0.5, p50), below(c->histogram, 0.99, p99),
           below(c->histogram, 1, most));
    if (c->unfinished)
        printf("  %" PRIu64 " unfinished", c->unfinished);
    putchar('\n');
    if (print->histograms)
        print_histogram(c->histogram);
}

static void print_wait(const struct print *print, const struct probes_wait *w)
{
    char p50[24], p99[24], most[24];

    printf("  %#-20" PRIx64 " %10" PRIu64 " %8s %11s %8s %8s %8s\n", w->address,
           probes_sum(w->waits.histogram), w->waits.lock[0] ? w->waits.lock : "-", "",
           below(w->waits.histogram, 0.5, p50), below(w->waits.histogram, 0.99, p99),
           below(w->waits.histogram, 1, most));
    if (print->histograms)
        print_histogram(w->waits.histogram);
}

static void print_waits(const struct print *print, const struct probes_reading *r,
                        const struct hakprobe_id *id)
{
    bool head = false;

    for (size_t i = 0; i < r->wait_count; i++) {
        if (!same(id, &r->waits[i].id) || !probes_sum(r->waits[i].waits.histogram))
            continue;
        if (!head)
            printf("  FUTEX                     WAITS     LOCK                P50 <    P99 <    "
                   "MAX <\n");
        head = true;
        print_wait(print, &r->waits[i]);
    }
}

static void print_process(const struct print *print, const struct probes_reading *r,
                          const struct probes_process *p, uint64_t interval_ns)
{
    int pid = print->pid(&p->id, print->ctx);
    char when[16];
    time_t now = time(NULL);

    strftime(when, sizeof when, "%H:%M:%S", localtime(&now));
    printf("%s  %s  ", when, p->comm[0] ? p->comm : "?");
    if (pid)
        printf("pid %d", pid);
    else
        printf("pid %" PRIu32 " in pid namespace %" PRIu64, p->id.pid, p->id.pid_ns);
    printf("  %.3f s%s\n", (double)interval_ns / 1e9, p->ended ? "  ended" : "");
    printf("  CALL       WHOSE          CALLS   ERRORS       BYTES    P50 <    P99 <    MAX <\n");
    for (int call = 0; call < HAKPROBE_CALLS; call++)
        for (int whose = 0; whose < HAKPROBE_WHOSE; whose++)
            if (!nothing(&p->counts[call][whose]))
                print_counts(print, probes_call_names[call], probes_whose_names[whose],
                             &p->counts[call][whose]);
    print_waits(print, r, &p->id);
}

static bool idle(const struct probes_process *p)
{
    for (int i = 0; i < HAKPROBE_ROWS; i++)
        if (!nothing(&p->counts[i / HAKPROBE_WHOSE][i % HAKPROBE_WHOSE]))
            return false;
    return !p->ended;
}

/* Of several processes, those that do nothing are left out. */
static void print_text(const struct print *print, const struct probes_reading *r,
                       uint64_t interval_ns)
{
    for (size_t i = 0; i < r->process_count; i++)
        if (r->process_count == 1 || !idle(&r->processes[i]))
            print_process(print, r, &r->processes[i], interval_ns);
    for (int i = 0; i < HAKPROBE_LOST_KINDS; i++)
        if (r->lost[i])
            printf("LOST: %" PRIu64 " not counted (%s)\n", r->lost[i],
                   probes_lost_names[i]);
    putchar('\n');
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *json_histogram(const uint64_t histogram[HAKPROBE_BUCKETS])
{
    json_t *buckets = json_array();

    for (int i = 0; i < HAKPROBE_BUCKETS; i++)
        json_array_append_new(buckets, number(histogram[i]));
    return buckets;
}

static json_t *json_counts(const char *call, const char *whose, const struct hakprobe_counts *c)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "call", call, "whose", whose,
                     "calls", number(probes_sum(c->histogram)), "errors", number(c->errors),
                     "unfinished", number(c->unfinished), "bytes", number(c->bytes), "ns", number(c->ns),
                     "histogram", json_histogram(c->histogram));
}

static json_t *json_wait(const struct probes_wait *w)
{
    char address[24];

    snprintf(address, sizeof address, "0x%" PRIx64, w->address);
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "address", address, "lock",
                     w->waits.lock[0] ? json_string(w->waits.lock) : json_null(),
                     "waits", number(probes_sum(w->waits.histogram)), "ns", number(w->waits.ns),
                     "histogram", json_histogram(w->waits.histogram));
}

static json_t *json_process(const struct print *print, const struct probes_reading *r,
                            const struct probes_process *p)
{
    json_t *calls = json_array(), *waits = json_array();
    int pid = print->pid(&p->id, print->ctx);

    for (int call = 0; call < HAKPROBE_CALLS; call++)
        for (int whose = 0; whose < HAKPROBE_WHOSE; whose++)
            if (!nothing(&p->counts[call][whose]))
                json_array_append_new(calls, json_counts(probes_call_names[call],
                                                         probes_whose_names[whose],
                                                         &p->counts[call][whose]));
    for (size_t i = 0; i < r->wait_count; i++)
        if (same(&p->id, &r->waits[i].id) && probes_sum(r->waits[i].waits.histogram))
            json_array_append_new(waits, json_wait(&r->waits[i]));
    return json_pack("{s:o, s:s, s:o, s:o, s:b, s:o, s:o}", "pid",
                     pid ? json_integer(pid) : json_null(), "comm", p->comm, "pid_ns",
                     number(p->id.pid_ns), "ns_pid", number(p->id.pid), "ended", p->ended, "calls",
                     calls, "waits", waits);
}

static void write_json(json_t *line)
{
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(line);
}

static void print_json(const struct print *print, const struct probes_reading *r,
                       uint64_t interval_ns)
{
    json_t *processes = json_array(), *lost = json_object();
    struct timespec now;

    for (size_t i = 0; i < r->process_count; i++)
        json_array_append_new(processes, json_process(print, r, &r->processes[i]));
    for (int i = 0; i < HAKPROBE_LOST_KINDS; i++)
        json_object_set_new(lost, probes_lost_names[i], number(r->lost[i]));
    clock_gettime(CLOCK_REALTIME, &now);
    write_json(json_pack("{s:s, s:o, s:o, s:o, s:o}", "version", PACKAGE_VERSION,
                         "time_ns", number((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec),
                         "interval_ns", number(interval_ns), "lost", lost, "processes", processes));
}

/* ---- OpenMetrics ---------------------------------------------------------------------------- */

static void put_escaped(const char *text)
{
    for (; *text; text++)
        printf(*text == '\\' || *text == '"' ? "\\%c" : "%c", *text);
}

/* Labels up to where one more, or the end, may follow. */
static void put_process(const struct print *print, const char *name, const struct probes_process *p)
{
    int pid = print->pid(&p->id, print->ctx);

    printf("hakprobe_%s{pid=\"%d\",pid_ns=\"%" PRIu64 "\",comm=\"", name,
           pid ? pid : (int)p->id.pid, p->id.pid_ns);
    put_escaped(p->comm);
    putchar('"');
}

typedef void put_fn(const struct print *print, const struct probes_process *p, int call, int whose);

static void put_labels(const struct print *print, const char *name, const struct probes_process *p,
                       int call, int whose)
{
    put_process(print, name, p);
    printf(",call=\"%s\",whose=\"%s\"", probes_call_names[call], probes_whose_names[whose]);
}

static void put_seconds(const struct print *print, const struct probes_process *p, int call,
                        int whose)
{
    const struct hakprobe_counts *c = &p->counts[call][whose];
    uint64_t sum = 0;

    for (int i = 0; i < HAKPROBE_BUCKETS - 1; i++) {
        sum += c->histogram[i];
        put_labels(print, "call_seconds_bucket", p, call, whose);
        printf(",le=\"%.9g\"} %" PRIu64 "\n", (double)upper(i) / 1e9, sum);
    }
    sum += c->histogram[HAKPROBE_BUCKETS - 1];
    put_labels(print, "call_seconds_bucket", p, call, whose);
    printf(",le=\"+Inf\"} %" PRIu64 "\n", sum);
    put_labels(print, "call_seconds_count", p, call, whose);
    printf("} %" PRIu64 "\n", sum);
    put_labels(print, "call_seconds_sum", p, call, whose);
    printf("} %.9f\n", (double)c->ns / 1e9);
}

static void put_errors(const struct print *print, const struct probes_process *p, int call,
                       int whose)
{
    put_labels(print, "call_errors_total", p, call, whose);
    printf("} %" PRIu64 "\n", p->counts[call][whose].errors);
}

static void put_bytes(const struct print *print, const struct probes_process *p, int call,
                      int whose)
{
    put_labels(print, "call_bytes_total", p, call, whose);
    printf("} %" PRIu64 "\n", p->counts[call][whose].bytes);
}

static void put_unfinished(const struct print *print, const struct probes_process *p, int call,
                           int whose)
{
    put_labels(print, "call_unfinished_total", p, call, whose);
    printf("} %" PRIu64 "\n", p->counts[call][whose].unfinished);
}

static void put_family(const struct print *print, const struct probes_reading *r, put_fn *put)
{
    for (size_t i = 0; i < r->process_count; i++)
        for (int call = 0; call < HAKPROBE_CALLS; call++)
            for (int whose = 0; whose < HAKPROBE_WHOSE; whose++)
                if (!nothing(&r->processes[i].counts[call][whose]))
                    put(print, &r->processes[i], call, whose);
}

static const struct probes_process *process_of(const struct probes_reading *r,
                                               const struct hakprobe_id *id)
{
    for (size_t i = 0; i < r->process_count; i++)
        if (same(id, &r->processes[i].id))
            return &r->processes[i];
    return NULL;
}

/* Those of the allocator's locks: the program's addresses are too many for labels. */
static void put_waits(const struct print *print, const struct probes_reading *r)
{
    for (size_t i = 0; i < r->wait_count; i++) {
        const struct probes_process *p = process_of(r, &r->waits[i].id);
        if (!p || !r->waits[i].waits.lock[0])
            continue;
        put_process(print, "lock_waits_total", p);
        printf(",lock=\"");
        put_escaped(r->waits[i].waits.lock);
        printf("\",address=\"0x%" PRIx64 "\"} %" PRIu64 "\n", r->waits[i].address,
               probes_sum(r->waits[i].waits.histogram));
    }
}

static void put_head(const char *name, const char *type, const char *unit, const char *help)
{
    printf("# TYPE hakprobe_%s %s\n", name, type);
    if (unit)
        printf("# UNIT hakprobe_%s %s\n", name, unit);
    printf("# HELP hakprobe_%s %s\n", name, help);
}

static void print_metrics(const struct print *print, const struct probes_reading *r)
{
    put_head("call_seconds", "histogram", "seconds",
             "System calls and page faults, from entry to return.");
    put_family(print, r, put_seconds);
    put_head("call_errors", "counter", NULL, "Those that failed.");
    put_family(print, r, put_errors);
    put_head("call_bytes", "counter", "bytes", "What those that succeeded were about.");
    put_family(print, r, put_bytes);
    put_head("call_unfinished", "counter", NULL, "Those that never returned.");
    put_family(print, r, put_unfinished);
    put_head("lock_waits", "counter", NULL, "Waits for a lock of the allocator.");
    put_waits(print, r);
    put_head("lost", "counter", NULL, "What was not counted, and why.");
    for (int i = 0; i < HAKPROBE_LOST_KINDS; i++)
        printf("hakprobe_lost_total{what=\"%s\"} %" PRIu64 "\n", probes_lost_names[i], r->lost[i]);
    printf("# EOF\n");
}

/* ---- Any ------------------------------------------------------------------------------------ */

void print_reading(const struct print *print, const struct probes_reading *r, uint64_t interval_ns)
{
    switch (print->format) {
    case PRINT_TEXT:    print_text(print, r, interval_ns); break;
    case PRINT_JSON:    print_json(print, r, interval_ns); break;
    case PRINT_METRICS: print_metrics(print, r); break;
    }
}

void print_report(const struct print *print, const struct probes_report *report)
{
    json_t *object = json_object();

    for (int i = 0; i < PROBES_PARTS; i++) {
        bool tried = report->part[i].tried, works = report->part[i].works;
        const char *text = tried ? report->part[i].text : "not tried";
        if (print->format != PRINT_JSON)
            printf("%-14s %-4s %s\n", probes_part_names[i], works ? "yes" : "no", text);
        json_object_set_new(object, probes_part_names[i],
                            json_pack("{s:b, s:s}", "works", works, "text", text));
    }
    if (print->format == PRINT_JSON)
        write_json(json_pack("{s:o}", "check", object));
    else
        json_decref(object);
}
