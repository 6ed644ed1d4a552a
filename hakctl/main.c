/* main.c: the command line of hakctl, its targets, errors and exit code. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hakctl/hakctl.h"

/* ---- Options ------------------------------------------------------------------------------- */

enum { GENERAL, OWN };      /* for every verb; for those that list its letter */

static const struct option_row options[] = {
    { 'p', "pid",           "PID",  GENERAL, "the process to work on" },
    { 'c', "comm",          "GLOB", GENERAL, "the process whose name matches" },
    { 'a', "all-processes", NULL,   GENERAL, "all of them (with -c: all that match)" },
    { 'j', "json",          NULL,   GENERAL, "write JSON, errors too" },
    { 'h', "help",          NULL,   GENERAL, "print this, or what a verb does and takes, and exit" },
    { 'V', "version",       NULL,   GENERAL, "print the version and exit" },
    { 'w', "write",         NULL,   GENERAL, "without a verb: set" },
    { 'n', "values",        NULL,   OWN, "values only; without a verb: get" },
    { 'e', "ignore",        NULL,   OWN, "skip unknown names" },
    { 'q', "quiet",         NULL,   OWN, "print nothing" },
    { 'D', "dry-run",       NULL,   OWN, "say what would be done" },
    { 'W', "wait",          "S",    OWN, "how long to wait for the threads (2)" },
    { 'N', "no-wait",       NULL,   OWN, "don't wait for the threads" },
    { 'R', "revert-after",  "S",    OWN, "the process itself undoes it then" },
    { 'A', "all",           NULL,   OWN, "every knob" },
    { 'K', "check",         NULL,   OWN, "test the conservation laws" },
    { 'P', "prometheus",    NULL,   OWN, "in Prometheus' text format" },
    { 'O', "openmetrics",   NULL,   OWN, "in OpenMetrics' text format" },
    { 'o', "output",        "FILE", OWN, "to a file, which appears whole" },
    { 'i', "interval",      "S",    OWN, "time between two samples (1)" },
    { 'C', "count",         "N",    OWN, "so many lines" },
    { 'T', "period",        "S",    OWN, "time for one value at a time (0.5)" },
    { 'B', "rounds",        "N",    OWN, "so many times each value (20)" },
    { 'S', "sort",          "KEY",  OWN, "by pid, name, threads, live, generation or state" },
};
enum { OPTIONS = sizeof options / sizeof *options };

const struct option_row *option_row(int i)
{
    return i < OPTIONS ? &options[i] : NULL;
}

/* Options with a capital for a letter, but for -V, have only their long name. */
static bool has_short(int letter)
{
    return letter == 'V' || letter >= 'a';
}

static void make_tables(char *letters, struct option *longs)
{
    *letters++ = '+';       /* parse_options goes from word to word */
    *letters++ = ':';       /* a missing argument is reported as such, and by us */
    for (int i = 0; i < OPTIONS; i++) {
        int argument = options[i].argument ? required_argument : no_argument;
        *longs++ = (struct option){ options[i].name, argument, NULL, options[i].letter };
        if (!has_short(options[i].letter))
            continue;
        *letters++ = (char)options[i].letter;
        if (argument)
            *letters++ = ':';
    }
    *letters = 0;
    *longs = (struct option){ 0 };
}

/* What getopt complains of: optopt is the letter, or 0 for an unknown long option. */
static int bad_option(char **argv, int kind, struct shm_error *err)
{
    if (!optopt)
        return shm_fail(err, SHM_EUSAGE, "%s: unknown option", argv[optind - 1]);
    for (int i = 0; i < OPTIONS; i++)
        if (options[i].letter == optopt)
            return shm_fail(err, SHM_EUSAGE, "--%s: %s", options[i].name,
                            kind == ':' ? "needs an argument" : "takes no argument");
    return shm_fail(err, SHM_EUSAGE, "-%c: unknown option", optopt);
}

static int parse_count(const char *option, const char *what, unsigned *n, struct shm_error *err)
{
    char *end;
    errno = 0;
    long value = strtol(optarg, &end, 10);
    if (errno || *end || end == optarg || value < 1 || value > 0x7FFFFFFF)
        return shm_fail(err, SHM_EUSAGE, "%s: %s is not a %s", option, optarg, what);
    *n = (unsigned)value;
    return SHM_OK;
}

static int parse_seconds(const char *option, double least, unsigned *ms, struct shm_error *err)
{
    char *end;
    double seconds = strtod(optarg, &end);
    if (*end || end == optarg || !(seconds >= least && seconds <= 86400))
        return shm_fail(err, SHM_EUSAGE, "%s: %s is not a number of seconds from %g to 86400",
                        option, optarg, least);
    *ms = (unsigned)(seconds * 1000 + 0.5);
    return SHM_OK;
}

