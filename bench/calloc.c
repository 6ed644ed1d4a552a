/* calloc: as random_mixed, with zeroed blocks whose ends are looked at. */
#include "bench.h"

#define USAGE "WORKING_SET MIN MAX OPS"

int main(int argc, char **argv)
{
    size_t set = bench_arg(argc, argv, 1, USAGE);
    size_t min = bench_arg(argc, argv, 2, USAGE);
    size_t max = bench_arg(argc, argv, 3, USAGE);
    uint64_t ops = bench_arg(argc, argv, 4, USAGE);
    char **slot = bench_map(set * sizeof *slot);
    uint64_t rng = BENCH_SEED;

    struct bench_time start = bench_time();
    for (uint64_t i = 0; i < ops; i++) {
        size_t k = bench_below(&rng, set), size = bench_between(&rng, min, max);
        free(slot[k]);
        slot[k] = calloc(1, size);
        if (!slot[k] || slot[k][0] || slot[k][size - 1])
            bench_die("calloc: the block is not zero");
        bench_touch(slot[k], size);
        slot[k][size - 1] = 1;
    }
    bench_report("calloc", ops, start);
}
