/* hot.c: what of a heap's `hot` is used when, and how it goes through a fork. */
#include "tests/unit/front.h"
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static struct heap *h;

/* ---- the first use of a bin: before it its part is all zero, whatever the knobs do, and then as they say ---- */

static bool unused_is_zero(void)
{
    static const struct bin zero;

    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        if (!(h->cold.hot_bins >> bin & 1) && memcmp(&h->hot.bin[bin], &zero, sizeof zero) != 0)
            return false;
    return true;
}

static void apply_table(unsigned i)
{
    atomic_store(&epoch, i + 1);
    heap_look(h);
}

static unsigned l0_cap_by(unsigned i, unsigned bin)
{
    const unsigned most = bin_info[bin].fast_cache;

    return table[i].heap_v2_leftover_mode || !table[i].heap_v2_class_mask ? 0 : most < L0_CAP ? most : L0_CAP;
}

static void test_first_use(void)
{
    void *p;

    must(h->cold.hot_bins == 0 && unused_is_zero());
    for (unsigned i = 0; i < TABLES; i++) {
        apply_table(i);
        must(unused_is_zero());
        p = heap_alloc(bin_info[i].size);
        must(h->cold.hot_bins == (2u << i) - 1 && unused_is_zero());
        for (unsigned bin = 0; bin <= i; bin++)
            must(stack_room(&h->hot.bin[bin].l1) > 0 && stack_room(&h->hot.bin[bin].l0) == l0_cap_by(i, bin));
        heap_free(p);
    }
    is(faults_taken(), 0, "a bin that is not used is all zero, and as the knobs say when it is first used");

    struct bin *b = &h->hot.bin[TABLES];
    apply_table(0);
    must(slabs_take(h, TABLES, &p, 1) == 1 && !b->l1.base);
    heap_free(p);
    must(stack_count(&b->l1) == 1 && stack_count(&b->l0) == 0 && stack_room(&b->l0) == l0_cap_by(0, TABLES));
#ifndef HAK_NO_STATS
    must(row_of(b)->slow_frees == 1 && row_of(b)->l0_leftover == 0);
#endif
    is(faults_taken(), 0, "where that is a free, the block is the first in FastCache, not a leftover");
}

/* A thread that has used the first bin alone, and ended. */
static void *short_life(void *pages)
{
    struct heap *mine = heap_mine();
    unsigned char there[sizeof mine->hot_pages / 4096];

    heap_free(heap_alloc(8));
    end_of_thread();
    if (mincore(mine, sizeof mine->hot_pages, there))
        bail("mincore");
    for (unsigned i = 0; i < sizeof there / sizeof *there; i++)
        *(unsigned *)pages += there[i] & 1;
    return NULL;
}

static void test_pages(void)
{
    unsigned pages = 0;
    pthread_t thread;

    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        must(offsetof(struct heap_hot, bin[bin]) % 4096 >= hak_cacheline);
    is(faults_taken(), 0, "no bin begins where a page does");

    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);              /* several pages a fault */
    if (pthread_create(&thread, NULL, short_life, &pages) || pthread_join(thread, NULL))
        bail("no thread");
#ifndef HAK_DEBUG                                       /* that reads all of it */
    if (os_page == 4096)
        is(pages, 1, "a thread that uses one bin touches one page of `hot`, its end none more");
#endif
}

/* ---- fork ---- */

