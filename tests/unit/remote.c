/* remote.c: blocks that another thread's heap owns: each comes back exactly once, whoever drains, and
 * whatever heap its slab has moved to meanwhile; by threads that come and go, under every kind of knobs,
 * and in interleavings. */
#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "tests/unit/blocks.h"

/* ---- one of each ---- */

static const uint16_t sizes[] = { 8, 24, 64, 64, 100, 1024, 3000, 8192, 30000 };
enum { SIZES = sizeof sizes / sizeof *sizes };

static struct heap *owner;
static void *block[20000];
static long blocks;

static void frees_them(void)
{
    for (long i = 0; i < blocks; i++)
        release(block[i]);
}

/* The thread stays until it is told, so that its batches are not handed over by its end. */
static pthread_barrier_t step;
static struct heap *other;

static void *frees_and_stays(void *arg)
{
    other = heap_mine();
    frees_them();
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    end_of_thread();
    return arg;
}

static void test_batches(void)
{
    static const struct { unsigned n, queued; } cases[] = {
        { 1, 0 }, { BATCH_BLOCKS - 1, 0 }, { BATCH_BLOCKS, BATCH_BLOCKS }, { BATCH_BLOCKS + 1, BATCH_BLOCKS },
        { 3 * BATCH_BLOCKS, 3 * BATCH_BLOCKS },
    };
    pthread_t t;

    pthread_barrier_init(&step, NULL, 2);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (blocks = 0; blocks < cases[i].n; blocks++)
            block[blocks] = alloc(64);
        pthread_create(&t, NULL, frees_and_stays, NULL);
        pthread_barrier_wait(&step);
        is(queue_length(owner), cases[i].queued, "of %u blocks another thread frees, %u are handed over",
           cases[i].n, cases[i].queued);
        must(heap_try(other));
        heap_walk(other, 0);
        is(other->slot.row[bin_of_tiny(64)].walk.batch, cases[i].n - cases[i].queued, "the rest waits");
        heap_drop(other);
        pthread_barrier_wait(&step);
        pthread_join(t, NULL);
        is(queue_length(owner), cases[i].n, "until the thread ends");
        drain_mine();
        is(queue_length(owner), 0, "its owner takes all of them");
        check(0);
    }
    for (blocks = 0; blocks < 2; blocks++)
        block[blocks] = alloc(32768);
    pthread_create(&t, NULL, frees_and_stays, NULL);
    pthread_barrier_wait(&step);
    is(queue_length(owner), 2, "of large blocks a batch is 64 KiB");
    pthread_barrier_wait(&step);
    pthread_join(t, NULL);
    drain_mine();
    check(0);
    is(faults_taken(), 0, "each came back once");
}

/* An owner that sleeps: whoever frees its blocks sees to it that they go back. */
static void *frees_and_looks(void *arg)
{
    for (long i = 0; i < blocks; i++) {
        release(block[i]);
        must(queue_length(owner) * KIB <= MIB + BATCH_BYTES);
    }
    end_of_thread();
    return arg;
}

static void test_sleeper(void)
{
    for (blocks = 0; blocks < 5000; blocks++)
        block[blocks] = alloc(KIB);
    run_threads(1, frees_and_looks, NULL);
    is(faults_taken(), 0, "the queue of a thread that sleeps never holds more than a mebibyte and a batch");
    check(0);
    is(owner->slot.row[bin_of_tiny(KIB)].walk.queue, queue_length(owner), "the rest of 5,000 KiB is in the slabs");
    is(faults_taken(), 0, "all of it");
}

/* ---- blocks of more heaps than there are batches ---- */

enum { OWNERS = 5 * BATCHES, EACH = 600 };

