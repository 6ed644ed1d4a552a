/* address.h: from an address to what we know of it, without touching the address itself.
 *
 *   root[a >> 32] -> leaf (4 GiB of addresses)
 *                      unit[a >> 21]   one word a 2 MiB unit: its SuperSlab, or huge mapping
 *                      owner[a >> 14]  one word a slab: the bin of the heap that owns it
 *                      slab[a >> 14]   another: the struct of the run that it is, or was, part of
 *
 * The owner word is all that `free` reads: it is the address of a struct bin inside the owner's
 * heap (lib/front/heap.h), or 0 for a slab that is not cut into blocks.  It says in one load whose
 * the block is and of which bin.  It changes while the slab has no block in user hands, or from one heap to another
 * of the same bin.  A thread that reads its own heap there may do so a moment after that was so: the block is
 * then in its cache, which is all the same to the slab (lib/front/ended.c).  Any other value leads to a slow path.
 *
 * Leaves are never freed.  A range that isn't ours reads as 0, whatever the address. */
#ifndef HAK_ADDRESS_H
#define HAK_ADDRESS_H

#include "abi/call.h"
#include "lib/base/base.h"

#define ADDRESS_BITS 48
#define LEAF_SHIFT   32
#define LEAF_SLABS   (1u << (LEAF_SHIFT - SLAB_SHIFT))
_Static_assert(LEAF_SHIFT == 32, "a slab's place in a leaf is the upper bits of a 32-bit word");
#define LEAF_UNITS   (1u << (LEAF_SHIFT - SS_SHIFT))

struct address_leaf {
    _Atomic uintptr_t unit[LEAF_UNITS];
    _Atomic uintptr_t owner[LEAF_SLABS];
    _Atomic uintptr_t slab[LEAF_SLABS];
};

/* The root holds distances from `none`, the leaf in which nothing is ours, so that 0 leads there
 * without a test. */
struct address_table {
    _Atomic uintptr_t root[1u << (ADDRESS_BITS - LEAF_SHIFT)];
    struct address_leaf none;
};

extern struct address_table address_table;

/* Tracers read it, as abi/call.h says. */
_Static_assert(HAK_CALL_LEAF_SHIFT == LEAF_SHIFT && HAK_CALL_UNIT_SHIFT == SS_SHIFT &&
               HAK_CALL_LEAF == offsetof(struct address_table, none) &&
               offsetof(struct address_leaf, unit) == 0 &&
               1u << HAK_CALL_UNIT_BITS == LEAF_UNITS, "the table is that of abi/call.h");

hak_inline struct address_leaf *address_leaf_of(uintptr_t a)    /* a < 2^ADDRESS_BITS */
{
    return (struct address_leaf *)((uintptr_t)&address_table.none +
                                   atomic_load_explicit(&address_table.root[a >> LEAF_SHIFT], memory_order_acquire));
}

hak_inline bool address_possible(uintptr_t a)
{
    return a >> LEAF_SHIFT < 1u << (ADDRESS_BITS - LEAF_SHIFT);
}

/* A root word as plain memory, so that it can be an operand.  It is written once, whole, and what lies behind it is reached
 * by its value alone, which orders the loads as an acquire would. */
#ifdef __SANITIZE_THREAD__
#define ADDRESS_ROOT(i) atomic_load_explicit(&address_table.root[i], memory_order_acquire)
#else
#define ADDRESS_ROOT(i) (*(const uintptr_t *)(const void *)&address_table.root[i])
#endif

/* Where the words of a slab are: the same as &address_leaf_of(a)->owner[(a >> SLAB_SHIFT) % LEAF_SLABS], or ->slab[...],
 * by where that array of `none` is in the table, in the form that compiles to the fewest instructions. */
struct address_at {
    uintptr_t leaf;
    size_t slab;
};

hak_inline struct address_at address_at(uintptr_t a)            /* a < 2^ADDRESS_BITS */
{
    struct address_at at = { (uintptr_t)&address_table, (uint32_t)a >> SLAB_SHIFT };

    hak_opaque(at.slab);
    at.leaf += ADDRESS_ROOT(a >> LEAF_SHIFT);
    hak_opaque(at.leaf);
    return at;
}

hak_inline uintptr_t address_word(struct address_at at, size_t array)
{
    return atomic_load_explicit((_Atomic uintptr_t *)(at.leaf + array) + at.slab, memory_order_relaxed);
}

hak_inline uintptr_t address_owner_at(struct address_at at)
{
    return address_word(at, offsetof(struct address_table, none.owner));
}

hak_inline uintptr_t address_slab_at(struct address_at at)
{
    return address_word(at, offsetof(struct address_table, none.slab));
}

hak_inline uintptr_t address_owner(uintptr_t a)
{
    return likely(address_possible(a)) ? address_owner_at(address_at(a)) : 0;
}

hak_inline uintptr_t address_unit_possible(uintptr_t a)         /* a < 2^ADDRESS_BITS */
{
    return atomic_load_explicit(&address_leaf_of(a)->unit[(a >> SS_SHIFT) % LEAF_UNITS], memory_order_acquire);
}

hak_inline uintptr_t address_unit(uintptr_t a)
{
    return likely(address_possible(a)) ? address_unit_possible(a) : 0;
}

/* Makes the leaves for a range; false: no memory. */
bool address_reserve(uintptr_t a, size_t bytes);

/* In a reserved range. */
hak_inline void address_set_unit(uintptr_t a, uintptr_t unit)
{
    atomic_store_explicit(&address_leaf_of(a)->unit[(a >> SS_SHIFT) % LEAF_UNITS], unit, memory_order_release);
}

/* The words of slabs that lie in one leaf, as those of a SuperSlab do. */
hak_inline void address_fill(_Atomic uintptr_t *words, uintptr_t a, unsigned slabs, uintptr_t word)
{
    words += (a >> SLAB_SHIFT) % LEAF_SLABS;
    for (unsigned i = 0; i < slabs; i++)
        atomic_store_explicit(&words[i], word, memory_order_relaxed);
}

hak_inline void address_set_owner(uintptr_t a, unsigned slabs, uintptr_t owner)
{
    address_fill(address_leaf_of(a)->owner, a, slabs, owner);
}

hak_inline void address_set_slab(uintptr_t a, unsigned slabs, uintptr_t slab)
{
    address_fill(address_leaf_of(a)->slab, a, slabs, slab);
}

hak_inline uintptr_t address_slab(uintptr_t a)                  /* a < 2^ADDRESS_BITS */
{
    return address_slab_at(address_at(a));
}

#endif
