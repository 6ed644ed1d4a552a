/* control.h: what the unit tests of lib/control share.  The control layer starts once in a process,
 * so every case runs in a child, which says by its exit how it went. */
#ifndef TESTS_UNIT_CONTROL_H
#define TESTS_UNIT_CONTROL_H

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include "abi/layout.h"
#include "lib/base/hooks.h"
#include "lib/control/control.h"
#include "tests/seg.h"

#define SKIPPED (-1)

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED
#endif

__attribute__((unused)) static const uint64_t default_of[] = {
#define KNOB(id, name, type, context, unit, min, max, def, alias, help) def,
#include "abi/knobs.def"
#undef KNOB
};
#define DEFAULT(id) default_of[HAK_KNOB_##id]

/* In a case: ends it, as failed in this line. */
#define need(e) do { if (!(e)) return __LINE__; } while (0)

/* Why a case can't run here; its value is SKIPPED. */
struct verdict {
    int line;
    char why[128];
};
static struct verdict *verdict;

__attribute__((unused, format(printf, 1, 2)))
static int cannot(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(verdict->why, sizeof verdict->why, fmt, ap);
    va_end(ap);
    return SKIPPED;
}

/* Runs a case in a child with these ENV settings ("NAME=value", up to a NULL), and no others. */
static void run_case(const char *what, int (*fn)(void), const char *const *env)
{
    int status;

    if (!verdict)
        verdict = mmap(NULL, sizeof *verdict, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    verdict->line = 0;
    pid_t pid = fork();
    if (pid == 0) {
        for (char **e = environ; *e;) {
            char name[64];
            snprintf(name, sizeof name, "%.*s", (int)strcspn(*e, "="), *e);
            if (strncmp(*e, "HAKMEM_", 7) == 0)
                unsetenv(name);
            else
                e++;
        }
        for (; env && *env; env++)
            putenv((char *)(uintptr_t)*env);
        alarm(300);
        verdict->line = fn();
        control_exit();
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        bail("fork: %m");
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        ok(0, "%s", what);
        diag("%s", ending(status));
    } else if (verdict->line == SKIPPED)
        skip("%s: %s", what, verdict->why);
    else if (!ok(verdict->line == 0, "%s", what))
        diag("line %d", verdict->line);
}
#define CASE(what, fn, ...) \
    run_case(what, fn, (const char *const[]){ __VA_ARGS__ __VA_OPT__(,) NULL })

/* In a child: until it is killed, or forgotten. */
__attribute__((unused, noreturn))
static void linger(void)
{
    alarm(100);
    for (;;)
        pause();
}

/* raise would block signals meanwhile. */
__attribute__((unused))
static void stop_here(void)
{
    syscall(SYS_kill, getpid(), SIGSTOP);
}

/* Runs fn in a child, which does the same thing again and again between two stop_here(), and has a
 * handler of SIGUSR1 that ends by stop_here().  The handler interrupts it after `first`
 * instructions and then every EVERYth, which is more than its way back takes, or it would not get
 * on; `first` goes from 1 to EVERY in so many passes.  Counts the interruptions.  0, how the child
 * ended if it did, or -1: *why this can't be done here.
 *
 * A signal that came while the child steps over its own stop, or while the handler is on its way
 * back, would arrive later than its sender thinks: it waits for an instruction at which the child
 * says that it may come, and at which it isn't blocked. */
#define EVERY 128

__attribute__((unused)) static volatile long interruptible;     /* the child's own */

static bool may_come(pid_t pid, int sig)
{
    uint64_t blocked = 0;

    return ptrace(PTRACE_PEEKDATA, pid, &interruptible, 0) == 1
        && ptrace(PTRACE_GETSIGMASK, pid, sizeof blocked, &blocked) == 0
        && !(blocked >> (sig - 1) & 1);
}

static bool step_once(pid_t pid, int sig, int *status)
{
    return ptrace(sig ? PTRACE_CONT : PTRACE_SINGLESTEP, pid, 0, sig) == 0
        && waitpid(pid, status, 0) == pid && WIFSTOPPED(*status);
}

/* From one stop of the child's own to the next. */
static bool interrupt_once(pid_t pid, int first, int *status, long *interrupted)
{
    for (int left = first; step_once(pid, 0, status) && WSTOPSIG(*status) == SIGTRAP; )
        if (--left <= 0 && may_come(pid, SIGUSR1)) {
            if (!step_once(pid, SIGUSR1, status) || WSTOPSIG(*status) != SIGSTOP)
                return false;
            left = EVERY;
            ++*interrupted;
        }
    return WIFSTOPPED(*status) && WSTOPSIG(*status) == SIGSTOP;
}

__attribute__((unused))
static int interrupt_everywhere(void (*fn)(void), int passes, long *interrupted, const char **why)
{
    int status;

#ifdef SANITIZED
    *why = "a sanitizer puts signals off";
    return -1;
#endif
    *why = "ptrace is not allowed";
    pid_t pid = fork();
    if (pid == 0) {
        alarm(300);
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) == 0)
            fn();
        _exit(77);
    }
    bool good = waitpid(pid, &status, 0) == pid && WIFSTOPPED(status);
    if (!good && WIFEXITED(status) && WEXITSTATUS(status) == 77)
        return -1;
    for (int pass = 0; good && pass < passes; pass++)
        good = interrupt_once(pid, 1 + pass * EVERY / passes, &status, interrupted)
            && ptrace(PTRACE_CONT, pid, 0, 0) == 0 && waitpid(pid, &status, 0) == pid
            && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP;
    if (WIFSTOPPED(status)) {
        if (!good)
            diag("stopped by signal %d", WSTOPSIG(status));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return good ? 0 : status;
}

/* What is printed at exit. */
__attribute__((unused))
static bool statistics(char *text, size_t room)
{
    int p[2];

    if (pipe(p) || dup2(p[1], 2) != 2)
        return false;
    control_exit();
    close(2), close(p[1]);
    ssize_t n = read(p[0], text, room - 1);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* Private zeroed memory, as a heap has for its slot. */
__attribute__((unused))
static struct hak_slot_full *slot_memory(void)
{
    void *p = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        bail("mmap: %m");
    return p;
}

__attribute__((unused, format(printf, 2, 3)))
static void write_line(const char *path, const char *fmt, ...)
{
    int fd = open(path, O_WRONLY);
    va_list ap;
    va_start(ap, fmt);
    vdprintf(fd, fmt, ap);
    va_end(ap);
    close(fd);
}

/* A mount namespace of our own: NULL, or what the kernel refused. */
__attribute__((unused))
static const char *own_mounts(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    static char why[64];
    if (unshare(uid ? CLONE_NEWNS | CLONE_NEWUSER : CLONE_NEWNS)) {
        snprintf(why, sizeof why, "unshare: %s", strerror(errno));
        return why;
    }
    if (uid) {                          /* a user who is nobody can make no file */
        write_line("/proc/self/setgroups", "deny");
        write_line("/proc/self/uid_map", "%u %u 1", uid, uid);
        write_line("/proc/self/gid_map", "%u %u 1", gid, gid);
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
        snprintf(why, sizeof why, "mount: %s", strerror(errno));
        return why;
    }
    return NULL;
}

__attribute__((unused))
static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#endif
