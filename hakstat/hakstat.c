/* hakstat.c: the allocator of a running process, on a screen or as lines; see hakstat(1). */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hakstat/batch.h"
#include "hakstat/draw.h"
#include "hakstat/view.h"

struct options {
    struct shm_target target;
    bool batch, ascii, mono;
    enum format format;
    unsigned long count;
    const char *record, *replay;
};

static const char usage[] =
    "usage: hakstat [-p PID | -c GLOB | --follow GLOB] [-s SCREEN] [-d SECONDS]\n"
    "               [--cumulative] [--probes] [--readonly] [--record FILE] [--ascii] [--mono]\n"
    "       hakstat -b [-j | --csv] [-n COUNT] [-p PID | -c GLOB | --follow GLOB]\n"
    "               [-s SCREEN] [-d SECONDS] [--cumulative] [--probes] [--record FILE]\n"
    "       hakstat --replay FILE [-b] [-j | --csv] [OPTION...]\n"
    "\n"
    "  -p, --pid PID       watch this process; without it, the only one under libhakmem\n"
    "  -c, --comm GLOB     watch the process of this name\n"
    "      --follow GLOB   the newest process of this name, and the next one when it ends\n"
    "  -s, --screen NAME   classes, threads, superslabs, knobs, latencies, events,\n"
    "                      counters or probes\n"
    "  -d, --delay SECONDS time between samples [1]\n"
    "      --cumulative    counts since the start instead of rates\n"
    "      --probes        count the process's system calls and page faults in the kernel\n"
    "      --readonly      do not change knobs\n"
    "      --record FILE   keep the samples in a new file\n"
    "      --replay FILE   show a recording\n"
    "      --ascii         no characters outside ASCII\n"
    "      --mono          no colours\n"
    "  -b, --batch         print lines; also where standard output is no terminal\n"
    "  -n, --count COUNT   end after so many samples; implies -b\n"
    "  -j, --json          a JSON object a sample; implies -b\n"
    "      --csv           comma-separated values; implies -b\n"
    "  -h, --help; -V, --version\n";

/* Says why on standard error, or as JSON on standard output as hakctl does, and ends. */
static _Noreturn void fail(const struct options *o, int pid, const struct shm_error *err)
{
    if (o->format == FORMAT_JSON) {
        json_t *line = json_pack("{s:{s:i, s:s, s:o}}", "error", "code", (int)err->code,
                                 "message", err->text, "pid",
                                 pid != 0 ? json_integer(pid) : json_null());
        json_dumpf(line, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(line);
    } else if (pid != 0) {
        fprintf(stderr, "hakstat: pid %d: %s\n", pid, err->text);
    } else {
        fprintf(stderr, "hakstat: %s\n", err->text);
    }
    exit((int)err->code);
}

static _Noreturn void misuse(const struct options *o, const char *option, const char *value,
                             const char *wanted)
{
    struct shm_error err;

    shm_fail(&err, SHM_EUSAGE, "%s: '%s' is not %s", option, value, wanted);
    fail(o, 0, &err);
}

static unsigned long number(const struct options *o, const char *option, const char *text,
                            unsigned long most)
{
    char *end, wanted[48];
    unsigned long n = strtoul(text, &end, 10);

    snprintf(wanted, sizeof wanted, "a number from 1 to %lu", most);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n == 0 || n > most)
        misuse(o, option, text, wanted);
    return n;
}

static unsigned milliseconds(const struct options *o, const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end != '\0' || !(seconds >= 0.01 && seconds <= 3600))
        misuse(o, "-d", text, "a number of seconds from 0.01 to 3600");
    return (unsigned)lround(seconds * 1000);
}

static unsigned screen_named(const struct options *o, const char *name)
{
    for (unsigned i = 0; i < MAIN_SCREENS; i++)
        if (strcmp(screens[i]->name, name) == 0)
            return i;
    misuse(o, "-s", name,
           "a screen: classes, threads, superslabs, knobs, latencies, events, counters or probes");
}

enum {
    OPT_CSV = 256, OPT_CUMULATIVE, OPT_PROBES, OPT_READONLY, OPT_ASCII, OPT_MONO, OPT_FOLLOW, OPT_RECORD,
    OPT_REPLAY
};

static void choose_format(struct options *o, enum format format)
{
    struct shm_error err;

    o->batch = true;
    if (o->format != FORMAT_TEXT && o->format != format) {
        o->format = FORMAT_JSON;
        shm_fail(&err, SHM_EUSAGE, "either -j or --csv");
        fail(o, 0, &err);
    }
    o->format = format;
}

