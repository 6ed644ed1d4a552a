/* hakprobe.c: what the kernel sees of processes under libhakmem; see hakprobe(1). */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "probes/print.h"
#include "probes/probes.h"

/* A process on the command line, or found: how it knows itself, and how we know it. */
struct watched {
    struct hakprobe_id id;
    int pid;
    int pidfd;                      /* readable at its end; -1: it has ended, or can't be waited for */
    bool ended;
};

struct hakprobe {
    struct shm_target target;
    struct probes_scope scope;
    struct print print;
    struct probes_report report;
    const char *pin;
    bool check, quiet;
    unsigned interval_ms;
    unsigned long count;
    char **command;                 /* NULL: none */
    int start;                      /* a byte here lets the command go */
    int failure;                    /* errno comes from here where it can't be run; else nothing does */
    pid_t child;
    struct watched *watched;
    size_t watched_count;
};

static const char usage[] =
    "usage: hakprobe [-p PID | -c GLOB | -a | --cgroup DIR] [OPTION...]\n"
    "       hakprobe [OPTION...] -- COMMAND [ARGUMENT...]\n"
    "       hakprobe --check\n"
    "\n"
    "Counts system calls on memory, futexes and page faults in the kernel: how many, how long, whose.\n"
    "Without -p, -c, -a and --cgroup: of the one process under libhakmem.\n"
    "\n"
    "  -p, --pid PID           of this process, under libhakmem or not\n"
    "  -c, --comm GLOB         of the process under libhakmem of this name\n"
    "  -a, --all-processes     of all under libhakmem, also those that start later (with -c: all that match)\n"
    "      --cgroup DIR        of all processes of a cgroup (version 2) and those below it\n"
    "  -k, --calls LIST        only these: mmap,munmap,madvise,mremap,brk,futex,page-fault\n"
    "  -d, --delay SECONDS     time between two outputs [1]\n"
    "  -n, --count COUNT       end after so many\n"
    "  -H, --histograms        with the histograms of times\n"
    "  -j, --json              a JSON object each time, errors too\n"
    "      --openmetrics       OpenMetrics' text format; counts since the start\n"
    "      --pin[=DIR]         lets hakstat read the counts, in a BPF file system [" PROBES_DIRECTORY "]\n"
    "      --check             try what is needed, say what works, and end\n"
    "      --in-flight N       room for so many calls at once [16384]\n"
    "      --processes N       for so many processes [1024]\n"
    "      --addresses N       for so many futexes [8192]\n"
    "      --btf FILE          the kernel's types, where it doesn't have them itself\n"
    "  -q, --quiet             do not say when counting starts\n"
    "  -v, --verbose           let libbpf speak\n"
    "  -h, --help; -V, --version\n"
    "\n"
    "Exit codes: 0 done; 1 the kernel can't, or this build; 2 usage, several candidates; 3 no such\n"
    "process; 4 a privilege is missing.  With a command: the command's own.\n";

/* ---- Errors --------------------------------------------------------------------------------- */

