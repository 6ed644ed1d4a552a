/* knobs.c: list, get and set. */
#define _GNU_SOURCE
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hakctl/hakctl.h"

static const char *origin_name(uint32_t from)
{
    static const char *const name[] = {
        [HAK_FROM_DEFAULT] = "default", [HAK_FROM_CONF] = "file", [HAK_FROM_ENV] = "env",
        [HAK_FROM_CONTROL] = "hakctl", [HAK_FROM_API] = "api", [HAK_FROM_REVERT] = "revert",
    };
    return from < sizeof name / sizeof *name ? name[from] : "?";
}

static const char *type_name(uint32_t type)
{
    static const char *const name[] = {
        [HAK_BOOL] = "bool", [HAK_UINT] = "uint", [HAK_MASK] = "mask", [HAK_OCTAL] = "octal",
    };
    return type < sizeof name / sizeof *name ? name[type] : "?";
}

static int torn(struct shm_error *err)
{
    return shm_fail(err, SHM_EIO, "its state page is being written all the time");
}

/* ---- list ---------------------------------------------------------------------------------- */

static json_t *describe(const struct hak_knob_desc *k, const struct hak_state *state)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:s}",
                     "name", k->name, "value", json_u64(state->values[k->index]),
                     "default", json_u64(k->def), "min", json_u64(k->min), "max", json_u64(k->max),
                     "type", type_name(k->type), "unit", k->unit,
                     "context", k->context == HAK_LIVE ? "live" : "startup",
                     "from", origin_name(state->origin[k->index].from), "env", k->env,
                     "help", k->help);
}

static int list(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    (void)call;
    struct shm_snap *snap;
    int code = shm_snapshot(seg, &snap, err);
    if (code)
        return code;
    if (snap->torn)
        code = torn(err);
    else {
        json_t *knobs = json_array();
        for (unsigned i = 0; i < seg->knob_count; i++)
            json_array_append_new(knobs, describe(&seg->knobs[i], &snap->state));
        json_object_set_new(out, "generation", json_u64(snap->state.generation));
        json_object_set_new(out, "env_errors", json_u64(
            shm_global(snap, shm_stat(seg, HAK_SCOPE_GLOBAL, "env_errors"))));
        json_object_set_new(out, "knobs", knobs);
    }
    shm_snap_free(snap);
    return code;
}

static const char *value_text(const struct shm_seg *seg, const json_t *knob, const char *key,
                              char buf[SHM_VALUE_MAX])
{
    return shm_value_text(shm_knob(seg, str(knob, "name")), num(knob, key), buf);
}

static void print_list(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    (void)call;
    size_t i;
    json_t *k;
    printf("%-28s %-9s %-9s %-14s %-7s %-7s %s\n", "NAME", "VALUE", "DEFAULT", "RANGE", "CONTEXT",
           "FROM", "HELP");
    json_array_foreach(json_object_get(out, "knobs"), i, k) {
        char value[SHM_VALUE_MAX], def[SHM_VALUE_MAX], min[SHM_VALUE_MAX], max[SHM_VALUE_MAX];
        char range[2 * SHM_VALUE_MAX + 4];
        snprintf(range, sizeof range, "%s..%s", value_text(seg, k, "min", min),
                 value_text(seg, k, "max", max));
        printf("%-28s %-9s %-9s %-14s %-7s %-7s %s%s%s%s\n", str(k, "name"),
               value_text(seg, k, "value", value), value_text(seg, k, "default", def), range,
               str(k, "context"), str(k, "from"), *str(k, "unit") ? "[" : "", str(k, "unit"),
               *str(k, "unit") ? "] " : "", str(k, "help"));
    }
    if (num(out, "env_errors"))
        printf("%" PRIu64 " values of the environment or the configuration file were refused at "
               "start; HAKMEM_VERBOSE=1 says which\n", num(out, "env_errors"));
}

const struct command cmd_list = {
    .name = "list", .operands = "", .options = "",
    .help = "knobs with value, default, range, context and help",
    .dead_too = true, .each = list, .print = print_list,
};

/* ---- get ----------------------------------------------------------------------------------- */

static const char *knob_name(size_t i, const void *seg)
{
    const struct shm_seg *s = seg;
    return i < s->knob_count ? s->knobs[i].name : NULL;
}

