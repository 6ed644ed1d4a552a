/* large.c: the runs that a thread keeps of the large blocks it frees. */
#include "tests/unit/front.h"

static struct heap *h;

/* Where everything that a heap keeps has gone back, no slab is claimed. */
static unsigned claimed(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < pool_superslabs(); i++) {
        struct superslab *ss = pool_superslab(i);
        slab_map map = map_read(&ss->free_map);
        for (unsigned s = 0; s < SS_SLABS && atomic_load(&ss->state) == SS_LIVE; s++)
            n += !map_has(map, s);
    }
    return n;
}

static void apply_table(unsigned i)
{
    atomic_store(&epoch, i + 1);
    heap_catch_up();
}

static void give_back(void)
{
    large_trim(h);
}

/* Runs that a heap keeps, which are no blocks, and no two the same. */
static unsigned kept_by(struct heap *heap)
{
    unsigned n = 0, slabs = 0;

    for (unsigned i = 0; i < LARGE_KEPT; i++) {
        struct slab *slab = (struct slab *)(heap->cold.kept[i] & ~(uintptr_t)63);
        if (!slab)
            continue;
        must(slab->kind == SLAB_KEPT && slab->run / 2 == (heap->cold.kept[i] & 63) && heap_usable(slab->base) == 0);
        for (unsigned k = 0; k < i; k++)
            must(heap->cold.kept[k] != heap->cold.kept[i]);
        slabs += slab->run;
        n++;
    }
    must(slabs <= MIB / SLAB_SIZE);
    return n;
}

static unsigned kept(void)
{
    must(heap_is_sound(h));
    return kept_by(h);
}

/* Large blocks serve often between two ticks: as many are kept as the knob says. */
static void warm(void)
{
    heap_tick(h);
    for (int i = 0; i < 20; i++)
        heap_free(heap_alloc(33 * KIB));
    heap_tick(h);
    give_back();
}

static void test_served(void)
{
    warm();
    uint64_t hits = h->slot.thread.large_cache_hits, calls = h->slot.row[HAK_ROW_LARGE].slow_allocs;
    char *p = heap_alloc(100 * KIB), *q;
    bool zero;

    memset(p, 1, 100 * KIB);
    heap_free(p);
    is(kept(), 1, "a large block that is freed is kept");
    is(heap_usable(p), 0, "it is no block");
    must(claimed() == slabs_of(100 * KIB));
    q = heap_alloc(90 * KIB);
    ok(q != p, "a request of another length in slabs gets another one");
    zero = true;
    ok(heap_alloc_large(97 * KIB, 1, &zero) == p, "one of its length gets it");
    is(zero, 0, "which is not zeroed");
    is(heap_usable(p), slabs_of(100 * KIB) * SLAB_SIZE, "and is a block again");
    (void)hits, (void)calls;
#ifndef HAK_NO_STATS
    is(h->slot.thread.large_cache_hits - hits, 1, "and counted");
    must(h->slot.row[HAK_ROW_LARGE].slow_allocs - calls == 3);
    must(h->slot.thread.large_alloc_bytes - h->slot.thread.large_free_bytes ==
         (slabs_of(97 * KIB) + slabs_of(90 * KIB)) * SLAB_SIZE);
#endif
    must(kept() == 0);
    heap_free(p);
    heap_free(q);
    for (unsigned bit = 32; bit < 63; bit++) {
        void *long_one = heap_alloc(((size_t)1 << bit) + 100 * KIB);
        must(long_one != p && long_one != q);
        heap_free(long_one);
    }
    is(faults_taken(), 0, "a request that is longer by a power of two does not");
    heap_free(p = heap_alloc(100 * KIB));               /* what was kept went for want of memory */
    heap_free(q = heap_alloc(90 * KIB));
    ok(heap_alloc(100 * KIB) == p && heap_alloc(90 * KIB) == q, "of several it is the one that fits");
    heap_free(q);
    heap_free(p);
    for (unsigned i = 0; i < 1000; i++) {
        char *aligned = heap_alloc_large(100 * KIB, 128 * KIB, NULL);
        must(((uintptr_t)aligned & (128 * KIB - 1)) == 0);
        heap_free(aligned);
        heap_free(heap_alloc(100 * KIB));
    }
    is(faults_taken(), 0, "alignments hold");
    give_back();
    is(kept() + claimed(), 0, "all goes back to the pool");
}

