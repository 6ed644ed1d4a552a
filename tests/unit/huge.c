/* huge.c: the huge tier: what is cached, for whom and how long; resizing keeps the content; every byte
 * mapped is counted; by threads, and in children of forks. */
#include <sys/mman.h>
#include <sys/time.h>
#include "tests/unit/forbid.h"
#include "tests/unit/interleave.h"
#include "lib/core/address.h"
#include "lib/core/huge.h"
#include "lib/core/pool.h"
#include "lib/core/superslab.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { SCRAPS_MOST = 8 };                               /* huge.c */

static char *take(size_t n, size_t align, bool *zero)
{
    size_t bytes = 0;
    char *p = huge_take(n, align, &bytes, zero);

    if (!p)
        bail("no memory for %zu bytes", n);
    must(bytes >= n && huge_bytes(p) == bytes && bytes % os_page == 0);
    must(((uintptr_t)p & (align - 1)) == 0 && ((uintptr_t)p & (SS_SIZE - 1)) == 0);
    return p;
}

static char *take_new(size_t n)
{
    bool zero;
    char *p = take(n, 1, &zero);

    must(zero && zeroed(p, n) && huge_bytes(p) == round_up(n + !n, os_page));
    return p;
}

static void fill(char *p, size_t n, uint64_t seed)
{
    for (size_t i = 0; i + 8 <= n; i += 4096)
        *(uint64_t *)(void *)(p + i) = seed + i;
}

static int filled(const char *p, size_t n, uint64_t seed)
{
    for (size_t i = 0; i + 8 <= n; i += 4096)
        if (*(const uint64_t *)(const void *)(p + i) != seed + i)
            return 0;
    return 1;
}

static void nothing_left(const char *when)
{
    huge_purge(0, 0);
    is(GLOBAL(huge_cached), 0, "nothing is cached %s", when);
    is(GLOBAL(mapped), 0, "nothing is mapped");
    is(huge_in_use(), 0, "nothing is in use");
    is(faults_taken(), 0, "and every block was as it should be");
}

/* ---- one thread ---- */

static void test_take(void)
{
    bool zero;

    for (size_t align = 1; align <= 64 * MIB; align *= 2) {
        char *p = take(align % 3 * MIB + 12345, align, &zero);
        fill(p, 12345, align);
        must(filled(p, 12345, align));
        must(huge_give(p) != 0);
        huge_purge(0, 0);
    }
    char *p = take_new(0);
    is(huge_bytes(p), os_page, "a block of 0 bytes holds a page");
    is(huge_bytes(p + 16), 0, "what is inside of it is no block,");
    is(huge_give(p + 4096), 0, "and can't be freed");
    is(huge_give(p), os_page, "it can,");
    is(huge_give(p), 0, "once");
    is(huge_bytes(p), 0, "and is no block then");
    ok(!superslab_of(p), "nor in a SuperSlab");
    ok(!huge_take(PTRDIFF_MAX, 1, &(size_t){ 0 }, &zero), "where there is no room there is no block");
    nothing_left("after blocks of every alignment");
}

static void test_best_fit(void)
{
    char *four = take_new(4 * MIB), *five = take_new(5 * MIB), *six = take_new(6 * MIB), *p;
    bool zero;

    fill(five, 5 * MIB, 5);
    huge_give(five);
    huge_give(four);
    huge_give(six);
    is(GLOBAL(huge_cached), 15 * MIB, "three blocks are cached");
    p = take(4 * MIB + os_page, 1, &zero);
    ok(p == five, "the smallest that is large enough is taken");
    ok(!zero && huge_bytes(p) == 5 * MIB, "whole, and not said to be zeroed");
    is(GLOBAL(huge_cached), 10 * MIB, "it isn't cached any more");
    huge_give(p);
    p = take(3 * MIB, 1, &zero);
    ok(p == four && huge_bytes(p) == 4 * MIB, "one that is a mebibyte too large is, too");
    huge_give(p);
    p = take(3 * MIB - os_page, 1, &zero);
    ok(p == four && huge_bytes(p) == 3 * MIB - os_page, "what is more than that is cut off");
    huge_give(p);
    is(GLOBAL(huge_cached), 15 * MIB, "and stays cached");
    p = take(6 * MIB, 1, &zero);
    ok(p == six, "one that fits exactly");
    huge_give(p);
    uintptr_t align = 64 * MIB;
    p = take(5 * MIB, align, &zero);
    ok(p == five ? ((uintptr_t)five & (align - 1)) == 0 : true, "an alignment is kept by what is cached, too");
    huge_give(p);
    nothing_left("after a purge");
}

