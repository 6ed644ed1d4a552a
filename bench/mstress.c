/* mstress: mixed sizes, few of them big; threads that come and go and exchange blocks through a
 * shared table (after mimalloc's test-stress).  What is in a block is checked when it is freed. */
#include "bench.h"

#include <stdatomic.h>

#define USAGE    "THREADS ROUNDS OPS"
#define KEPT     1000           /* most blocks a thread holds */
#define EXCHANGE 1024           /* slots of the shared table */
#define COOKIE   UINT64_C(0xBF58476D1CE4E5B9)

static _Atomic(uint64_t *) exchange[EXCHANGE];
static uint64_t ops;            /* for each thread and round */

/* Mostly up to 512 bytes; one in 16 up to 8 KiB, one in 1024 up to 256 KiB. */
static uint64_t *block_new(uint64_t *rng)
{
    unsigned kind = bench_rand(rng) % 1024;
    size_t max = kind == 0 ? 256 << 10 : kind < 64 ? 8 << 10 : 512;
    size_t words = bench_between(rng, 2, max / 8);
    uint64_t *b = bench_touch(malloc(words * 8), words * 8);
    b[0] = words ^ COOKIE;
    b[words - 1] = words;
    return b;
}

static void block_free(uint64_t *b)
{
    if (!b)
        return;
    uint64_t words = b[0] ^ COOKIE;
    if (words > (256 << 10) / 8 || b[words - 1] != words)
        bench_die("mstress: a block was overwritten");
    b[0] = 0;
    free(b);
}

static void *work(void *arg)
{
    uint64_t rng = *(uint64_t *)arg;
    uint64_t *kept[KEPT] = { NULL };

    for (uint64_t i = 0; i < ops; i++) {
        size_t k = bench_below(&rng, KEPT);
        switch (bench_rand(&rng) % 8) {
        case 0:
            kept[k] = atomic_exchange(&exchange[bench_below(&rng, EXCHANGE)], kept[k]);
            break;
        case 1: case 2: case 3: case 4:
            block_free(kept[k]);
            kept[k] = block_new(&rng);
            break;
        default:
            block_free(kept[k]);
            kept[k] = NULL;
        }
    }
    for (size_t k = 0; k < KEPT; k++)           /* some of its blocks outlive the thread */
        block_free(k % 2 ? kept[k] : atomic_exchange(&exchange[k], kept[k]));
    *(uint64_t *)arg = rng;
    return NULL;
}

int main(int argc, char **argv)
{
    size_t threads = bench_arg(argc, argv, 1, USAGE);
    uint64_t rounds = bench_arg(argc, argv, 2, USAGE);
    ops = bench_arg(argc, argv, 3, USAGE) / threads / rounds;
    uint64_t *rng = bench_map(threads * sizeof *rng);
    for (size_t i = 0; i < threads; i++)
        rng[i] = bench_seed(i);

    struct bench_time start = bench_time();
    for (uint64_t r = 0; r < rounds; r++)
        bench_threads(threads, work, rng, sizeof *rng);
    for (size_t i = 0; i < EXCHANGE; i++)
        block_free(atomic_exchange(&exchange[i], NULL));
    bench_report("mstress", ops * threads * rounds, start);
}
