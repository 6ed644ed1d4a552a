/* threads: the same total of random-mixed work, shared out among 1, 2, … 64 threads, each with a
 * working set of its own. */
#include "bench.h"

#define USAGE "THREADS WORKING_SET MIN MAX OPS"

static size_t set, min, max;
static uint64_t ops;            /* for each thread */

struct worker {
    void **slot;
    uint64_t rng;
};

static void *work(void *arg)
{
    void **slot = ((struct worker *)arg)->slot;
    uint64_t rng = ((struct worker *)arg)->rng;
    for (uint64_t i = 0; i < ops; i++) {
        size_t k = bench_below(&rng, set), size = bench_between(&rng, min, max);
        free(slot[k]);
        slot[k] = bench_touch(malloc(size), size);
    }
    for (size_t k = 0; k < set; k++)
        free(slot[k]);
    return NULL;
}

int main(int argc, char **argv)
{
    size_t threads = bench_arg(argc, argv, 1, USAGE);
    set = bench_arg(argc, argv, 2, USAGE);
    min = bench_arg(argc, argv, 3, USAGE);
    max = bench_arg(argc, argv, 4, USAGE);
    ops = bench_arg(argc, argv, 5, USAGE) / threads;
    struct worker *worker = bench_map(threads * sizeof *worker);
    for (size_t i = 0; i < threads; i++)
        worker[i] = (struct worker){ bench_map(set * sizeof(void *)), bench_seed(i) };

    struct bench_time start = bench_time();
    bench_threads(threads, work, worker, sizeof *worker);
    bench_report("threads", ops * threads, start);
}