/* On standard error, or as JSON on standard output as hakctl does. */
static int complain(const struct hakprobe *h, const struct shm_error *err)
{
    if (h->print.format == PRINT_JSON) {
        json_t *line =
            json_pack("{s:{s:i, s:s, s:o}}", "error", "code", (int)err->code, "message", err->text,
                      "pid", h->target.pid ? json_integer(h->target.pid) : json_null());
        json_dumpf(line, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(line);
    } else if (h->target.pid) {
        fprintf(stderr, "hakprobe: pid %d: %s\n", h->target.pid, err->text);
    } else {
        fprintf(stderr, "hakprobe: %s\n", err->text);
    }
    return (int)err->code;
}

static _Noreturn void misuse(const struct hakprobe *h, const char *option, const char *value,
                             const char *wanted)
{
    struct shm_error err;

    shm_fail(&err, SHM_EUSAGE, "%s: '%s' is not %s", option, value, wanted);
    exit(complain(h, &err));
}

/* ---- Command line --------------------------------------------------------------------------- */

static unsigned long number(const struct hakprobe *h, const char *option, unsigned long most)
{
    char *end, wanted[48];
    unsigned long n = strtoul(optarg, &end, 10);

    snprintf(wanted, sizeof wanted, "a number from 1 to %lu", most);
    if (optarg[0] < '0' || optarg[0] > '9' || *end || n == 0 || n > most)
        misuse(h, option, optarg, wanted);
    return n;
}

static unsigned milliseconds(const struct hakprobe *h)
{
    char *end;
    double seconds = strtod(optarg, &end);

    if (end == optarg || *end || !(seconds >= 0.01 && seconds <= 86400))
        misuse(h, "-d", optarg, "a number of seconds from 0.01 to 86400");
    return (unsigned)(seconds * 1000 + 0.5);
}

static uint32_t calls(const struct hakprobe *h, char *list)
{
    uint32_t mask = 0;

    for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
        int call = 0;
        while (call < HAKPROBE_CALLS && strcmp(name, probes_call_names[call]))
            call++;
        if (call == HAKPROBE_CALLS)
            misuse(h, "-k", name,
                   "one of mmap, munmap, madvise, mremap, brk, futex and page-fault");
        mask |= 1u << call;
    }
    if (!mask)
        misuse(h, "-k", "", "a list of calls");
    return mask;
}

enum {
    OPT_CGROUP = 256, OPT_METRICS, OPT_PIN, OPT_CHECK, OPT_FLIGHTS, OPT_PROCESSES, OPT_ADDRESSES,
    OPT_BTF,
};

static void take_option(struct hakprobe *h, int opt)
{
    switch (opt) {
    case 'p': h->target.pid = (int)number(h, "-p", 1u << 22); break;
    case 'c': h->target.comm = optarg; break;
    case 'a': h->target.all = true; break;
    case OPT_CGROUP: h->scope.cgroup = optarg; break;
    case 'k': h->scope.calls = calls(h, optarg); break;
    case 'd': h->interval_ms = milliseconds(h); break;
    case 'n': h->count = number(h, "-n", 1000000000); break;
    case 'H': h->print.histograms = true; break;
    case 'j': h->print.format = PRINT_JSON; break;
    case OPT_METRICS: h->print.format = PRINT_METRICS; break;
    case OPT_PIN: h->pin = optarg ? optarg : PROBES_DIRECTORY; break;
    case OPT_CHECK: h->check = true; break;
    case OPT_FLIGHTS: h->scope.flights = (unsigned)number(h, "--in-flight", 1 << 20); break;
    case OPT_PROCESSES: h->scope.processes = (unsigned)number(h, "--processes", 1 << 16); break;
    case OPT_ADDRESSES: h->scope.waits = (unsigned)number(h, "--addresses", 1 << 20); break;
    case OPT_BTF: h->scope.types = optarg; break;
    case 'q': h->quiet = true; break;
    case 'v': h->scope.verbose = true; break;
    case 'h': fputs(usage, stdout); exit(0);
    case 'V': puts("hakprobe " PACKAGE_VERSION); exit(0);
    default: fputs(usage, stderr); exit(SHM_EUSAGE);
    }
}

