/* holes.c: pages of runs in use on which no block is in use. */
#include "tests/unit/blocks.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

static struct heap *h;

/* ---- the time, as the library asks for it ---- */

static __thread void (*on_clock)(void); /* called, once */
static __thread long step = -1;         /* what goes by between two calls, ns; -1: as it does */
static __thread unsigned long calls;

int clock_gettime(clockid_t clock, struct timespec *t)
{
    void (*act)(void) = on_clock;

    on_clock = NULL;
    if (act)
        act();
    if (step == -1)
        return (int)syscall(SYS_clock_gettime, clock, t);
    unsigned long ns = 1000 + ++calls * (unsigned long)step;
    *t = (struct timespec){ .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
    return 0;
}

/* ---- blocks ---- */

enum { MOST = 1 << 17 };
static char *block[MOST], *beside[HAK_BINS];
static unsigned blocks;

/* Every byte of a block says where it is. */
static void fill(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)((uintptr_t)(p + i) * 131 >> 4 | 1);
}

static bool filled(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != (char)((uintptr_t)(p + i) * 131 >> 4 | 1))
            return false;
    return true;
}

static void allocate(size_t size, unsigned n)
{
    for (blocks = 0; blocks < n; blocks++)
        fill(block[blocks] = alloc(size), size);
}

static void drop(unsigned i)
{
    if (!block[i])
        return;
    memcpy(block[i], &block[i], 8);                     /* as alloc left it */
    block[i][heap_usable(block[i]) - 1] = 0x5A;
    release(block[i]);
    block[i] = NULL;
}

static void flush_caches(void)
{
    heap_enter(h);
    heap_give_back_caches(h, false);
    heap_leave(h);
}

static size_t sized(unsigned bin)
{
    return bin_info[bin].size < MID_MAX ? bin_info[bin].size : MID_MAX;
}

/* Frees them but for one in `keep`. */
static void thin_out(unsigned keep)
{
    for (unsigned i = 0; i < blocks; i++)
        if (i % keep)
            drop(i);
    flush_caches();
}

static void free_all(void)
{
    while (blocks > 0)
        drop(--blocks);
    heap_purge();
}

static bool is_used(const struct slab *slab, unsigned i)
{
    return i < slab->carved && !(slab->map[i / 64] >> i % 64 & 1);
}

/* Pages of the runs in `avail` of a bin that are there; `right`: those on which a block is in use, and of others none
 * that has another such beside it (8 KiB). */
struct pages {
    unsigned there;
    bool right;
};

static struct pages pages_of(struct heap *of, unsigned bin)
{
    static unsigned char there[MIB / 4096];
    struct pages sum = { .right = true };

    for (struct slab *slab = of->cold.bin[bin].avail; slab; slab = slab->next) {
        const size_t bytes = slab->run * SLAB_SIZE, n = bytes / os_page;
        bool used[MIB / 4096] = { false };
        must(n > 0 && mincore(slab->base, bytes, there) == 0);
        for (unsigned i = 0; i < slab->capacity; i++)
            for (size_t k = (size_t)i * slab->size / os_page; k <= ((i + 1u) * slab->size - 1) / os_page; k++)
                used[k] |= is_used(slab, i);
        for (size_t i = 0; i < n; i++) {
            sum.there += there[i] & 1;
            if (used[i])
                sum.right &= there[i] & 1;
            else if ((i > 0 && !used[i - 1]) || (i + 1 < n && !used[i + 1]))
                sum.right &= !(there[i] & 1);
        }
    }
    return sum;
}

static void check_blocks(size_t size)
{
    for (unsigned i = 0; i < blocks; i++)
        must(!block[i] || filled(block[i], size));
}

/* Every bin, from one block in two to one in hundreds; the last run is not carved to its end. */
static void test_pages(void)
{
    unsigned gone = 0;

    for (unsigned bin = 0; bin < HAK_BINS; bin++) {
        const size_t size = sized(bin);
        const unsigned a_run = (unsigned)(bin_info[bin].run * SLAB_SIZE / size);
        for (unsigned keep = 2; keep <= 2 * a_run; keep *= 3) {
            allocate(size, 4 * a_run + 5 < MOST ? 4 * a_run + 5 : MOST);
            unsigned used = bin_of_owner(address_owner((uintptr_t)block[0]));
            thin_out(keep);
            size_t before = pages_of(h, used).there;
            heap_enter(h);
            size_t bytes = holes_purge(h);
            heap_leave(h);
            struct pages now = pages_of(h, used);
            must(now.right && bytes >= (before - now.there) * os_page);
            gone += before > now.there;
            heap_enter(h);
            must(holes_purge(h) == 0);
            heap_leave(h);
            check_blocks(size);
            must(heap_is_sound(h));
            for (unsigned i = 0; i < blocks; i++)       /* they are used again */
                if (!block[i])
                    fill(block[i] = alloc(size), size);
            check_blocks(size);
            thin_out(keep);
            heap_enter(h);
            holes_purge(h);
            heap_leave(h);
            must(pages_of(h, used).right);
            check_blocks(size);
            free_all();
        }
    }
    is(faults_taken(), 0, "of every bin all pages without a block in use go, and again; those with one stay as they are");
    ok(gone > HAK_BINS, "%u times some went", gone);
    nothing_left();
}

