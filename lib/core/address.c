/* address.c: see address.h. */
#include "lib/core/address.h"
#include "lib/base/os.h"

struct address_leaf *_Atomic address_root[1u << (ADDRESS_BITS - LEAF_SHIFT)];

static bool leaf_make(uintptr_t a)
{
    struct address_leaf *_Atomic *at = &address_root[a >> LEAF_SHIFT];
    struct address_leaf *none = NULL;

    if (atomic_load_explicit(at, memory_order_acquire))
        return true;
    struct address_leaf *fresh = os_map(sizeof *fresh, os_page);
    if (!fresh)
        return false;
    if (!atomic_compare_exchange_strong_explicit(at, &none, fresh, memory_order_acq_rel, memory_order_acquire))
        os_unmap(fresh, sizeof *fresh);                 /* another thread was first */
    return true;
}

bool address_reserve(uintptr_t a, size_t bytes)
{
    for (uintptr_t at = a >> LEAF_SHIFT << LEAF_SHIFT; at < a + bytes; at += (uintptr_t)1 << LEAF_SHIFT)
        if (at >> ADDRESS_BITS || !leaf_make(at))
            return false;
    return true;
}