static void parse(struct hakprobe *h, int argc, char **argv)
{
    static const struct option longs[] = {
        { "pid", required_argument, NULL, 'p' },
        { "comm", required_argument, NULL, 'c' },
        { "all-processes", no_argument, NULL, 'a' },
        { "cgroup", required_argument, NULL, OPT_CGROUP },
        { "calls", required_argument, NULL, 'k' },
        { "delay", required_argument, NULL, 'd' },
        { "count", required_argument, NULL, 'n' },
        { "histograms", no_argument, NULL, 'H' },
        { "json", no_argument, NULL, 'j' },
        { "openmetrics", no_argument, NULL, OPT_METRICS },
        { "pin", optional_argument, NULL, OPT_PIN },
        { "check", no_argument, NULL, OPT_CHECK },
        { "in-flight", required_argument, NULL, OPT_FLIGHTS },
        { "processes", required_argument, NULL, OPT_PROCESSES },
        { "addresses", required_argument, NULL, OPT_ADDRESSES },
        { "btf", required_argument, NULL, OPT_BTF },
        { "quiet", no_argument, NULL, 'q' },
        { "verbose", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { 0 },
    };
    int opt;

    while ((opt = getopt_long(argc, argv, "+p:c:ak:d:n:HjqvhV", longs, NULL)) != -1)
        take_option(h, opt);
    bool command = optind > 0 && optind < argc && !strcmp(argv[optind - 1], "--");
    if (optind < argc && !command)
        misuse(h, "argument", argv[optind], "an option (a command comes after --)");
    if (command)
        h->command = argv + optind;
    int targets = command + (h->target.pid != 0) + (h->target.comm || h->target.all) +
                  (h->scope.cgroup != NULL);
    if (targets > 1)
        misuse(h, "arguments", "these", "one of -p, -c or -a, --cgroup and a command");
}

/* ---- Whom to watch -------------------------------------------------------------------------- */

static int watch(struct hakprobe *h, int pid, const struct hakprobe_id *id, struct shm_error *err)
{
    struct watched *more = realloc(h->watched, (h->watched_count + 1) * sizeof *more);

    if (!more)
        return shm_fail(err, SHM_EIO, "out of memory");
    h->watched = more;
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    h->watched[h->watched_count++] =
        (struct watched){ *id, pid, pidfd, pidfd < 0 && errno == ESRCH };
    return SHM_OK;
}

/* Any process that runs. */
static int watch_pid(struct hakprobe *h, int pid, struct shm_error *err)
{
    struct hakprobe_id id = { 0 };
    int ns_pid;

    if (!shm_innermost(pid, &id.pid_ns, &ns_pid)) {
        bool there = !kill(pid, 0) || errno == EPERM;
        return shm_fail(err, there ? SHM_EPERM : SHM_EGONE,
                        there ? "permission to look at its namespaces is missing"
                              : "no such process");
    }
    id.pid = (uint32_t)ns_pid;
    return watch(h, pid, &id, err);
}

/* Those under libhakmem that the options name. */
static int watch_found(struct hakprobe *h, struct shm_error *err)
{
    struct shm_proc *list;
    size_t count;
    int code = shm_targets(&h->target, &list, &count, err);

    if (code == SHM_EGONE && h->scope.learn)
        return SHM_OK;                                  /* none yet */
    if (code)
        return code;
    for (size_t i = 0; i < count && !code; i++) {
        struct hakprobe_id id = { .pid_ns = list[i].pid_ns, .pid = (uint32_t)list[i].ns_pid };
        code = watch(h, list[i].pid, &id, err);
    }
    free(list);
    return code;
}

/* The command, held before its exec. */
static int watch_command(struct hakprobe *h, struct shm_error *err)
{
    int gate[2], failure[2];
    char go;

    if (pipe(gate) || pipe2(failure, O_CLOEXEC) || (h->child = fork()) < 0)
        return shm_fail(err, SHM_EIO, "%s: %s", h->command[0], strerror(errno));
    if (h->child == 0) {
        close(gate[1]);
        if (read(gate[0], &go, 1) != 1)
            _exit(0);                                   /* it can't be watched */
        close(gate[0]);
        execvp(h->command[0], h->command);
        _exit(write(failure[1], &errno, sizeof errno) < 0);
    }
    close(gate[0]);
    close(failure[1]);
    h->start = gate[1];
    h->failure = failure[0];
    return watch_pid(h, h->child, err);
}

static int find(struct hakprobe *h, struct shm_error *err)
{
    if (h->check || h->scope.cgroup)
        return SHM_OK;
    h->scope.learn = h->target.all && !h->target.comm;
    if (h->command)
        return watch_command(h, err);
    return h->target.pid ? watch_pid(h, h->target.pid, err) : watch_found(h, err);
}

/* In the namespace of ours, the number is the pid itself. */
static int pid_of(const struct hakprobe_id *id, void *ctx)
{
    static uint64_t own_ns;
    const struct hakprobe *h = ctx;
    int own_pid;

    if (!own_ns && !shm_innermost(getpid(), &own_ns, &own_pid))
        own_ns = 1;
    if (id->pid_ns == own_ns)
        return (int)id->pid;
    for (size_t i = 0; i < h->watched_count; i++)
        if (!memcmp(&h->watched[i].id, id, sizeof *id))
            return h->watched[i].pid;
    return 0;
}

/* ---- Counting ------------------------------------------------------------------------------- */

static volatile sig_atomic_t stop;
static sigset_t unblocked;          /* the mask of who waits: at no other place may `stop` change */

static void on_signal(int signal)
{
    (void)signal;
    stop = 1;
}

static void catch_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    sigset_t ours;

    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGHUP);
    sigprocmask(SIG_BLOCK, &ours, &unblocked);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);       /* what is pinned is to be taken away */
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Waits for one of the watched to end, or a signal, at most until a time. */
static void wait_for_end(struct hakprobe *h, uint64_t end)
{
    struct pollfd *fds = calloc(h->watched_count + 1, sizeof *fds);
    uint64_t now = now_ns(), left = end > now ? end - now : 0;
    struct timespec most = { (time_t)(left / 1000000000), (long)(left % 1000000000) };

    for (size_t i = 0; fds && i < h->watched_count; i++)
        fds[i] = (struct pollfd){ .fd = h->watched[i].ended ? -1 : h->watched[i].pidfd,
                                  .events = POLLIN };
    ppoll(fds, fds ? h->watched_count : 0, &most, &unblocked);
    for (size_t i = 0; fds && i < h->watched_count; i++)
        h->watched[i].ended |= fds[i].revents != 0;
    free(fds);
}

