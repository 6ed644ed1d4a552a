/* generation.pml: a change of knobs, from a tool to the threads (struct hak_control of abi/segment.h,
 * publish of shm/request.c, lib/control/tick.c).
 *
 * Properties: what the library accepts as generation G is what the writer of G wrote, its name included,
 * never a mixture; what a thread learns as epoch E is the table that was put in force as E; and no set that
 * was stored is lost by another tool's.
 *
 * Two tools, one at a time (the OFD lock), set a knob each, from what is in force or was last asked for;
 * either may die before it stores its generation.  Two threads of the library look at any time.  Every
 * word is read and written by a step of its own; what tools read of the state page is whole (its own
 * sequence lock), and so one step.
 *
 * Not spin's: that words are seen in the order in which they were written (release of every `put`, acquire
 * of every `get`).
 *
 * Also: -DINSIDE (one of the tools is the process itself).  Long: -DLOOKS=2.  Must fail: -DNO_SECOND_LOOK
 * (the library doesn't look at the generation again), -DIN_PLACE (a tool writes to the array in force),
 * -DONE_WRITER (one place for the name of the writer), -DNO_EPOCH (a thread that learns a table doesn't look
 * at the epoch again), -DUNLOCKED (the process sets without the lock of the tools). */
#ifdef UNLOCKED
#define INSIDE
#endif
#ifndef SETS
#define SETS  2                         /* by each tool */
#endif
#define MOST  (2 * SETS + 1)
#ifndef LOOKS
#ifdef NO_EPOCH
#define LOOKS 2
#else
#define LOOKS 1                         /* by each thread */
#endif
#endif
#define NOBODY 2

typedef words { byte knob[2] };

/* The control page. */
words values[2];
byte generation, writer[2] = NOBODY;
#ifdef ONE_WRITER
#define WRITER(g) writer[0]
#else
#define WRITER(g) writer[(g) & 1]
#endif
bool ofd_lock;

/* The library: tables, and what the state page says. */
words table[2], state;
byte epoch = 1, seen, seq, examined;
bool lock;

/* What was meant, for the properties alone. */
words meant[MOST], was_in_force[MOST + 1];
byte meant_by[MOST] = NOBODY, last_set[2], tools = 2, threads = 2;

inline look()
{
    if
    :: generation != seen ->
        atomic {
            mine = !lock;
            if
            :: mine -> lock = true
            :: else
            fi
        };
        if
        :: mine -> request_take(); lock = false
        :: else
        fi
    :: else
    fi
}

inline request_take()
{
    g = generation;
    if
    :: g != seen ->
        r.knob[0] = values[g & 1].knob[0];
        r.knob[1] = values[g & 1].knob[1];
        by = WRITER(g);
#ifndef NO_SECOND_LOOK
        if
        :: generation == g -> accept()
        :: else
        fi
#else
        accept()
#endif
    :: else
    fi;
    d_step { g = 0; by = 0; r.knob[0] = 0; r.knob[1] = 0 }
}

inline accept()
{
    atomic {
        assert(r.knob[0] == meant[g].knob[0] && r.knob[1] == meant[g].knob[1]);
        assert(by == meant_by[g]);
        seen = g;
        was_in_force[epoch + 1].knob[0] = r.knob[0];
        was_in_force[epoch + 1].knob[1] = r.knob[1]
    };
    table[(epoch + 1) & 1].knob[0] = r.knob[0];
    table[(epoch + 1) & 1].knob[1] = r.knob[1];
    epoch++;
    d_step { seq++; state.knob[0] = r.knob[0]; state.knob[1] = r.knob[1]; examined = g }
}

inline learn()                          /* a bounded wait for a whole table: one try here */
{
    g = epoch;
    r.knob[0] = table[g & 1].knob[0];
    r.knob[1] = table[g & 1].knob[1];
    atomic {
#ifndef NO_EPOCH
        if
        :: epoch == g ->
#endif
            assert(r.knob[0] == was_in_force[g].knob[0] && r.knob[1] == was_in_force[g].knob[1])
#ifndef NO_EPOCH
        :: else
        fi
#endif
        ;
        g = 0; r.knob[0] = 0; r.knob[1] = 0
    }
}

proctype Thread()
{
    byte looks, g, by;
    words r;
    bool mine;

    do
    :: looks < LOOKS ->
        if
        :: look()
        :: learn()
        fi;
        looks++
    :: else -> break
    od;
    threads--
}

proctype Tool(byte me)
{
    byte sets = 1, g, was_seq, to;
    words base;

    do
    :: sets <= SETS ->
        atomic { !ofd_lock -> ofd_lock = true; g = generation };
again:  skip;
        d_step {
            was_seq = seq;
            if
            :: examined == g -> base.knob[0] = state.knob[0]; base.knob[1] = state.knob[1]
            :: else -> base.knob[0] = values[g & 1].knob[0]; base.knob[1] = values[g & 1].knob[1]
            fi;
            base.knob[me] = sets;
#ifdef IN_PLACE
            to = g & 1
#else
            to = (g + 1) & 1
#endif
        };
        values[to].knob[0] = base.knob[0];
        values[to].knob[1] = base.knob[1];
        WRITER(g + 1) = me;
        if
        :: seq != was_seq -> goto again
        :: else
        fi;
        if
        :: true -> break                /* dies; the kernel drops its lock */
        :: true ->
            atomic {
                meant[g + 1].knob[0] = base.knob[0];
                meant[g + 1].knob[1] = base.knob[1];
                meant_by[g + 1] = me;
                last_set[me] = sets;
                generation = g + 1
            }
        fi;
        ofd_lock = false;
        sets++
    :: else -> break
    od;
    ofd_lock = false;
    tools--
}

/* A set of the process itself (lib/control/inside.c): what was asked for before comes before. */
proctype Inside(byte me)
{
    byte sets = 1, g, by;
    words r;

    do
    :: sets <= SETS ->
#ifndef UNLOCKED
        atomic { !ofd_lock -> ofd_lock = true };
#endif
        atomic { !lock -> lock = true };
        request_take();
        d_step {
            r.knob[0] = table[epoch & 1].knob[0];
            r.knob[1] = table[epoch & 1].knob[1];
            r.knob[me] = sets;
            g = seen + 1;
            by = me
        };
        values[g & 1].knob[0] = r.knob[0];
        values[g & 1].knob[1] = r.knob[1];
        WRITER(g) = me;
        atomic {
            meant[g].knob[0] = r.knob[0];
            meant[g].knob[1] = r.knob[1];
            meant_by[g] = me;
            last_set[me] = sets;
            generation = g
        };
        accept();
        d_step { g = 0; by = 0; r.knob[0] = 0; r.knob[1] = 0; lock = false };
#ifndef UNLOCKED
        ofd_lock = false;
#endif
        sets++
    :: else -> break
    od;
    tools--
}

init
{
    byte g, by;
    words r;
    bool mine;

    atomic {
        run Tool(0);
#ifdef INSIDE
        run Inside(1);
#else
        run Tool(1);
#endif
        run Thread();
        run Thread()
    };
    tools == 0 && threads == 0;
    look();
    assert(state.knob[0] == last_set[0]);
    assert(state.knob[1] == last_set[1])
}
