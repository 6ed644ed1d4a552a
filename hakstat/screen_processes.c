/* screen_processes.c: the processes under libhakmem, to choose one from. */
#include <stdlib.h>
#include <string.h>

#include "hakstat/memory.h"
#include "hakstat/screens.h"
#include "hakstat/view.h"

enum { PID, NAME, STATE, THREADS, LIVE_BYTES, ALLOCS_S, L0_PART, GENERATION };

static const struct column columns[] = {
    [PID]        = { "pid", "PID", 8, 0, U_TEXT },
    [NAME]       = { "comm", "NAME", 15, 0, U_TEXT },
    [STATE]      = { "state", "STATE", 6, 0, U_TEXT },
    [THREADS]    = { "threads", "THREADS", 7, 0, U_COUNT },
    [LIVE_BYTES] = { "live_bytes", "LIVE", 6, 0, U_BYTES },
    [ALLOCS_S]   = { "allocs_s", "ALLOCS/S", 9, 0, U_COUNT },
    [L0_PART]    = { "heap_v2_part", "L0 %", 6, 1, U_PART },
    [GENERATION] = { "generation", "GEN", 6, 1, U_COUNT },
};

/* A process on the list, from one look to the next. */
struct watched {
    struct shm_proc proc;
    struct shm_seg *seg;                /* NULL: it can't be read */
    struct shm_snap *before, *now;
};

static struct watched *list;
static size_t list_count;
static uint64_t looked_ms;
enum { LOOK_MS = 1000 };

static void release(struct watched *w)
{
    shm_snap_free(w->before);
    shm_snap_free(w->now);
    shm_detach(w->seg);
}

static bool same(const struct shm_proc *a, const struct shm_proc *b)
{
    return a->dev == b->dev && a->ino == b->ino && strcmp(a->file, b->file) == 0;
}

/* Takes what is known of a process over from the last look, or begins to watch it. */
static void take(struct watched *w, const struct shm_proc *proc)
{
    struct shm_error err;
    struct shm_snap *snap;

    memset(w, 0, sizeof *w);
    for (size_t i = 0; i < list_count; i++)
        if (list[i].seg != NULL && same(&list[i].proc, proc)) {
            *w = list[i];
            memset(&list[i], 0, sizeof list[i]);
        }
    w->proc = *proc;
    if (w->seg == NULL && shm_attach(proc, &w->seg, &err) != SHM_OK)
        w->seg = NULL;
    if (w->seg != NULL && shm_snapshot_sums(w->seg, &snap, &err) == SHM_OK) {
        shm_snap_free(w->before);
        w->before = w->now;
        w->now = snap;
    }
}

static void look(void)
{
    struct shm_proc *found;
    struct shm_error err;
    struct watched *next;
    size_t count, kept = 0;

    if (shm_find(&found, &count, &err) != SHM_OK)
        return;
    next = must_realloc(NULL, count * sizeof *next);
    for (size_t i = 0; i < count; i++)
        if (found[i].live)
            take(&next[kept++], &found[i]);
    for (size_t i = 0; i < list_count; i++)
        release(&list[i]);
    free(list);
    free(found);
    list = next;
    list_count = kept;
}

static void add(struct table *table, const struct watched *w)
{
    struct row *row = table_add(table, (uint64_t)w->proc.pid);
    struct span span = { .seg = w->seg, .from = w->before, .to = w->now };
    struct shm_sums sums, calls;

    row->cell[PID].text = table_text(table, "%d", w->proc.pid);
    row->cell[NAME].text = w->proc.comm;
    row->cell[STATE].text = w->now != NULL ? "live" : "error";
    row->dim = w->now == NULL;
    if (w->now == NULL)
        return;
    shm_sum_all(w->now, SHM_ALL, &sums);
    row->cell[THREADS].number = w->now->threads;
    row->cell[LIVE_BYTES].number = (double)sums.live_bytes;
    row->cell[GENERATION].number = (double)w->now->state.generation;
    if (w->before == NULL || w->now->boot_ns <= w->before->boot_ns)
        return;
    span_sums(&span, SHM_ALL, ALL_BINS, &calls);
    row->cell[ALLOCS_S].number =
        (double)calls.allocs * 1e9 / (double)(w->now->boot_ns - w->before->boot_ns);
    row->cell[L0_PART].number = part_of((double)calls.heap_v2_hits, (double)calls.allocs);
}

static void fill(const struct span *span, struct table *table)
{
    (void)span;
    if (looked_ms == 0 || now_ms() - looked_ms >= LOOK_MS) {
        look();
        looked_ms = now_ms();
    }
    for (size_t i = 0; i < list_count; i++)
        add(table, &list[i]);
}

static const char *empty(const struct span *span)
{
    (void)span;
    return "No process runs under libhakmem. Start one with 'hakctl run -- COMMAND'.";
}

static void watch(struct view *view, const struct shm_proc *proc)
{
    struct shm_error err;

    if (view_attach(view, proc, &err) != SHM_OK) {
        view_say(view, INK_BAD, "pid %d: %s", proc->pid, err.text);
        return;
    }
    view->screen = view->back;
    view->filter[0] = '\0';                     /* it was to find the process by */
}

static void enter(struct view *view, uint64_t id)
{
    if (view->replay != NULL) {
        view_say(view, INK_BAD, "a recording shows its own processes");
        return;
    }
    for (size_t i = 0; i < list_count; i++)
        if ((uint64_t)list[i].proc.pid == id) {
            watch(view, &list[i].proc);
            return;
        }
}

const struct screen screen_processes = {
    .name = "processes", COLUMNS(columns), .fill = fill, .empty = empty, .enter = enter,
};