/* By an address in the middle of a block it is known whose it is (abi/call.h). */
static bool known_all_over(char *p, size_t bytes)
{
    uintptr_t unit = address_unit((uintptr_t)p);

    for (size_t at = 0; at < bytes; at += SS_SIZE)
        if (address_unit((uintptr_t)p + at) != unit)
            return false;
    return *(char **)(unit & ~UNIT_HUGE) == p;
}

static void test_units(void)
{
    bool zero;
    char *p = take_new(16 * MIB), *q, *r;

    ok(known_all_over(p, 16 * MIB), "a new mapping is known all over");
    huge_give(p);
    q = take(4 * MIB, 1, &zero);
    r = take(12 * MIB, 1, &zero);
    ok(q == p && r == p + 4 * MIB, "cut in two");
    ok(known_all_over(q, 4 * MIB) && known_all_over(r, 12 * MIB), "so is each part");
    huge_give(q);
    huge_give(r);
    huge_purge(0, 0);
    p = take_new(2 * SS_SIZE + os_page);
    huge_give(p);
    q = take(SS_SIZE + os_page, 1, &zero);
    ok(q == p && huge_bytes(q) == SS_SIZE + os_page, "cut to size,");
    ok(address_unit((uintptr_t)p + 2 * SS_SIZE) != address_unit((uintptr_t)q), "it is not known beyond its end");
    huge_give(q);
    nothing_left("after that");
}

/* What pages there are are used, whatever the size that they were for. */
static void test_other_sizes(void)
{
    char *big = take_new(11 * MIB), *p, *q;
    bool zero;

    fill(big, 11 * MIB, 11);
    huge_give(big);
    p = take(3 * MIB, 1, &zero);
    ok(p == big && huge_bytes(p) == 4 * MIB, "a small block is cut off a large one");
    is(GLOBAL(huge_cached), 7 * MIB, "the rest stays cached");
    q = take(7 * MIB, 1, &zero);
    ok(q == big + 4 * MIB && filled(q, 7 * MIB, 11) == false, "and is a block like others");
    fill(q, 7 * MIB, 7);
    huge_give(q);
    q = take(20 * MIB, 1, &zero);
    ok(!zero && huge_bytes(q) == 20 * MIB && filled(q, 6 * MIB, 7), "a large request gets the pages of a small one");
    is(GLOBAL(huge_cached), 0, "of which nothing is left");
    fill(q, 20 * MIB, 20);
    must(filled(q, 20 * MIB, 20));
    huge_give(q);
    huge_give(p);
    is(GLOBAL(huge_cached), 24 * MIB, "and is cached again, as long as it is now");
    p = take(SS_SIZE + SS_SIZE / 4, 64 * MIB, &zero);
    ok(((uintptr_t)p & (64 * MIB - 1)) == 0 && !zero, "of whatever alignment");
    huge_give(p);
    nothing_left("after that");
}

/* Three cached blocks, the last of them the newest. */
static const size_t three[] = { 5 * MIB + 4096, 6 * MIB, 8 * MIB + 4096 };

static void cache_three(void)
{
    char *p[3];

    for (unsigned i = 0; i < 3; i++)
        fill(p[i] = take_new(three[i]), three[i], i);
    for (unsigned i = 0; i < 3; i++)
        huge_give(p[i]);
}

/* 17 MiB made of those: all of the newer two but the odd page, and of the third 2 MiB and the scrap behind them. */
static int is_of_three(const char *p)
{
    return filled(p, 8 * MIB, 2) && filled(p + 8 * MIB, 6 * MIB, 1) && filled(p + 14 * MIB, 3 * MIB, 2 * MIB);
}

