/* larson: a server's threads (Larson and Krishnan, 1998).  Each thread replaces random blocks of
 * its array, then ends and leaves the array to a new thread, which so frees blocks that its
 * predecessors allocated. */
#include "bench.h"

#include <semaphore.h>

#define USAGE "THREADS BLOCKS MIN MAX OPS GENERATIONS"

/* A line of threads, one at a time; all on one CPU, as bench_threads would deal them out. */
struct chain {
    void **block;
    uint64_t rng;
    unsigned left;              /* generations still to come */
    int cpu;
} __attribute__((aligned(128)));

static size_t blocks, min, max;
static uint64_t ops;
static sem_t ended;

static void *generation(void *arg)
{
    struct chain *c = arg;
    bench_pin(c->cpu);
    for (uint64_t i = 0; i < ops; i++) {
        size_t k = bench_below(&c->rng, blocks);
        size_t size = bench_between(&c->rng, min, max);
        free(c->block[k]);
        c->block[k] = bench_touch(malloc(size), size);
    }
    pthread_t heir;
    if (!c->left--)
        sem_post(&ended);
    else if (pthread_create(&heir, NULL, generation, c) || pthread_detach(heir))
        bench_die("pthread_create failed");
    return NULL;
}

int main(int argc, char **argv)
{
    size_t threads = bench_arg(argc, argv, 1, USAGE);
    blocks = bench_arg(argc, argv, 2, USAGE);
    min = bench_arg(argc, argv, 3, USAGE);
    max = bench_arg(argc, argv, 4, USAGE);
    unsigned generations = (unsigned)bench_arg(argc, argv, 6, USAGE);
    ops = bench_arg(argc, argv, 5, USAGE) / threads / generations;

    /* The main thread allocates every block at first, dealt out to the chains in turn. */
    struct chain *chain = bench_map(threads * sizeof *chain);
    uint64_t rng = BENCH_SEED;
    int cpu = -1;
    for (size_t t = 0; t < threads; t++) {
        cpu = bench_next_cpu(cpu);
        chain[t] = (struct chain){ bench_map(blocks * sizeof(void *)), bench_seed(t), generations - 1,
                                   cpu };
    }
    for (size_t i = 0; i < blocks * threads; i++) {
        size_t size = bench_between(&rng, min, max);
        chain[i % threads].block[i / threads] = bench_touch(malloc(size), size);
    }

    sem_init(&ended, 0, 0);
    struct bench_time start = bench_time();
    for (size_t t = 0; t < threads; t++) {
        pthread_t first;
        if (pthread_create(&first, NULL, generation, &chain[t]) || pthread_detach(first))
            bench_die("pthread_create failed");
    }
    for (size_t t = 0; t < threads; t++)
        sem_wait(&ended);
    bench_report("larson", ops * generations * threads, start);
}
