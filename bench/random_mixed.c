/* random_mixed: random sizes in a range; each operation picks a random slot of the working set and
 * frees its block, or allocates one if it is empty.  With other ranges this is also the mid, large
 * and huge row. */
#include "bench.h"

#define USAGE "WORKING_SET MIN MAX OPS"

int main(int argc, char **argv)
{
    size_t set = bench_arg(argc, argv, 1, USAGE);
    size_t min = bench_arg(argc, argv, 2, USAGE);
    size_t max = bench_arg(argc, argv, 3, USAGE);
    uint64_t ops = bench_arg(argc, argv, 4, USAGE);
    void **slot = bench_map(set * sizeof *slot);
    uint64_t rng = BENCH_SEED;

    struct bench_time start = bench_time();
    for (uint64_t i = 0; i < ops; i++) {
        size_t k = bench_below(&rng, set);
        if (slot[k]) {
            free(slot[k]);
            slot[k] = NULL;
        } else {
            size_t size = bench_between(&rng, min, max);
            slot[k] = bench_touch(malloc(size), size);
        }
    }
    bench_report("random_mixed", ops, start);
}
