/* lock.h: the lock of slow paths; three states, one futex (U. Drepper, "Futexes Are Tricky").
 *
 * It knows its owner, an address that stands for the thread (its heap), so that a child made by
 * fork can tell a lock held by itself, which the interrupted code goes on to drop, from one held by
 * a thread that the child does not have.  Rank: heaps < pool < huge < meta; a thread takes a lock
 * only while it holds none of the same or a higher rank. */
#ifndef HAK_LOCK_H
#define HAK_LOCK_H

#include "lib/base/base.h"

struct lock {
    _Atomic uint32_t word;                           /* 0 free, 1 held, 2 held and waited for */
    const void *_Atomic owner;
    const char *name;                                /* for who traces a wait */
};

bool lock_try(struct lock *l, const void *owner);
void lock_take(struct lock *l, const void *owner);   /* counts and times a wait (hooks.h) */
void lock_drop(struct lock *l);

/* Takes it with signals held, for os_release_signals, but never waits with them: who has it may have been
 * stopped by a signal that this thread is to take as well (a garbage collector's). */
uint64_t lock_take_held(struct lock *l, const void *owner);

/* In the child of a fork: frees the lock unless `self` holds it.  True: another thread had held it,
 * and what it guards must be rebuilt. */
bool lock_after_fork(struct lock *l, const void *self);

void os_meta_after_fork(void);

#endif
