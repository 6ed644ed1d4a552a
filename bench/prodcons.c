/* prodcons: a producer allocates and fills, its consumer reads and frees; one block at a time goes
 * through a ring without locks. */
#include "bench.h"

#include <stdatomic.h>

#define USAGE "PAIRS RING MIN MAX OPS"
#define SPINS 1000              /* looks at a slot before the thread gives up its time slice */

struct pair {
    _Atomic(uint64_t *) *ring;  /* NULL: the slot is the producer's; else the consumer's */
    uint64_t sum;               /* of what the consumer read, less what was written */
} __attribute__((aligned(128)));

struct side {
    struct pair *pair;
    int produces;
};

static size_t ring, min, max;
static uint64_t ops;            /* for each pair */

static void produce(struct pair *p, uint64_t rng)
{
    for (uint64_t i = 0; i < ops; i++) {
        size_t size = bench_between(&rng, min, max);
        uint64_t *block = bench_touch(malloc(size), size);
        *block = i;
        for (int spins = 0; atomic_load_explicit(&p->ring[i % ring], memory_order_acquire); )
            if (++spins % SPINS == 0)
                sched_yield();
        atomic_store_explicit(&p->ring[i % ring], block, memory_order_release);
    }
}

static void consume(struct pair *p)
{
    for (uint64_t i = 0; i < ops; i++) {
        uint64_t *block;
        for (int spins = 0;
             !(block = atomic_load_explicit(&p->ring[i % ring], memory_order_acquire)); )
            if (++spins % SPINS == 0)
                sched_yield();
        atomic_store_explicit(&p->ring[i % ring], NULL, memory_order_release);
        p->sum += *block - i;
        free(block);
    }
}

static void *work(void *arg)
{
    struct side *s = arg;
    if (s->produces)
        produce(s->pair, BENCH_SEED);
    else
        consume(s->pair);
    return NULL;
}

int main(int argc, char **argv)
{
    size_t pairs = bench_arg(argc, argv, 1, USAGE);
    ring = bench_arg(argc, argv, 2, USAGE);
    min = bench_arg(argc, argv, 3, USAGE);
    max = bench_arg(argc, argv, 4, USAGE);
    ops = bench_arg(argc, argv, 5, USAGE) / pairs;
    if (min < sizeof(uint64_t))
        bench_die("prodcons: MIN is at least 8");

    struct pair *pair = bench_map(pairs * sizeof *pair);
    struct side *side = bench_map(2 * pairs * sizeof *side);
    for (size_t i = 0; i < 2 * pairs; i++)
        side[i] = (struct side){ &pair[i / 2], i % 2 == 0 };
    for (size_t i = 0; i < pairs; i++)
        pair[i].ring = bench_map(ring * sizeof *pair[i].ring);

    struct bench_time start = bench_time();
    bench_threads(2 * pairs, work, side, sizeof *side);
    struct bench_time t = bench_since(start);
    for (size_t i = 0; i < pairs; i++)
        if (pair[i].sum)
            bench_die("prodcons: a block was not what its producer wrote");
    bench_report_as("prodcons", ops * pairs, t, "%s", "");
}
