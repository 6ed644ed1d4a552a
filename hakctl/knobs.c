/* knobs.c: the verbs that show knobs: list, describe, get and diff. */
#define _GNU_SOURCE
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "hakctl/hakctl.h"

static const char *type_name(uint32_t type)
{
    static const char *const name[] = {
        [HAK_BOOL] = "bool", [HAK_UINT] = "uint", [HAK_MASK] = "mask", [HAK_OCTAL] = "octal",
    };
    return type < sizeof name / sizeof *name ? name[type] : "?";
}

/* Whether a knob has a value that is accepted and not yet in force. */
static bool is_pending(const struct hak_knob_desc *k, const struct hak_state *state,
                       const struct shm_wanted *wanted)
{
    return wanted->pending && wanted->values[k->index] != state->values[k->index];
}

json_t *knob_object(const struct hak_knob_desc *k, const struct hak_state *state,
                    const struct shm_wanted *wanted)
{
    const struct hak_origin_rec *origin = &state->origin[k->index];
    json_t *object = json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s}",
        "name", k->name, "value", json_u64(state->values[k->index]),
        "default", json_u64(k->def), "min", json_u64(k->min), "max", json_u64(k->max),
        "type", type_name(k->type), "unit", k->unit,
        "context", k->context == HAK_LIVE ? "live" : "startup",
        "from", shm_origin_name(origin->from), "env", k->env, "alias", k->alias, "help", k->help);
    if (origin->ns)
        json_object_set_new(object, "changed", json_pack("{s:i, s:I, s:o}", "pid", origin->pid,
                                                         "uid", (json_int_t)origin->uid,
                                                         "time_ns", json_u64(origin->ns)));
    if (is_pending(k, state, wanted))
        json_object_set_new(object, "pending", json_pack("{s:o, s:o}", "value",
                                                         json_u64(wanted->values[k->index]),
                                                         "generation", json_u64(wanted->pending)));
    return object;
}

const char *value_text(const struct shm_seg *seg, const json_t *knob, const char *key,
                       char buf[SHM_VALUE_MAX])
{
    return shm_value_text(shm_knob(seg, str(knob, "name")), num(knob, key), buf);
}

static const char *range_text(const struct shm_seg *seg, const json_t *knob,
                              char buf[2 * SHM_VALUE_MAX + 4])
{
    char min[SHM_VALUE_MAX], max[SHM_VALUE_MAX];
    snprintf(buf, 2 * SHM_VALUE_MAX + 4, "%s..%s", value_text(seg, knob, "min", min),
             value_text(seg, knob, "max", max));
    return buf;
}

/* Which knobs a verb shows. */
typedef bool choice(const struct hak_knob_desc *knob, const struct hak_state *state,
                    const struct shm_wanted *wanted, const char *glob);

static bool any(const struct hak_knob_desc *knob, const struct hak_state *state,
                const struct shm_wanted *wanted, const char *glob)
{
    (void)state, (void)wanted;
    return !glob || !fnmatch(glob, knob->name, 0);
}

static bool changed(const struct hak_knob_desc *knob, const struct hak_state *state,
                    const struct shm_wanted *wanted, const char *glob)
{
    (void)glob;
    return state->values[knob->index] != knob->def || is_pending(knob, state, wanted);
}

/* Appends what is chosen; whether there was anything. */
static bool choose(const struct shm_snap *snap, const struct shm_wanted *wanted, choice *chosen,
                   const char *glob, json_t *knobs)
{
    bool found = false;
    for (unsigned i = 0; i < snap->seg->knob_count; i++) {
        const struct hak_knob_desc *knob = &snap->seg->knobs[i];
        if (!chosen(knob, &snap->state, wanted, glob))
            continue;
        json_array_append_new(knobs, knob_object(knob, &snap->state, wanted));
        found = true;
    }
    return found;
}

/* A name that several begin with is meant as a glob. */
static int no_match(const struct shm_seg *seg, const char *glob, struct shm_error *err)
{
    const struct hak_knob_desc *knob;
    unsigned found = 0;
    for (unsigned i = 0; i < seg->knob_count; i++)
        found += !strncmp(seg->knobs[i].name, glob, strlen(glob));
    if (found > 1)
        return shm_fail(err, SHM_EREFUSED, "%s: no such knob, but '%s*' matches %u", glob, glob, found);
    return find_knob(seg->knobs, seg->knob_count, glob, &knob, err);
}

/* The operands are globs, each of which must match, unless -e forgives it. */
static int choose_globs(const struct call *call, const struct shm_snap *snap,
                        const struct shm_wanted *wanted, json_t *knobs, struct shm_error *err)
{
    for (int i = 0; i < call->argc; i++)
        if (!choose(snap, wanted, any, call->argv[i], knobs) && !call->lenient)
            return no_match(snap->seg, call->argv[i], err);
    return SHM_OK;
}

static int show(const struct call *call, struct shm_seg *seg, choice *chosen, json_t *out,
                struct shm_error *err)
{
    struct shm_snap *snap;
    struct shm_wanted wanted;
    int code = shm_wanted(seg, &wanted, err);
    if (code || (code = whole_snapshot(seg, &snap, err)))
        return code;
    json_t *knobs = json_array();
    if (call->argc)
        code = choose_globs(call, snap, &wanted, knobs, err);
    else
        choose(snap, &wanted, chosen, NULL, knobs);
    if (code) {
        json_decref(knobs);
    } else {
        json_object_set_new(out, "generation", json_u64(snap->state.generation));
        json_object_set_new(out, "env_errors", json_u64(
            shm_global(snap, shm_stat(seg, HAK_SCOPE_GLOBAL, "env_errors"))));
        json_object_set_new(out, "knobs", knobs);
    }
    shm_snap_free(snap);
    return code;
}

