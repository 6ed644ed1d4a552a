/* address.c: the table of addresses: what is not ours reads as nothing, whatever the address, and
 * the borders of leaves are like any other place. */
#include "tests/unit/interleave.h"
#include "lib/core/address.h"

#define LEAF ((uintptr_t)1 << LEAF_SHIFT)
#define END  ((uintptr_t)1 << ADDRESS_BITS)

static const uintptr_t odd_ones[] = {
    0, 1, 4096, LEAF - 1, LEAF, LEAF + 1, 5 * LEAF - 1, 0x7FFFFFFFFFFF, 0x800000000000, END - 1,
    END, END + 4096, END + LEAF, (uintptr_t)1 << 52, (uintptr_t)1 << 63, 0xFFFF800000000000, UINTPTR_MAX - 15,
    UINTPTR_MAX,
};

static void nothing_anywhere(const char *when)
{
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof odd_ones / sizeof *odd_ones; i++)
        must(address_owner(odd_ones[i]) == 0 && address_unit(odd_ones[i]) == 0);
    for (int i = 0; i < 100000; i++) {
        uintptr_t a = rnd(&seed) >> rnd(&seed) % 40;
        must(a >> LEAF_SHIFT == 7 || a >> LEAF_SHIFT == 8 ||
             (address_owner(a) == 0 && address_unit(a) == 0));
    }
    is(faults_taken(), 0, "no address is ours %s", when);
}

/* Two SuperSlabs on both sides of a border. */
static void test_border(void)
{
    const uintptr_t border = 8 * LEAF, low = border - SS_SIZE, high = border;

    ok(address_reserve(low, 2 * SS_SIZE), "leaves for a range across 4 GiB");
    nothing_anywhere("yet");
    address_set_unit(low, 0x1110);
    address_set_unit(high, 0x2220);
    is(address_unit(low), 0x1110, "the unit below the border: its first byte,");
    is(address_unit(border - 1), 0x1110, "its last,");
    is(address_unit(low - 1), 0, "not the one before");
    is(address_unit(border), 0x2220, "the unit above: its first byte,");
    is(address_unit(border + SS_SIZE - 1), 0x2220, "its last,");
    is(address_unit(border + SS_SIZE), 0, "not the one after");

    address_set_owner(border - SLAB_SIZE, 1, 0x3330);
    address_set_owner(border, 2, 0x4440);
    is(address_owner(border - SLAB_SIZE - 1), 0, "owners: not the slab before,");
    is(address_owner(border - SLAB_SIZE), 0x3330, "the last slab below the border from its first byte");
    is(address_owner(border - 1), 0x3330, "to its last,");
    is(address_owner(border), 0x4440, "the first two above it from their first byte");
    is(address_owner(border + 2 * SLAB_SIZE - 1), 0x4440, "to their last,");
    is(address_owner(border + 2 * SLAB_SIZE), 0, "not the slab after");

    address_set_owner(low, SS_SLABS, 0x5550);
    for (uintptr_t a = low; a < border; a += 4096)
        must(address_owner(a) == 0x5550);
    must(address_owner(low - 1) == 0 && address_owner(border) == 0x4440);
    is(faults_taken(), 0, "a run of %d slabs is a whole SuperSlab and no more", SS_SLABS);
    nothing_anywhere("but there");
    address_set_owner(low, SS_SLABS, 0);
    address_set_owner(border, 2, 0);
    address_set_unit(low, 0);
    address_set_unit(high, 0);
    ok(zeroed(&address_table.none, sizeof address_table.none), "the leaf of nobody was never written to");
}

static void test_end(void)
{
    ok(address_reserve(END - SS_SIZE, SS_SIZE), "the last unit of the address space");
    address_set_unit(END - SS_SIZE, 0x1230);
    is(address_unit(END - 1), 0x1230, "is found at its end");
    is(address_unit(END), 0, "where the next address is none");
    address_set_unit(END - SS_SIZE, 0);
    ok(!address_reserve(END - SS_SIZE, 2 * SS_SIZE), "there are no leaves beyond");
    ok(!address_reserve(END, SS_SIZE), "at all");
}

/* Threads make the same leaves at the same time: one of each stays, and nobody's word is lost. */
enum { THREADS = 4, LEAVES = 64 };
static pthread_barrier_t together;

static uintptr_t place(int thread, unsigned leaf)
{
    return (1000 + leaf) * LEAF + (unsigned)thread * SS_SIZE;
}

static void *makes_leaves(void *arg)
{
    int me = (int)(intptr_t)arg;
    for (unsigned i = 0; i < LEAVES; i++) {
        pthread_barrier_wait(&together);
        must(address_reserve(place(me, i), SS_SIZE));
        address_set_unit(place(me, i), place(me, i));
        address_set_owner(place(me, i), 1, place(me, i) + 1);
    }
    return NULL;
}

static void test_together(void)
{
    pthread_barrier_init(&together, NULL, THREADS);
    stress(THREADS, makes_leaves);
    for (int t = 0; t < THREADS; t++)
        for (unsigned i = 0; i < LEAVES; i++)
            must(address_unit(place(t, i)) == place(t, i) && address_owner(place(t, i)) == place(t, i) + 1);
    is(faults_taken(), 0, "%d threads make the same %d leaves and lose no word", THREADS, LEAVES);
}

int main(void)
{
    nothing_anywhere("at the start");
    test_border();
    test_end();
    test_together();
    return tap_done();
}
