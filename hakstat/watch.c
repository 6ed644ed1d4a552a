/* watch.c: where a view's samples come from: a process, what follows it, or a recording; see
 * view.h. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hakstat/view.h"

uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t rss_of(int pid)
{
    char path[64];
    unsigned long long pages = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct span view_span(const struct view *v)
{
    struct span span = {
        .seg = v->seg, .to = v->now, .open_class = v->open_class, .rate = !v->cumulative,
        .from = v->cumulative ? v->reset : v->before, .seconds = 1,
        .proc_pid = v->replay != NULL || v->ended[0] != '\0' ? 0 : v->seg->proc.pid,
        .events = v->events, .event_count = v->event_count, .map = v->map, .map_count = v->map_count,
        .kernel = v->kernel.now, .kernel_why = v->kernel.err.text,
        .kernel_from = v->cumulative ? v->kernel.reset : v->kernel.before,
    };

    if (span_ns(&span) > 0)
        span.seconds = (double)span_ns(&span) / 1e9;
    return span;
}

static void keep_rates(struct view *v)
{
    struct span span = { .seg = v->seg, .from = v->before, .to = v->now };
    double seconds = (double)span_ns(&span) / 1e9;
    struct shm_sums sums;

    if (v->before == NULL || seconds <= 0)
        return;
    span_sums(&span, SHM_ALL, ALL_BINS, &sums);
    memmove(v->allocs_s, v->allocs_s + 1, sizeof v->allocs_s - sizeof *v->allocs_s);
    memmove(v->frees_s, v->frees_s + 1, sizeof v->frees_s - sizeof *v->frees_s);
    v->allocs_s[SPARK_VALUES - 1] = (double)sums.allocs / seconds;
    v->frees_s[SPARK_VALUES - 1] = (double)sums.frees / seconds;
}

void view_release(struct view *v, struct shm_snap *snap)
{
    if (snap != v->before && snap != v->now && snap != v->reset)
        shm_snap_free(snap);
}

static void end(struct view *v, enum shm_code code, const char *why)
{
    snprintf(v->ended, sizeof v->ended, "%s", why);
    v->end_code = code;
    v->message[0] = '\0';                       /* the bottom line is for this */
}

static int sample_live(struct view *v, struct sample *s, bool *alive, struct shm_error *err)
{
    static struct hak_trace_record events[EVENTS_MOST];
    static struct shm_superslab map[HAK_MAP_SUPERSLABS];
    int code;

    *alive = shm_alive(v->seg);         /* before the snapshot: what it shows is then complete */
    code = shm_snapshot(v->seg, &s->snap, err);
    if (code != SHM_OK)
        return code;
    s->rss_bytes = *alive ? rss_of(v->seg->proc.pid) : 0;
    s->events = events;
    s->event_count = shm_trace(v->seg, events, EVENTS_MOST);
    s->map = map;
    s->map_count = shm_map(v->seg, map, HAK_MAP_SUPERSLABS);
    if (*alive && screens[v->screen]->walks && !v->readonly)
        shm_ask_walk(v->seg, NULL);     /* for the next sample; where that may not be, without it */
    return SHM_OK;
}

/* What belongs to one process. */
static void forget_samples(struct view *v)
{
    struct shm_snap *before = v->before, *now = v->now, *reset = v->reset;

    v->before = v->now = v->reset = NULL;
    for (int i = 0; i < SPARK_VALUES; i++)
        v->allocs_s[i] = v->frees_s[i] = NAN;
    if (reset != now && reset != before)
        shm_snap_free(reset);
    shm_snap_free(before);
    shm_snap_free(now);
}

/* The next one of the recording, perhaps of another process. */
static int sample_recorded(struct view *v, struct sample *s, struct shm_error *err)
{
    int code = replay_sample(v->replay, v->replay_at, s, err);

    if (code != SHM_OK)
        return code;
    v->replay_at++;
    if (s->snap->seg != v->seg) {
        forget_samples(v);
        v->seg = (struct shm_seg *)s->snap->seg;
        v->open_class = -1;
    }
    return SHM_OK;
}