static void parse_option(struct options *o, struct view *v, int opt)
{
    switch (opt) {
    case 'p': o->target.pid = (int)number(o, "-p", optarg, 1u << 22); break;
    case 'c': o->target.comm = optarg; break;
    case 's': v->screen = screen_named(o, optarg); break;
    case 'd': v->interval_ms = milliseconds(o, optarg); break;
    case 'n': o->count = number(o, "-n", optarg, 1000000000); o->batch = true; break;
    case 'b': o->batch = true; break;
    case 'j': choose_format(o, FORMAT_JSON); break;
    case OPT_CSV: choose_format(o, FORMAT_CSV); break;
    case OPT_CUMULATIVE: v->cumulative = true; break;
    case OPT_PROBES: v->kernel.ours = true; break;
    case OPT_READONLY: v->readonly = true; break;
    case OPT_ASCII: o->ascii = true; break;
    case OPT_FOLLOW: v->follow = optarg; break;
    case OPT_RECORD: o->record = optarg; break;
    case OPT_REPLAY: o->replay = optarg; break;
    case OPT_MONO: o->mono = true; break;
    case 'h': fputs(usage, stdout); exit(0);
    case 'V': puts("hakstat " PACKAGE_VERSION); exit(0);
    default: fputs(usage, stderr); exit(SHM_EUSAGE);
    }
}

static void parse(struct options *o, struct view *v, int argc, char **argv)
{
    static const struct option longs[] = {
        { "pid", required_argument, NULL, 'p' }, { "comm", required_argument, NULL, 'c' },
        { "screen", required_argument, NULL, 's' }, { "delay", required_argument, NULL, 'd' },
        { "count", required_argument, NULL, 'n' }, { "batch", no_argument, NULL, 'b' },
        { "json", no_argument, NULL, 'j' }, { "csv", no_argument, NULL, OPT_CSV },
        { "cumulative", no_argument, NULL, OPT_CUMULATIVE },
        { "follow", required_argument, NULL, OPT_FOLLOW },
        { "record", required_argument, NULL, OPT_RECORD },
        { "replay", required_argument, NULL, OPT_REPLAY },
        { "probes", no_argument, NULL, OPT_PROBES },
        { "readonly", no_argument, NULL, OPT_READONLY },
        { "ascii", no_argument, NULL, OPT_ASCII }, { "mono", no_argument, NULL, OPT_MONO },
        { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' },
        { 0 },
    };
    int opt;

    while ((opt = getopt_long(argc, argv, "p:c:s:d:n:bjhV", longs, NULL)) != -1)
        parse_option(o, v, opt);
    if (optind < argc)
        misuse(o, "argument", argv[optind], "an option");
}

/* Where there are several processes, a person chooses one from the list; a script can't. */
static void choose(const struct options *o, struct view *v)
{
    struct shm_proc *list;
    struct shm_error err;
    size_t count;
    int code;

    if (v->follow != NULL || o->replay != NULL)
        return;                                 /* the loops look for it */
    code = shm_targets(&o->target, &list, &count, &err);
    if (code == SHM_EUSAGE && !o->batch) {
        v->back = v->screen;
        v->screen = SCREEN_PROCESSES;
        return;
    }
    if (code == SHM_OK) {
        code = view_attach(v, &list[0], &err);
        free(list);
        if (code == SHM_OK && v->kernel.ours && v->kernel.probes == NULL)
            code = shm_fail(&err, v->kernel.err.code, "%s", v->kernel.err.text);
    }
    if (code != SHM_OK)
        fail(o, o->target.pid, &err);
}

/* The files of --record and --replay. */
static void open_files(const struct options *o, struct view *v)
{
    struct shm_error err;
    int code = SHM_OK;

    if (o->replay != NULL)
        code = replay_open(o->replay, &v->replay, &err);
    if (code == SHM_OK && o->record != NULL)
        code = record_open(o->record, &v->recorder, &err);
    if (code != SHM_OK)
        fail(o, 0, &err);
}

static int run_screen(const struct options *o, struct view *v)
{
    const char *no_color = getenv("NO_COLOR");

    if (!draw_open(o->ascii, o->mono || (no_color != NULL && no_color[0] != '\0')))
        return SHM_EIO;
    shm_fault = draw_fault;
    view_run(v);
    draw_close();
    draw_die_by_signal();
    if (v->record_error[0] != '\0')
        fprintf(stderr, "hakstat: %s\n", v->record_error);
    if (v->ended[0] != '\0')
        fprintf(stderr, "hakstat: pid %d: %s\n", v->seg->proc.pid, v->ended);
    return v->record_error[0] != '\0' ? SHM_EIO : v->ended[0] != '\0' ? (int)v->end_code : SHM_OK;
}

int main(int argc, char **argv)
{
    static struct view v = { .interval_ms = 1000, .open_class = -1 };
    struct options o = { 0 };
    struct shm_error err;
    int code;

    setlocale(LC_CTYPE, "");
    for (unsigned i = 0; i < SCREENS; i++)
        v.place[i].sort = -1;
    parse(&o, &v, argc, argv);
    if (o.replay != NULL && v.kernel.ours)
        misuse(&o, "--probes", o.replay, "a process that runs");
    o.batch |= !isatty(STDOUT_FILENO);
    shm_gc_at_start();
    choose(&o, &v);
    open_files(&o, &v);
    if (!o.batch)
        return run_screen(&o, &v);
    code = batch_run(&v, o.format, o.count, &err);
    if (code != SHM_OK)
        fail(&o, v.seg != NULL ? v.seg->proc.pid : 0, &err);
    view_free(&v);
    return SHM_OK;
}
