/* launch: runs one command for the driver and says, from outside, what it used and what served it.
 *
 *     launch FD CPUS NAME=VALUE... -- COMMAND ARGUMENTS...
 *
 * CPUS is a list such as 1 or 0,1, the NAME=VALUEs are added to the command's environment alone.
 * One line of JSON goes to file descriptor FD: exit status (128 + signal when killed), wall, user
 * and system seconds, peak resident set, page faults, involuntary context switches, and the shared
 * objects that were mapped at its very end, when it stops for its tracer (PTRACE_EVENT_EXIT; it
 * runs at full speed until then).
 *
 * The driver does not start the command itself because Linux counts the resident set of the parent
 * that forked into the peak of the child, and Python's is large. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATH_MAX_LINE 4352

static FILE *out;

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "launch: %s: %s\n", what, strerror(errno));
    _exit(125);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

static void pin(const char *list)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const char *s = list; *s; ) {
        char *end;
        CPU_SET(strtoul(s, &end, 10), &set);
        if (end == s)
            die("bad CPU list");
        s = *end ? end + 1 : end;
    }
    if (sched_setaffinity(0, sizeof set, &set))
        die("sched_setaffinity");
}

/* Waits until the parent traces us, then becomes the command. */
__attribute__((noreturn)) static void command(int go, char *cpus, char **argv)
{
    char c;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (read(go, &c, 1) != 1)
        _exit(125);
    close(go);
    pin(cpus);
    for (; *argv && strcmp(*argv, "--"); argv++)
        if (putenv(*argv))
            die("putenv");
    if (!*argv || !*++argv)
        die("no command");
    execvp(*argv, argv);
    die(*argv);
}

/* Writes the paths of the shared objects mapped in pid, each once. */
static void print_objects(pid_t pid)
{
    char name[64], line[PATH_MAX_LINE], last[PATH_MAX_LINE] = "";
    snprintf(name, sizeof name, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(name, "re");
    const char *comma = "";
    fprintf(out, "\"objects\": [");
    while (maps && fgets(line, sizeof line, maps)) {
        char *path = strchr(line, '/');
        if (!path || !strstr(path, ".so"))
            continue;
        path[strcspn(path, "\n")] = 0;
        if (strcmp(path, last)) {
            fprintf(out, "%s\"%s\"", comma, path);
            comma = ", ";
        }
        strcpy(last, path);
    }
    fprintf(out, "], ");
    if (maps)
        fclose(maps);
}

/* Follows the command to its end; returns its wait status. */
static int follow(pid_t pid, struct rusage *use)
{
    int status;
    for (;;) {
        if (wait4(pid, &status, 0, use) < 0)
            die("wait4");
        if (!WIFSTOPPED(status))
            return status;
        int event = status >> 16, sig = WSTOPSIG(status);
        if (event == PTRACE_EVENT_EXIT)
            print_objects(pid);
        if (event == PTRACE_EVENT_STOP && sig != SIGTRAP)
            ptrace(PTRACE_LISTEN, pid, NULL, NULL);
        else
            ptrace(PTRACE_CONT, pid, NULL, (void *)(long)(event ? 0 : sig));
    }
}

int main(int argc, char **argv)
{
    int go[2];
    if (argc < 5 || !(out = fdopen(atoi(argv[1]), "w"))) {
        fprintf(stderr, "usage: launch FD CPUS NAME=VALUE... -- COMMAND ARGUMENTS...\n");
        return 125;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (pipe(go))
        die("pipe");
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        close(go[1]);
        fclose(out);
        command(go[0], argv[2], argv + 3);
    }
    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)(long)PTRACE_O_TRACEEXIT))
        die("ptrace");
    fprintf(out, "{\"pid\": %d, ", (int)pid);
    double start = now();
    if (write(go[1], "", 1) != 1)
        die("write");

    struct rusage use;
    int status = follow(pid, &use);
    fprintf(out, "\"exit\": %d, \"wall\": %.6f, \"user\": %.6f, \"system\": %.6f, ",
            WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), now() - start,
            seconds(use.ru_utime), seconds(use.ru_stime));
    fprintf(out, "\"peak_kib\": %ld, \"minor_faults\": %ld, \"major_faults\": %ld, "
            "\"preempted\": %ld}\n", use.ru_maxrss, use.ru_minflt, use.ru_majflt, use.ru_nivcsw);
    return fclose(out) ? 125 : 0;
}