static void keep_sample(struct view *v, const struct sample *s)
{
    struct shm_snap *old = v->before;

    v->before = v->now;
    v->now = s->snap;
    view_release(v, old);
    v->rss_bytes = s->rss_bytes;
    v->event_count = s->event_count < EVENTS_MOST ? s->event_count : EVENTS_MOST;
    memcpy(v->events, s->events + (s->event_count - v->event_count),
           v->event_count * sizeof *v->events);
    v->map_count = s->map_count;
    memcpy(v->map, s->map, v->map_count * sizeof *v->map);
    keep_rates(v);
}

static void record(struct view *v, const struct sample *s)
{
    struct shm_error err;

    if (v->recorder == NULL || record_sample(v->recorder, s, &err) == SHM_OK)
        return;
    snprintf(v->record_error, sizeof v->record_error, "%s", err.text);
    view_say(v, INK_BAD, "%s", err.text);
    record_close(v->recorder);
    v->recorder = NULL;
}

void view_sample(struct view *v)
{
    struct sample s;
    struct shm_error err;
    bool alive = true;
    int code = v->replay != NULL ? sample_recorded(v, &s, &err) : sample_live(v, &s, &alive, &err);

    if (code != SHM_OK) {
        end(v, err.code, err.text);
        return;
    }
    keep_sample(v, &s);
    if (v->replay == NULL)
        kernel_sample(&v->kernel);
    record(v, &s);
    if (!alive)
        end(v, SHM_EGONE, "the process has ended");
}

/* With the samples before it, for the rates. */
void view_seek(struct view *v, long i)
{
    long last = (long)replay_count(v->replay) - 1, first;

    i = i < 0 ? 0 : i > last ? last : i;
    first = i > SPARK_VALUES ? i - SPARK_VALUES : 0;
    v->replay_at = (unsigned)first;
    v->ended[0] = '\0';
    forget_samples(v);
    while (v->replay_at <= (unsigned)i && v->ended[0] == '\0')
        view_sample(v);
    v->due_ms = now_ms() + v->interval_ms;
}

int view_attach(struct view *v, const struct shm_proc *proc, struct shm_error *err)
{
    struct shm_seg *seg;
    int code = shm_attach(proc, &seg, err);

    if (code != SHM_OK)
        return code;
    forget_samples(v);
    shm_detach(v->seg);
    v->seg = seg;
    v->ended[0] = '\0';
    v->open_class = -1;
    v->due_ms = 0;
    kernel_watch(&v->kernel, &seg->proc);
    return SHM_OK;
}

/* The newest of the processes that target names. */
static bool newest(const struct shm_target *target, struct shm_proc *proc)
{
    struct shm_proc *list;
    size_t count;

    if (shm_targets(target, &list, &count, NULL) != SHM_OK)
        return false;
    *proc = list[0];
    for (size_t i = 1; i < count; i++)
        if (list[i].born_ns > proc->born_ns)
            *proc = list[i];
    free(list);
    return true;
}

bool view_go_on(struct view *v)
{
    struct shm_target same = { .pid = v->seg != NULL ? v->seg->proc.pid : 0, .all = true };
    struct shm_target named = { .comm = v->follow, .all = true };
    struct shm_error err;
    struct shm_proc proc;
    bool found = same.pid != 0 && newest(&same, &proc);

    if (!found && v->follow != NULL)
        found = newest(&named, &proc);
    if (!found || view_attach(v, &proc, &err) != SHM_OK)
        return false;
    view_say(v, INK_TEXT, "now pid %d, %s", proc.pid, proc.comm);
    return true;
}

void view_free(struct view *v)
{
    forget_samples(v);
    kernel_close(&v->kernel);
    if (v->replay == NULL)
        shm_detach(v->seg);
    replay_close(v->replay);
    record_close(v->recorder);
    table_free(&v->table);
}
