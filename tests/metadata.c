/* metadata.c: the allocator's own memory never comes from itself (fault 2 of the research prototype:
 * pool metadata grew by realloc, which recursed without end, at a working set of 128 blocks of 16 to
 * 64 bytes, and never at one of 64).
 *
 * If it did, there would be calls that nobody made: every call is counted, so a process that knows
 * how many it made sees them.
 */
#define _GNU_SOURCE
#include "tests/seg.h"

enum { MOST = 20000, ROOM = 50000 };
static struct seg s;
static void *blocks[ROOM];

static uint64_t all_allocs(void)
{
    uint64_t sum = 0;
    for (unsigned c = 0; c < HAK_CLASSES; c++)
        sum += seg_class(&s, "heap_v2_hits", c) + seg_class(&s, "fast_cache_hits", c)
             + seg_class(&s, "slow_allocs", c);
    return sum;
}

/* bench_fixed_size of the prototype: random replacement in a working set.  How many allocations were
 * not ours. */
static uint64_t fixed_size(long ops, size_t size, int working_set)
{
    uint64_t seed = size + (uint64_t)working_set, before = all_allocs();
    for (long i = 0; i < ops; i++) {
        int k = (int)(rnd(&seed) % (unsigned)working_set);
        free(blocks[k]);
        blocks[k] = malloc(size);
        memset(blocks[k], k, size);
    }
    for (int k = 0; k < working_set; k++) {
        free(blocks[k]);
        blocks[k] = NULL;
    }
    return all_allocs() - before - (uint64_t)ops;
}

static void test_working_sets(void)
{
    static const int sets[] = { 1, 2, 63, 64, 65, 127, 128, 129, 256, 1000, 5000, MOST };
    static const size_t sizes[] = { 8, 16, 32, 48, 64, 128, 256, 1024, 3000, 20000 };
    uint64_t made = 0;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
            if ((size_t)sets[i] * sizes[j] < 100 << 20)
                made += fixed_size(10000, sizes[j], sets[i]);
    is(made, 0, "10,000 operations at working sets of 1 to %d: no call but the program's", MOST);
}

/* More of everything that has metadata: SuperSlabs, slabs of all bins, huge mappings. */
static void test_growth(void)
{
    uint64_t before = all_allocs(), calls = 0, superslabs = seg_global(&s, "superslabs_created");
    for (int round = 0; round < 2; round++) {
        int n = 0;
        for (size_t size = 1; size < 4000000; size += size / 5 + 1)
            for (int i = 0; i < (size < 40000 ? 800 : 5); i++, calls++)
                if (!(blocks[n++] = malloc(size)))
                    bail("no memory");
        while (n)
            free(blocks[--n]);
    }
    is(all_allocs() - before, calls, "%llu blocks of every tier: so many calls are counted",
       (unsigned long long)calls);
    ok(seg_global(&s, "superslabs_created") > superslabs + 8, "though many SuperSlabs were made");
}

int main(int argc, char **argv)
{
    (void)argc;
    run_under_hakmem(argv);
    if (!under_hakmem)
        bail("this test is about hakmem alone");
    seg_own(&s);
    test_working_sets();
    test_growth();
    return tap_done();
}