static int take_option(struct call *call, int letter, struct shm_error *err)
{
    switch (letter) {
    case 'p': return parse_count("-p", "process id", (unsigned *)&call->target.pid, err);
    case 'c': call->target.comm = optarg; break;
    case 'a': call->target.all = true; break;
    case 'j': call->json = true; break;
    case 'n': call->values_only = true; break;
    case 'e': call->lenient = true; break;
    case 'q': call->quiet = true; break;
    case 'D': call->dry_run = true; break;
    case 'W': return parse_seconds("--wait", 0, &call->wait_ms, err);
    case 'N': call->wait_ms = 0; break;
    case 'R': return parse_seconds("--revert-after", 0.001, &call->revert_ms, err);
    case 'A': call->all_knobs = true; break;
    case 'K': call->check = true; break;
    case 'P': call->format = "prometheus"; break;
    case 'O': call->format = "openmetrics"; break;
    case 'o': call->output = optarg; break;
    case 'i': return parse_seconds("-i", 0.01, &call->interval_ms, err);
    case 'C': return parse_count("--count", "number above 0", &call->count, err);
    case 'T': return parse_seconds("--period", 0.05, &call->period_ms, err);
    case 'B': return parse_count("--rounds", "number above 0", &call->rounds, err);
    case 'S': call->sort = optarg; break;
    }
    return SHM_OK;
}

/* ---- Output -------------------------------------------------------------------------------- */

/* A verb's output that can't be written is an error, except to a pipe that nobody reads. */
static int finish(int code)
{
    if ((fflush(stdout) || ferror(stdout)) && errno != EPIPE) {
        fprintf(stderr, "hakctl: can't write: %s\n", strerror(errno));
        return code ? code : SHM_EIO;
    }
    return code;
}

/* ---- Help ---------------------------------------------------------------------------------- */

/* What a usage error of the verb says, too. */
static int usage_text(const struct command *command, struct shm_error *err)
{
    return shm_fail(err, SHM_EUSAGE, "usage: hakctl %s%s%s", command->name,
                    *command->operands ? " " : "", command->operands);
}

static void print_option(const struct option_row *option)
{
    char both[32], shortly[8] = "    ";
    if (has_short(option->letter))
        snprintf(shortly, sizeof shortly, "-%c, ", option->letter);
    snprintf(both, sizeof both, "%s--%s%s%s", shortly, option->name, option->argument ? " " : "",
             option->argument ? option->argument : "");
    printf("  %-23s ", both);
}

/* "set, reset, load: " */
static void print_takers(int letter)
{
    const char *before = "";
    for (int i = 0; commands[i]; i++)
        if (strchr(commands[i]->options, letter)) {
            printf("%s%s", before, commands[i]->name);
            before = ", ";
        }
    printf(": ");
}

static void help_verb(const struct command *command)
{
    struct shm_error usage;
    usage_text(command, &usage);
    printf("%s\n\n%c%s.\n%s", usage.text, toupper(command->help[0]), command->help + 1,
           *command->options ? "\nIts own options:\n" : "");
    for (int i = 0; i < OPTIONS; i++)
        if (options[i].own && strchr(command->options, options[i].letter)) {
            print_option(&options[i]);
            printf("%s\n", options[i].help);
        }
    printf("\nThe options of every verb: hakctl --help.  See hakctl(1).\n");
}

static void help(void)
{
    printf("usage: hakctl [OPTION...] VERB [ARGUMENT...]\n\n"
           "Finds, inspects and tunes running processes under libhakmem.  Without -p, -c and -a:\n"
           "the one process there is.\n\nVerbs:\n");
    for (int i = 0; commands[i]; i++)
        printf("  %-8s %-30s %s\n", commands[i]->name, commands[i]->operands, commands[i]->help);
    printf("\nOptions, before or after the verb:\n");
    for (int i = 0; i < OPTIONS; i++) {
        print_option(&options[i]);
        if (options[i].own)
            print_takers(options[i].letter);
        printf("%s\n", options[i].help);
    }
    printf("\nExit codes: 0 done; 1 target or I/O error, broken law; 2 usage, several candidates;\n"
           "3 no such process, dead, not under libhakmem; 4 permission; 5 unknown name, bad value,\n"
           "startup knob, refused; 6 not applied in time by a running thread; 7 other ABI.\n"
           "run: the command's own, 126 can't be run, 127 not found.\n\nSee hakctl(1).\n");
}

/* ---- Command line -------------------------------------------------------------------------- */

static const char *command_name(size_t i, const void *ctx)
{
    (void)ctx;
    return commands[i] ? commands[i]->name : NULL;
}

