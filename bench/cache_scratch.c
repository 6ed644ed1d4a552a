/* cache_scratch: passive false sharing (after Hoard's test of that name).  The main thread gives
 * each thread a small block of its own, all from one cache line; each frees it, and from then on
 * allocates, writes and frees.  Slow if a freed neighbour's block comes back to the one who freed
 * it. */
#include "bench.h"

#define USAGE "THREADS SIZE WRITES OPS"

static size_t size;
static uint64_t writes, ops;    /* ops: for each thread */

static void *work(void *arg)
{
    free(*(void **)arg);
    for (uint64_t i = 0; i < ops; i++) {
        volatile char *block = bench_touch(malloc(size), size);
        for (uint64_t w = 0; w < writes; w++)
            block[w % size]++;
        free((void *)block);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    size_t threads = bench_arg(argc, argv, 1, USAGE);
    size = bench_arg(argc, argv, 2, USAGE);
    writes = bench_arg(argc, argv, 3, USAGE);
    ops = bench_arg(argc, argv, 4, USAGE) / threads;
    void **gift = bench_map(threads * sizeof *gift);
    for (size_t i = 0; i < threads; i++)
        gift[i] = bench_touch(malloc(size), size);

    struct bench_time start = bench_time();
    bench_threads(threads, work, gift, sizeof *gift);
    bench_report("cache_scratch", ops * threads, start);
}
