/* lock.h: the lock of slow paths; a futex (U. Drepper, "Futexes Are Tricky").
 *
 * It knows which thread has it.  So a signal handler that allocates, on top of who has it, does not wait for itself, and
 * a child made by fork can tell a lock held by itself, which the interrupted code goes on to drop, from one held by
 * a thread that the child does not have.  Rank: heaps < pool < huge; a thread waits for a lock only while it has none
 * of the same or a higher rank. */
#ifndef HAK_LOCK_H
#define HAK_LOCK_H

#include "lib/base/base.h"

struct lock {
    _Atomic uint32_t word;                           /* 0: free; else who has it, and in bit 0 whether others wait */
    const char *name;                                /* for who traces a wait */
};

/* Which thread this is: even; 0: not known yet. */
extern hak_tls uint32_t lock_number;

/* Waits for it; counts and times that (hooks.h).  False: this thread has it already, on top of which a signal handler
 * comes.  The handler runs to its end before what is below goes on, and no other thread comes in between: it may
 * do what leaves alone whatever needs more than one step under the lock. */
bool lock_take(struct lock *l);

bool lock_try(struct lock *l);                       /* false: somebody has it, perhaps this thread */
void lock_drop(struct lock *l);

/* What follows a lock_take that has said `taken`. */
hak_inline void lock_end(struct lock *l, bool taken)
{
    if (likely(taken))
        lock_drop(l);
}

/* Takes it with signals held, for os_release_signals, but never waits with them: who has it may have been
 * stopped by a signal that this thread is to take as well (a garbage collector's). */
uint64_t lock_take_held(struct lock *l);

/* In the child of a fork: frees the lock unless this thread has it.  True: another thread had, and what it
 * guards must be rebuilt. */
bool lock_after_fork(struct lock *l);

void os_meta_after_fork(void);

#endif