/* Whether there is, or may be, anything to count. */
static bool going_on(const struct hakprobe *h)
{
    bool more = h->scope.learn || h->scope.cgroup;

    for (size_t i = 0; i < h->watched_count; i++)
        more |= !h->watched[i].ended;
    return more && !stop;
}

static bool wait_until(struct hakprobe *h, uint64_t end)
{
    while (going_on(h) && now_ns() < end)
        wait_for_end(h, end);
    return going_on(h);
}

static void forget_ended(struct probes *probes, const struct probes_reading *r)
{
    for (size_t i = 0; i < r->process_count; i++)
        if (r->processes[i].ended)
            probes_forget(probes, &r->processes[i].id);
}

/* The name of a process comes with the first call of it that is counted; before, from /proc. */
static void name_silent(struct hakprobe *h, struct probes_reading *r)
{
    for (size_t i = 0; i < r->process_count; i++) {
        struct probes_process *p = &r->processes[i];
        char path[32];
        snprintf(path, sizeof path, "/proc/%d/comm", pid_of(&p->id, h));
        FILE *file = p->comm[0] || p->ended ? NULL : fopen(path, "re");
        if (!file)
            continue;
        if (!fgets(p->comm, sizeof p->comm, file))
            p->comm[0] = 0;
        fclose(file);
        p->comm[strcspn(p->comm, "\n")] = 0;
        for (char *c = p->comm; *c; c++)
            if (!isprint((unsigned char)*c))
                *c = '?';
    }
}

/* Prints what has been counted since `*before`, which it replaces. */
static int output(struct hakprobe *h, struct probes *probes, struct probes_reading **before,
                  struct shm_error *err)
{
    struct probes_reading *now, *since;
    int code = probes_read(probes, NULL, &now, err);