static void test_bounds(void)
{
    void *p[LARGE_KEPT + 4];
    const unsigned all = sizeof p / sizeof *p;

    for (unsigned n = 0; n <= LARGE_KEPT; n++) {
        table[1].large_cache = n;
        apply_table(1);
        warm();
        for (unsigned i = 0; i < all; i++)
            p[i] = heap_alloc(33 * KIB);
        for (unsigned i = 0; i < all; i++) {
            heap_free(p[i]);
            must(kept() == (i < n ? i + 1 : n));
        }
        heap_free(heap_alloc(33 * KIB));
        must(kept() == n && claimed() == n * slabs_of(33 * KIB));
        apply_table(0);
    }
    is(faults_taken(), 0, "at most as many as large.cache says");

    table[1].large_cache = LARGE_KEPT;
    apply_table(1);
    for (unsigned i = 0; i < all; i++)
        p[i] = heap_alloc(33 * KIB);
    for (unsigned i = 0; i < all; i++)
        heap_free(p[i]);
    is(kept(), 0, "and none before they would have served often");
    warm();
    for (unsigned i = 0; i < all; i++)
        p[i] = heap_alloc(300 * KIB);
    for (unsigned i = 0; i < all; i++)
        heap_free(p[i]);
    is(kept(), 1024 / 304, "of 1 MiB together");
    heap_free(heap_alloc(MIB));
    is(kept(), 1, "one of 1 MiB alone");
    heap_free(heap_alloc(MIB + 1));
    is(kept(), 1, "and none that is longer");
    table[2].large_cache = 0;
    apply_table(2);
    is(kept() + claimed(), 0, "a knob that is turned down acts at the thread's next look");
    apply_table(0);
}

static void frees(unsigned n)
{
    while (n-- > 0)
        heap_free(heap_alloc(8));
}

/* A tick, with so many frees and requests of p's length since the last. */
static void tick_after(unsigned small, unsigned requests, void *p)
{
    frees(small);
    while (requests-- > 0) {
        must(heap_alloc(64 * KIB) == p);
        heap_free(p);
    }
    heap_tick(h);
}

static void test_unused(void)
{
    void *p = heap_alloc(64 * KIB), *q = heap_alloc(128 * KIB);

    warm();
    heap_free(p);
    heap_free(q);
    tick_after(0, 8, p);
    is(kept(), 2, "what has come since the last tick stays while others serve");
    tick_after(10, 8, p);
    is(kept(), 1, "what serves none between two ticks goes back, whatever others do");
    for (unsigned i = 0; i < 10; i++)
        tick_after(100, 9, p);
    is(kept(), 1, "what serves requests stays");
    tick_after(100, 7, p);
    is(kept(), 0, "and goes back when it serves few");
    warm();

    heap_free(heap_alloc(64 * KIB));
    must(kept() == 1);
    heap_purge();
    is(kept(), 0, "a purge gives it back");
}

/* A thread that needs neither the pool nor a refill finds out all the same, however many blocks it frees in between,
 * and counts as one at work. */
static void test_looks(void)
{
    heap_free(heap_alloc(64 * KIB));
    for (unsigned between = 0; between < 40; between++)
        for (unsigned phase = 0; phase < 16; phase++) {
            unsigned n = 0;
            frees(phase);
            atomic_fetch_add(&epoch, TABLES);
            while (h->cold.epoch != atomic_load(&epoch) && n++ < 100) {
                heap_free(heap_alloc(64 * KIB));
                frees(between);
            }
            must(n <= 17);
        }
    is(faults_taken(), 0, "a change is seen within sixteen large blocks");
    atomic_fetch_add(&core_now_ms, 1000);
    heap_free(heap_alloc(64 * KIB));
    ok(heap_was_seen(h), "and a thread that uses them is at work");
    heap_purge();
}

/* What realloc has no room for moves on, and leaves what nobody asks for soon. */
static void test_outgrown(void)
{
    char *p, *q, *next;

    warm();
    must(kept() == 0);
    q = heap_alloc(64 * KIB);                           /* each from the top down */
    p = heap_alloc(64 * KIB);
    must(p + 64 * KIB == q);
    ok(heap_resize_large(p, 96 * KIB) == NULL, "a block in the way");
    heap_free(p);
    is(kept(), 0, "the run that was too short is not kept");
    p = heap_alloc(64 * KIB);
    must(p + 64 * KIB == q);
    heap_free(q);
    must(kept() == 1);
    ok(heap_resize_large(p, 128 * KIB) == p, "one that is kept is in nobody's way");
    is(kept(), 0, "it goes back for that");
    next = heap_alloc(64 * KIB);
    heap_free(p);
    heap_free(next);
    is(kept(), 2, "a block that grew in place is kept like any other");
    give_back();
    must(claimed() == 0);
}

