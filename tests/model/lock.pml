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

byte word, inside;
bool asleep[THREADS];

inline compare_exchange()               /* 0 -> 1; mine: whether */
{
    atomic {
        mine = word == 0;
        if
        :: mine -> word = 1
        :: else
        fi
    }
}

inline exchange(value)
{
    atomic { seen = word; word = value }
}

inline futex_wait()
{
    atomic {
        if
        :: word == 2 -> asleep[_pid] = true
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
    compare_exchange();                 /* lock_try */
    if
    :: !mine -> compare_exchange()      /* lock_spin, once */
    :: else
    fi;
    if
    :: !mine ->
        do
#ifdef TAKE_AS_1
        :: compare_exchange();
           if
           :: mine -> break
           :: else -> atomic { word = (word == 1 -> 2 : word) }; futex_wait()
           fi
#else
        :: exchange(2);
           if
           :: seen == 0 -> break
           :: else -> futex_wait()
           fi
#endif
        od
    :: else
    fi
}

inline drop()
{
    exchange(0);
#ifndef NO_WAKE
    if
    :: seen == 2 -> futex_wake()
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
