/* cache_thrash: active false sharing (after Hoard's test of that name).  Each thread allocates a
 * small block, writes to it many times and frees it; slow if blocks of two threads share a cache
 * line. */
#include "bench.h"

#define USAGE "THREADS SIZE WRITES OPS"

static size_t size;
static uint64_t writes, ops;    /* ops: for each thread */

static void *work(void *arg)
{
    (void)arg;
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

    struct bench_time start = bench_time();
    bench_threads(threads, work, NULL, 0);
    bench_report("cache_thrash", ops * threads, start);
}
