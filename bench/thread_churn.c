/* thread_churn: short-lived threads, a few at a time, each of which allocates and frees a little. */
#include "bench.h"

#define USAGE "AT_ONCE BLOCKS THREADS"
#define BLOCKS_MAX 4096

static size_t blocks;

static void *work(void *arg)
{
    void *block[BLOCKS_MAX];
    uint64_t rng = BENCH_SEED;
    (void)arg;
    for (size_t i = 0; i < blocks; i++) {
        size_t size = bench_between(&rng, 16, 1040);
        block[i] = bench_touch(malloc(size), size);
    }
    for (size_t i = 0; i < blocks; i++)
        free(block[i]);
    return NULL;
}

int main(int argc, char **argv)
{
    size_t at_once = bench_arg(argc, argv, 1, USAGE);
    blocks = bench_arg(argc, argv, 2, USAGE);
    uint64_t rounds = bench_arg(argc, argv, 3, USAGE) / at_once;
    if (blocks > BLOCKS_MAX)
        bench_die("thread_churn: at most 4096 blocks");

    struct bench_time start = bench_time();
    for (uint64_t r = 0; r < rounds; r++)
        bench_threads(at_once, work, NULL, 0);
    bench_report("thread_churn", rounds * at_once, start);
}