/* Where the kernel's pages are longer than a slab, other runs lie on the last one of a run, and on the first. */
static void test_long_pages(void)
{
    const size_t page = os_page;

    for (os_page = page; os_page <= 64 * KIB; os_page *= 4) {
        for (unsigned bin = 0; bin < HAK_BINS; bin++) {
            const size_t size = sized(bin);
            allocate(size, (unsigned)(bin_info[bin].run * SLAB_SIZE / size) * 2 + 1);
            for (unsigned n = 0; n < 2; n++) {
                thin_out(n ? 64 : 3);
                heap_enter(h);
                holes_purge(h);
                heap_leave(h);
                check_blocks(size);
                for (unsigned b = 0; b < bin; b++)
                    must(filled(beside[b], sized(b)));
            }
            free_all();
            fill(beside[bin] = alloc(size), size);
            flush_caches();
        }
        for (unsigned bin = 0; bin < HAK_BINS; bin++)
            if (beside[bin]) {
                block[blocks++] = beside[bin];
                beside[bin] = NULL;
            }
        free_all();
    }
    os_page = page;
    is(faults_taken(), 0, "pages of up to 64 KiB: none goes on which a block lies, of whatever run");
}

static uint32_t now_ms = 1000;

/* Quarters of the decay time go by, a look in each; the looks themselves take no time. */
static void decays(unsigned n)
{
    step = 0;
    heap_enter(h);
    while (n-- > 0)
        holes_tick(h, now_ms += 126, 500);
    heap_leave(h);
    step = -1;
}

static void test_still(void)
{
    const unsigned bin = bin_of_tiny(64);

    allocate(64, 4096);
    thin_out(512);
    decays(SLAB_STILL);
    ok(!pages_of(h, bin).right, "a run that has stood still for less than the decay time keeps its pages");
    decays(1);
    ok(pages_of(h, bin).right, "then they go");
    heap_enter(h);
    is((long)holes_purge(h), 0, "and not once more");
    heap_leave(h);

    fill(block[1] = alloc(64), 64);
    flush_caches();
    decays(SLAB_STILL);
    struct pages before = pages_of(h, bin);
    decays(1);
    ok(pages_of(h, bin).there <= before.there, "of a run that has changed they wait as long again");
    check_blocks(64);
    free_all();
    is(faults_taken(), 0, "nothing of a block is lost");
}

/* One that is kept empty. */
static void test_empty(void)
{
    const unsigned bin = bin_of_tiny(512);

    allocate(512, 3 * 128);
    while (blocks > 0)
        drop(--blocks);
    heap_enter(h);
    l0_flush(h, bin);
    l1_trim(h, bin, stack_count(&h->hot.bin[bin].l1));
    heap_leave(h);
    is(h->cold.bin[bin].empties, 1, "a run that is empty is kept");
    decays(SLAB_STILL - 1);
    is(h->cold.bin[bin].empties, 1, "for the decay time");
    decays(1);
    is(h->cold.bin[bin].empties, 0, "and goes back to the pool");
    nothing_left();
}

/* Runs of a bin that have stood still for so many looks, or more. */
static unsigned still_runs(unsigned bin, unsigned looks)
{
    unsigned n = 0;

    for (struct slab *slab = h->cold.bin[bin].avail; slab; slab = slab->next)
        n += slab->still >= looks;
    return n;
}