static void test_many_owners(void)
{
    static void *of[OWNERS][EACH];
    struct heap *heap[OWNERS];

    for (unsigned i = 0; i < OWNERS; i++) {
        heap[i] = thread_begins();
        for (unsigned k = 0; k < EACH; k++)
            of[i][k] = alloc(16);
    }
    heap_self = owner;
    atomic_store(&epoch, atomic_load(&epoch) / TABLES * TABLES + TABLES + 1);
    heap_tick(owner);                                   /* by the defaults, so that the next one is far */
    for (unsigned i = 0; i < OWNERS; i++)
        release(of[i][0]);
    unsigned parcels = 0;
    for (unsigned i = 0; i < BATCHES; i++)
        parcels += owner->cold.batch[i].parcel != NULL;
    ok(parcels > BATCHES / 2, "blocks of %d heaps go to %u of %d batches", OWNERS, parcels, BATCHES);
    size_t before = os_meta_mapped();
    for (unsigned k = 1; k < EACH; k++)
        for (unsigned i = 0; i < OWNERS; i++)
            release(of[i][k]);
    unsigned longest = 0;
    for (unsigned i = 0; i < OWNERS; i++)
        if (queue_length(heap[i]) > longest)
            longest = queue_length(heap[i]);
    ok(longest > 30 && longest <= 65, "one by one, and the longest queue holds %u", longest);
    ok(os_meta_mapped() - before <= OWNERS * 65 * PARCEL_BYTES(FEW_BLOCKS) + MIB, "in parcels for few");
    check(0);
    for (unsigned i = 0; i < OWNERS; i++) {
        heap_self = heap[i];
        end_of_thread();
    }
    heap_past_end = 0;
    heap_self = owner;
    nothing_left();
    is(faults_taken(), 0, "each came back once");
}

/* ---- bad moments ---- */

static void *has_l0(void *arg)
{
    heap_free(heap_alloc(64));
    const struct bin *b = &heap_self->hot.bin[bin_of_tiny(64)];
    intptr_t caps = stack_room(&b->l0);
    end_of_thread();
    (void)arg;
    return (void *)caps;
}

static void test_purged(void)
{
    is(run_threads(1, has_l0, NULL), L0_CAP, "a thread has a TinyHeapV2;");
    heap_purge();
    is(run_threads(1, has_l0, NULL), L0_CAP, "so has the next one on its heap, which was purged meanwhile");
}

static void *allocates_one(void *arg)
{
    block[0] = heap_alloc(64);
    end_of_thread();
    return arg;
}

static int flush_empty_parcel(void)
{
    run_threads(1, allocates_one, NULL);
    heap_free(block[0]);
    for (struct batch *t = owner->cold.batch; t < owner->cold.batch + BATCHES; t++)
        if (t->parcel)
            t->parcel->n = t->bytes = 0;
    drain_mine();
    return 0;
}

static int frees_what_has_gone(void)
{
    void *p = heap_alloc(20000);
    uintptr_t word = address_owner((uintptr_t)p);

    heap_free(p);
    heap_purge();
    remote_free_now(word, p);
    heap_walk(owner, 0);
    drain_mine();
    return 0;
}

static void *of_pool;

static int uses_all(int what)
{
    alarm(5);
    switch (what) {
    case 0: return heap_alloc(64) == NULL;
    case 1: return heap_alloc_large(100000, 1, NULL) == NULL;
    case 2: heap_free(block[0]); break;
    case 3: heap_free(of_pool); break;
    case 4: heap_resize_large(of_pool, 300000); break;
    case 5: heap_purge(); break;
    }
    return heap_alloc(64) == NULL;
}

/* Another thread was helping a heap whose thread forks, by a system call of its own. */
static void test_held_at_fork(void)
{
    int status;

    block[0] = heap_alloc(64);
    of_pool = heap_alloc(100000);
    for (int what = 0; what < 6; what++) {
        must(heap_try(owner));
        pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
            _exit(uses_all(what));
        heap_drop(owner);
        waitpid(pid, &status, 0);
        is_str(ending(status), "exit 0", "call %d in a child whose heap was held by another thread", what);
    }
    heap_free(block[0]);
    heap_free(of_pool);
}

/* The same where it forks by fork: the helper is waited for. */
static _Atomic int helping;                             /* 1: it is at it; 2: it is to end */

static void *helps_all_the_time(void *arg)
{
    for (uint64_t seed = 1; atomic_load(&helping) != 2;) {
        if (!heap_try(owner))
            continue;
        atomic_compare_exchange_strong(&helping, &(int){ 0 }, 1);
        for (uint64_t spins = rnd(&seed) % 4000; spins > 0; spins--)
            atomic_signal_fence(memory_order_seq_cst);
        heap_drop(owner);
        for (uint64_t spins = rnd(&seed) % 400; spins > 0; spins--)
            atomic_signal_fence(memory_order_seq_cst);
    }
    return arg;
}

