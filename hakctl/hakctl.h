/* hakctl.h: what a verb is.
 *
 * A verb is one const record: what it is called, what it takes, and one or two functions.  It
 * fills a JSON object, and prints text from that object, so that -j and the text can't disagree.
 * main.c does the rest: options, targets, errors, exit code.  To add a verb, write its record and
 * name it in commands.c.
 */
#ifndef HAKCTL_H
#define HAKCTL_H

#include <jansson.h>
#include <stdbool.h>

#include "shm/shm.h"

/* The command line, taken apart; see options[] in main.c. */
struct call {
    const struct command *command;
    struct shm_target target;
    bool     json;
    bool     values_only, quiet, lenient;       /* -n, -q, -e */
    bool     check, all_knobs, dry_run;
    unsigned wait_ms, revert_ms;
    unsigned interval_ms;                       /* -i */
    unsigned count;                             /* 0: no end */
    unsigned period_ms, rounds;                 /* trial */
    const char *sort;
    const char *format;                         /* "prometheus", "openmetrics", or NULL */
    const char *output;                         /* -o; NULL: standard output */
    int      argc;          /* operands: what follows the verb and is no option */
    char   **argv;
    char   **rest;          /* what follows "--", NULL-terminated; NULL where there is none */
};

struct command {
    const char *name;
    const char *operands;   /* for the usage line; "" where it takes none.  What is checked by it: "-- "
                             * must be there, and every operand is a NAME=... where it has one */
    const char *options;    /* its own, besides the general ones: letters of main.c's table */
    const char *help;
    int  least, most;       /* number of operands */
    bool dead_too;          /* works on a dead process's segment */
    bool just_one;          /* works on one process only */

    /* One of the two.  `each` is called for every target, `once` where the verb has no target.
     * They return SHM_OK or fill *err; what is in *out then is printed before the error. */
    int  (*each)(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err);
    int  (*once)(const struct call *call, json_t *out, struct shm_error *err);
    /* Prints *out as text; seg is NULL for `once`.  NULL: the verb has printed all itself. */
    void (*print)(const struct call *call, const struct shm_seg *seg, const json_t *out);
    /* Instead of `print` where call->format is given: the objects of all targets at once. */
    int  (*print_all)(const struct call *call, const json_t *processes, struct shm_error *err);
};

extern const struct command cmd_ps, cmd_list, cmd_describe, cmd_get, cmd_set, cmd_reset, cmd_diff,
                            cmd_save, cmd_load, cmd_stats, cmd_watch, cmd_trace, cmd_purge, cmd_gc,
                            cmd_run, cmd_complete, cmd_trial;
extern const struct command *const commands[];      /* all of them, then NULL */

/* An option; its short form is -letter, where that isn't a capital (but for -V). */
struct option_row {
    int         letter;
    const char *name;
    const char *argument;   /* NULL: it takes none */
    int         own;        /* for those verbs only that list its letter */
    const char *help;
};
const struct option_row *option_row(int i);         /* NULL after the last */

/* ---- JSON ---------------------------------------------------------------------------------- */

/* A member of an object that is there by construction. */
uint64_t    num(const json_t *object, const char *key);
const char *str(const json_t *object, const char *key);

/* uint64_t as JSON; the two's complement counters come out negative, as they mean. */
json_t *json_u64(uint64_t value);

/* A pid, 0 being null; and {"code":N,"message":...,"pid":N}. */
json_t *pid_or_null(int pid);
json_t *error_object(int pid, const struct shm_error *err);

/* ---- Errors -------------------------------------------------------------------------------- */

/* Adds what happened to the state, "; nothing changed" or another, to an error; returns its code. */
int nothing_changed(struct shm_error *err);
int add_fate(struct shm_error *err, const char *fate);

/* ---- Processes ----------------------------------------------------------------------------- */

/* What a segment's process is at: "starting", "running", "exited" or "dead". */
const char *state_name(const struct shm_seg *seg, const struct shm_snap *snap);

/* shm_snapshot_sums, with knob values that are whole. */
int whole_snapshot(const struct shm_seg *seg, struct shm_snap **snap, struct shm_error *err);

/* ---- Knobs --------------------------------------------------------------------------------- */

/* Those of this very version: for `run` and completion, which have no segment to ask. */
extern const struct hak_knob_desc own_knobs[];
extern const unsigned own_knob_count;

/* The ENV variable of a knob: HAKMEM_TINY_FRONT_DIRECT for tiny.front_direct.  And the knob that a variable,
 * or an alias, is for; NULL: none. */
void env_name(const char *knob, char env[HAK_ENV_MAX]);
const struct hak_knob_desc *knob_of_env(const struct hak_knob_desc *knobs, unsigned count, const char *name);

/* By its name.  SHM_EREFUSED names the nearest. */
int find_knob(const struct hak_knob_desc *knobs, unsigned count, const char *name,
              const struct hak_knob_desc **knob, struct shm_error *err);

/* "NAME=VALUE" against a table of knobs: fills *change.  SHM_EREFUSED: unknown name (the nearest is
 * named), or a bad value. */
int parse_assignment(const char *text, const struct hak_knob_desc *knobs, unsigned count,
                     struct shm_change *change, struct shm_error *err);

/* All of a knob: {"name":...,"value":...,"default":...,...}; "pending" where another value waits for a tick. */
json_t *knob_object(const struct hak_knob_desc *knob, const struct hak_state *state,
                    const struct shm_wanted *wanted);

/* A member of such an object, or of a change, as people write it. */
const char *value_text(const struct shm_seg *seg, const json_t *knob, const char *key,
                       char buf[SHM_VALUE_MAX]);

/* Makes the changes as the options of `set` say, and fills *out for print_changes. */
int apply(const struct call *call, struct shm_seg *seg, struct shm_change *changes, size_t count,
          json_t *out, struct shm_error *err);
void print_changes(const struct call *call, const struct shm_seg *seg, const json_t *out);
#define APPLY_OPTIONS "qDWNR"       /* -q, --dry-run, --wait, --no-wait, --revert-after */

/* ---- Files --------------------------------------------------------------------------------- */

/* A file that appears whole or not at all: written beside its place, then renamed over it. */
struct new_file {
    FILE *stream;
    const char *path;
    char  made[4096];
};
int new_file_open(struct new_file *file, const char *path, struct shm_error *err);
int new_file_finish(struct new_file *file, struct shm_error *err);      /* after new_file_open */

/* The processes of `stats` in the text format of Prometheus or OpenMetrics. */
void write_metrics(FILE *to, bool openmetrics, const json_t *processes);

#endif
