/* xmalloc: some threads only allocate, others only free (Lever and Boreham's xmalloc-test).
 * Blocks change hands in batches, through a bounded queue under a lock. */
#include "bench.h"

#define USAGE   "ALLOCATORS FREERS MIN MAX OPS"
#define BATCH   512             /* blocks a batch */
#define BATCHES 16              /* batches in circulation */

struct batch {
    struct batch *next;
    void *block[BATCH];
};

struct queue {
    struct batch *head;
    pthread_mutex_t lock;
    pthread_cond_t more;
};

static struct queue empty = { NULL, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };
static struct queue full = { NULL, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };
static size_t allocators, freers, min, max;
static uint64_t batches;        /* for all allocators; each and each freer does an equal share */

static void put(struct queue *q, struct batch *b)
{
    pthread_mutex_lock(&q->lock);
    b->next = q->head;
    q->head = b;
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
}

static struct batch *take(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    while (!q->head)
        pthread_cond_wait(&q->more, &q->lock);
    struct batch *b = q->head;
    q->head = b->next;
    pthread_mutex_unlock(&q->lock);
    return b;
}

static void allocate(uint64_t rng)
{
    for (uint64_t n = batches / allocators; n > 0; n--) {
        struct batch *b = take(&empty);
        for (size_t i = 0; i < BATCH; i++) {
            size_t size = bench_between(&rng, min, max);
            b->block[i] = bench_touch(malloc(size), size);
        }
        put(&full, b);
    }
}

static void release(void)
{
    for (uint64_t n = batches / freers; n > 0; n--) {
        struct batch *b = take(&full);
        for (size_t i = 0; i < BATCH; i++)
            free(b->block[i]);
        put(&empty, b);
    }
}

static void *work(void *arg)
{
    size_t me = *(size_t *)arg;
    if (me < allocators)
        allocate(bench_seed(me));
    else
        release();
    return NULL;
}

int main(int argc, char **argv)
{
    allocators = bench_arg(argc, argv, 1, USAGE);
    freers = bench_arg(argc, argv, 2, USAGE);
    min = bench_arg(argc, argv, 3, USAGE);
    max = bench_arg(argc, argv, 4, USAGE);
    batches = bench_arg(argc, argv, 5, USAGE) / BATCH;
    batches -= batches % (allocators * freers);

    struct batch *b = bench_map(BATCHES * sizeof *b);
    size_t threads = allocators + freers, *me = bench_map(threads * sizeof *me);
    for (size_t i = 0; i < BATCHES; i++)
        put(&empty, &b[i]);
    for (size_t i = 0; i < threads; i++)
        me[i] = i;

    struct bench_time start = bench_time();
    bench_threads(threads, work, me, sizeof *me);
    bench_report("xmalloc", batches * BATCH, start);
}
