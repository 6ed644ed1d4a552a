/* trace.c: the verb trace: what is in the trace ring. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "hakctl/hakctl.h"

static json_t *record_object(const struct shm_seg *seg, const struct hak_trace_record *r)
{
    json_t *object = json_pack("{s:o, s:o, s:i, s:s, s:o}", "number", json_u64(r->order - 1),
                               "monotonic_ns", json_u64(r->ns), "tid", r->tid,
                               "event", shm_trace_name(r->kind), "arg", json_u64(r->arg));
    if (r->bin < seg->bin_count && seg->bins[r->bin].cls < seg->class_count) {
        const struct hak_bin_desc *bin = &seg->bins[r->bin];
        json_object_set_new(object, "class", json_string(seg->classes[bin->cls].name));
        json_object_set_new(object, "size", json_integer(bin->size));
    }
    return object;
}

static int trace(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    struct shm_snap *snap;
    size_t most = call->count && call->count < HAK_TRACE_RECORDS ? call->count : HAK_TRACE_RECORDS;
    struct hak_trace_record *records = calloc(most, sizeof *records);
    int code = records ? shm_snapshot_sums(seg, &snap, err) : shm_fail(err, SHM_EIO, "out of memory");
    if (!code) {
        json_t *list = json_array();
        size_t count = shm_trace(seg, records, most);
        for (size_t i = 0; i < count; i++)
            json_array_append_new(list, record_object(seg, &records[i]));
        json_object_set_new(out, "trace_on", json_boolean(snap->state.trace_on));
        json_object_set_new(out, "records", list);
        shm_snap_free(snap);
    }
    free(records);
    return code;
}

/* Why there is little to see. */
static void remark(const struct shm_seg *seg, bool on, bool any)
{
    if (seg->proc.live && !on)
        fprintf(stderr, "hakctl: pid %d: nothing is being recorded; switch it on with "
                "'hakctl set -p %d trace.ring=1'\n", seg->proc.pid, seg->proc.pid);
    else if (!any)
        fprintf(stderr, "hakctl: pid %d: nothing has been recorded\n", seg->proc.pid);
}

static void print_trace(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    (void)call;
    size_t i;
    json_t *r;
    bool any = json_array_size(json_object_get(out, "records"));
    remark(seg, json_is_true(json_object_get(out, "trace_on")), any);
    if (!any)
        return;
    printf("%17s %8s %-18s %-5s %6s %12s\n", "MONOTONIC_S", "TID", "EVENT", "CLASS", "SIZE", "ARG");
    json_array_foreach(json_object_get(out, "records"), i, r) {
        const json_t *cls = json_object_get(r, "class");
        printf("%10" PRIu64 ".%06u %8" PRIu64 " %-18s", num(r, "monotonic_ns") / 1000000000,
               (unsigned)(num(r, "monotonic_ns") / 1000 % 1000000), num(r, "tid"), str(r, "event"));
        if (cls)
            printf(" %-5s %6" PRIu64, json_string_value(cls), num(r, "size"));
        else
            printf(" %-5s %6s", "-", "-");
        printf(" %12" PRIu64 "\n", num(r, "arg"));
    }
}

const struct command cmd_trace = {
    .name = "trace", .operands = "[--count N]", .options = "C",
    .help = "events of the trace ring, oldest first", .dead_too = true, .each = trace,
    .print = print_trace,
};