static int get_matches(const struct shm_seg *seg, const struct hak_state *state, const char *glob,
                       json_t *values, struct shm_error *err)
{
    bool found = false;
    for (unsigned i = 0; i < seg->knob_count; i++) {
        const struct hak_knob_desc *k = &seg->knobs[i];
        if (fnmatch(glob, k->name, 0))
            continue;
        found = true;
        json_object_set_new(values, k->name, json_u64(state->values[k->index]));
    }
    if (found)
        return SHM_OK;
    const char *nearest = shm_nearest(glob, knob_name, seg);
    return shm_fail(err, SHM_EREFUSED, "%s: no such knob%s%s", glob,
                    nearest ? ", the nearest is " : "", nearest ? nearest : "");
}

static int get(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    struct shm_snap *snap;
    int code = shm_snapshot(seg, &snap, err);
    if (code)
        return code;
    json_t *values = json_object();
    if (snap->torn)
        code = torn(err);
    for (int i = 0; i < call->argc && !code; i++)
        code = get_matches(seg, &snap->state, call->argv[i], values, err);
    shm_snap_free(snap);
    if (code)
        json_decref(values);
    else
        json_object_set_new(out, "values", values);
    return code;
}

static void print_get(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(out, "values"), name, value) {
        char text[SHM_VALUE_MAX];
        shm_value_text(shm_knob(seg, name), (uint64_t)json_integer_value(value), text);
        if (call->values_only)
            printf("%s\n", text);
        else
            printf("%s = %s\n", name, text);
    }
}

const struct command cmd_get = {
    .name = "get", .operands = "[-n] GLOB...", .options = "n", .help = "values of knobs",
    .least = 1, .most = INT32_MAX, .dead_too = true, .each = get, .print = print_get,
};

/* ---- set ----------------------------------------------------------------------------------- */

static int nothing_changed(struct shm_error *err)
{
    size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used, "; nothing changed");
    return err->code;
}

static int parse_changes(const struct call *call, const struct shm_seg *seg,
                         struct shm_change *changes, struct shm_error *err)
{
    for (int i = 0; i < call->argc; i++) {
        if (parse_assignment(call->argv[i], seg->knobs, seg->knob_count, &changes[i], err))
            return nothing_changed(err);
        for (int j = 0; j < i; j++)
            if (changes[j].knob == changes[i].knob) {
                shm_fail(err, SHM_EUSAGE, "%s: given twice", changes[i].knob->name);
                return nothing_changed(err);
            }
    }
    return SHM_OK;
}

static void put_changes(json_t *out, const struct shm_change *changes, int count,
                        const struct shm_ack *ack)
{
    json_t *list_of = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list_of, json_pack("{s:s, s:o, s:o}", "name", changes[i].knob->name,
                                                 "old", json_u64(changes[i].old),
                                                 "new", json_u64(changes[i].value)));
    json_object_set_new(out, "generation", json_u64(ack->generation));
    json_object_set_new(out, "applied", json_integer(ack->applied));
    json_object_set_new(out, "threads", json_integer(ack->moved));
    json_object_set_new(out, "idle", json_integer(ack->idle));
    json_object_set_new(out, "changes", list_of);
}

static int set(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    struct shm_ack ack;
    struct shm_change *changes = calloc((size_t)call->argc, sizeof *changes);
    int code = changes ? parse_changes(call, seg, changes, err)
                       : shm_fail(err, SHM_EIO, "out of memory");
    if (!code) {
        code = shm_set(seg, changes, (size_t)call->argc, SHM_WAIT_MS, 0, &ack, err);
        if (!code || code == SHM_EBUSY)
            put_changes(out, changes, call->argc, &ack);
        else if (code == SHM_EREFUSED || !ack.generation)
            nothing_changed(err);
    }
    free(changes);
    return code;
}

static void print_set(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    (void)call;
    size_t i;
    json_t *change;
    json_array_foreach(json_object_get(out, "changes"), i, change) {
        char old[SHM_VALUE_MAX], new[SHM_VALUE_MAX];
        printf("%s: %s -> %s (generation %" PRIu64 ", applied by %" PRIu64 "/%" PRIu64
               " threads, %" PRIu64 " idle)\n", str(change, "name"),
               value_text(seg, change, "old", old), value_text(seg, change, "new", new),
               num(out, "generation"), num(out, "applied"), num(out, "threads"), num(out, "idle"));
    }
}

const struct command cmd_set = {
    .name = "set", .operands = "NAME=VALUE...", .options = "",
    .help = "change knobs, all or none, and wait for the threads",
    .least = 1, .most = INT32_MAX, .each = set, .print = print_set,
};
