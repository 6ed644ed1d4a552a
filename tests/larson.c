/* larson.c: a block has one owner at a time (fault 1 of the research prototype: freelist and remote
 * queue held the same block, so that Larson's benchmark with four threads crashed within seconds, with
 * user bytes in a next pointer).
 *
 * As in Larson's server, each thread replaces random blocks of an array and then leaves the array to
 * another thread, so that most blocks are freed by a thread that did not allocate them.  A block is
 * full of its own number from malloc to free: whoever else has it writes another one.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include "tests/under.h"

enum { THREADS = 4, ARRAYS = 8, BLOCKS = 1000, TURN = 5000 };

struct block { uint64_t *p, number; size_t words; };
static struct array { struct block b[BLOCKS]; pthread_mutex_t lock; } arrays[ARRAYS];
static _Atomic uint64_t next_number = 1;
static long turns;
static size_t least, most;              /* words of a block */

static int spoiled(const struct block *b)
{
    for (size_t i = 0; i < b->words; i++)
        if (b->p[i] != b->number)
            return 1;
    return 0;
}

static int replace(struct block *b, uint64_t *seed)
{
    int bad = spoiled(b);
    free(b->p);
    b->words = least + rnd(seed) % (most - least + 1);
    b->number = atomic_fetch_add_explicit(&next_number, 1, memory_order_relaxed);
    b->p = malloc(b->words * sizeof *b->p);
    for (size_t i = 0; i < b->words; i++)
        b->p[i] = b->number;
    return bad;
}

static void *serve(void *arg)
{
    uint64_t seed = (uintptr_t)arg + 1;
    long bad = 0;
    for (long turn = 0; turn < turns; turn++) {
        struct array *a = &arrays[rnd(&seed) % ARRAYS];
        pthread_mutex_lock(&a->lock);
        for (int i = 0; i < TURN; i++)
            bad += replace(&a->b[rnd(&seed) % BLOCKS], &seed);
        pthread_mutex_unlock(&a->lock);
    }
    return (void *)bad;
}

/* Blocks of so many words, by threads that end and are followed by others. */
static void larson(size_t from, size_t to)
{
    long bad = 0;
    least = from;
    most = to;
    for (int life = 0; life < 4; life++)
        bad += run_threads(THREADS, serve, NULL);
    for (int i = 0; i < ARRAYS; i++)
        for (int j = 0; j < BLOCKS; j++) {
            bad += spoiled(&arrays[i].b[j]);
            free(arrays[i].b[j].p);
            arrays[i].b[j] = (struct block){ 0 };
        }
    is(bad, 0, "%ld blocks of %zu to %zu bytes, replaced by %d threads", 4 * THREADS * turns * TURN,
       from * 8, to * 8, THREADS);
}

int main(int argc, char **argv)
{
    (void)argc;
    run_under_hakmem(argv);
    turns = count_of("HAK_TURNS", 12, 120);
    for (int i = 0; i < ARRAYS; i++)
        pthread_mutex_init(&arrays[i].lock, NULL);
    larson(1, 1);
    larson(2, 8);
    larson(1, 130);
    larson(2, 500);
    return tap_done();
}
