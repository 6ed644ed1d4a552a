/* base.c: lib/base: the lock, and what os.h promises of the kernel. */
#include <errno.h>
#include <sys/mman.h>
#include "tests/unit/interleave.h"
#include "lib/base/lock.h"
#include "lib/base/os.h"

enum { MANY = 4 };
static struct lock lock;
static long counter;                    /* guarded by it */
static _Atomic int inside;
static long steps;
static __thread uint64_t lock_seed;

/* ---- the lock ---- */

static int is_free(void)
{
    return atomic_load(&lock.word) == 0;
}

static int is_mine(void)
{
    return lock_number && (atomic_load(&lock.word) & ~1u) == lock_number;
}

static void test_alone(void)
{
    ok(lock_try(&lock), "a free lock is had");
    ok(is_mine(), "and knows who has it");
    ok(!lock_try(&lock), "but once");
    ok(!lock_take(&lock) && is_mine(), "who has it does not wait for it");
    lock_drop(&lock);
    ok(is_free(), "it is free again");
    ok(lock_take(&lock) && is_mine(), "taken");
    lock_drop(&lock);
    ok(is_free(), "and free again");
}

static void take_and_drop(void)
{
    if (rnd(&lock_seed) % 3 || !lock_try(&lock))
        must(lock_take(&lock));
    must(atomic_fetch_add(&inside, 1) == 0);
    must(is_mine());
    counter++;
    must(atomic_fetch_sub(&inside, 1) == 1);
    lock_drop(&lock);
}

static void *many_times(void *arg)
{
    (void)arg;
    for (long i = 0; i < steps; i++)
        take_and_drop();
    return NULL;
}

static void a_few_times(int me)
{
    (void)me;
    for (int i = 0; i < 3; i++)
        take_and_drop();
}

static void test_exclusion(void)
{
    steps = count_of("HAK_STEPS", 20000, 2000000);
    stress(MANY, many_times);
    is(counter, MANY * steps, "%d threads, one at a time", MANY);
    is(faults_taken(), 0, "and the lock said whose it was");
    ok(is_free(), "the lock is free at the end");
    if (INTERLEAVES) {
        long rounds = count_of("HAK_INTERLEAVINGS", 2000, 300000);
        counter = 0;
        for (long r = 0; r < rounds; r++) {
            interleave(3, a_few_times, (uint64_t)r);
            must(is_free());
        }
        is(counter, rounds * 9, "one at a time in %ld interleavings", rounds);
        is(faults_taken(), 0, "and free after each");
    }
}

static void *waits(void *arg)
{
    (void)arg;
    lock_take(&lock);
    lock_drop(&lock);
    uint64_t in_hist = 0;
    for (int i = 0; i < HAK_HIST_BUCKETS; i++)
        in_hist += my_slot.hist.lock_wait[i];
    return (void *)(intptr_t)(my_slot.thread.lock_waits == 1 && in_hist == 1);
}

static void test_wait(void)
{
    pthread_t t[2];
    void *counted[2];

    lock_take(&lock);
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, waits, NULL);
    while (atomic_load(&lock.word) == lock_number)
        sched_yield();
    usleep(20000);                                      /* most likely both sleep by now */
    lock_drop(&lock);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], &counted[i]);
    ok(is_free(), "two that sleep are woken up, one after the other");
#ifdef HAK_NO_STATS
    (void)counted;
#else
    ok(counted[0] && counted[1], "each has counted one wait, in its histogram too");
#endif
}

static void *holds(void *arg)
{
    lock_take(&lock);
    pthread_barrier_wait(arg);
    pthread_barrier_wait(arg);
    lock_drop(&lock);
    return NULL;
}

static int child_finds_it_held(void)
{
    if (!lock_after_fork(&lock) || !is_free())
        return 1;
    lock_take(&lock);
    if (lock_after_fork(&lock) || !is_mine())
        return 2;
    lock_drop(&lock);
    return !is_free();
}

static int child_finds_it_free(void)
{
    return lock_after_fork(&lock) || !is_free();
}

static int child_holds_it(void)
{
    if (lock_after_fork(&lock) || !is_mine())
        return 1;
    lock_drop(&lock);
    return !is_free();
}

static void test_fork(void)
{
    pthread_barrier_t there;
    pthread_t t;

    is_str(in_child(child_finds_it_free), "exit 0", "a child finds a free lock free");
    lock_take(&lock);
    is_str(in_child(child_holds_it), "exit 0", "one that it holds itself it holds, and drops");
    lock_drop(&lock);
    pthread_barrier_init(&there, NULL, 2);
    pthread_create(&t, NULL, holds, &there);
    pthread_barrier_wait(&there);
    is_str(in_child(child_finds_it_held), "exit 0", "and one that another thread held, which is said");
    ok(!lock_try(&lock), "the parent's is held all the while");
    pthread_barrier_wait(&there);
    pthread_join(t, NULL);
    ok(is_free(), "until it is dropped");
}

/* ---- the kernel ---- */

