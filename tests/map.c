/* map.c: the map of SuperSlabs in the segment says what each slab is, held against the counters and
 * against what this process knows that it allocated; in children of forks, and where there are more
 * SuperSlabs than cells. */
#define _GNU_SOURCE
#include <sys/wait.h>
#include "tests/seg.h"

enum { SLAB = 16384, MOST = 9000 };
typedef uint16_t superslab[HAK_MAP_SLABS];
static struct seg s;
static void *blocks[200000];
static uint64_t meta_at_fork;

static const superslab *map_of(const struct seg *seg)
{
    return (const void *)(seg->base + seg->h->map_off);
}

static unsigned what(uint16_t cell) { return cell & 0xFF; }

/* Cells of a kind. */
static unsigned cells_of(const struct seg *seg, unsigned kind)
{
    unsigned n = 0;
    for (uint64_t i = 0; i < seg->state->map_used; i++)
        for (int k = 0; k < HAK_MAP_SLABS; k++)
            n += what(map_of(seg)[i][k]) == kind;
    return n;
}

static unsigned bin_of(size_t size)
{
    const struct hak_bin_desc *bin = (void *)(s.base + s.h->bin_off);
    unsigned b = 0;
    while (bin[b].size < size)
        b++;
    return b;
}

/* What the counters say of the map; the number of faults.  Nothing may be going on. */
static int faults(const struct seg *seg)
{
    uint64_t rows = 0, live = seg_global(seg, "superslabs_live"), lru = seg_global(seg, "superslabs_lru");
    unsigned large = HAK_CELL_BIN + seg->h->bin_count - 2;
    for (uint64_t i = 0; i < seg->state->map_used; i++)
        rows += what(map_of(seg)[i][0]) != HAK_CELL_NONE;
    return (rows != live + lru) + (cells_of(seg, HAK_CELL_LRU) != lru * HAK_MAP_SLABS)
         + ((uint64_t)cells_of(seg, large) * SLAB
            != seg_thread(seg, "large_alloc_bytes") - seg_thread(seg, "large_free_bytes"));
}

static void allocate(int n, size_t size)
{
    for (int i = 0; i < n; i++)
        if (!(blocks[i] = malloc(size)))
            bail("no memory");
}

static void release(int n)
{
    while (n-- > 0)
        free(blocks[n]);
}

/* Brings this thread to answer a walk. */
static void walk(void)
{
    uint64_t request = ++s.control->walk;
    for (int i = 0; i < 5000; i++)
        free(malloc(8));
    if (seg_read(&seg_slot_of(&s, getpid())->walk) != request)
        bail("the thread has not walked");
}

static void must_set(const char *knob, uint64_t value)
{
    uint64_t generation = seg_set(&s, knob, value);
    for (int i = 0; i < 5000; i++)
        free(malloc(8));
    if (seg_read(&seg_slot_of(&s, getpid())->applied) != generation)
        bail("the thread has not applied it");
}

/* Slabs of a bin, by how full they are: below `least`, and above. */
static void fullness(unsigned bin, unsigned least, unsigned *below, unsigned *above)
{
    *below = *above = 0;
    for (uint64_t i = 0; i < s.state->map_used; i++)
        for (int k = 0; k < HAK_MAP_SLABS; k++) {
            uint16_t cell = map_of(&s)[i][k];
            if (what(cell) == HAK_CELL_BIN + bin)
                ++*(cell >> 8 < least ? below : above);
        }
}

/* ---- what is where ---- */

static void test_bins(void)
{
    static const size_t sizes[] = { 8, 64, 320, 1024, 3136, 28736 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned kind = HAK_CELL_BIN + bin_of(sizes[i]), before = cells_of(&s, kind);
        int n = (int)(100 * SLAB / sizes[i] > 200000 ? 200000 : 100 * SLAB / sizes[i]);
        allocate(n, sizes[i]);
        unsigned more = cells_of(&s, kind) - before, least = (unsigned)((size_t)n * sizes[i] / SLAB);
        ok(more + 2 >= least && more <= least + 40, "%d blocks of %zu bytes: %u slabs more of their bin",
           n, sizes[i], more);
        is(faults(&s), 0, "and the counters agree");
        release(n);
    }
    is(faults(&s), 0, "they agree when all of that is free again");
}

static void test_large(void)
{
    unsigned kind = HAK_CELL_BIN + s.h->bin_count - 2, before = cells_of(&s, kind);
    allocate(10, 6 * SLAB);
    is(cells_of(&s, kind) - before, 60, "ten blocks of six slabs");
    blocks[3] = realloc(blocks[3], 3 * SLAB);
    is(cells_of(&s, kind) - before, 58, "one that shrinks to three keeps two pairs");
    blocks[3] = realloc(blocks[3], 7 * SLAB);
    is(cells_of(&s, kind) - before, 62, "and grows to seven in four");
    is(faults(&s), 0, "the counters agree");
    release(10);
    is(cells_of(&s, kind) - before, 0, "and nothing is left");
    for (int i = 0; i < 10; i++)
        if (posix_memalign(&blocks[i], 4 * SLAB, SLAB))
            bail("no memory");
    is(cells_of(&s, kind) - before, 10, "ten of one slab at every fourth one have no mapping of their own");
    is(faults(&s), 0, "the counters agree");
    release(10);
}

