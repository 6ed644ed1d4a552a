/* commands.c: the list of verbs, and what several of them need. */
#include <stdio.h>
#include <string.h>

#include "hakctl/hakctl.h"

const struct command *const commands[] = {
    &cmd_ps, &cmd_list, &cmd_describe, &cmd_get, &cmd_set, &cmd_reset, &cmd_diff, &cmd_save,
    &cmd_load, &cmd_stats, &cmd_watch, &cmd_trace, &cmd_trial, &cmd_purge, &cmd_gc, &cmd_run,
    &cmd_complete, NULL,
};

uint64_t num(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

const char *str(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

json_t *json_u64(uint64_t value)
{
    return json_integer((json_int_t)value);
}

json_t *pid_or_null(int pid)
{
    return pid ? json_integer(pid) : json_null();
}

json_t *error_object(int pid, const struct shm_error *err)
{
    return json_pack("{s:i, s:s, s:o}", "code", (int)err->code, "message", err->text, "pid",
                     pid_or_null(pid));
}

const char *state_name(const struct shm_seg *seg, const struct shm_snap *snap)
{
    if (snap->state.process_state == HAK_PROC_EXITED)
        return "exited";
    if (!seg->proc.live)
        return "dead";
    return snap->state.process_state == HAK_PROC_RUNNING ? "running" : "starting";
}

int whole_snapshot(const struct shm_seg *seg, struct shm_snap **snap, struct shm_error *err)
{
    int code = shm_snapshot_sums(seg, snap, err);
    if (code || !(*snap)->torn)
        return code;
    shm_snap_free(*snap);
    *snap = NULL;
    return shm_fail(err, SHM_EIO, "its state page is being written all the time");
}

int add_fate(struct shm_error *err, const char *fate)
{
    size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used, "; %s", fate);
    return err->code;
}

int nothing_changed(struct shm_error *err)
{
    return add_fate(err, "nothing changed");
}

/* ---- Knobs --------------------------------------------------------------------------------- */

struct knobs {
    const struct hak_knob_desc *knob;
    unsigned count;
};

static const char *knob_name(size_t i, const void *ctx)
{
    const struct knobs *knobs = ctx;
    return i < knobs->count ? knobs->knob[i].name : NULL;
}

void env_name(const char *knob, char env[HAK_ENV_MAX])
{
    snprintf(env, HAK_ENV_MAX, "HAKMEM_%s", knob);
    for (char *p = env; *p; p++)
        *p = *p == '.' ? '_' : *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
}

const struct hak_knob_desc *knob_of_env(const struct hak_knob_desc *knobs, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count && *name; i++) {
        char env[HAK_ENV_MAX];
        env_name(knobs[i].name, env);
        if (!strcmp(name, env) || !strcmp(name, knobs[i].alias))
            return &knobs[i];
    }
    return NULL;
}

int find_knob(const struct hak_knob_desc *knobs, unsigned count, const char *name,
              const struct hak_knob_desc **knob, struct shm_error *err)
{
    for (unsigned i = 0; i < count; i++)
        if (!strcmp(knobs[i].name, name)) {
            *knob = &knobs[i];
            return SHM_OK;
        }
    struct knobs all = { knobs, count };
    const struct hak_knob_desc *meant = knob_of_env(knobs, count, name);
    const char *nearest = meant ? meant->name : shm_nearest(name, knob_name, &all);
    return shm_fail(err, SHM_EREFUSED, "%s: no such knob%s%s", name,
                    nearest ? ", the nearest is " : "", nearest ? nearest : "");
}

int parse_assignment(const char *text, const struct hak_knob_desc *knobs, unsigned count,
                     struct shm_change *change, struct shm_error *err)
{
    char name[2 * HAK_NAME_MAX];
    size_t length = strcspn(text, "=");
    snprintf(name, sizeof name, "%.*s", (int)length, text);
    int code = find_knob(knobs, count, name, &change->knob, err);
    return code ? code : shm_value_parse(change->knob, text + length + 1, &change->value, err);
}