/* More than there is time for at once, so many ms after the last look; every glance at the clock takes 10 us. */
static void all_in_turn(unsigned ms, unsigned n)
{
    const unsigned bin = bin_of_tiny(1024), most = (unsigned)HOLES_NS_A_MS * (ms < HOLES_MS_MAX ? ms : HOLES_MS_MAX) / 10000;
    unsigned looks = 0, stops = 0;

    allocate(1024, n * 64);
    thin_out(32);
    const unsigned runs = still_runs(bin, 0);
    step = 10000;
    heap_enter(h);
    for (; still_runs(bin, SLAB_STILL) < runs && looks < 10000; looks++) {
        calls = 0;
        holes_tick(h, now_ms += ms, 30);
        must(calls <= most + 20);
        if (h->cold.hole_at && h->cold.hole_at->bin == bin)
            stops++;
    }
    heap_leave(h);
    step = -1;
    is(still_runs(bin, SLAB_STILL), runs, "%u ms: all %u runs have their turn, in %u looks", ms, runs, looks);
    is(faults_taken(), 0, "each of which ends in time, with the run that it was at");
    ok(stops >= 2, "and the next goes on there");
    ok(pages_of(h, bin).right, "all of them");
}

static void test_bounded(void)
{
    const unsigned bin = bin_of_tiny(1024);

    all_in_turn(10, 90);
    free_all();
    all_in_turn(1000, 1000);
    for (unsigned i = 0; i < blocks; i++)
        if (!block[i]) {
            fill(block[i] = alloc(1024), 1024);
            must(h->cold.hole_at == NULL || h->cold.hole_at->list == ON_AVAIL);
            if (i % 10000 == 0)
                h->cold.hole_at = h->cold.bin[bin].avail;
        }
    is(faults_taken(), 0, "nor at a run that is full by now");
    free_all();
    nothing_left();
}

/* A look that has time for just all of a heap's runs begins anew. */
static void test_end(void)
{
    const unsigned bin = bin_of_tiny(1024);

    for (unsigned n = 1; n < 200; n++) {
        allocate(1024, 64 * n / 8);
        thin_out(8);
        step = 0;
        heap_enter(h);
        for (unsigned i = 0; i < SLAB_STILL + 1; i++) {
            holes_tick(h, now_ms += 1000, 500);
            must(h->cold.hole_at == NULL && h->cold.hole_bins == 0);
        }
        heap_leave(h);
        step = -1;
        must(still_runs(bin, SLAB_STILL) == still_runs(bin, 0));
        free_all();
    }
    is(faults_taken(), 0, "whatever number of runs, a look with time enough ends with the last");
}

static void idle_looks(unsigned n, long ns)
{
    step = ns;
    heap_enter(h);
    while (n-- > 0)
        holes_of_idle(126);
    heap_leave(h);
    step = -1;
}

static void *sleeper(void *stage)
{
    _Atomic int *at = stage;

    heap_mine();
    h = heap_self;
    allocate(64, 4096);
    thin_out(512);
    atomic_store(at, 1);
    while (atomic_load(at) != 2)
        sched_yield();
    free_all();
    end_of_thread();
    return NULL;
}

static void test_sleeper(void)
{
    _Atomic int stage = 0;
    pthread_t thread;
    struct heap *mine = h, *other;

    if (pthread_create(&thread, NULL, sleeper, (void *)&stage))
        bail("no thread");
    while (atomic_load(&stage) != 1)
        sched_yield();
    other = h;
    h = mine;
    atomic_store(&other->cold.ticked_ms, atomic_load(&core_now_ms));
    idle_looks(3 * SLAB_STILL, 0);
    ok(!pages_of(other, bin_of_tiny(64)).right, "a thread at work sees to its runs itself");
    time_passes(1000);
    must(heap_try(other));
    idle_looks(3 * SLAB_STILL, 0);
    ok(!pages_of(other, bin_of_tiny(64)).right, "a heap that is held is left alone");
    heap_drop(other);
    idle_looks(SLAB_STILL + 1, 0);
    ok(pages_of(other, bin_of_tiny(64)).right, "of a thread that sleeps another one gives them back");
    must(heap_try(other));
    heap_drop(other);
    h = other;
    atomic_store(&stage, 2);
    pthread_join(thread, NULL);
    h = mine;
    is(faults_taken(), 0, "and nothing is lost");
}

/* ---- several that sleep ---- */

enum { SLEEPERS = 3 };
static struct slab *asleep[SLEEPERS];
static pthread_barrier_t all_asleep;

static void *sleeps(void *number)
{
    void *p = alloc(1024);

    heap_enter(heap_self);
    heap_give_back_caches(heap_self, false);
    heap_leave(heap_self);
    must((asleep[(uintptr_t)number] = slab_of(p))->list == ON_AVAIL);
    pthread_barrier_wait(&all_asleep);
    pthread_barrier_wait(&all_asleep);
    release(p);
    end_of_thread();
    return NULL;
}

