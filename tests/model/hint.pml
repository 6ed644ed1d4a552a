/* hint.pml: the set of SuperSlab numbers (lib/core/hint.c, and take_live of lib/core/pool.c).
 *
 * Property: when everybody has come to rest, a number whose SuperSlab has free slabs is found: the bits
 * above it are set, at all three levels.
 *
 * Users take and give back; who follows a bit and finds nothing clears it and looks again.  Every load,
 * fetch-or and fetch-and is a step of its own.  Four numbers: 0 and 1 share a low word, 2 shares its mid
 * word with them, 3 has a mid word of its own.  At the start any of the bits may be set for nothing.
 *
 * Spin knows sequential consistency only; the code's operations are sequentially consistent, all of them,
 * and the compiler's word for that is taken.
 *
 * Long: -DUSERS=3 -DOPS=2.  Must fail: -DNO_LOOK_AGAIN (the taker does not look again), -DNO_LOOK_LOW
 * and -DNO_LOOK_MID (nor what clears the bits above). */
#ifndef OPS
#define OPS   3
#endif
#ifndef USERS
#define USERS 2
#endif
#define NONE  9

#define LOW(i)    (i < 2 -> 0 : i - 1)
#define MID(w)    (w < 2 -> 0 : 1)
#define LOWEST(x) (x & 1 -> 0 : (x & 2 -> 1 : (x & 4 -> 2 : 3)))

byte low[3], mid[2], top;
bool avail[4];
byte done;

inline set(word, one)
{
    if
    :: word & (one) -> skip
    :: else -> word = word | (one)
    fi
}

inline hint_set(i)
{
    set(low[LOW(i)], 1 << i);
    set(mid[MID(LOW(i))], 1 << LOW(i));
    set(top, 1 << MID(LOW(i)))
}

inline clear_mid(w)
{
    atomic { mid[MID(w)] = mid[MID(w)] & ~(1 << w); bare = mid[MID(w)] == 0 };
    if
    :: bare ->
        top = top & ~(1 << MID(w));
#ifndef NO_LOOK_MID
        if
        :: mid[MID(w)] -> set(top, 1 << MID(w))
        :: else
        fi
#endif
    :: else
    fi;
#ifndef NO_LOOK_LOW
    if
    :: low[w] ->
        set(mid[MID(w)], 1 << w);
        set(top, 1 << MID(w))
    :: else
    fi
#endif
}

inline hint_clear(i)
{
    atomic { low[LOW(i)] = low[LOW(i)] & ~(1 << i); bare = low[LOW(i)] == 0 };
    if
    :: bare -> w = LOW(i); clear_mid(w)
    :: else
    fi
}

inline hint_first(i)
{
    do
    :: x = top;
       if
       :: x == 0 -> i = NONE; break
       :: else
       fi;
       m = LOWEST(x);
       x = mid[m];
       if
       :: x == 0 ->
            top = top & ~(1 << m);
            if
            :: mid[m] -> set(top, 1 << m)
            :: else
            fi
       :: else ->
            w = LOWEST(x);
            x = low[w];
            if
            :: x != 0 -> i = LOWEST(x); break
            :: else -> clear_mid(w)
            fi
       fi
    od
}

inline give()
{
    avail[held] = 1;                    /* S1 */
    hint_set(held);                     /* S2 */
    held = NONE
}

inline take()
{
    do
    :: hint_first(i);
       if
       :: i == NONE -> break
       :: else
       fi;
       atomic {
            if
            :: avail[i] -> avail[i] = 0; held = i
            :: else
            fi
       };
       if
       :: held != NONE -> break
       :: else
       fi;
       hint_clear(i);                   /* C1 */
#ifndef NO_LOOK_AGAIN
       if
       :: avail[i] -> hint_set(i)       /* C2 */
       :: else
       fi
#endif
    od
}

proctype User(byte held)
{
    byte i, w, m, x, ops;
    bool bare;

    do
    :: ops < OPS ->
        if
        :: held != NONE -> give()
        :: else -> take()
        fi;
        ops++
    :: else -> break
    od;
    done++
}

#define FOUND(i) (!avail[i] || (low[LOW(i)] & (1 << i) && mid[MID(LOW(i))] & (1 << LOW(i)) && \
                                top & (1 << MID(LOW(i)))))

init
{
    byte k;

    atomic {
        for (k : 0 .. 3) {
            if
            :: skip                                     /* in no set */
            :: true ->                                  /* a bit for nothing, or a SuperSlab to be had */
                low[LOW(k)] = low[LOW(k)] | 1 << k;
                mid[MID(LOW(k))] = mid[MID(LOW(k))] | 1 << LOW(k);
                top = top | 1 << MID(LOW(k));
                if
                :: k != 1 -> avail[k] = 1
                :: skip
                fi
            fi
        }
        run User(1);
        run User(NONE);
#if USERS > 2
        run User(NONE);
#endif
    }
    done == USERS;
    assert(FOUND(0));
    assert(FOUND(1));
    assert(FOUND(2));
    assert(FOUND(3))
}
