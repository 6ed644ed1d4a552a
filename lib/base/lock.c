/* lock.c: see lock.h.  tests/model/lock.pml shows that nobody sleeps for ever. */
#include "lib/base/lock.h"
#include "lib/base/hooks.h"
#include "lib/base/os.h"
#include "lib/base/usdt.h"

#define SPINS 64

bool lock_try(struct lock *l, const void *owner)
{
    uint32_t seen = 0;

    if (!atomic_compare_exchange_strong_explicit(&l->word, &seen, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    atomic_store_explicit(&l->owner, owner, memory_order_relaxed);
    return true;
}

static bool lock_spin(struct lock *l)
{
    for (int i = 0; i < SPINS; i++) {
        uint32_t seen = 0;
        if (atomic_compare_exchange_weak_explicit(&l->word, &seen, 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    }
    return false;
}

static hak_cold void lock_wait(struct lock *l)
{
    uint64_t start = os_now_ns();

    if (!lock_spin(l))
        while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire) != 0)
            os_futex_wait(&l->word, 2, l->name);

    uint64_t ns = os_now_ns() - start;
    struct hak_slot_full *slot = hak_my_slot();
    COUNT(slot->thread.lock_waits, 1);
    hak_hist_add(slot->hist.lock_wait, ns);
    hak_trace(HAK_TRACE_LOCK_WAIT, 0xFFFF, ns);
    usdt_lock_wait(l, l->name, ns);
}

void lock_take(struct lock *l, const void *owner)
{
    if (likely(lock_try(l, owner)))
        return;
    lock_wait(l);
    atomic_store_explicit(&l->owner, owner, memory_order_relaxed);
}

uint64_t lock_take_held(struct lock *l, const void *owner)
{
    for (unsigned tries = 0;; os_pause(tries++)) {
        uint64_t signals = os_hold_signals();
        if (lock_try(l, owner))
            return signals;
        os_release_signals(signals);
    }
}

void lock_drop(struct lock *l)
{
    atomic_store_explicit(&l->owner, NULL, memory_order_relaxed);
    if (atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2)
        os_futex_wake(&l->word, l->name);
}

bool lock_after_fork(struct lock *l, const void *self)
{
    bool held = atomic_load_explicit(&l->word, memory_order_relaxed) != 0;

    if (held && self && atomic_load_explicit(&l->owner, memory_order_relaxed) == self)
        return false;
    atomic_store_explicit(&l->owner, NULL, memory_order_relaxed);
    atomic_store_explicit(&l->word, 0, memory_order_relaxed);
    return held;
}
