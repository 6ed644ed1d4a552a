/* jitter.h: around every atomic operation of what is compiled with this header (-include) jitter() is
 * called, where another thread, or another part of an interleaving, may come to run
 * (tests/unit/interleave.h).  So the few instructions between two of them, in which a race would show, are
 * met all the time. */
#ifndef TESTS_UNIT_JITTER_H
#define TESTS_UNIT_JITTER_H

#include <stdatomic.h>

void jitter(void);

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_fetch_or
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and
#undef atomic_fetch_and_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak_explicit

#define JITTER(operation) \
    ({ jitter(); __auto_type value_ = (operation); jitter(); value_; })
#define atomic_load(p)                     atomic_load_explicit(p, memory_order_seq_cst)
#define atomic_load_explicit(p, order)     JITTER(__atomic_load_n(p, order))
#define atomic_store(p, v)                 atomic_store_explicit(p, v, memory_order_seq_cst)
#define atomic_store_explicit(p, v, order) (jitter(), __atomic_store_n(p, v, order), jitter())
#define atomic_exchange_explicit(p, v, order)  JITTER(__atomic_exchange_n(p, v, order))
#define atomic_fetch_or(p, v)              atomic_fetch_or_explicit(p, v, memory_order_seq_cst)
#define atomic_fetch_or_explicit(p, v, order)  JITTER(__atomic_fetch_or(p, v, order))
#define atomic_fetch_and(p, v)             atomic_fetch_and_explicit(p, v, memory_order_seq_cst)
#define atomic_fetch_and_explicit(p, v, order) JITTER(__atomic_fetch_and(p, v, order))
#define atomic_compare_exchange_strong_explicit(p, old, v, yes, no) \
    JITTER(__atomic_compare_exchange_n(p, old, v, 0, yes, no))
#define atomic_compare_exchange_weak_explicit(p, old, v, yes, no) \
    JITTER(__atomic_compare_exchange_n(p, old, v, 1, yes, no))
#define __sync_val_compare_and_swap(p, old, v) JITTER(__sync_val_compare_and_swap(p, old, v))

#endif