static void test_map(void)
{
    errno = 77;
    for (size_t align = os_page; align <= 64 * MIB; align *= 2)
        for (size_t bytes = 1; bytes <= 4 * MIB; bytes = bytes * 5 + 1) {
            char *p = os_map(bytes, align);
            must(p && ((uintptr_t)p & (align - 1)) == 0 && zeroed(p, round_up(bytes, os_page)));
            p[0] = p[bytes - 1] = 1;
            must(os_unmap(p, round_up(bytes, os_page)));
        }
    must(!os_map(SIZE_MAX / 2, os_page) && !os_map(SIZE_MAX / 4, 64 * MIB));
    must(!os_map(SIZE_MAX - MIB, 2 * MIB));
    is(faults_taken(), 0, "mappings of every alignment; none where there is no room");
    is(errno, 77, "errno is left alone");
}

static void test_change(void)
{
    char *p = os_map(8 * os_page, os_page), *to = os_map(16 * os_page, os_page);

    memset(p, 1, 8 * os_page);
    ok(os_purge(p, 2 * os_page) && zeroed(p, 2 * os_page) && p[2 * os_page] == 1, "os_purge: zeroes, there alone");
    ok(os_map_at(p + os_page, 2 * os_page) && zeroed(p, 3 * os_page) && p[3 * os_page] == 1,
       "os_map_at: zeroes in the place of what was there");
    ok(!os_map_gap(p + 3 * os_page, os_page) && p[3 * os_page] == 1, "os_map_gap: nothing over what is there");
    ok(os_unmap(p + 3 * os_page, os_page) && os_map_gap(p + 3 * os_page, os_page) && zeroed(p + 3 * os_page, os_page),
       "zeroes where nothing is");
    memset(p, 2, 4 * os_page);
    ok(os_resize(p, 4 * os_page, 2 * os_page) && p[0] == 2, "os_resize: shorter");
    ok(os_map_at(p + 2 * os_page, os_page) && !os_resize(p, 2 * os_page, 4 * os_page) && p[2 * os_page - 1] == 2,
       "not longer where another mapping follows");
    memset(to, 3, 16 * os_page);
    ok(os_move(p, 2 * os_page, to, 16 * os_page), "os_move");
    ok(to[0] == 2 && to[2 * os_page - 1] == 2 && zeroed(to + 2 * os_page, 14 * os_page),
       "takes the content along, and zeroes follow it");
    os_unmap(to, 16 * os_page);
    os_unmap(p, 8 * os_page);
    is(errno, 77, "errno is left alone");
}

static char *wiped, *kept;

static int child_looks(void)
{
    return !zeroed(wiped, os_page) || kept[0] != 5;
}

static void test_wipe(void)
{
    wiped = os_map(os_page, os_page);
    kept = os_map(os_page, os_page);
    memset(wiped, 5, os_page);
    kept[0] = 5;
    ok(os_wipe_on_fork(wiped, os_page), "os_wipe_on_fork");
    is_str(in_child(child_looks), "exit 0", "a child finds zeroes in that page alone");
    ok(wiped[0] == 5 && wiped[os_page - 1] == 5, "the parent what was there");
}

/* ---- memory for metadata ---- */

enum { PIECES = 2000 };
static struct { char *p; size_t bytes; } piece[MANY][PIECES];

static void *takes_meta(void *arg)
{
    int me = (int)(intptr_t)arg;
    uint64_t seed = (unsigned)me;

    for (int i = 0; i < PIECES; i++) {
        size_t bytes = 1 + rnd(&seed) % (i % 500 ? 3000 : MIB);
        char *p = os_meta(bytes);
        must(p && (uintptr_t)p % hak_cacheline == 0 && zeroed(p, bytes) && !p[0] && !p[bytes - 1]);
        memset(p, me + 1, bytes);
        piece[me][i].p = p;
        piece[me][i].bytes = bytes;
    }
    return NULL;
}

static void test_meta(void)
{
    size_t sum = 0;

    stress(MANY, takes_meta);
    for (int t = 0; t < MANY; t++)
        for (int i = 0; i < PIECES; i++) {
            sum += piece[t][i].bytes;
            for (size_t k = 0; k < piece[t][i].bytes; k++)
                if (piece[t][i].p[k] != t + 1)
                    must(!"a piece is nobody else's");
        }
    is(faults_taken(), 0, "os_meta by %d threads: zeroed, aligned, nobody else's", MANY);
    ok(os_meta_mapped() >= sum && os_meta_mapped() < sum * 2 + 8 * MIB, "os_meta_mapped counts what was mapped");
    ok(!os_meta(SIZE_MAX / 2), "no memory is NULL");
    ok(os_meta(64) != NULL, "and not the end");
}

int main(void)
{
    hak_my_slot_hook = slot_of_thread;
    os_init();
    test_alone();
    test_exclusion();
    test_wait();
    test_fork();
    test_map();
    test_change();
    test_wipe();
    test_meta();
    return tap_done();
}
