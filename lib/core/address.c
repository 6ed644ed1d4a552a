/* address.c: see address.h. */
#include "lib/core/address.h"
#include "lib/base/os.h"

struct address_table address_table;

static bool leaf_make(uintptr_t a)
{
    _Atomic uintptr_t *at = &address_table.root[a >> LEAF_SHIFT];
    uintptr_t none = 0;

    if (atomic_load_explicit(at, memory_order_acquire))
        return true;
    struct address_leaf *fresh = os_map(sizeof *fresh, os_page);
    if (!fresh)
        return false;
    if (!atomic_compare_exchange_strong_explicit(at, &none, (uintptr_t)fresh - (uintptr_t)&address_table.none,
                                                 memory_order_acq_rel, memory_order_acquire))
        os_unmap(fresh, sizeof *fresh);                 /* another thread was first */
    else
        os_meta_note(sizeof *fresh);
    return true;
}

bool address_reserve(uintptr_t a, size_t bytes)
{
    for (uintptr_t at = a >> LEAF_SHIFT << LEAF_SHIFT; at < a + bytes; at += (uintptr_t)1 << LEAF_SHIFT)
        if (!address_possible(at) || !leaf_make(at))
            return false;
    return true;
}
