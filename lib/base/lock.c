/* lock.c: see lock.h.  tests/model/lock.pml shows that nobody sleeps for ever. */
#include "lib/base/lock.h"
#include "lib/base/hooks.h"
#include "lib/base/os.h"
#include "lib/base/usdt.h"

#define SPINS  64
#define WAITED 1u

hak_tls uint32_t lock_number;

/* Numbers begin anew after 2^31 threads: two that live may have the same one then. */
static uint32_t me(void)
{
    static _Atomic uint32_t last;

    while (unlikely(!lock_number))
        lock_number = atomic_fetch_add_explicit(&last, 2, memory_order_relaxed) + 2;
    return lock_number;
}

/* Changes the word from what was seen; false: it is another, to be seen now. */
static bool change(struct lock *l, uint32_t *seen, uint32_t word)
{
    return atomic_compare_exchange_strong_explicit(&l->word, seen, word, memory_order_acquire, memory_order_relaxed);
}

bool lock_try(struct lock *l)
{
    return change(l, &(uint32_t) { 0 }, me());
}

static bool lock_spin(struct lock *l)
{
    for (int i = 0; i < SPINS; i++)
        if (lock_try(l))
            return true;
    return false;
}

/* Who sleeps has said so in the word first.  Who has waited takes the lock as one that others wait for, since one
 * of them may still sleep. */
static void lock_sleep(struct lock *l)
{
    for (uint32_t seen = 0; !change(l, &seen, me() | WAITED); seen = 0)
        if (seen & WAITED || change(l, &seen, seen | WAITED))
            os_futex_wait(&l->word, seen | WAITED, l->name);
}

static hak_cold void lock_wait(struct lock *l)
{
    uint64_t start = os_now_ns();

    if (!lock_spin(l))
        lock_sleep(l);

    uint64_t ns = os_now_ns() - start;
    struct hak_slot_full *slot = hak_my_slot();
    COUNT(slot->thread.lock_waits, 1);
    hak_hist_add(slot->hist.lock_wait, ns);
    hak_trace(HAK_TRACE_LOCK_WAIT, 0xFFFF, ns);
    usdt_lock_wait(l, l->name, ns);
}

bool lock_take(struct lock *l)
{
    uint32_t seen = 0;

    if (likely(change(l, &seen, me())))
        return true;
    if ((seen & ~WAITED) == me())
        return false;
    lock_wait(l);
    return true;
}

uint64_t lock_take_held(struct lock *l)
{
    for (unsigned tries = 0;; os_pause(tries++)) {
        uint64_t signals = os_hold_signals();
        if (lock_try(l))
            return signals;
        os_release_signals(signals);
    }
}

void lock_drop(struct lock *l)
{
    if (atomic_exchange_explicit(&l->word, 0, memory_order_release) & WAITED)
        os_futex_wake(&l->word, l->name);
}

bool lock_after_fork(struct lock *l)
{
    uint32_t seen = atomic_load_explicit(&l->word, memory_order_relaxed);

    if ((seen & ~WAITED) == me())
        return false;
    atomic_store_explicit(&l->word, 0, memory_order_relaxed);
    return seen != 0;
}