static int show_any(const struct call *call, struct shm_seg *seg, json_t *out,
                    struct shm_error *err)
{
    return show(call, seg, any, out, err);
}

/* ---- list ---------------------------------------------------------------------------------- */

static void print_list(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    (void)call;
    size_t i;
    json_t *k;
    printf("%-28s %-9s %-9s %-14s %-7s %-7s %s\n", "NAME", "VALUE", "DEFAULT", "RANGE", "CONTEXT",
           "FROM", "HELP");
    json_array_foreach(json_object_get(out, "knobs"), i, k) {
        char value[SHM_VALUE_MAX], def[SHM_VALUE_MAX], range[2 * SHM_VALUE_MAX + 4];
        const char *unit = str(k, "unit");
        printf("%-28s %-9s %-9s %-14s %-7s %-7s %s%s%s%s\n", str(k, "name"),
               value_text(seg, k, "value", value), value_text(seg, k, "default", def),
               range_text(seg, k, range), str(k, "context"), str(k, "from"), *unit ? "[" : "",
               unit, *unit ? "] " : "", str(k, "help"));
    }
    if (num(out, "env_errors"))
        printf("%" PRIu64 " value%s of the environment or the configuration file refused at start; "
               "HAKMEM_VERBOSE=1 says which\n", num(out, "env_errors"),
               shm_s(num(out, "env_errors")));
}

const struct command cmd_list = {
    .name = "list", .operands = "", .options = "",
    .help = "knobs with value, default, range, context and help",
    .dead_too = true, .each = show_any, .print = print_list,
};

/* ---- describe ------------------------------------------------------------------------------ */

static void print_origin(const json_t *k)
{
    const json_t *changed_by = json_object_get(k, "changed");
    printf(", from %s", str(k, "from"));
    if (!changed_by)
        return;
    char when[32];
    time_t seconds = (time_t)(num(changed_by, "time_ns") / 1000000000);
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &tm));
    printf(" (pid %" PRIu64 ", uid %" PRIu64 ", %s)", num(changed_by, "pid"),
           num(changed_by, "uid"), when);
}

static void print_pending(const struct shm_seg *seg, const json_t *k)
{
    char value[SHM_VALUE_MAX];
    const json_t *pending = json_object_get(k, "pending");
    if (pending)
        printf("\n  pending  %s (generation %" PRIu64 ")",
               shm_value_text(shm_knob(seg, str(k, "name")), num(pending, "value"), value),
               num(pending, "generation"));
}

static void print_describe(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    (void)call;
    size_t i;
    json_t *k;
    json_array_foreach(json_object_get(out, "knobs"), i, k) {
        char value[SHM_VALUE_MAX], def[SHM_VALUE_MAX], range[2 * SHM_VALUE_MAX + 4];
        const char *unit = str(k, "unit"), *alias = str(k, "alias");
        printf("%s%s\n  %s\n  value    %s", i ? "\n" : "", str(k, "name"), str(k, "help"),
               value_text(seg, k, "value", value));
        print_origin(k);
        print_pending(seg, k);
        printf("\n  default  %s\n  type     %s%s%s\n  range    %s\n  context  %s\n"
               "  env      %s%s%s\n", value_text(seg, k, "default", def), str(k, "type"),
               *unit ? ", in " : "", unit, range_text(seg, k, range), str(k, "context"),
               str(k, "env"), *alias ? ", " : "", alias);
    }
}

const struct command cmd_describe = {
    .name = "describe", .operands = "GLOB...", .options = "",
    .help = "all of a knob, and where its value came from",
    .least = 1, .most = INT32_MAX, .dead_too = true, .each = show_any, .print = print_describe,
};

/* ---- get ----------------------------------------------------------------------------------- */

static int get(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    size_t i;
    json_t *knob, *shown = json_object(), *values = json_object();
    int code = show(call, seg, any, shown, err);
    json_array_foreach(json_object_get(shown, "knobs"), i, knob)
        json_object_set(values, str(knob, "name"), json_object_get(knob, "value"));
    json_decref(shown);
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
    .name = "get", .operands = "[-n] GLOB...", .options = "ne", .help = "values of knobs",
    .least = 1, .most = INT32_MAX, .dead_too = true, .each = get, .print = print_get,
};

/* ---- diff ---------------------------------------------------------------------------------- */

static int diff(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    return show(call, seg, changed, out, err);
}

static void print_diff(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    (void)call;
    size_t i;
    json_t *k;
    json_array_foreach(json_object_get(out, "knobs"), i, k) {
        char value[SHM_VALUE_MAX], def[SHM_VALUE_MAX];
        if (num(k, "value") != num(k, "default"))
            printf("%s: %s -> %s (%s)\n", str(k, "name"), value_text(seg, k, "default", def),
                   value_text(seg, k, "value", value), str(k, "from"));
        const json_t *pending = json_object_get(k, "pending");
        if (pending)
            printf("%s: pending: %s (generation %" PRIu64 ")\n", str(k, "name"),
                   shm_value_text(shm_knob(seg, str(k, "name")), num(pending, "value"), value),
                   num(pending, "generation"));
    }
}

const struct command cmd_diff = {
    .name = "diff", .operands = "", .options = "", .help = "knobs that are not at their default",
    .dead_too = true, .each = diff, .print = print_diff,
};