/* Fills the addresses behind a block, so that it can't grow there. */
static void *block_growth(char *p, size_t bytes)
{
    return mmap(p + bytes, os_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

static void test_parts(void)
{
    size_t old, bytes;
    bool zero;
    char *p, *q;

    cache_three();
    uint64_t calls = GLOBAL(mremap_calls);
    p = take(17 * MIB, 1, &zero);
    ok(!zero && huge_bytes(p) == 17 * MIB && is_of_three(p), "a block has the pages of three");
    is(GLOBAL(mremap_calls) - calls, 4, "moved, not copied");
    is(GLOBAL(huge_cached), 2 * MIB, "what is left of the last stays cached");
    is(GLOBAL(mapped), 19 * MIB, "and no more is mapped than that");
    ok(known_all_over(p, 17 * MIB), "it is known all over");

    ok(huge_resize(p, 15 * MIB, &old, &bytes) == p && huge_bytes(p) == 15 * MIB, "it is cut in the middle of a part");
    ok(huge_resize(p, 16 * MIB, &old, &bytes) == p && zeroed(p + 15 * MIB, MIB), "and grows from there,");
    ok(huge_resize(p, 12 * MIB, &old, &bytes) == p && huge_resize(p, 17 * MIB, &old, &bytes) == p,
       "and from the middle of another");
    ok(filled(p, 8 * MIB, 2) && filled(p + 8 * MIB, 4 * MIB, 1) && zeroed(p + 12 * MIB, 5 * MIB), "with what was in it");
    huge_give(p);
    is(GLOBAL(huge_cached), 2 * MIB, "what realloc made is not cached");
    is(GLOBAL(mapped), 2 * MIB, "but the kernel's");
    huge_purge(0, 0);

    cache_three();
    p = take(17 * MIB, 1, &zero);
    for (size_t n = 18 * MIB; n <= 22 * MIB; n += 2 * MIB, p = q) {
        void *wall = block_growth(p, huge_bytes(p));
        q = huge_resize(p, n, &old, &bytes);
        ok(q && q != p && huge_bytes(q) == n && is_of_three(q), "where something is in the way it moves, to %zu bytes,", n);
        ok(known_all_over(q, n) && !address_unit((uintptr_t)p + 8 * MIB), "and nothing of it stays");
        is(GLOBAL(mapped), n + 2 * MIB, "as is counted");
        if (wall != MAP_FAILED)
            munmap(wall, os_page);
    }
    huge_give(p);
    huge_purge(0, 0);

    cache_three();
    huge_give(take(17 * MIB, 1, &zero));
    p = take(10 * MIB, 1, &zero);
    q = take(7 * MIB, 1, &zero);
    ok(q == p + 10 * MIB && filled(p, 8 * MIB, 2), "cut in two by a smaller request, with the pages that it had");
    huge_give(p);
    huge_give(q);
    p = take(20 * MIB, 1, &zero);
    ok(!zero && !GLOBAL(huge_cached), "and the parts of parts make one block again");
    fill(p, 20 * MIB, 20);
    ok(filled(p, 20 * MIB, 20), "of pages that are its own");
    huge_give(p);
    nothing_left("after that");
}

/* What is too short for a block is a block's last part. */
static void test_scraps(void)
{
    enum { N = SCRAPS_MOST + 4 };
    char *p = take_new(5 * MIB), *q, *r, *many[N];
    bool zero;

    fill(p, 5 * MIB, 5);
    huge_give(p);
    q = take(3 * MIB - os_page, 1, &zero);
    ok(q == p && huge_bytes(q) == 3 * MIB - os_page, "a block is cut to size");
    is(GLOBAL(huge_cached), 2 * MIB + os_page, "two scraps are left of what it was cut off");
    r = take(4 * MIB, 1, &zero);
    ok(!zero && filled(r, MIB + os_page, 5 + 3 * MIB - os_page), "a new one begins with the longer,");
    ok(zeroed(r + MIB + os_page, 3 * MIB - os_page), "and has new pages behind it");
    is(GLOBAL(huge_cached), MIB, "the other stays");
    is(GLOBAL(mapped), 8 * MIB - os_page, "no more is mapped than that");
    ok(known_all_over(q, 3 * MIB - os_page) && known_all_over(r, 4 * MIB), "both are known all over");
    p = take(3 * MIB + MIB / 2, 1, &zero);
    ok(!zero && filled(p, MIB, 5 + 4 * MIB) && !GLOBAL(huge_cached), "and is the beginning of the next");
    huge_give(p);
    huge_give(q);
    huge_give(r);
    nothing_left("after that");

    for (unsigned i = 0; i < N; i++)
        many[i] = take_new(5 * MIB);
    for (unsigned i = 0; i < N; i++)
        huge_give(many[i]);
    for (unsigned i = 0; i < N; i++)
        many[i] = take(4 * MIB, 1, &zero);
    is(GLOBAL(huge_cached), SCRAPS_MOST * MIB, "of many scraps %d are kept", SCRAPS_MOST);
    for (unsigned i = 0; i < N; i++)
        huge_give(many[i]);
    nothing_left("of them");
}

/* Blocks of any size between two come and go: what is cached is of use to the next. */
static void test_churn(void)
{
    enum { LIVE = 4, STEPS = 3000 };
    char *p[LIVE] = { NULL };
    size_t most = 0;
    uint64_t seed = 1;
    bool zero;

    for (unsigned i = 0; i < STEPS; i++) {
        char **at = &p[rnd(&seed) % LIVE];
        size_t n = 2200000 + rnd(&seed) % 2800000;
        must(!*at || huge_give(*at));
        *at = take(n, 1, &zero);
        most = GLOBAL(mapped) > most ? GLOBAL(mapped) : most;
    }
    ok(most < 32 * MIB, "blocks of 20 MB that come and go have %zu KiB mapped", most / KIB);
    for (unsigned i = 0; i < LIVE; i++)
        huge_give(p[i]);
    nothing_left("of them");
}

/* There is a bound on the parts of all blocks: each is a mapping, of which a process may have some 65,000. */
static void test_parts_bound(void)
{
    enum { BLOCKS = 600 };                              /* of eight parts */
    static char *p[BLOCKS];
    unsigned whole = 0;
    bool zero;

    for (unsigned i = 0; i < BLOCKS; i++) {
        char *part[9];
        for (unsigned k = 0; k < 9; k++)
            part[k] = take(SS_SIZE, 1, &zero);
        for (unsigned k = 0; k < 9; k++)
            huge_give(part[k]);
        p[i] = take(8 * SS_SIZE, 1, &zero);
        whole += GLOBAL(huge_cached) == 2 * SS_SIZE;
        huge_purge(0, 0);
    }
    is(whole, 4096 / 7, "585 blocks of eight parts are as many as there may be");
    for (unsigned i = 0; i < BLOCKS; i++)
        huge_give(p[i]);
    huge_purge(0, 0);
    cache_three();
    p[0] = take(17 * MIB, 1, &zero);
    ok(is_of_three(p[0]), "when they are gone there is room for others");
    huge_give(p[0]);
    nothing_left("after that");
}

/* Pages of the process: all, and those that are resident. */
static void pages(long page[2])
{
    FILE *f = fopen("/proc/self/statm", "r");

    if (!f || fscanf(f, "%ld %ld", &page[0], &page[1]) != 2)
        bail("/proc/self/statm");
    fclose(f);
}

/* A kernel that does not move parts of that length, -1: none.  New pages are taken, all is counted, nothing but one
 * range of addresses is lost, and that once. */
static int refused(int length)
{
    long before[2], after[2];
    bool zero;

    pages(before);
    cache_three();
    const char *why = forbid(SYS_mremap, length, ENOMEM);
    if (why) {
        diag("seccomp: %s", why);
        return 77;
    }
    for (int i = 0; i < 3; i++) {
        char *p = take(17 * MIB, 1, &zero);
        if (!zero || !zeroed(p, 17 * MIB))
            return 1;
        fill(p, 17 * MIB, 1);
        if (!filled(p, 17 * MIB, 1) || huge_give(p) != 17 * MIB)
            return 2;
        huge_purge(0, 0);
        if (GLOBAL(mapped) || GLOBAL(huge_cached) || huge_in_use() || faults_taken())
            return 3;
        cache_three();
    }
    huge_purge(0, 0);
    pages(after);
    return !SANITIZED &&                                /* its own memory comes and goes */
        ((after[0] - before[0]) * (long)os_page > (long)(9 * MIB) || (after[1] - before[1]) * (long)os_page > (long)MIB);
}

static int first_refused(void)
{
    return refused(-1);
}

static int second_refused(void)
{
    return refused(6 << 20);
}

static void test_refused(void)
{
    static int (*const tries[])(void) = { first_refused, second_refused };

    for (int i = 0; i < 2; i++) {
        const char *end = in_child(tries[i]);
        if (strcmp(end, "exit 77") == 0)
            skip("a kernel that moves no pages: no seccomp here");
        else
            is_str(end, "exit 0", "where the kernel does not move part %d, new pages are taken, and none is lost", i + 1);
    }
}

static void test_limit(void)
{
    char *p[4];

    huge_cache_limit(10 * MIB);
    for (unsigned i = 0; i < 4; i++)
        p[i] = take_new(3 * MIB + i * os_page);
    uint64_t mapped_before = GLOBAL(mapped);
    for (unsigned i = 0; i < 4; i++)
        huge_give(p[i]);
    is(GLOBAL(huge_cached), 9 * MIB + 6 * os_page, "of four times 3 MiB a cache of 10 MiB keeps three");
    is(mapped_before - GLOBAL(mapped), 3 * MIB, "the oldest has gone");
    bool zero;
    ok(take(3 * MIB, 1, &zero) == p[1] && huge_give(p[1]), "and the second is there");
    p[0] = take(11 * MIB, 1, &zero);
    huge_purge(0, 0);
    p[1] = take_new(3 * MIB);
    p[2] = take_new(7 * MIB);
    huge_give(p[1]);
    huge_give(p[0]);
    is(GLOBAL(huge_cached), 3 * MIB, "what is larger than the cache does not go there");
    huge_cache_limit(0);
    huge_give(p[2]);
    is(GLOBAL(huge_cached), 0, "with a limit of 0 the next free empties it");
    huge_cache_limit(256 * MIB);
    nothing_left("then");
}

static void test_age(void)
{
    char *p = take_new(2 * MIB), *q = take_new(3 * MIB);

    atomic_store(&core_now_ms, UINT32_MAX - 5);
    huge_give(p);
    atomic_store(&core_now_ms, 50);
    huge_give(q);
    is(huge_purge(93, 100), 0, "nothing is unmapped before its time, though the clock wraps,");
    is(huge_purge(94, 100), 2 * MIB, "100 ms;");
    is(huge_purge(149, 100), 0, "the other,");
    is(huge_purge(150, 100), 3 * MIB, "100 ms after it was freed");
    nothing_left("after that");
}

static void test_resize(void)
{
    char *p = take_new(8 * MIB), *q;
    size_t old, bytes;

    fill(p, 8 * MIB, 1);
    q = huge_resize(p, 8 * MIB, &old, &bytes);
    ok(q == p && old == 8 * MIB && bytes == 8 * MIB, "the same size: nothing happens");
    q = huge_resize(p, 5 * MIB - 100, &old, &bytes);
    ok(q == p && old == 8 * MIB && bytes == 5 * MIB, "smaller: in place");
    ok(huge_bytes(p) == 5 * MIB && filled(p, 5 * MIB, 1), "with what was in it");
    is(GLOBAL(mapped), 5 * MIB, "the rest is the kernel's");
    ok(address_unit((uintptr_t)p) && address_unit((uintptr_t)p + 5 * MIB - 1) == address_unit((uintptr_t)p),
       "each 2 MiB of it is known to be its");
    is(address_unit((uintptr_t)p + 6 * MIB), 0, "none of the rest");
    is(huge_bytes(p + 2 * MIB), 0, "an address in its middle is no block");
    q = huge_resize(p, 6 * MIB, &old, &bytes);
    ok(q && old == 5 * MIB && bytes == 6 * MIB && huge_bytes(q) == 6 * MIB, "larger");
    ok(filled(q, 5 * MIB, 1) && zeroed(q + 5 * MIB, MIB), "with zeroes behind what was in it");
    is(GLOBAL(mapped), 6 * MIB, "a megabyte more is mapped");

    p = q;
    void *wall = block_growth(p, 6 * MIB);
    q = huge_resize(p, 70 * MIB, &old, &bytes);
    ok(q && q != p, "where something is in the way it moves");
    ok(((uintptr_t)q & (SS_SIZE - 1)) == 0 && huge_bytes(q) == 70 * MIB, "to a multiple of 2 MiB");
    ok(filled(q, 5 * MIB, 1) && zeroed(q + 6 * MIB, 64 * MIB), "with what was in it");
    is(huge_bytes(p), 0, "the old address is no block");
    is(address_unit((uintptr_t)p), 0, "and nobody's");
    is(address_unit((uintptr_t)p + 4 * MIB), 0, "nor what was behind it");
    ok(address_unit((uintptr_t)q + 70 * MIB - 1) == address_unit((uintptr_t)q), "the new ones are its to the end");
    is(GLOBAL(mapped), 70 * MIB, "70 megabytes are mapped");
    if (wall != MAP_FAILED)
        munmap(wall, os_page);
    is(huge_give(q), 70 * MIB, "it can be freed there");
    is(huge_give(q), 0, "once");
    nothing_left("of it");

    p = take_new(4 * MIB);
    fill(p, 4 * MIB, 2);
    uint64_t calls = GLOBAL(mmap_calls);
    ok(!huge_resize(p, PTRDIFF_MAX / 2, &old, &bytes), "no memory:");
    ok(GLOBAL(mmap_calls) - calls < 4, "nothing is mapped for what can't be had");
    ok(huge_bytes(p) == 4 * MIB && filled(p, 4 * MIB, 2), "it is as it was");
    is(GLOBAL(mapped), 4 * MIB, "and counted so");
    is(huge_give(p), 4 * MIB, "it can be freed");
    nothing_left("of it");
}

/* ---- many ---- */

enum { MANY = 4, HELD = 4 };
static struct held { char *p; size_t n; uint64_t seed; } held[MANY][HELD];
static uint64_t seeds[MANY];
static long steps;

static void step(int me)
{
    struct held *h = &held[me][rnd(&seeds[me]) % HELD];
    size_t n = MIB + rnd(&seeds[me]) % (3 * MIB), old, bytes;
    bool zero;

    if (rnd(&seeds[me]) % 16 == 0) {
        huge_purge(0, 0);
    } else if (!h->p) {
        h->seed = rnd(&seeds[me]);
        h->p = take(n, rnd(&seeds[me]) % 8 ? 1 : 4 * MIB, &zero);
        must(!zero || zeroed(h->p, n));
        fill(h->p, h->n = n, h->seed);
    } else if (rnd(&seeds[me]) % 3 == 0) {
        char *q = huge_resize(h->p, n, &old, &bytes);
        must(q && bytes >= n && old >= h->n && filled(q, n < h->n ? n : h->n, h->seed));
        fill(h->p = q, h->n = n, h->seed);
    } else {
        must(filled(h->p, h->n, h->seed));
        must(huge_give(h->p) >= h->n);
        h->p = NULL;
    }
}

static void *steps_of_thread(void *arg)
{
    for (long i = 0; i < steps; i++)
        step((int)(intptr_t)arg);
    return NULL;
}

static void part(int me)
{
    for (int i = 0; i < 6; i++)
        step(me);
}

static void give_all(void)
{
    for (int i = 0; i < MANY * HELD; i++) {
        struct held *h = &held[i / HELD][i % HELD];
        must(!h->p || (filled(h->p, h->n, h->seed) && huge_give(h->p)));
        h->p = NULL;
    }
}

static void test_many(void)
{
    steps = count_of("HAK_STEPS", 300, 5000);
    huge_cache_limit(12 * MIB);
    stress(MANY, steps_of_thread);
    ok(GLOBAL(huge_cached) <= 12 * MIB, "%d threads take, give, resize and purge: the cache keeps its limit", MANY);
    give_all();
    nothing_left("of them");
    if (INTERLEAVES) {
        for (long r = count_of("HAK_INTERLEAVINGS", 300, 5000); r > 0; r--)
            interleave(3, part, (uint64_t)r);
        give_all();
        nothing_left("of their interleavings");
    }
}

/* ---- fork ---- */

static _Atomic bool stop;

static void *comes_and_goes(void *arg)
{
    bool zero;

    (void)arg;
    while (!atomic_load(&stop)) {
        char *p = take(2 * MIB, 1, &zero), *q = take(2 * MIB, 1, &zero);
        huge_give(p);
        huge_give(q);
        huge_give(take(3 * MIB, 1, &zero));             /* of both */
        huge_purge(0, 0);
    }
    return NULL;
}

/* Whatever the child takes is its own and can be written to, cached or not. */
static int child(void)
{
    char *p[4];
    bool zero;
    size_t bytes;

    huge_after_fork();
    for (int i = 0; i < 4; i++) {
        if (!(p[i] = huge_take(2 * MIB, 1, &bytes, &zero)))
            return 1;
        fill(p[i], bytes, (uint64_t)i);
    }
    for (int i = 0; i < 4; i++)
        if (!filled(p[i], 2 * MIB, (uint64_t)i) || !huge_give(p[i]))
            return 2;
    return 0;
}

static void test_fork(void)
{
    long forks = count_of("HAK_FORKS", 100, 1000), bad = 0;
    pthread_t t;

    huge_cache_limit(64 * MIB);
    il_threads = true;
    pthread_create(&t, NULL, comes_and_goes, NULL);
    for (long i = 0; i < forks; i++) {
        const char *end = in_child(child);
        if (strcmp(end, "exit 0") != 0 && bad++ == 0)
            diag("a child ended with %s", end);
    }
    atomic_store(&stop, true);
    pthread_join(t, NULL);
    is(bad, 0, "%ld children of a process that is mapping and unmapping: each finds a cache in order", forks);
    nothing_left("in the parent");
}

/* A signal handler forks, in the middle of whatever this thread does, while another may hold the lock; the child goes
 * on with that, and then takes more blocks than there are lists for them to be in twice. */
static volatile sig_atomic_t in_handlers_child, handler_forks, handler_bad;
static long handler_forks_most;

static void fork_here(int sig)
{
    int status;

    (void)sig;
    if (in_handlers_child || handler_forks == handler_forks_most)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        in_handlers_child = 1;
        signal(SIGALRM, SIG_DFL);
        alarm(3);
        huge_after_fork();
        return;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    handler_forks++;
    handler_bad += status != 0;
}

static int own_blocks(void)
{
    char *p[12];
    bool zero;

    for (size_t i = 0; i < 12; i++)
        fill(p[i] = take((2 + i % 4) * MIB, 1, &zero), 2 * MIB, i << 32);
    for (size_t i = 0; i < 12; i++)
        if (!filled(p[i], 2 * MIB, i << 32) || !huge_give(p[i]))
            return 0;
    return 1;
}

/* Holds the lock for long, while it unmaps. */
static void *purges(void *arg)
{
    bool zero;

    (void)arg;
    while (!atomic_load(&stop)) {
        char *p = take(8 * MIB, 1, &zero);
        fill(p, 8 * MIB, 8);
        huge_give(p);
        huge_purge(0, 0);
    }
    return NULL;
}

static void test_fork_in_handler(void)
{
    struct sigaction act = { .sa_handler = fork_here, .sa_flags = SA_RESTART };
    struct itimerval often = { { 0, 1100 }, { 0, 1100 } }, never = { { 0, 0 }, { 0, 0 } };
    sigset_t alarms;
    pthread_t t;
    bool zero;

    if (SANITIZED) {
        skip("forks in a signal handler: a sanitizer puts signals off");
        return;
    }
    handler_forks_most = count_of("HAK_FORKS", 100, 1000);
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarms, NULL);
    atomic_store(&stop, false);
    il_threads = true;
    pthread_create(&t, NULL, purges, NULL);
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    while (handler_forks < handler_forks_most) {
        char *p = take(3 * MIB, 1, &zero), *q = take(2 * MIB, 1, &zero);
        huge_give(p);
        huge_give(q);
        if (in_handlers_child)
            _exit(!own_blocks() || faults_taken());
    }
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_DFL);
    atomic_store(&stop, true);
    pthread_join(t, NULL);
    is(handler_bad, 0, "%ld children of a handler in the middle of it: no block is another's, or in two lists",
       handler_forks_most);
    nothing_left("in their parent");
}

int main(void)
{
    hak_my_slot_hook = slot_of_thread;
    os_init();
    test_take();
    test_best_fit();
    test_units();
    test_other_sizes();
    test_parts();
    test_scraps();
    test_churn();
    test_parts_bound();
    test_refused();
    test_limit();
    test_age();
    test_resize();
    test_many();
    test_fork();
    test_fork_in_handler();
    return tap_done();
}