static int find_command(struct call *call, const char *name, struct shm_error *err)
{
    for (int i = 0; commands[i]; i++)
        if (!strcmp(commands[i]->name, name)) {
            call->command = commands[i];
            return SHM_OK;
        }
    const char *nearest = shm_nearest(name, command_name, NULL);
    return shm_fail(err, SHM_EUSAGE, "%s: no such verb%s%s; see hakctl --help", name,
                    nearest ? ", the nearest is " : "", nearest ? nearest : "");
}

/* The verb, and after it its operands.  As sysctl has none, -w and -n will do without. */
static int take_operands(struct call *call, const bool *given, int count, char **operands,
                         struct shm_error *err)
{
    int code = count ? find_command(call, operands[0], err)
                     : shm_fail(err, SHM_EUSAGE, "no verb; see hakctl --help");
    if (code && count && (given['w'] || given['n'])) {
        call->command = given['w'] ? &cmd_set : &cmd_get;
        code = SHM_OK;
    } else {
        count -= count > 0;
        operands++;
    }
    call->argc = count;
    call->argv = operands;
    return code;
}

/* Whether there are as many operands as the verb takes. */
static bool right_number(const struct call *call)
{
    const struct command *command = call->command;
    bool names_or_all = strchr(command->options, 'A'), rest = strstr(command->operands, "-- ");
    return call->argc >= command->least && call->argc <= command->most
        && !(names_or_all && call->all_knobs == (call->argc > 0))
        && (rest ? call->rest && call->rest[0] : !call->rest);
}

/* `run` has no process yet, and a command after "--". */
static int check_run(const struct call *call, const bool *given, struct shm_error *err)
{
    for (const char *letter = "pca"; *letter; letter++)
        if (given[(int)*letter])
            return shm_fail(err, SHM_EUSAGE, "run: takes no -%c", *letter);
    for (int i = 0; !call->rest && i < call->argc; i++)
        if (!strchr(call->argv[i], '='))
            return shm_fail(err, SHM_EUSAGE, "%s: a command comes after --: hakctl run [NAME=VALUE...] -- %s",
                            call->argv[i], call->argv[i]);
    return SHM_OK;
}

/* What stands as NAME=... in the usage of the verb has a '='. */
static int check_assignments(const struct call *call, struct shm_error *err)
{
    const char *form = strstr(call->command->operands, "NAME=");
    for (int i = 0; form && i < call->argc; i++)
        if (!strchr(call->argv[i], '='))
            return shm_fail(err, SHM_EUSAGE, "%s: not %.*s", call->argv[i],
                            (int)strcspn(form, "[."), form);
    return SHM_OK;
}

/* Own options of the verb only, and the operands that it takes. */
static int check_usage(const struct call *call, const bool *given, struct shm_error *err)
{
    const struct command *command = call->command;
    for (int i = 0; i < OPTIONS; i++)
        if (options[i].own && given[options[i].letter]
            && !strchr(command->options, options[i].letter))
            return shm_fail(err, SHM_EUSAGE, "%s: takes no --%s", command->name,
                            options[i].name);
    if (command == &cmd_run && check_run(call, given, err))
        return SHM_EUSAGE;
    if (!right_number(call))
        return usage_text(command, err);
    if (command->just_one && call->target.all)
        return shm_fail(err, SHM_EUSAGE, "%s: one process only, not -a", command->name);
    if (given['P'] && given['O'])
        return shm_fail(err, SHM_EUSAGE, "%s: either --prometheus or --openmetrics", command->name);
    if (call->format && call->json)
        return shm_fail(err, SHM_EUSAGE, "%s: either -j or --%s", command->name, call->format);
    if (call->output && !call->format)
        return shm_fail(err, SHM_EUSAGE, "%s: --output goes with --prometheus or --openmetrics",
                        command->name);
    return check_assignments(call, err);
}

/* Whether a word, after `words` others from argv[1] on, is the command of `run` without "--" before it:
 * what follows are its own options. */
static bool begins_command(char **argv, int words, const char *word)
{
    return words && !strcmp(argv[1], "run") && !strchr(word, '=');
}

/* All options are read before the first fault is reported, so that -j is known by then.  The words that are
 * none come to stand from argv[1] on. */
static int parse_options(struct call *call, int argc, char **argv, bool *given, int *words,
                         struct shm_error *err)
{
    char letters[2 * OPTIONS + 3];
    struct option longs[OPTIONS + 1];
    int letter, code = SHM_OK;
    make_tables(letters, longs);
    opterr = 0;
    for (*words = 0; ; ) {
        letter = getopt_long(argc, argv, letters, longs, NULL);
        if (letter == -1) {
            if (optind >= argc)
                return code;
            bool command = begins_command(argv, *words, argv[optind]);
            do
                argv[1 + (*words)++] = argv[optind++];      /* its place has been read */
            while (command && optind < argc);
            continue;
        }
        struct shm_error *first = code ? NULL : err;
        int bad = letter == '?' || letter == ':' ? bad_option(argv, letter, first)
                                                 : take_option(call, letter, first);
        code = code ? code : bad;
        given[letter] = true;
    }
}

