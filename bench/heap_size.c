/* heap_size: random blocks are replaced in a heap that holds MIB mebibytes of live blocks; building
 * it up is not timed. */
#include "bench.h"

#define USAGE "MIB OPS"
#define MIN   16
#define MAX   1040

int main(int argc, char **argv)
{
    size_t bytes = bench_arg(argc, argv, 1, USAGE) << 20;
    uint64_t ops = bench_arg(argc, argv, 2, USAGE);
    size_t n = bytes / ((MIN + MAX) / 2);
    void **slot = bench_map(n * sizeof *slot);
    uint64_t rng = BENCH_SEED;

    for (size_t i = 0; i < n; i++) {
        size_t size = bench_between(&rng, MIN, MAX);
        slot[i] = bench_touch(malloc(size), size);
    }
    struct bench_time start = bench_time();
    for (uint64_t i = 0; i < ops; i++) {
        size_t k = bench_below(&rng, n), size = bench_between(&rng, MIN, MAX);
        free(slot[k]);
        slot[k] = bench_touch(malloc(size), size);
    }
    bench_report("heap_size", ops, start);
}
