/* aligned: posix_memalign with alignments from 16 to MAX_ALIGN, random sizes, in a working set. */
#include "bench.h"

#define USAGE "WORKING_SET MIN MAX MAX_ALIGN OPS"

int main(int argc, char **argv)
{
    size_t set = bench_arg(argc, argv, 1, USAGE);
    size_t min = bench_arg(argc, argv, 2, USAGE);
    size_t max = bench_arg(argc, argv, 3, USAGE);
    size_t powers = 0;
    for (size_t a = bench_arg(argc, argv, 4, USAGE); a >= 16; a /= 2)
        powers++;
    uint64_t ops = bench_arg(argc, argv, 5, USAGE);
    void **slot = bench_map(set * sizeof *slot);
    uint64_t rng = BENCH_SEED;

    struct bench_time start = bench_time();
    for (uint64_t i = 0; i < ops; i++) {
        size_t k = bench_below(&rng, set), size = bench_between(&rng, min, max);
        size_t align = (size_t)16 << bench_below(&rng, powers);
        free(slot[k]);
        if (posix_memalign(&slot[k], align, size) || (uintptr_t)slot[k] % align)
            bench_die("aligned: no block, or one that is not aligned");
        bench_touch(slot[k], size);
    }
    bench_report("aligned", ops, start);
}