    if (code)
        return code;
    name_silent(h, now);
    since = probes_since(now, *before);
    if (!since) {
        probes_reading_free(now);
        return shm_fail(err, SHM_EIO, "out of memory");
    }
    print_reading(&h->print, h->print.format == PRINT_METRICS ? now : since,
                  now->time_ns - (*before)->time_ns);
    forget_ended(probes, now);
    probes_reading_free(since);
    probes_reading_free(*before);
    *before = now;
    if (!fflush(stdout) && !ferror(stdout))
        return SHM_OK;
    if (errno != EPIPE)
        return shm_fail(err, SHM_EIO, "standard output: %s", strerror(errno));
    stop = 1;                       /* nobody reads any more */
    return SHM_OK;
}

/* Lets the command go.  Its exec ends the pipe. */
static int start_command(const struct hakprobe *h, struct shm_error *err)
{
    int why = 0;

    if (write(h->start, "", 1) != 1 || close(h->start))
        return shm_fail(err, SHM_EIO, "%s: %s", h->command[0], strerror(errno));
    if (read(h->failure, &why, sizeof why) != (ssize_t)sizeof why)
        return SHM_OK;
    return shm_fail(err, (enum shm_code)(why == ENOENT ? 127 : 126), "%s: %s", h->command[0], strerror(why));
}

static void say_counting(const struct hakprobe *h)
{
    for (int i = PROBES_SYSCALLS; i <= PROBES_FAULTS; i++)
        if (h->report.part[i].tried && !h->report.part[i].works)
            fprintf(stderr, "hakprobe: no %s: %s\n", probes_part_names[i], h->report.part[i].text);
    if (!h->quiet)
        fprintf(stderr, "hakprobe: counting; Ctrl-C ends it\n");
}

static int count(struct hakprobe *h, struct probes *probes, struct shm_error *err)
{
    struct probes_reading *before = calloc(1, sizeof *before);
    uint64_t next = now_ns();
    unsigned long printed = 0;
    int code;

    if (!before)
        return shm_fail(err, SHM_EIO, "out of memory");
    before->time_ns = next;
    for (bool more = true; more; ) {
        next += (uint64_t)h->interval_ms * 1000000;
        more = wait_until(h, next);
        code = output(h, probes, &before, err);
        more = more && !code && !stop && ++printed != h->count;
    }
    probes_reading_free(before);
    return code;
}

/* ---- All of it ------------------------------------------------------------------------------ */

static int run(struct hakprobe *h, struct shm_error *err)
{
    struct probes *probes;
    int code = probes_open(&h->scope, &probes, &h->report, err);

    if (h->check)
        print_report(&h->print, &h->report), fflush(stdout);
    if (code)
        return code;
    if (h->pin)
        code = probes_pin(probes, h->pin, err);
    if (!code && h->command && !h->check)
        code = start_command(h, err);
    if (!code && !h->check) {
        say_counting(h);
        code = count(h, probes, err);
    }
    probes_close(probes);
    return code;
}

/* Its own exit status.  It ends by itself: it is not ours to end. */
static int end_of_command(struct hakprobe *h)
{
    int status;

    close(h->start);
    while (waitpid(h->child, &status, 0) < 0)
        if (errno != EINTR)
            return SHM_EIO;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    static struct hakprobe h = { .interval_ms = 1000,
                                 .start = -1,
                                 .scope.calls = (1u << HAKPROBE_CALLS) - 1 };
    struct hakprobe_id *ids;
    struct shm_error err;

    h.print.pid = pid_of;
    h.print.ctx = &h;
    parse(&h, argc, argv);
    shm_gc_at_start();
    int code = find(&h, &err);
    ids = calloc(h.watched_count + 1, sizeof *ids);
    for (size_t i = 0; ids && i < h.watched_count; i++)
        ids[i] = h.watched[i].id;
    h.scope.ids = ids;
    h.scope.id_count = ids ? h.watched_count : 0;
    catch_signals();                /* after the command has begun, which is to have its own */
    if (!code)
        code = run(&h, &err);
    if (code)
        complain(&h, &err);
    free(ids);
    free(h.watched);
    return h.command && !code ? end_of_command(&h) : code;
}
