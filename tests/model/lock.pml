/* lock.pml: the lock of slow paths (lib/base/lock.c).
 *
 * Properties: never two at a time inside; and whoever sleeps is woken: no state is the last but the one in
 * which all have come and gone.
 *
 * The kernel's futex: a waiter goes to sleep only if the word still has the value that it saw, in one step;
 * one sleeper, any one, is woken at a time.  A wait may also return for nothing (SPURIOUS), which is
 * checked apart, since that would make up for a wake that is lost.
 *
 * That what is done inside is seen by the next one inside is not spin's: acquire of the compare-exchange
 * or exchange that takes, release of the exchange that drops.
 *
 * Also: -DSPURIOUS.  Long: -DTHREADS=4.  Must fail: -DTAKE_AS_1 (who has waited takes the lock as if
 * nobody else were waiting), -DNO_WAKE. */
#ifndef THREADS
#define THREADS 3
#endif
#define TIMES 2

#define ME (2 * (_pid + 1))
#define WAITED(w) ((w) % 2 == 1)

byte word, inside;
bool asleep[THREADS];

/* from `seen` -> value; mine: whether; seen: what it was */
inline change(value)
{
    atomic {
        mine = word == seen;
        if
        :: mine -> word = value
        :: else -> seen = word
        fi
    }
}

inline futex_wait()                     /* while word == seen */
{
    atomic {
        if
        :: word == seen -> asleep[_pid] = true
        :: else
        fi
    };
#ifdef SPURIOUS
    if
    :: !asleep[_pid]
    :: asleep[_pid] = false
    fi
#else
    !asleep[_pid]
#endif
}

inline futex_wake()
{
    atomic {
        if
        :: asleep[0] -> asleep[0] = false
        :: asleep[1] -> asleep[1] = false
#if THREADS > 2
        :: asleep[2] -> asleep[2] = false
#endif
#if THREADS > 3
        :: asleep[3] -> asleep[3] = false
#endif
        :: else
        fi
    }
}

inline take()
{
    seen = 0; change(ME);               /* lock_try */
    if
    :: !mine -> seen = 0; change(ME)    /* lock_spin, once */
    :: else
    fi;
    if
    :: !mine ->                         /* lock_sleep */
        do
        :: seen = 0;
#ifdef TAKE_AS_1
           change(ME);
#else
           change(ME + 1);
#endif
           if
           :: mine -> break
           :: else ->
               if
               :: WAITED(seen) -> futex_wait()
               :: else ->
                   change(seen + 1);
                   if
                   :: mine -> seen++; futex_wait()
                   :: else
                   fi
               fi
           fi
        od
    :: else
    fi
}

inline drop()
{
    atomic { seen = word; word = 0 };
#ifndef NO_WAKE
    if
    :: WAITED(seen) -> futex_wake()
    :: else
    fi
#endif
}

active [THREADS] proctype Thread()
{
    byte times, seen;
    bool mine;

    do
    :: times < TIMES ->
        take();
        inside++;
        assert(inside == 1);
        inside--;
        drop();
        times++
    :: else -> break
    od
}