static void *sleeper(void *stage)
{
    _Atomic int *at = stage;

    for (int i = 0; i < 20; i++)
        heap_free(heap_alloc(64 * KIB));
    heap_tick(heap_self);
    heap_free(heap_alloc(64 * KIB));
    atomic_store(at, 1);
    while (atomic_load(at) != 2)
        sched_yield();
    end_of_thread();
    return NULL;
}

static void test_sleeper(void)
{
    _Atomic int stage = 0;
    pthread_t thread;
    struct heap *other = NULL;

    if (pthread_create(&thread, NULL, sleeper, (void *)&stage))
        bail("no thread");
    while (atomic_load(&stage) != 1)
        sched_yield();
    for (struct heap *e = heap_first(); e; e = e->cold.next_all)
        if (e != h && kept_by(e))
            other = e;
    must(other != NULL);
    atomic_store(&other->cold.ticked_ms, atomic_load(&core_now_ms));
    heaps_trim_idle();
    is(kept_by(other), 1, "a thread at work keeps it");
    atomic_fetch_add(&core_now_ms, 1000);
    heaps_trim_idle();
    is(kept_by(other), 0, "of one that sleeps another thread gives it back");
    atomic_store(&stage, 2);
    pthread_join(thread, NULL);
    heap_purge();
    is(claimed(), 0, "and nothing is lost");
}

/* ---- a thread that frees and allocates, while others take what it keeps ---- */

enum { BLOCKS = 8 };
static void *block[BLOCKS];
static uint64_t seed;
static _Atomic bool done;

static void use_blocks(unsigned steps)
{
    static const size_t length[] = { 40 * KIB, 64 * KIB, 100 * KIB };

    while (steps-- > 0) {
        uint64_t r = rnd(&seed);
        void **b = &block[r % BLOCKS];
        if (*b) {
            must(memcmp(*b, b, sizeof *b) == 0);
            heap_free(*b);
            *b = NULL;
        } else {
            *b = heap_alloc(length[r / BLOCKS % 3]);
            for (unsigned i = 0; i < BLOCKS; i++)
                must(&block[i] == b || block[i] != *b);
            memcpy(*b, b, sizeof *b);
        }
    }
}

static void part(int me)
{
    if (me == 0)
        use_blocks(24);
    else
        for (int i = 0; i < 6; i++)
            large_trim(h);
}

static void *uses_blocks(void *arg)
{
    if (arg) {
        while (!atomic_load(&done))
            large_trim(h);
        return NULL;
    }
    heap_self = h;                                      /* whose thread waits meanwhile */
    use_blocks(200000);
    heap_self = (struct heap *)&heap_none;
    atomic_store(&done, true);
    return NULL;
}

static void blocks_back(void)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        if (block[i]) {
            heap_free(block[i]);
            block[i] = NULL;
        }
    heap_purge();
    must(claimed() == 0);
}

static void test_taken_meanwhile(void)
{
    long rounds = INTERLEAVES ? count_of("HAK_INTERLEAVINGS", 3000, 30000) : 0;

    for (long r = 0; r < rounds; r++) {
        interleave(2, part, (uint64_t)r);
        must(kept() <= LARGE_KEPT);
    }
    blocks_back();
    is(faults_taken(), 0, "%ld interleavings: no run twice, none lost", rounds);
    stress(2, uses_blocks);
    blocks_back();
    is(faults_taken(), 0, "two threads: the same");
}

static void test_fork(void)
{
    uint64_t counts[HAK_ROWS];
    warm();
    void *p = heap_alloc(64 * KIB), *q = heap_alloc(64 * KIB);
    int status;

    heap_free(p);
    must(kept() == 1);
    pid_t pid = fork();
    if (pid == 0) {
        front_inherited(counts);
        must(counts[HAK_ROW_LARGE] == 1);
#ifndef HAK_NO_STATS
        must(h->slot.thread.large_alloc_bytes == 64 * KIB);
#endif
        must(heap_alloc(64 * KIB) == p);
        heap_free(q);
        heap_free(p);
        heap_purge();
        must(claimed() == 0);
        _exit(faults_taken() == 0 ? 0 : 1);
    }
    must(waitpid(pid, &status, 0) == pid);
    is(status, 0, "a child has the parent's, and does not inherit it as a block");
    heap_free(q);
    give_back();
}

int main(void)
{
    start_front();
    if (!(h = heap_mine()))
        bail("no heap");
    test_served();
    test_bounds();
    test_unused();
    test_looks();
    test_outgrown();
    test_sleeper();
    test_taken_meanwhile();
    test_fork();
    return tap_done();
}
