/* ping_pong: malloc, one write, free at once. */
#include "bench.h"

#define USAGE "SIZE OPS"

int main(int argc, char **argv)
{
    size_t size = bench_arg(argc, argv, 1, USAGE);
    uint64_t ops = bench_arg(argc, argv, 2, USAGE);

    struct bench_time start = bench_time();
    for (uint64_t i = 0; i < ops; i++)
        free(bench_touch(malloc(size), size));
    bench_report("ping_pong", ops, start);
}
