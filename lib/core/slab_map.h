/* slab_map.h: a bit for each slab of a SuperSlab: what to make of it, and how threads change one together.
 *
 * A run is one slab, or pairs: slabs 2i and 2i + 1.  Bit i of the lower half of a map is slab 2i, of the upper half
 * slab 2i + 1, so that the pairs of which both are set are the `and` of two words, and what is to be known of
 * runs is told by one. */
#ifndef HAK_SLAB_MAP_H
#define HAK_SLAB_MAP_H

#include "lib/base/base.h"

__extension__ typedef unsigned __int128 slab_map;

#define ALL_SLABS (~(slab_map)0)
#define ALL_PAIRS UINT64_MAX
#define PAIRS     (SS_SLABS / 2)

/* ---- pairs ---- */

/* The positions at which n in a row are set. */
hak_inline uint64_t pairs_in_row(uint64_t pairs, unsigned n)
{
    for (unsigned have = 1; have < n;) {
        unsigned step = have < n - have ? have : n - have;
        pairs &= pairs >> step;
        have += step;
    }
    return pairs;
}

/* The positions that are multiples of n, a power of two. */
hak_inline uint64_t pairs_multiples(unsigned n)
{
    return n == 1 ? ALL_PAIRS : ALL_PAIRS / bits_of(0, n);
}

/* ---- maps ---- */

hak_inline slab_map map_of_pairs(uint64_t pairs)
{
    return (slab_map)pairs << 64 | pairs;
}

hak_inline uint64_t map_pairs(slab_map map)
{
    return (uint64_t)map & (uint64_t)(map >> 64);
}

hak_inline slab_map map_of_slab(unsigned i)
{
    return (slab_map)1 << (i % 2 * 64 + i / 2);
}

hak_inline slab_map map_of(unsigned first, unsigned run)
{
    return run == 1 ? map_of_slab(first) : map_of_pairs(bits_of(first / 2, run / 2));
}

hak_inline bool map_has(slab_map map, unsigned i)
{
    return (map & map_of_slab(i)) != 0;
}

/* One slab of a map that is not 0: the lowest that is not half of a pair, else the lowest. */
hak_inline unsigned map_single(slab_map map)
{
    uint64_t even = (uint64_t)map, odd = (uint64_t)(map >> 64), halves = even ^ odd;
    unsigned i = (unsigned)__builtin_ctzll(halves ? halves : even);

    return 2 * i + !(even >> i & 1);
}

/* ---- shared ---- */

/* One that threads share.  A change is one 16-byte compare-exchange, a full barrier.  A reading is two of 8 bytes:
 * the map may never have been what is read, but slabs that are free all the while are read as free, which is
 * all that a hint needs (hint.h), and a change that builds upon it fails if the map is another. */
union slab_map_shared {
    slab_map map;
    _Atomic uint64_t half[2];           /* the lower first: x86-64 and aarch64 are little-endian */
};

hak_inline slab_map map_read(const union slab_map_shared *shared)
{
    return atomic_load(&shared->half[0]) | (slab_map)atomic_load(&shared->half[1]) << 64;
}

/* False: it is another by now, which *map says then. */
hak_inline bool map_exchange(union slab_map_shared *shared, slab_map *map, slab_map to)
{
    slab_map expected = *map;

    *map = __sync_val_compare_and_swap(&shared->map, expected, to);
    return *map == expected;
}

/* Sets bits, or clears them; what the map was. */
hak_inline slab_map map_set(union slab_map_shared *shared, slab_map bits)
{
    slab_map map = map_read(shared);

    while ((map & bits) != bits && !map_exchange(shared, &map, map | bits))
        ;
    return map;
}

hak_inline slab_map map_clear(union slab_map_shared *shared, slab_map bits)
{
    slab_map map = map_read(shared);

    while (!map_exchange(shared, &map, map & ~bits))
        ;
    return map;
}

#endif
