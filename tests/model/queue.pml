/* queue.pml: the remote queues of two heaps, and a slab that moves from one to the other
 * (lib/front/remote.c; heap_try, heap_drop and slab_move of lib/front).
 *
 * Properties: a block that was freed comes back to the slab exactly once, whichever queues it went through,
 * and only who holds the heap that owns the slab touches the slab.
 *
 * Two threads, each with a heap: they drain it, allocate what has come back, and take the slab over from
 * the other heap when they can hold that one too.  Each block has a user who frees it TIMES times, by the
 * address word, which may be old by the time of the push.  So a block returns to a queue while another
 * push still expects it at the head: the ABA case, harmless here.  Or a thread frees it that reads itself
 * there, holding nothing: it is in that thread's cache then, and the slab may be the other's by the time it goes back.
 *
 * Not spin's: that what is written before a push is seen after the exchange (release, acquire); that the
 * holder of a heap sees what the last one wrote (release of heap_drop, acquire of heap_try).
 *
 * A node of the queue is one block here.  A parcel is such a node, too, and goes home by a push and an
 * exchange-all of the same kind.
 *
 * Long: -DTURNS=3 -DTIMES=3.  Must fail: -DNO_FORWARD (a drain does not look whose the slab is now),
 * -DNO_HELD (a slab is taken over without holding its heap), -DNO_EXCHANGE (a drain reads the head and
 * then empties it), -DNO_ASK (a block of a cache goes back as if the slab were still the same heap's). */
#ifndef TIMES
#define TIMES  2
#endif
#define BLOCKS 2
#define NIL    BLOCKS
#ifndef TURNS
#define TURNS  2
#endif

/* A node of a queue is one block here; the code's nodes are mostly parcels of blocks, whose memory comes
 * back to where it started by the same kind of list. */
mtype = { USER, AWAY, SLAB };           /* AWAY: in a batch, a queue, or on its way between two */

byte head[2] = NIL, next[BLOCKS];
byte owner, address;                    /* in whose lists the slab is; the owner word of its addresses */
bool held[2];
byte kept[BLOCKS] = 2;                  /* in the cache of thread 0 or 1 */
mtype where[BLOCKS] = USER;
byte touching, threads, users;       /* how many are at it */

inline push(to, b)
{
    old = head[to];
    do
    :: next[b] = old;
       atomic {
            if
            :: head[to] == old -> head[to] = b; old = 0; to = 0; break
            :: else -> old = head[to]
            fi
       }
    od
}

inline touch_slab()
{
    atomic { touching++; assert(touching == 1) }
}

inline put(h, b)
{
    touch_slab();
    atomic {
        assert(owner == h && where[b] == AWAY);
        where[b] = SLAB;
        touching--
    }
}

inline pass_on(h, b)
{
#ifdef NO_FORWARD
    put(h, b)
#else
    to = address;
    if
    :: to == h -> to = 0; put(h, b)
    :: else -> push(to, b)
    fi
#endif
}

inline drain(h)                         /* by who holds h */
{
#ifdef NO_EXCHANGE
    b = head[h];
    head[h] = NIL;
#else
    atomic { b = head[h]; head[h] = NIL };
#endif
    do
    :: b != NIL ->
        after = next[b];
        pass_on(h, b);
        atomic { b = after; after = 0 }
    :: else -> break
    od
}

inline slab_move(from, h)
{
    touch_slab();
    owner = h;
    atomic { address = h; touching-- }
}

inline adopt(from, h)
{
#ifndef NO_HELD
    atomic {
        taken = !held[from];
        if
        :: taken -> held[from] = true
        :: else
        fi
    };
    if
    :: taken ->
        drain(from);
        if
        :: owner == from -> slab_move(from, h)
        :: else
        fi;
        held[from] = false
    :: else
    fi
#else
    if
    :: owner == from -> slab_move(from, h)
    :: else
    fi
#endif
}

inline free_one(me, b)
{
    if
    :: atomic { where[b] == USER && address == me -> where[b] = AWAY };
       kept[b] = me
    :: true
    fi
}

inline give_back(me, b)
{
    if
    :: kept[b] == me ->
        kept[b] = 2;
#ifdef NO_ASK
        put(me, b)
#else
        pass_on(me, b)
#endif
    :: else
    fi
}

proctype Thread(byte me)
{
    byte turn, b, after, old, to;
    bool taken;

    do
    :: turn < TURNS ->
        free_one(me, 0);
        atomic { !held[me] -> held[me] = true };
        drain(me);
        if
        :: give_back(me, 0)
        :: true
        fi;
        if
        :: owner == me ->               /* malloc */
            touch_slab();
            atomic {
                b = 0;
                do
                :: b < BLOCKS ->
                    if
                    :: where[b] == SLAB -> where[b] = USER
                    :: else
                    fi;
                    b++
                :: else -> b = 0; break
                od;
                touching--
            }
        :: else -> adopt(1 - me, me)
        fi;
        atomic { held[me] = false; turn++ }
    :: else -> break
    od;
    atomic { !held[me] -> held[me] = true };
    give_back(me, 0);
    atomic { held[me] = false; threads-- }
}

proctype User(byte b)
{
    byte times, old, to;

    do
    :: times < TIMES ->
        if
        :: atomic { where[b] == USER -> where[b] = AWAY; to = address };
            push(to, b);
            times++
        :: threads == 0 -> break
        fi
    :: else -> break
    od;
    users--
}

init
{
    byte b, after, old, to;
    bool taken;

    atomic {
        threads = 2;
        users = BLOCKS;
        run Thread(0);
        run Thread(1);
        run User(0);
        run User(1)
    };
    threads == 0 && users == 0;
    drain(0);
    drain(1);
    drain(0);
    assert(head[0] == NIL && head[1] == NIL && !held[0] && !held[1]);
    for (b : 0 .. BLOCKS - 1) {
        assert(where[b] != AWAY)
    }
}
