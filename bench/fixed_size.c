/* fixed_size: one size; each operation frees a random block of the working set and allocates it
 * again. */
#include "bench.h"

#define USAGE "SIZE WORKING_SET OPS"

int main(int argc, char **argv)
{
    size_t size = bench_arg(argc, argv, 1, USAGE);
    size_t set = bench_arg(argc, argv, 2, USAGE);
    uint64_t ops = bench_arg(argc, argv, 3, USAGE);
    void **slot = bench_map(set * sizeof *slot);
    uint64_t rng = BENCH_SEED;

    for (size_t i = 0; i < set; i++)
        slot[i] = bench_touch(malloc(size), size);
    struct bench_time start = bench_time();
    for (uint64_t i = 0; i < ops; i++) {
        size_t k = bench_below(&rng, set);
        free(slot[k]);
        slot[k] = bench_touch(malloc(size), size);
    }
    bench_report("fixed_size", ops, start);
}