static void test_helped_at_fork(void)
{
    enum { FORKS = 50 };
    pthread_t helper;
    int status, lost = 0, held = 0;

    if (pthread_create(&helper, NULL, helps_all_the_time, NULL))
        bail("no thread");
    while (atomic_load(&helping) == 0)
        sched_yield();
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            void *p = heap_self == owner ? heap_alloc(64) : NULL;
            heap_free(p);
            _exit(p && heap_is_sound(owner) && heap_held(owner) == 0 ? 0 : 1);
        }
        held += heap_held(owner) == HELD_TO_FORK;
        waitpid(pid, &status, 0);
        lost += status != 0;
    }
    atomic_store(&helping, 2);
    pthread_join(helper, NULL);
    is(lost, 0, "of %d children none has lost its heap to a helper", FORKS);
    is(held, 0, "and the parent lets go of it");
}

/* And where a signal handler forks, on top of a slow path that waits for the helper: both go on with it. */
static _Atomic int forking;
static volatile pid_t forked;

static void forks_here(int sig)
{
    int saved = errno;

    (void)sig;
    atomic_store(&forking, 1);
    forked = fork();
    if (forked == 0)
        alarm(5);
    errno = saved;
}

static void *helps_and_kills(void *arg)
{
    must(heap_try(owner));
    pthread_barrier_wait(&step);
    while (!atomic_load(&owner->cold.wanted))
        sched_yield();
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    while (!atomic_load(&forking))
        sched_yield();
    usleep(2000);
    heap_drop(owner);
    return NULL;
}

static void test_waits_at_fork(void)
{
    pthread_t self = pthread_self(), helper;
    int status = -1;

    signal(SIGUSR1, forks_here);
    pthread_barrier_init(&step, NULL, 2);
    if (pthread_create(&helper, NULL, helps_and_kills, &self))
        bail("no thread");
    pthread_barrier_wait(&step);
    heap_catch_up();
    if (forked == 0)
        syscall(SYS_exit_group, heap_self != owner || heap_held(owner) != HELD_BY_NONE || uses_all(0) != 0);
    pthread_join(helper, NULL);
    waitpid(forked, &status, 0);
    is_str(ending(status), "exit 0", "a child forked by a signal handler goes on with a slow path that waited");
    is(heap_held(owner), HELD_BY_NONE, "and the parent lets go of it");
    pthread_barrier_destroy(&step);
}

/* A signal handler that takes slow paths, on top of one: at each instruction it holds the heap, and nobody does in the
 * end.  The processor's trap flag raises SIGTRAP after each. */
#if defined __x86_64__ && !defined __SANITIZE_THREAD__
static long trap_at, traps;
static int not_held;

static void uses_slow_path(int sig)
{
    (void)sig;
    if (++traps != trap_at)
        return;
    heap_enter(owner);
    not_held += heap_held(owner) != HELD_BY_OWN;
    heap_leave(owner);
}

static void test_handler_in_slow_path(void)
{
    int kept = 0;

    signal(SIGTRAP, uses_slow_path);
    for (trap_at = 1, traps = trap_at; traps >= trap_at; trap_at++) {
        traps = 0;
        __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "cc", "memory");
        heap_enter(owner);
        heap_leave(owner);
        __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "cc", "memory");
        kept += heap_held(owner) != HELD_BY_NONE || owner->cold.depth != 0;
    }
    is(not_held, 0, "a handler at any of the %ld instructions of a slow path's ends holds the heap", trap_at);
    is(kept, 0, "and nobody does in the end");
}
#else
static void test_handler_in_slow_path(void)
{
    skip("stepping by the trap flag: not here");
}
#endif

/* Another thread frees what is no block's start, or a block twice. */
static long off_by;

static int frees_off(void)
{
    block[0] = heap_alloc(64);
    thread_begins();
    heap_free((char *)block[0] + off_by);
    if (off_by == 0)
        heap_free(block[0]);
    batches_flush(heap_self);
    heap_self = owner;
    drain_mine();
    heap_purge();
    return 0;
}

