/* fork_rate: forks again and again with a heap of small blocks; the child ends at once.  Many mappings, or
 * work in fork handlers, make this slow. */
#include "bench.h"

#include <sys/wait.h>

#define USAGE "MIB FORKS"
#define MIN   16
#define MAX   1040

int main(int argc, char **argv)
{
    uint64_t bytes = bench_arg(argc, argv, 1, USAGE) << 20;
    uint64_t forks = bench_arg(argc, argv, 2, USAGE);
    uint64_t rng = BENCH_SEED;

    for (uint64_t got = 0; got < bytes; ) {
        size_t size = bench_between(&rng, MIN, MAX);
        bench_touch(malloc(size), size);
        got += size;
    }
    struct bench_time start = bench_time();
    for (uint64_t i = 0; i < forks; i++) {
        int status;
        pid_t pid = fork();
        if (!pid)
            _exit(0);
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
            bench_die("fork_rate: the child failed");
    }
    bench_report("fork_rate", forks, start);
}
