/* slab_map.h: a bit for each slab of a SuperSlab: what to make of it, and how threads change one together. */
#ifndef HAK_SLAB_MAP_H
#define HAK_SLAB_MAP_H

#include "lib/base/base.h"

__extension__ typedef unsigned __int128 slab_map;

#define ALL_SLABS (~(slab_map)0)

hak_inline bool map_has(slab_map map, unsigned slab)
{
    return map >> slab & 1;
}

hak_inline unsigned map_first(slab_map map)             /* of one that is not 0 */
{
    uint64_t low = (uint64_t)map;

    return (unsigned)(low ? __builtin_ctzll(low) : 64 + __builtin_ctzll((uint64_t)(map >> 64)));
}

hak_inline unsigned map_last(slab_map map)
{
    uint64_t high = (uint64_t)(map >> 64);

    return high ? 64 + log2_floor(high) : log2_floor((uint64_t)map);
}

hak_inline unsigned map_ones(slab_map map)              /* how many are set from bit 0 on */
{
    return map == ALL_SLABS ? SS_SLABS : map_first(~map);
}

hak_inline slab_map map_of(unsigned first, unsigned run)
{
    return (ALL_SLABS >> (SS_SLABS - run)) << first;
}

/* The positions at which `run` bits in a row are set.  By halves, since a shift of 128 bits takes three times as
 * long as two of 64. */
hak_inline slab_map map_runs(slab_map map, unsigned run)
{
    uint64_t low = (uint64_t)map, high = (uint64_t)(map >> 64);

    if (run == SS_SLABS)
        return map == ALL_SLABS;
    for (unsigned have = 1; have < run;) {
        unsigned step = have < run - have ? have : run - have;  /* 1 to 63 */
        low &= low >> step | high << 1 << (63 - step);
        high &= high >> step;
        have += step;
    }
    return (slab_map)high << 64 | low;
}

/* Of the positions of runs of `have` those that begin a run of `run`, of more, but not of twice as many. */
hak_inline slab_map map_longer(slab_map runs, unsigned have, unsigned run)
{
    return runs & runs >> (run - have);
}

/* The positions that are multiples of `align`, a power of two. */
hak_inline slab_map map_multiples(unsigned align)
{
#define MULTIPLES(n) (ALL_SLABS / (((slab_map)1 << (n)) - 1))
    static const slab_map multiples[] = {
        ALL_SLABS, MULTIPLES(2), MULTIPLES(4), MULTIPLES(8), MULTIPLES(16), MULTIPLES(32), MULTIPLES(64), 1
    };
#undef MULTIPLES
    return multiples[log2_floor(align)];
}

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
