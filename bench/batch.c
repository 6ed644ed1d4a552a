/* batch: N allocations, then N frees: in the same order (fifo), in the opposite one (lifo) or in a
 * random one; again and again. */
#include "bench.h"

#define USAGE "N SIZE fifo|lifo|random OPS"

/* The order in which the N blocks are freed. */
static uint32_t *free_order(size_t n, const char *how)
{
    uint32_t *order = bench_map(n * sizeof *order);
    uint64_t rng = BENCH_SEED;
    int lifo = !strcmp(how, "lifo");
    if (!lifo && strcmp(how, "fifo") && strcmp(how, "random"))
        bench_die("batch: the order is fifo, lifo or random");
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)(lifo ? n - 1 - i : i);
    for (size_t i = n - 1; i > 0 && !strcmp(how, "random"); i--) {
        size_t j = bench_below(&rng, i + 1);
        uint32_t t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    return order;
}

int main(int argc, char **argv)
{
    size_t n = bench_arg(argc, argv, 1, USAGE);
    size_t size = bench_arg(argc, argv, 2, USAGE);
    uint64_t rounds = bench_arg(argc, argv, 4, USAGE) / n;
    uint32_t *order = free_order(n, argv[3]);
    void **block = bench_map(n * sizeof *block);

    struct bench_time start = bench_time();
    for (uint64_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < n; i++)
            block[i] = bench_touch(malloc(size), size);
        for (size_t i = 0; i < n; i++)
            free(block[order[i]]);
    }
    bench_report("batch", rounds * n, start);
}
