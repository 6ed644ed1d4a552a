/* set.c: the verbs that change knobs one by one: set and reset. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hakctl/hakctl.h"

/* ---- For every verb that changes knobs ----------------------------------------------------- */

static json_t *change_list(const struct shm_change *changes, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "name", changes[i].knob->name,
                                              "old", json_u64(changes[i].old),
                                              "new", json_u64(changes[i].value)));
    return list;
}

/* What would be changed, if nobody comes in between. */
static int foresee(const struct call *call, const struct shm_seg *seg, struct shm_change *changes,
                   size_t count, json_t *out, struct shm_error *err)
{
    struct shm_wanted wanted;
    int code = shm_wanted(seg, &wanted, err);
    if (code)
        return code;
    for (size_t i = 0; i < count; i++) {
        if (changes[i].knob->context != HAK_LIVE)
            code = shm_startup_knob(changes[i].knob, err);
        changes[i].old = wanted.values[changes[i].knob->index];
    }
    if (code)
        return nothing_changed(err);
    if (call->dry_run)
        json_object_set_new(out, "dry_run", json_true());
    json_object_set_new(out, "changes", change_list(changes, count));
    return SHM_OK;
}

int apply(const struct call *call, struct shm_seg *seg, struct shm_change *changes, size_t count,
          json_t *out, struct shm_error *err)
{
    struct shm_ack ack = { 0 };
    if (call->dry_run || !count)
        return foresee(call, seg, changes, count, out, err);
    int code = shm_set(seg, changes, count, call->wait_ms, call->revert_ms, &ack, err);
    if (code == SHM_EREFUSED || (code && !ack.generation))
        return nothing_changed(err);
    if (code && code != SHM_EBUSY)
        return code;
    json_object_set_new(out, "generation", json_u64(ack.generation));
    json_object_set_new(out, "applied", json_integer(ack.applied));
    json_object_set_new(out, "threads", json_integer(ack.moved));
    json_object_set_new(out, "idle", json_integer(ack.idle));
    if (ack.frees_left)
        json_object_set_new(out, "frees_left", json_integer(ack.frees_left));
    if (call->revert_ms)
        json_object_set_new(out, "revert_after_ms", json_integer(call->revert_ms));
    json_object_set_new(out, "changes", change_list(changes, count));
    return code;
}

void print_changes(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    size_t i;
    json_t *change;
    char fate[160] = "dry run", revert[48] = "";
    if (call->quiet)
        return;
    if (call->revert_ms)
        snprintf(revert, sizeof revert, "; reverts after %g s", call->revert_ms / 1000.0);
    if (!json_object_get(out, "dry_run"))
        snprintf(fate, sizeof fate, "generation %" PRIu64 ", applied by %" PRIu64 "/%" PRIu64
                 " threads, %" PRIu64 " idle%s", num(out, "generation"), num(out, "applied"),
                 num(out, "threads"), num(out, "idle"), revert);
    json_array_foreach(json_object_get(out, "changes"), i, change) {
        char old[SHM_VALUE_MAX], new[SHM_VALUE_MAX];
        printf("%s: %s -> %s (%s)\n", str(change, "name"), value_text(seg, change, "old", old),
               value_text(seg, change, "new", new), fate);
    }
}

/* ---- set ----------------------------------------------------------------------------------- */

/* Fills changes[*count] unless -e forgives that there is no such knob. */
static int add_change(const struct call *call, const struct shm_seg *seg, const char *text,
                      struct shm_change *changes, size_t *count, struct shm_error *err)
{
    struct shm_change *change = &changes[*count];
    change->knob = NULL;
    if (parse_assignment(text, seg->knobs, seg->knob_count, change, err)) {
        bool unknown = !change->knob && err->code == SHM_EREFUSED;
        return unknown && call->lenient ? SHM_OK : nothing_changed(err);
    }
    for (size_t i = 0; i < *count; i++)
        if (changes[i].knob == change->knob) {
            shm_fail(err, SHM_EUSAGE, "%s: given twice", change->knob->name);
            return nothing_changed(err);
        }
    ++*count;
    return SHM_OK;
}

static int set(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    size_t count = 0;
    struct shm_change *changes = calloc((size_t)call->argc, sizeof *changes);
    int code = changes ? SHM_OK : shm_fail(err, SHM_EIO, "out of memory");
    for (int i = 0; i < call->argc && !code; i++)
        code = add_change(call, seg, call->argv[i], changes, &count, err);
    if (!code)
        code = apply(call, seg, changes, count, out, err);
    free(changes);
    return code;
}

const struct command cmd_set = {
    .name = "set", .operands = "NAME=VALUE...", .options = "e" APPLY_OPTIONS,
    .help = "change knobs, all or none, and wait for the threads",
    .least = 1, .most = INT32_MAX, .each = set, .print = print_changes,
};

/* ---- reset --------------------------------------------------------------------------------- */

/* Every live knob that is not at its default, or won't be once a pending change is in force. */
static int reset_all(const struct shm_seg *seg, struct shm_change *changes, size_t *count,
                     struct shm_error *err)
{
    struct shm_wanted wanted;
    int code = shm_wanted(seg, &wanted, err);
    if (code)
        return code;
    for (unsigned i = 0; i < seg->knob_count; i++) {
        const struct hak_knob_desc *knob = &seg->knobs[i];
        if (knob->context == HAK_LIVE && wanted.values[knob->index] != knob->def)
            changes[(*count)++] = (struct shm_change){ .knob = knob, .value = knob->def };
    }
    return SHM_OK;
}

static int reset_named(const struct call *call, const struct shm_seg *seg,
                       struct shm_change *changes, size_t *count, struct shm_error *err)
{
    for (int i = 0; i < call->argc; i++) {
        const struct hak_knob_desc *knob;
        if (find_knob(seg->knobs, seg->knob_count, call->argv[i], &knob, err)) {
            if (!call->lenient)
                return nothing_changed(err);
            continue;
        }
        changes[(*count)++] = (struct shm_change){ .knob = knob, .value = knob->def };
    }
    return SHM_OK;
}

static int reset(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    size_t count = 0;
    struct shm_change *changes = calloc((size_t)call->argc + seg->knob_count, sizeof *changes);
    if (!changes)
        return shm_fail(err, SHM_EIO, "out of memory");
    int code = call->all_knobs ? reset_all(seg, changes, &count, err)
                               : reset_named(call, seg, changes, &count, err);
    if (!code)
        code = apply(call, seg, changes, count, out, err);
    free(changes);
    return code;
}

const struct command cmd_reset = {
    .name = "reset", .operands = "NAME...|--all", .options = "eA" APPLY_OPTIONS,
    .help = "put knobs back to their defaults", .most = INT32_MAX, .each = reset,
    .print = print_changes,
};