/* A thread for which there is no memory counts a call with those past their end, and leaves them alone. */
static int counts_without_memory(void)
{
    const size_t failed = offsetof(struct hak_slot_full, thread.failed);
    struct rlimit none = { 0, 0 };

    alarm(20);
    heap_past_end = 1;
    heap_self = (struct heap *)&heap_none;
    late_free(late_alloc(100, bin_of_tiny(100)));
    setrlimit(RLIMIT_AS, &none);
    do {
        heap_past_end = 0;
        heap_self = (struct heap *)&heap_none;
    } while (heap_mine());
    heap_count(failed);
    must(heap_is_none(heap_self));
#ifndef HAK_NO_STATS
    must(late->slot.thread.failed == 1);
#endif
    heap_past_end = 1;
    void *p = late_alloc(100, bin_of_tiny(100));
    must(p != NULL);
    late_free(p);
    return faults_taken() != 0;
}

static void test_bad_moments(void)
{
    static const uint8_t off[] = { 0, 1, 2, 3, 4, 8, 63 };

    test_purged();
    for (unsigned i = 0; i < sizeof off; i++) {
        off_by = off[i];
        is_str(in_child(frees_off), "signal 6", "another thread frees a block's byte %ld%s", off_by,
               off_by ? "" : " twice");
    }
    is_str(in_child(counts_without_memory), "exit 0", "a call is counted that finds no memory for a heap");
    is_str(in_child(flush_empty_parcel), "exit 0", "a parcel that a child inherits empty can be handed over");
    is_str(in_child(frees_what_has_gone), "signal 6", "a block that comes back after its slab: a message");
    test_held_at_fork();
    test_helped_at_fork();
    test_waits_at_fork();
    test_handler_in_slow_path();
}

/* ---- threads that hand blocks over, end, and leave slabs to others ---- */

enum { THREADS = 4, BOXES = 64, KEEP = 400 };
static void *_Atomic box[BOXES];
static long steps;

static struct heap *any_heap(uint64_t r)
{
    struct heap *h = heap_first();

    for (uint64_t n = r % heaps_made(); n > 0; n--)
        h = h->cold.next_all;
    return h;
}

static void *hands_over(void *arg)
{
    static _Atomic uint64_t seeds;
    uint64_t seed = atomic_fetch_add(&seeds, 12345) + (uintptr_t)arg;
    void *mine[KEEP];
    int n = 0;

    for (long i = 0; i < steps; i++) {
        uint64_t r = rnd(&seed);
        if (n < KEEP && r % 2) {
            mine[n++] = alloc(sizes[r / 2 % SIZES]);
        } else if (n > 0) {
            int at = (int)(r / 8 % (unsigned)n);
            void *p = mine[at];
            mine[at] = mine[--n];
            if (r % 8 < 6)
                p = atomic_exchange(&box[r / 16 % BOXES], p);
            if (p)
                release(p);
        }
        if (i % 128 == 0)
            heap_help(any_heap(r / 8));
        if (i % 32 == 0)
            time_passes(1000);
    }
    while (n > 0) {
        void *p = atomic_exchange(&box[n % BOXES], mine[n - 1]);
        if (p)
            release(p);
        n--;
    }
    end_of_thread();
    return NULL;
}

static uint64_t in_boxes(void)
{
    uint64_t n = 0;

    for (int i = 0; i < BOXES; i++)
        n += box[i] != NULL;
    return n;
}

static void empty_boxes(void)
{
    for (int i = 0; i < BOXES; i++) {
        void *p = atomic_exchange(&box[i], NULL);
        if (p)
            release(p);
    }
}

#ifndef HAK_NO_STATS
static uint64_t adopted(void)
{
    uint64_t n = 0;

    for (struct heap *h = heap_first(); h; h = h->cold.next_all)
        n += h->slot.thread.slabs_adopted;
    return n;
}
#endif

/* Many threads, then few: the few take slabs of those that have ended. */
static void test_threads(void)
{
    long rounds = count_of("HAK_ROUNDS", 24, 100);

    steps = count_of("HAK_STEPS", 4000, 20000);
    for (long r = 0; r < rounds; r++) {
        atomic_store(&epoch, (uint64_t)r / 2 + 1);
        stress(r % 2 ? 2 : THREADS, hands_over);
        check(in_boxes());
    }
    is(faults_taken(), 0, "%ld generations of threads hand blocks over and end: sound, counted, none twice", rounds);
#ifndef HAK_NO_STATS
    ok(adopted() > 0, "slabs of ended threads were taken over");
#endif
    ok(heaps_made() <= 2 * THREADS + 2, "by the heaps of as many threads as there were at a time, and one for each that helps");
    empty_boxes();
    nothing_left();
    is(faults_taken(), 0, "in the end every block is back, and every slab");
}

