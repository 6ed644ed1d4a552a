/* threads.c: many threads, short-lived threads, threads that end in odd ways, and blocks that
 * outlive the thread they came from. */
#define _GNU_SOURCE
#include <errno.h>
#include <semaphore.h>
#include "tests/under.h"

#define KiB ((size_t)1 << 10)

static int filled(const unsigned char *p, int c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != (unsigned char)c)
            return 0;
    return 1;
}

/* Memory has grown by less than this.  What a sanitizer or an emulator keeps is not the allocator's. */
static void grew_less(long before_kib, long kib, const char *what)
{
    long grown = rss_kib() - before_kib;
    const char *emulator = getenv("EMULATOR");
#ifdef HAK_PREFIXED
    emulator = "a sanitizer's runtime";
#endif
    if (emulator && *emulator)
        diag("%s: %ld KiB more, of %ld, under %s", what, grown, kib, emulator);
    else
        ok(grown < kib, "%s (%ld KiB more)", what, grown);
}

/* --- a thousand at once, on the smallest stack that there is ----------------------------------- */

enum { MANY = 1000, EACH = 20 };
static pthread_barrier_t all_there;
static unsigned char *blocks_of[MANY][EACH];

static void *one_of_many(void *arg)
{
    int me = (int)(intptr_t)arg, other = (me + 1) % MANY, bad = 0;
    for (int i = 0; i < EACH; i++)
        memset(blocks_of[me][i] = malloc((size_t)64 << i % 6), me, (size_t)64 << i % 6);
    pthread_barrier_wait(&all_there);
    for (int i = 0; i < EACH; i++) {
        bad += !filled(blocks_of[other][i], other, (size_t)64 << i % 6);
        free(blocks_of[other][i]);
    }
    pthread_barrier_wait(&all_there);
    for (int i = 0; i < 100; i++)
        free(malloc((size_t)i * 40));
    return (void *)(intptr_t)bad;
}

static void test_a_thousand_threads(void)
{
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN);
    pthread_barrier_init(&all_there, NULL, MANY);
    long before = rss_kib();
    is(run_threads(MANY, one_of_many, &small), 0,
       "1,000 threads at once with PTHREAD_STACK_MIN, each freeing another's blocks");
    malloc_trim(0);
    grew_less(before, 48 * 1024, "and less than 48 KiB remain of each");
}

/* --- threads come and go ----------------------------------------------------------------------- */

static void *short_lived(void *arg)
{
    void *p[40];
    (void)arg;
    for (int i = 0; i < 40; i++)
        memset(p[i] = malloc((size_t)16 << i % 10), 1, (size_t)16 << i % 10);
    for (int i = 0; i < 40; i++)
        free(p[i]);
    return NULL;
}

static void churn(long n)
{
    for (long i = 0; i < n; i += 4)
        run_threads(4, short_lived, NULL);
}

static void test_churn(void)
{
    long n = count_of("HAK_CHURN", 8000, 40000);
    churn(n / 4);
    long before = rss_kib();
    churn(n);
    grew_less(before, 2048, "thousands of threads later nothing is left of them");
}

/* A thread that ends leaves what it allocated to others, and its free blocks to the next one. */
enum { LEFT = 2000 };
static void *left[LEFT];

static void *leave_blocks(void *arg)
{
    (void)arg;
    for (int i = 0; i < LEFT; i++) {
        void *p = malloc((size_t)32 << i % 8);
        memset(left[i] = malloc((size_t)32 << i % 8), 7, (size_t)32 << i % 8);
        free(p);
    }
    return NULL;
}

static void *take_blocks(void *arg)
{
    long bad = 0;
    (void)arg;
    for (int i = 0; i < LEFT; i++) {
        bad += !filled(left[i], 7, (size_t)32 << i % 8);
        free(left[i]);
    }
    return (void *)bad;
}

static void test_orphans(void)
{
    long bad = 0, before = 0;
    for (int round = 0; round < 120; round++) {
        if (round == 20)
            before = rss_kib();
        run_threads(1, leave_blocks, NULL);
        bad += run_threads(1, take_blocks, NULL);
    }
    grew_less(before, 6 * 1024, "blocks that others freed serve the next threads");
    is(bad, 0, "blocks outlive their thread");
}

/* --- a producer's memory is not stranded with its consumers (mimalloc #1364) -------------------- */

enum { RING = 4096, BLOCK = 500 };
static void *ring[RING];
static sem_t items, room;
static long to_pass;

static void *produce(void *arg)
{
    (void)arg;
    for (long i = 0; i < to_pass; i++) {
        sem_wait(&room);
        memset(ring[i % RING] = malloc(BLOCK), (int)i, BLOCK);
        sem_post(&items);
    }
    return NULL;
}

static long consume(void)
{
    long bad = 0;
    for (long i = 0; i < to_pass; i++) {
        sem_wait(&items);
        bad += !filled(ring[i % RING], (int)i, BLOCK);
        free(ring[i % RING]);
        sem_post(&room);
    }
    return bad;
}

static void test_producer_consumer(void)
{
    long bad = 0, before = 0;
    sem_init(&items, 0, 0);
    sem_init(&room, 0, RING);
    to_pass = 40000;
    for (int round = 0; round < 12; round++) {
        pthread_t t;
        if (round == 2)
            before = rss_kib();
        pthread_create(&t, NULL, produce, NULL);
        bad += consume();
        pthread_join(t, NULL);
    }
    grew_less(before, 8 * 1024, "at most 2 MiB in flight: memory stays bounded");
    is(bad, 0, "480,000 blocks made by one thread and freed by another");
}