static pid_t raw_clone(void)
{
    return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static int status_of(pid_t pid)
{
    int status = -1;

    return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

static uint64_t sum_of_hot(void)
{
    uint64_t sum = h->cold.hot_bins;

    for (const struct bin *b = h->hot.bin; b < h->hot.bin + HAK_BINS; b++)
        sum = 31 * sum + 7 * stack_count(&b->l0) + 3 * stack_count(&b->l1) + stack_room(&b->l1);
    return sum;
}

static void test_fork(void)
{
    uint64_t before = sum_of_hot(), before_bins = h->cold.hot_bins;
    pid_t pid = fork();

    if (pid == 0) {
        must(sum_of_hot() == before && unused_is_zero());
        must(!(before_bins >> bin_of_tiny(TINY_MAX) & 1));
        heap_free(heap_alloc(TINY_MAX));
        must(h->cold.hot_bins == (before_bins | (uint64_t)1 << bin_of_tiny(TINY_MAX)) && unused_is_zero());
        must(heap_is_sound(h));
        _exit(faults_taken() == 0 ? 0 : 1);
    }
    is(status_of(pid), 0, "a child has the caches of the bins that were used, and nothing in the others");
    is(sum_of_hot() == before, 1, "as its parent goes on having");
}

/* Handlers that were registered before ours run after it before a fork, and before it afterwards.  These allocate,
 * free, use a bin for the first time, tick and purge. */
static struct { void *p; size_t n; } kept[40];
static void *kept_fresh;
static volatile bool others_run;

static void others_before(void)
{
    if (!others_run)
        return;
    for (unsigned i = 0; i < 40; i++) {
        kept[i].n = i % 4 ? 8u << i % 3 : 500;
        kept[i].p = memset(heap_alloc(kept[i].n), (int)i, kept[i].n);
    }
    for (unsigned i = 0; i < 3 * TICK_FREES; i++)
        heap_free(heap_alloc(8));
    atomic_fetch_add(&purge_wanted, 1);
    kept_fresh = heap_alloc(3000);                      /* a refill, with a purge in it */
    must(h->cold.purge == purge_wanted && h->cold.away);
    front_fork_prepare();                               /* a signal handler forks, too */
    front_fork_parent();
    must(h->cold.away && h->cold.forks == 3);
}

static void others_after(void)
{
    if (others_run)
        heap_free(heap_alloc(16));
}

/* Allocates more than the caches held; nothing of it is what was kept. */
static void take_and_compare(void)
{
    static void *got[4 * L0_CAP];

    for (unsigned k = 0; k < 4; k++) {
        size_t n = k ? 4u << k : 500;
        for (unsigned i = 0; i < 4 * L0_CAP; i++)
            got[i] = memset(heap_alloc(n), 0xEE, n);
        for (unsigned i = 0; i < 4 * L0_CAP; i++)
            heap_free(got[i]);
    }
    for (unsigned i = 0; i < 40; i++)
        for (size_t at = 0; at < kept[i].n; at++)
            must(((unsigned char *)kept[i].p)[at] == i);
}

/* What is out of the slabs of a bin and in no cache. */
static uint64_t in_use(unsigned bin)
{
    const struct bin_cold *c = &h->cold.bin[bin];
    uint64_t n = 0;

    for (const struct slab *s = c->avail; s; s = s->next)
        n += s->used;
    for (const struct slab *s = c->full; s; s = s->next)
        n += s->used;
    return n - stack_count(&h->hot.bin[bin].l0) - stack_count(&h->hot.bin[bin].l1) - c->sll_n;
}

static void test_handlers_of_others(void)
{
    uint64_t before[HAK_BINS], words = 0;

    for (unsigned i = 0; i < 4 * L0_CAP; i++)           /* something in every cache that they use */
        heap_free(heap_alloc(8u << i % 3));
    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        before[bin] = in_use(bin);
    others_run = true;
    pid_t pid = fork();
    others_run = false;
    must(!h->cold.away && h->cold.forks == NO_FORKS);
    take_and_compare();
    for (unsigned i = 0; i < 40; i++)
        before[bin_of_tiny(kept[i].n)]++;
    before[bin_of_mid(3000)]++;
    for (unsigned bin = 0; bin < HAK_BINS; bin++) {
        must(in_use(bin) == before[bin]);
        const unsigned room = stack_room(&h->hot.bin[bin].l1);
        for (unsigned cap = L1_START; room > 0 && cap < 2 * room; cap *= 2)
            words += cap;
    }
    must(h->cold.l1_used <= words);
    must(heap_is_sound(h));
    if (pid == 0)
        _exit(faults_taken() == 0 ? 0 : 1);
    is(status_of(pid), 0, "what others' handlers allocate while the process forks is theirs in the child");
    is(faults_taken(), 0, "and in the parent");
    for (unsigned i = 0; i < 40; i++)
        heap_free(kept[i].p);
    heap_free(kept_fresh);
}

/* The blocks of an SLL are free in any child; those of the caches are lost to that of a raw clone. */
static void test_inherited(void)
{
    static pid_t (*const start[])(void) = { fork, raw_clone };
    const unsigned bin = bin_of_tiny(1000);
    const struct bin *b = &h->hot.bin[bin];
    uint64_t live = 700, counts[HAK_ROWS];
    void *p[700];

    heap_enter(h);
    heap_give_back_caches(h, false);
    apply_table(3);                                     /* an SLL */
    heap_leave(h);
    for (unsigned i = 0; i < 700; i++)
        p[i] = heap_alloc(1000);
    while (live > 0 && h->cold.bin[bin].sll_n == 0)
        heap_free(p[--live]);
    must(h->cold.bin[bin].sll_n > 0 && stack_count(&b->l1) > 0);
    uint64_t lost = stack_count(&b->l0) + stack_count(&b->l1);
    for (unsigned i = 0; i < 2; i++) {
        pid_t pid = start[i]();
        if (pid == 0) {
            heap_notice_fork();
            front_inherited(counts);
            must(counts[bin] == live + i * lost);
            _exit(faults_taken() == 0 ? 0 : 1);
        }
        is(status_of(pid), 0, "a child of %s inherits what was in use", i ? "a raw clone" : "fork");
    }
    while (live > 0)
        heap_free(p[--live]);
}

/* ---- what refills bring: each thread's first ones few blocks, whatever the heap's last thread has used ---- */

enum { REFILLS = 7 };                       /* of one slab */
static struct heap *of_thread;
static unsigned brought[REFILLS];

static void *refills(void *arg)
{
    const unsigned bin = bin_of_tiny(64);
    const struct bin *b;
    void *p[SLAB_SIZE / 64];
    unsigned n = 0;

    of_thread = heap_mine();
    b = &of_thread->hot.bin[bin];
    for (unsigned i = 0; i < REFILLS; i++) {
        while (stack_count(&b->l0) || stack_count(&b->l1))
            p[n++] = heap_alloc(64);
        p[n++] = heap_alloc(64);
        brought[i] = stack_count(&b->l1) + 1;
    }
    while (n > 0)
        heap_free(p[--n]);
    end_of_thread();
    return arg;
}

static void test_refills(void)
{
    static const unsigned expected[REFILLS] = { L1_START, 18, 20, 22, 24, 27, 30 };
    struct heap *first = NULL;

    for (int life = 0; life < 3; life++) {
        unsigned right = 0;
        run_threads(1, refills, NULL);
        for (unsigned i = 0; i < REFILLS; i++)
            right += brought[i] == expected[i];
        is(right, REFILLS, "thread %d: refills of 16 blocks, 18 and so on", life);
        must(!first || of_thread == first);
        first = of_thread;
    }
    is(faults_taken(), 0, "all on one heap");
}

/* ---- what is left to the heir ---- */

static void test_heir(void)
{
    const unsigned bin = bin_of_tiny(64);
    union hak_knobs *k = &table[(atomic_load(&epoch) - 1) % TABLES];

    run_threads(1, refills, NULL);
    is(of_thread->cold.bin[bin].empties, 1, "an ended thread leaves a run of a bin to its heir, though it is empty");
    k->os_purge_holes = 0;
    of_thread->cold.epoch = UINT64_MAX;
    run_threads(1, refills, NULL);
    is(of_thread->cold.bin[bin].empties, 0, "none where nobody would give it back in time");
    k->os_purge_holes = 1;
}

/* ---- a birth that waits for the list of ended heaps ---- */

static void *first_call(void *arg)
{
    heap_free(heap_alloc(16));
    return arg;
}

static void *only_call(void *arg)
{
    first_call(NULL);
    while (!heap_is_none(heap_self))
        heap_thread_exit(heap_self);
    return arg;
}

/* As a garbage collector stops threads, perhaps the one that has the list: who waits for it is to be stopped, too. */
static sem_t stopped;

static void stop(int sig)
{
    (void)sig;
    sem_post(&stopped);
}

static void test_stopped_births(void)
{
    pthread_t t;
    struct timespec by;

    run_threads(1, only_call, NULL);
    must(atomic_load(&heaps_ended_count) > 0 && sem_init(&stopped, 0, 0) == 0);
    signal(SIGUSR1, stop);
    must(lock_take(&heaps_lock));
    must(pthread_create(&t, NULL, first_call, NULL) == 0);
    usleep(20000);                          /* by then it waits, most often */
    must(pthread_kill(t, SIGUSR1) == 0 && clock_gettime(CLOCK_REALTIME, &by) == 0);
    by.tv_sec += 30;
    ok(sem_timedwait(&stopped, &by) == 0, "a thread whose birth waits for that list takes signals");
    lock_drop(&heaps_lock);
    pthread_join(t, NULL);
    is(faults_taken(), 0, "and is born");
}

int main(void)
{
    pthread_atfork(others_before, others_after, others_after);
    start_front();
    if (!(h = heap_mine()))
        bail("no heap");
    heap_enter(h);
    test_first_use();
    heap_leave(h);
    test_stopped_births();
    test_pages();
    test_fork();
    test_handlers_of_others();
    test_inherited();
    test_refills();
    test_heir();
    return tap_done();
}