/* Knobs change while threads work. */
static _Atomic bool stop;

static void *turns_knobs(void *arg)
{
    while (!atomic_load(&stop)) {
        atomic_fetch_add(&epoch, 1);
        usleep(500);
    }
    return arg;
}

static void test_knobs(void)
{
    pthread_t t;

    steps = count_of("HAK_STEPS", 20000, 200000);
    pthread_create(&t, NULL, turns_knobs, NULL);
    stress(THREADS, hands_over);
    atomic_store(&stop, true);
    pthread_join(t, NULL);
    check(in_boxes());
    is(faults_taken(), 0, "%d threads while all knobs change: sound, counted, none twice", THREADS);
    empty_boxes();
    nothing_left();
    is(faults_taken(), 0, "in the end every block is back, and every slab");
}

/* ---- interleavings ----
 *
 * Each part is a thread with a heap of its own; now and then it ends and another thread begins. */

enum { PARTS = 3, BAG = 48 };
static struct { struct heap *self; uint8_t past_end; uint64_t seed; } part_of[PARTS];
static void *bag[BAG];                  /* blocks in user hands; any part may free them */

static void moved(int from, int to)
{
    if (from >= 0) {
        part_of[from].self = heap_self;
        part_of[from].past_end = heap_past_end;
    }
    heap_self = part_of[to].self;
    heap_past_end = part_of[to].past_end;
}

/* This thread ends, and another begins, but not with the heap that it has just left. */
static void another_thread(void)
{
    end_of_thread();
    struct heap *last = thread_begins(), *mine = thread_begins();
    heap_self = last;
    end_of_thread();
    heap_past_end = 0;
    heap_self = mine;
}

/* The bins are those with few blocks in a run, so that slabs come and go. */
static void alloc_or_free(uint64_t r)
{
    static const uint16_t of[] = { 1024, 20000, 28000, 32768 };
    void **at = &bag[r / 4 % BAG], *p = *at, *old;

    *at = NULL;
    if (p) {
        release(p);
        return;
    }
    p = alloc(of[r % 4]);
    old = *at;                          /* another part may have been here */
    *at = p;
    if (old)
        release(old);
}

static void part(int me)
{
    for (int i = 0; i < 16; i++) {
        uint64_t r = rnd(&part_of[me].seed);
        switch (r % 32) {
        case 0:  another_thread(); break;
        case 1:  heap_tick(heap_self); break;
        case 6:  time_passes(1000); break;
        case 2:
        case 3:  drain_mine(); break;
        case 4:
        case 5:  heap_help(any_heap(r / 32)); break;
        default: alloc_or_free(r / 32);
        }
    }
    part_of[me].self = heap_self;
}

static void test_interleaved(void)
{
    long rounds = count_of("HAK_INTERLEAVINGS", 1500, 20000);

    il.moved = moved;
    for (int i = 0; i < PARTS; i++)
        part_of[i].self = thread_begins();
    for (long r = 0; r < rounds; r++) {
        uint64_t out = 0;
        interleave(PARTS, part, (uint64_t)r);
        heap_self = owner;
        for (int i = 0; i < BAG; i++)
            out += bag[i] != NULL;
        check(out);
    }
    is(faults_taken(), 0, "%ld interleavings of %d threads: sound, counted, none twice", rounds, PARTS);
#ifndef HAK_NO_STATS
    ok(adopted() > 0, "slabs were taken over");
#endif
    for (int i = 0; i < BAG; i++)
        if (bag[i])
            release(bag[i]);
    for (int i = 0; i < PARTS; i++) {
        heap_self = part_of[i].self;
        end_of_thread();
    }
    heap_past_end = 0;
    heap_self = owner;
    nothing_left();
    is(faults_taken(), 0, "in the end every block is back, and every slab");
}

int main(void)
{
    start_front();
    if (!(owner = heap_mine()))
        bail("no heap");
    test_batches();
    test_sleeper();
    test_bad_moments();
    test_threads();
    test_knobs();
    if (INTERLEAVES)
        test_interleaved();
    test_many_owners();
    return tap_done();
}
