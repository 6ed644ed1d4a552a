/* ps.c: the verb ps, which lists processes and what is left of dead ones. */
#define _GNU_SOURCE
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hakctl/hakctl.h"

static void put_figures(json_t *row, const struct shm_seg *seg, const struct shm_snap *snap)
{
    struct shm_sums sums;
    shm_sum_all(snap, SHM_ALL, &sums);
    json_object_set_new(row, "state", json_string(state_name(seg, snap)));
    json_object_set_new(row, "threads", json_integer(seg->proc.live ? snap->threads : 0));
    json_object_set_new(row, "live_bytes", json_u64(sums.live_bytes));
    json_object_set_new(row, "generation", json_u64(snap->state.generation));
}

/* A process that can't be read is listed all the same, with the reason. */
static json_t *row_of(const struct shm_proc *proc)
{
    struct shm_error err;
    struct shm_seg *seg = NULL;
    struct shm_snap *snap = NULL;
    json_t *row = json_pack("{s:o, s:s, s:I}", "pid", pid_or_null(proc->pid), "comm", proc->comm,
                            "uid", (json_int_t)proc->uid);
    if (!shm_attach(proc, &seg, &err) && !shm_snapshot_sums(seg, &snap, &err)) {
        put_figures(row, seg, snap);
    } else {
        json_object_set_new(row, "state", json_string("unreadable"));
        json_object_set_new(row, "error", error_object(proc->pid, &err));
    }
    shm_snap_free(snap);
    shm_detach(seg);
    return row;
}

/* ---- --sort ---- */

static const char *const sort_keys[][2] = {      /* as typed, and the member */
    { "pid", "pid" }, { "name", "comm" }, { "threads", "threads" }, { "live", "live_bytes" },
    { "generation", "generation" }, { "state", "state" },
};
static const char *sort_key;

/* Figures other than pids from the largest down, as top does. */
static int by_key(const void *a, const void *b)
{
    const json_t *x = json_object_get(*(json_t *const *)a, sort_key);
    const json_t *y = json_object_get(*(json_t *const *)b, sort_key);
    if (json_is_string(x) && json_is_string(y))
        return strcmp(json_string_value(x), json_string_value(y));
    uint64_t m = (uint64_t)json_integer_value(x), n = (uint64_t)json_integer_value(y);
    int order = m < n ? -1 : m > n;
    return strcmp(sort_key, "pid") ? -order : order;
}

static int sort_rows(json_t *rows, const char *by, struct shm_error *err)
{
    size_t count = json_array_size(rows);
    sort_key = NULL;
    for (unsigned i = 0; i < sizeof sort_keys / sizeof *sort_keys; i++)
        if (!strcmp(sort_keys[i][0], by))
            sort_key = sort_keys[i][1];
    if (!sort_key)
        return shm_fail(err, SHM_EUSAGE, "--sort: %s is not pid, name, threads, live, generation "
                        "or state", by);
    json_t **list = malloc((count + 1) * sizeof *list);
    if (!list)
        return shm_fail(err, SHM_EIO, "out of memory");
    for (size_t i = 0; i < count; i++)
        list[i] = json_incref(json_array_get(rows, i));
    qsort(list, count, sizeof *list, by_key);
    json_array_clear(rows);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(rows, list[i]);
    free(list);
    return SHM_OK;
}

/* An empty list is an answer, but not where a process was named. */
static int not_there(const struct call *call, struct shm_error *err)
{
    struct shm_target target = call->target;
    target.all = target.dead_too = true;
    struct shm_proc *list;
    size_t count;
    int code = shm_targets(&target, &list, &count, err);
    if (!code)
        free(list);
    return code;
}

static int ps(const struct call *call, json_t *out, struct shm_error *err)
{
    struct shm_proc *list;
    size_t count;
    int code = shm_find(&list, &count, err);
    if (code)
        return code;
    json_t *rows = json_array();
    for (size_t i = 0; i < count; i++)
        if ((!call->target.pid || call->target.pid == list[i].pid)
            && (!call->target.comm || !fnmatch(call->target.comm, list[i].comm, 0)))
            json_array_append_new(rows, row_of(&list[i]));
    free(list);
    if ((call->target.pid || call->target.comm) && !json_array_size(rows))
        code = not_there(call, err);
    if (!code && call->sort)
        code = sort_rows(rows, call->sort, err);
    if (code)
        json_decref(rows);
    else
        json_object_set_new(out, "processes", rows);
    return code;
}

static void print_ps(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    (void)call, (void)seg;
    size_t i;
    json_t *row;
    printf("%7s %-15s %7s %10s %10s %s\n", "PID", "NAME", "THREADS", "LIVE", "GENERATION", "STATE");
    json_array_foreach(json_object_get(out, "processes"), i, row) {
        const json_t *error = json_object_get(row, "error");
        char live[24], pid[24];
        if (json_is_null(json_object_get(row, "pid")))
            strcpy(pid, "-");       /* it runs in a pid namespace that we don't see into */
        else
            snprintf(pid, sizeof pid, "%" PRIu64, num(row, "pid"));
        printf("%7s %-15s ", pid, str(row, "comm"));
        if (error)
            printf("%7s %10s %10s %s: %s\n", "-", "-", "-", str(row, "state"),
                   str(error, "message"));
        else
            printf("%7" PRIu64 " %10s %10" PRIu64 " %s\n", num(row, "threads"),
                   shm_bytes_text(num(row, "live_bytes"), live), num(row, "generation"),
                   str(row, "state"));
    }
}

const struct command cmd_ps = {
    .name = "ps", .operands = "[--sort KEY]", .options = "S",
    .help = "processes: threads, live bytes, generation, state",
    .once = ps, .print = print_ps,
};
