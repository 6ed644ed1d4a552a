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

/* The command line, taken apart. */
struct call {
    const struct command *command;
    struct shm_target target;
    bool   json;            /* -j */
    bool   values_only;     /* -n, for get */
    bool   check;           /* --check, for stats */
    int    argc;            /* operands: what follows the verb and is no option */
    char **argv;
    char **rest;            /* what follows "--", NULL-terminated; NULL where there is none */
};

struct command {
    const char *name;
    const char *operands;   /* for the usage line; "" where it takes none */
    const char *options;    /* its own, besides the general ones: letters of main.c's table */
    const char *help;
    int  least, most;       /* number of operands */
    bool dead_too;          /* works on a dead process's segment */

    /* One of the two.  `each` is called for every target, `once` where the verb has no target.
     * They return SHM_OK or fill *err; what is in *out then is printed before the error. */
    int  (*each)(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err);
    int  (*once)(const struct call *call, json_t *out, struct shm_error *err);
    /* Prints *out as text; seg is NULL for `once`. */
    void (*print)(const struct call *call, const struct shm_seg *seg, const json_t *out);
};

extern const struct command cmd_ps, cmd_list, cmd_get, cmd_set, cmd_stats, cmd_purge, cmd_gc,
                            cmd_run;
extern const struct command *const commands[];      /* all of them, then NULL */

/* A member of an object that is there by construction. */
uint64_t    num(const json_t *object, const char *key);
const char *str(const json_t *object, const char *key);

/* uint64_t as JSON; the two's complement counters come out negative, as they mean. */
json_t *json_u64(uint64_t value);

/* A pid, 0 being null; and {"code":N,"message":...,"pid":N}. */
json_t *pid_or_null(int pid);
json_t *error_object(int pid, const struct shm_error *err);

/* What a segment's process is at: "starting", "running", "exited" or "dead". */
const char *state_name(const struct shm_seg *seg, const struct shm_snap *snap);

/* "NAME=VALUE" against a table of knobs: fills *change.  SHM_EREFUSED: unknown name (the nearest is
 * named), or a bad value; SHM_EUSAGE: no '='. */
int parse_assignment(const char *text, const struct hak_knob_desc *knobs, unsigned count,
                     struct shm_change *change, struct shm_error *err);

#endif
