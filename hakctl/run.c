/* run.c: the verb run, which starts a command under libhakmem.
 *
 * There is no segment to ask yet, so this is the one place in the tools where the knobs of this
 * very version are compiled in. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hakctl/hakctl.h"

#define NOT_RUNNABLE 126
#define NOT_FOUND    127
#define LIBRARY      "libhakmem.so"

const struct hak_knob_desc own_knobs[] = {
#define KNOB(id_, name_, type_, context_, unit_, min_, max_, def_, alias_, help_) \
    { .name = name_, .alias = alias_, .help = help_, .type = HAK_##type_, .context = HAK_##context_, \
      .min = min_, .max = max_, .def = def_ },
#include "abi/knobs.def"
#undef KNOB
};
const unsigned own_knob_count = sizeof own_knobs / sizeof *own_knobs;

/* Candidates for shm_nearest: HAKMEM_CONF, each knob's variable, each alias. */
static const char *env_candidate(size_t i, const void *ctx)
{
    static char env[2 * sizeof own_knobs / sizeof *own_knobs][HAK_ENV_MAX];
    (void)ctx;
    if (!i--)
        return "HAKMEM_CONF";
    if (i >= 2 * own_knob_count)
        return NULL;
    if (i < own_knob_count)
        env_name(own_knobs[i].name, env[i]);
    else
        snprintf(env[i], HAK_ENV_MAX, "%s", own_knobs[i - own_knob_count].alias);
    return env[i];
}

static void no_such_knob(const char *name)
{
    const char *nearest = shm_nearest(name, env_candidate, NULL);
    fprintf(stderr, "hakctl: %s in the environment: no such knob%s%s\n", name,
            nearest ? ", the nearest is " : "", nearest ? nearest : "");
}

/* The library goes on with its default, and says nothing unless it is asked to. */
static void check_value(const struct hak_knob_desc *knob, const char *name, const char *value)
{
    uint64_t ignored;
    struct shm_error err;
    if (shm_value_parse(knob, value, &ignored, &err))
        fprintf(stderr, "hakctl: %s in the environment: %s; it is ignored\n", name, err.text);
}

/* The library says nothing of a variable that is no knob's: it may be a later version's. */
static void check_env(void)
{
    for (char **e = environ; *e; e++) {
        char name[2 * HAK_ENV_MAX];
        size_t len = strcspn(*e, "=");
        snprintf(name, sizeof name, "%.*s", (int)len, *e);
        if (strncmp(name, "HAKMEM_", 7) || !strcmp(name, "HAKMEM_CONF") || !(*e)[len])
            continue;
        const struct hak_knob_desc *knob = knob_of_env(own_knobs, own_knob_count, name);
        if (knob)
            check_value(knob, name, *e + len + 1);
        else
            no_such_knob(name);
    }
}

static int set_knobs(const struct call *call, struct shm_error *err)
{
    for (int i = 0; i < call->argc; i++) {
        struct shm_change change;
        char env[HAK_ENV_MAX];
        int code = parse_assignment(call->argv[i], own_knobs, own_knob_count, &change, err);
        if (code)
            return code;
        env_name(change.knob->name, env);
        setenv(env, strchr(call->argv[i], '=') + 1, 1);
    }
    return SHM_OK;
}

/* Beside this program's directory as it was built or installed, else where it was configured to
 * be installed. */
static bool find_library(char path[PATH_MAX])
{
    static const char *const near[] = { "../.libs", "../lib" };
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n < 0 ? 0 : n] = 0;
    char *slash = strrchr(exe, '/');
    for (unsigned i = 0; slash && i < sizeof near / sizeof *near; i++) {
        char joined[PATH_MAX + 64];
        snprintf(joined, sizeof joined, "%.*s/%s/" LIBRARY, (int)(slash - exe), exe, near[i]);
        if (realpath(joined, path))
            return true;
    }
    return realpath(HAK_LIBDIR "/" LIBRARY, path);
}

static int preload(struct shm_error *err)
{
    char path[PATH_MAX], *both;
    const char *others = getenv("LD_PRELOAD");
    if (!find_library(path))
        return shm_fail(err, SHM_EIO, "can't find " LIBRARY ": neither near this program nor in "
                        HAK_LIBDIR);
    if (strpbrk(path, ": \t\n"))
        return shm_fail(err, SHM_EIO, "%s can't be preloaded: LD_PRELOAD takes no path with blanks "
                        "or colons", path);
    if (asprintf(&both, "%s%s%s", path, others && *others ? ":" : "", others ? others : "") < 0)
        return shm_fail(err, SHM_EIO, "out of memory");
    setenv("LD_PRELOAD", both, 1);
    free(both);
    return SHM_OK;
}

static int run(const struct call *call, json_t *out, struct shm_error *err)
{
    (void)out;
    int code = set_knobs(call, err);
    if (!code)
        code = preload(err);
    if (code)
        return add_fate(err, "nothing was started");
    check_env();
    execvp(call->rest[0], call->rest);
    return shm_fail(err, errno == ENOENT ? NOT_FOUND : NOT_RUNNABLE, "%s: %s", call->rest[0],
                    strerror(errno));
}

const struct command cmd_run = {
    .name = "run", .operands = "[NAME=VALUE...] -- COMMAND...", .options = "",
    .help = "start a command under libhakmem", .least = 0, .most = INT32_MAX, .once = run,
};