/* Where the time is over after each, even if all of its runs have been seen. */
static void test_turns(void)
{
    pthread_t thread[SLEEPERS];

    pthread_barrier_init(&all_asleep, NULL, SLEEPERS + 1);
    for (uintptr_t i = 0; i < SLEEPERS; i++)
        if (pthread_create(&thread[i], NULL, sleeps, (void *)i))
            bail("no thread");
    pthread_barrier_wait(&all_asleep);
    time_passes(1000);
    idle_looks((unsigned)heaps_made() * (SLAB_STILL + 2), 1000000000);
    for (int i = 0; i < SLEEPERS; i++)
        is(asleep[i]->still, SLAB_STILL, "sleeper %d has had its turns", i);
    pthread_barrier_wait(&all_asleep);
    for (int i = 0; i < SLEEPERS; i++)
        pthread_join(thread[i], NULL);
    pthread_barrier_destroy(&all_asleep);
}

static void test_locked(void)
{
    allocate(4672, 64);
    thin_out(64);
    const struct slab *slab = slab_of(block[0]);
    if (syscall(SYS_mlock, slab->base, slab->run * SLAB_SIZE) != 0) {      /* TSan has one that does nothing */
        skip("mlock: %m");
    } else {
        heap_enter(h);
        is((long)holes_purge(h), 0, "locked pages stay, and are not asked for again");
        must(slab->still == SLAB_STILL);
        heap_leave(h);
        syscall(SYS_munlock, slab->base, slab->run * SLAB_SIZE);
    }
    check_blocks(4672);
    free_all();
    is(faults_taken(), 0, "with what is in them");
}

/* ---- while others allocate ---- */

enum { MOST_HELD = 4096 };
static char *held[MOST_HELD];
static uint64_t seed = 1;
static _Atomic bool done;

static void use_blocks(unsigned steps)
{
    while (steps-- > 0) {
        uint64_t r = rnd(&seed);
        char **p = &held[r % MOST_HELD];
        if (*p) {
            release(*p);
            *p = NULL;
        } else {
            *p = alloc((size_t)16 << (r >> 32) % 9);
        }
    }
}

static void *uses_blocks(void *arg)
{
    if (arg) {
        heap_mine();
        while (!atomic_load(&done)) {
            time_passes(1000);
            heap_enter(heap_self);
            holes_of_idle(1000);
            heap_leave(heap_self);
            holes_purge(h);
        }
        end_of_thread();
        return NULL;
    }
    heap_self = h;                                      /* whose thread waits meanwhile */
    use_blocks(400000);
    heap_self = (struct heap *)&heap_none;
    atomic_store(&done, true);
    return NULL;
}

static void let_go(void)
{
    for (unsigned i = 0; i < MOST_HELD; i++)
        if (held[i])
            release(held[i]);
    memset(held, 0, sizeof held);
    nothing_left();
}

/* ---- a signal handler on top of a purge ---- */

static unsigned taken;                  /* block[blocks ...] */

static void takes_all(void)
{
    for (; taken < 4096; taken++)
        fill(block[blocks + taken] = alloc(64), 64);
}

static void frees_all(void)
{
    while (blocks > 0)
        drop(--blocks);
    flush_caches();
}

static void purge_under(void (*handler)(void))
{
    allocate(64, 4096);
    thin_out(512);
    heap_enter(h);
    on_clock = handler;
    holes_purge(h);
    must(on_clock == NULL);
    heap_leave(h);
    must(heap_is_sound(h));
}

static void test_handler(void)
{
    purge_under(takes_all);
    is(taken, 4096, "a signal handler on top of a purge allocates");
    blocks += taken;
    check_blocks(64);
    free_all();
    is(faults_taken(), 0, "none of its blocks is purged");
    purge_under(frees_all);
    is(faults_taken(), 0, "and one that frees the last block of a run leaves the lists sound");
    nothing_left();
    is(faults_taken(), 0, "no block is lost");
}

int main(void)
{
    start_front();
    for (int i = 0; i < TABLES; i++)
        table[i].os_purge_holes = 0;                    /* the test alone says when */
    if (!(h = heap_mine()))
        bail("no heap");
    test_long_pages();
    if (os_page > SLAB_SIZE / 2) {
        skip("pages of %zu bytes leave no hole in most runs", os_page);
        return tap_done();
    }
    test_pages();
    test_still();
    test_empty();
    test_bounded();
    test_end();
    test_sleeper();
    test_turns();
    test_locked();
    stress(2, uses_blocks);
    let_go();
    is(faults_taken(), 0, "two threads: no block is lost");
    test_handler();
    return tap_done();
}