static int parse(struct call *call, int argc, char **argv, struct shm_error *err)
{
    bool given[128] = { false };
    for (int i = 1; i < argc && !call->rest; i++)
        if (!strcmp(argv[i], "--")) {
            call->rest = argv + i + 1;
            argc = i;
        }
    int words, code = parse_options(call, argc, argv, given, &words, err);
    bool verb = given['h'] ? words > 0 : !given['V'];
    if (!code && verb)
        code = take_operands(call, given, words, argv + 1, err);
    if (!code && (given['h'] || given['V'])) {
        if (!given['h'])
            printf("hakctl %s\n", PACKAGE_VERSION);
        else if (verb)
            help_verb(call->command);
        else
            help();
        exit(finish(SHM_OK));
    }
    return code ? code : check_usage(call, given, err);
}

/* ---- Results and errors -------------------------------------------------------------------- */

static void write_json(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

/* In text at once, as JSON as a member of out. */
static void report(const struct call *call, int pid, const struct shm_error *err, json_t *out)
{
    if (call->json)
        json_object_set_new(out, "error", error_object(pid, err));
    else if (pid)
        fprintf(stderr, "hakctl: pid %d: %s\n", pid, err->text);
    else
        fprintf(stderr, "hakctl: %s\n", err->text);
}

static int fail(const struct call *call, int pid, const struct shm_error *err)
{
    json_t *out = json_object();
    report(call, pid, err, out);
    if (call->json)
        write_json(out);
    else
        json_decref(out);
    return err->code;
}

/* ---- Running a verb ------------------------------------------------------------------------ */

/* One target: its result in *out, its text and errors written. */
static int run_on(const struct call *call, const struct shm_proc *proc, json_t *out)
{
    struct shm_error err = { 0 };
    struct shm_seg *seg = NULL;
    json_object_set_new(out, "pid", json_integer(proc->pid));
    json_object_set_new(out, "comm", json_string(proc->comm));
    int code = shm_attach(proc, &seg, &err);
    if (!code)
        code = call->command->each(call, seg, out, &err);
    bool prints = call->command->print && !call->json && !call->format;
    if (prints && seg && json_object_size(out) > 2) {
        if (call->target.all)
            printf("pid %d (%s):\n", proc->pid, proc->comm);
        call->command->print(call, seg, out);
        fflush(stdout);
    }
    if (code && call->json && !call->target.all && json_object_size(out) == 2)
        json_object_clear(out);         /* an error alone */
    if (code)
        report(call, proc->pid, &err, out);
    shm_detach(seg);
    return code;
}

/* The pid of an error that is about the process that was asked for. */
static int missing_pid(const struct call *call, const struct shm_error *err)
{
    return err->code == SHM_EGONE ? call->target.pid : 0;
}

static int run_each(const struct call *call)
{
    struct shm_error err = { 0 };
    struct shm_proc *list;
    size_t count;
    struct shm_target target = call->target;
    target.dead_too = call->command->dead_too;
    int first = shm_targets(&target, &list, &count, &err);
    if (first)
        return fail(call, missing_pid(call, &err), &err);

    json_t *all = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *out = json_object();
        int code = run_on(call, &list[i], out);
        first = first ? first : code;
        json_array_append_new(all, out);
    }
    free(list);
    if (call->format) {
        int code = call->command->print_all(call, all, &err);
        if (code)
            first = fail(call, 0, &err);
    } else if (call->json && (call->command->print || first))
        write_json(target.all ? json_pack("{s:O}", "processes", all)
                              : json_incref(json_array_get(all, 0)));
    json_decref(all);
    return first;
}

static int run_once(const struct call *call)
{
    struct shm_error err = { 0 };
    json_t *out = json_object();
    int code = call->command->once(call, out, &err);
    if (!call->json && !code && call->command->print)
        call->command->print(call, NULL, out);
    if (code)
        report(call, missing_pid(call, &err), &err, out);
    if (call->json)
        write_json(out);
    else
        json_decref(out);
    return code;
}

int main(int argc, char **argv)
{
    struct call call = { .wait_ms = SHM_WAIT_MS, .interval_ms = 1000, .period_ms = 500,
                         .rounds = 20 };
    struct shm_error err = { 0 };
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (parse(&call, argc, argv, &err))
        return finish(fail(&call, 0, &err));
    if (call.command != &cmd_run)
        signal(SIGPIPE, SIG_DFL);       /* ends us quietly; a command of `run` keeps what it had */
    shm_gc_at_start();
    return finish(call.command->each ? run_each(&call) : run_once(&call));
}
