/* startup: starts itself again and again, with nothing to do: the price of the allocator's own
 * start.  With 0 it is that child: one malloc, one free, no output. */
#include "bench.h"

#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define USAGE "PROCESSES"

int main(int argc, char **argv)
{
    extern char **environ;
    char *child[] = { argv[0], (char[]){ "0" }, NULL };
    uint64_t processes = bench_arg(argc, argv, 1, USAGE);
    if (!processes) {
        free(bench_touch(malloc(1), 1));
        return 0;
    }
    struct bench_time start = bench_time();
    for (uint64_t i = 0; i < processes; i++) {
        pid_t pid;
        int status;
        if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, child, environ)
            || waitpid(pid, &status, 0) != pid || status)
            bench_die("startup: the child failed");
    }
    struct bench_time t = bench_since(start);
    struct rusage children;
    getrusage(RUSAGE_CHILDREN, &children);
    t.cpu += (double)(children.ru_utime.tv_sec + children.ru_stime.tv_sec)
             + 1e-6 * (double)(children.ru_utime.tv_usec + children.ru_stime.tv_usec);
    bench_report_as("startup", processes, t, "%s", "");
}