/* What a thread keeps counts as in use, as blocks in its caches do. */
static void test_kept(void)
{
    unsigned kind = HAK_CELL_BIN + s.h->bin_count - 2, before = cells_of(&s, kind);
    must_set("large.cache", 2);
    for (int i = 0; i < 5000; i++)
        free(malloc(6 * SLAB));
    allocate(3, 6 * SLAB);
    release(3);
    is(cells_of(&s, kind) - before, 12, "of three large blocks that are freed two are kept");
    pid_t pid = fork();
    if (pid == 0) {
        struct seg mine;
        int bad = seg_open(&mine, getpid()) != 0 || cells_of(&mine, kind) != cells_of(&s, kind);
        allocate(2, 6 * SLAB);
        bad |= cells_of(&mine, kind) != cells_of(&s, kind) || faults(&mine);
        _exit(bad);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    remove_segment(pid);
    is(status, 0, "in a child, too, which can use them");
    must_set("large.cache", 0);
    is(cells_of(&s, kind) - before, 0, "and none where large.cache says so");
    is(faults(&s), 0, "the counters agree");
}

static void test_fullness(void)
{
    unsigned bin = bin_of(448), below, above;
    allocate(14000, 448);
    walk();
    fullness(bin, 255, &below, &above);
    ok(above >= 360 && below <= 4, "of %u slabs in use all but %u are full", above + below, below);
    for (int i = 0; i < 14000; i += 2) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
    walk();
    fullness(bin, 192, &below, &above);
    ok(below >= 300, "every second block freed: %u of %u slabs are at most three quarters full", below,
       below + above);
    fullness(bin, 110, &below, &above);
    ok(above >= 360, "and %u at least 43 per cent", above);
    release(14000);
}

/* ---- other processes ---- */

static int child(int to)
{
    struct seg mine;
    int bad = seg_open(&mine, getpid()) != 0;
    if (!bad) {
        bad = faults(&mine) + (seg_global(&mine, "meta_bytes") != meta_at_fork);
        allocate(5000, 1024);
        bad += faults(&mine) + (cells_of(&mine, HAK_CELL_BIN + bin_of(1024)) < 5000 * 1024 / SLAB);
        allocate(30, 10 * SLAB);
        release(30);
        bad += faults(&mine);
    }
    return write(to, &bad, sizeof bad) != sizeof bad;
}

static void test_fork(void)
{
    int to[2], bad = -1;
    size_t bytes = s.h->map_count * s.h->map_size;
    char *was = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pipe(to))
        bail("pipe: %m");
    allocate(20000, 100);
    memcpy(was, map_of(&s), bytes);
    meta_at_fork = seg_global(&s, "meta_bytes");
    pid_t pid = fork();
    if (pid == 0)
        _exit(child(to[1]));
    if (read(to[0], &bad, sizeof bad) != sizeof bad)
        bad = -1;
    waitpid(pid, NULL, 0);
    remove_segment(pid);
    is(bad, 0, "a child has a map of its own, with what it inherits, metadata too");
    is(memcmp(was, map_of(&s), bytes), 0, "and leaves its parent's alone");
    release(20000);
}

static void test_more_than_cells(void)
{
    allocate(MOST, 1 << 20);
    ok(seg_global(&s, "superslabs_live") > HAK_MAP_SUPERSLABS, "%llu SuperSlabs",
       (unsigned long long)seg_global(&s, "superslabs_live"));
    is(s.state->map_used, HAK_MAP_SUPERSLABS, "cells for %u", HAK_MAP_SUPERSLABS);
    ok(cells_of(&s, HAK_CELL_BIN + s.h->bin_count - 2) > (HAK_MAP_SUPERSLABS - 50) * (HAK_MAP_SLABS - 1),
       "which are in use");
    release(MOST);
    allocate(10, 5 * SLAB);
    release(10);
    ok(seg_global(&s, "superslabs_live") + seg_global(&s, "superslabs_lru") < 400, "fewer again");
}

int main(int argc, char **argv)
{
    (void)argc;
    run_under_hakmem(argv);
    if (!under_hakmem)
        bail("this test is about hakmem alone");
    seg_own(&s);
    is(s.h->map_size, sizeof(superslab), "two bytes a slab");
    must_set("large.cache", 0);                         /* what is free has no cells */
    test_bins();
    test_large();
    test_kept();
    test_fullness();
    test_fork();
    test_more_than_cells();
    return tap_done();
}