/* Threads that take turns: each allocates 16 MiB, the next one frees it. */
enum { TURN = 16 * 1024 };
static void *turn_blocks[TURN];

static void *take_turn(void *arg)
{
    long bad = 0;
    (void)arg;
    for (int i = 0; i < TURN; i++) {
        bad += turn_blocks[i] && !filled(turn_blocks[i], i, 1000);
        free(turn_blocks[i]);
        memset(turn_blocks[i] = malloc(1000), i, 1000);
    }
    return (void *)bad;
}

static sem_t my_turn[8];
static void *wait_for_turn(void *arg)
{
    long bad = 0;
    int me = (int)(intptr_t)arg;
    for (int round = 0; round < 5; round++) {
        sem_wait(&my_turn[me]);
        bad += (intptr_t)take_turn(NULL);
        sem_post(&my_turn[(me + 1) % 8]);
    }
    return (void *)bad;
}

static void test_turns(void)
{
    for (int i = 0; i < 8; i++)
        sem_init(&my_turn[i], 0, i == 0);
    long before = rss_kib();
    long bad = run_threads(8, wait_for_turn, NULL);
    grew_less(before, 3 * 16 * 1024, "16 MiB live: the process holds less than three times that");
    is(bad, 0, "eight threads in turn free what the one before allocated");
    for (int i = 0; i < TURN; i++)
        free(turn_blocks[i]);
}

/* --- the end of a thread ----------------------------------------------------------------------- */

/* Destructors of keys run after ours as well, and set their key again as often as is allowed.
 * ThreadSanitizer knows nothing of a thread that has come to the last rounds. */
enum { KEYS = 60 };
#ifdef HAK_PREFIXED
enum { ROUNDS = 2 };
#else
enum { ROUNDS = PTHREAD_DESTRUCTOR_ITERATIONS };
#endif
static pthread_key_t keys[KEYS];
struct value { int key, times; char room[]; };
static int destroyed;

static int set_value(int key, int times)
{
    struct value *v = malloc(sizeof *v + (size_t)key * 40);
    *v = (struct value){ key, times };
    memset(v->room, key, (size_t)key * 40);
    return pthread_setspecific(keys[key], v);
}

static void destructor(void *p)
{
    struct value *v = p;
    if (filled((unsigned char *)v->room, v->key, (size_t)v->key * 40))
        __atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
    if (v->times < ROUNDS - 1)
        set_value(v->key, v->times + 1);
    free(v);
}

static void *use_keys(void *arg)
{
    (void)arg;
    for (int i = 0; i < KEYS; i++)
        if (set_value(i, 0))
            return (void *)1;
    return NULL;
}

static void test_keys(void)
{
    for (int i = 0; i < KEYS; i++)
        if (pthread_key_create(&keys[i], destructor))
            bail("pthread_key_create");
    is(run_threads(20, use_keys, NULL), 0, "keys beyond the 32nd, whose memory is calloc's");
    is(destroyed, 20 * KEYS * ROUNDS, "their destructors allocate and free, in all %d rounds", ROUNDS);
    long before = rss_kib();
    for (int i = 0; i < 100; i++)
        run_threads(10, use_keys, NULL);
    grew_less(before, 2048, "a thousand such threads leave nothing");
    for (int i = 0; i < KEYS; i++)
        pthread_key_delete(keys[i]);
}

/* A thread that only frees must not be given a heap when it dies; glibc frees a thread's own
 * memory after the last destructor (jemalloc #896). */
static void *only_free(void *arg)
{
    (void)arg;
    free(left[0]);
    return NULL;
}

static void test_only_free(void)
{
    long before = 0;
    for (int i = 0; i < 2200; i++) {
        if (i == 200)
            before = rss_kib();
        memset(left[0] = malloc(5000), 1, 5000);
        run_threads(1, only_free, NULL);
    }
    grew_less(before, 2048, "2,000 threads that only free leave nothing");
}

static void *cancelled(void *arg)
{
    (void)arg;
    for (;;) {
        void *p = malloc(100);
        memset(p, 1, 100);
        free(p);
        pthread_testcancel();
    }
    return NULL;
}

static void test_cancel_and_exit(void)
{
    int bad = 0;
    for (int i = 0; i < 100; i++) {
        pthread_t t;
        void *r;
        pthread_create(&t, NULL, cancelled, NULL);
        pthread_cancel(t);
        pthread_join(t, &r);
        bad += r != PTHREAD_CANCELED;
    }
    is(bad, 0, "a hundred threads cancelled in their loops");
}

/* The main thread ends first; the process lives on in another, which frees the main one's blocks. */
static void *outlive(void *arg)
{
    usleep(20000);
    free(arg);
    for (int i = 0; i < 1000; i++)
        free(malloc((size_t)i));
    _exit(filled(left[1], 9, 100) ? 0 : 1);
}

static int child_main_thread_ends(void)
{
    pthread_t t;
    memset(left[1] = malloc(100), 9, 100);
    pthread_create(&t, NULL, outlive, malloc(100));
    pthread_exit(NULL);
}

int main(int argc, char **argv)
{
    (void)argc;
    run_under_hakmem(argv);
    test_churn();
    test_orphans();
    test_producer_consumer();
    test_turns();
    test_keys();
    test_only_free();
    test_cancel_and_exit();
    test_a_thousand_threads();
    is_str(in_child(child_main_thread_ends), "exit 0", "the main thread may end first");
    return tap_done();
}
