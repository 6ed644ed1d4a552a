/* purge.c: the verbs that clear away: purge in a process, gc what dead ones left. */
#include <inttypes.h>
#include <stdio.h>

#include "hakctl/hakctl.h"

static int purge(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    bool done;
    uint64_t bytes;
    int code = shm_purge(seg, call->wait_ms, &done, &bytes, err);
    if (!code) {
        json_object_set_new(out, "done", json_boolean(done));
        json_object_set_new(out, "purged_bytes", json_u64(bytes));
    }
    return code;
}

static void print_purge(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    (void)seg;
    char bytes[24];
    if (json_is_true(json_object_get(out, "done")))
        printf("purged %s\n", shm_bytes_text(num(out, "purged_bytes"), bytes));
    else
        printf("pending: %s\n", call->wait_ms ? "all threads are idle; the next that moves purges"
                                             : "not waited for");
}

const struct command cmd_purge = {
    .name = "purge", .operands = "", .options = "WN", .help = "give unused memory back to the kernel",
    .each = purge, .print = print_purge,
};

static void put_removed(const struct shm_proc *proc, void *rows)
{
    json_array_append_new(rows, json_pack("{s:i, s:s, s:I, s:s}", "pid", proc->pid,
                                          "comm", proc->comm, "uid", (json_int_t)proc->uid,
                                          "file", proc->file));
}

static int gc(const struct call *call, json_t *out, struct shm_error *err)
{
    (void)err;
    json_t *rows = json_array();
    shm_gc(0, call->dry_run, put_removed, rows);
    if (call->dry_run)
        json_object_set_new(out, "dry_run", json_true());
    json_object_set_new(out, "removed", rows);
    return SHM_OK;
}

static void print_gc(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    (void)seg;
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(out, "removed"), i, row)
        printf("%s %s (%s)\n", call->dry_run ? "would remove" : "removed", str(row, "file"), str(row, "comm"));
}

const struct command cmd_gc = {
    .name = "gc", .operands = "[--dry-run]", .options = "D", .help = "remove the segments of dead processes",
    .once = gc, .print = print_gc,
};
