/* control.h: the control layer as the rest of the library sees it: knobs at start, the segment,
 * slots, the tick, and what fork and exit do to them.
 *
 * None of these aborts, blocks for long, allocates from the heap or prints (but for `verbose` and
 * the statistics at exit).  Where the segment cannot be made, everything here still works and
 * counters stay private. */
#ifndef HAK_CONTROL_H
#define HAK_CONTROL_H

#include "abi/layout.h"
#include "lib/base/base.h"

/* Once in a process, by the first thread that allocates, possibly before constructors have run:
 * reads HAKMEM_CONF and the ENV, makes the table of knobs in force and the segment, sets the hooks
 * of lib/base/hooks.h. */
void control_init(void);

/* A copy of the table in force, and its epoch: at least 1, and another for every change.  Any
 * thread, any time after control_init. */
uint64_t control_knobs(union hak_knobs *out);

/* hak_set (lib/api/hakmem.h): changes values in force, all or none.  The change is one of the
 * requests in the control page, written under the lock that all its writers take, and is in force
 * when this returns.  Without a segment it is in force just the same; also where the process can't
 * open and lock its segment any more (another user, another root, a sandbox), but then a tool that
 * composes its request in the same moment may not know of it.
 *
 * 0; EINVAL: a value out of range; EPERM: a knob for the start alone; EBUSY: a lock could not be had
 * in BUSY_TRIES pauses.  Any thread, any time after control_init; signals wait meanwhile. */
struct control_change {
    unsigned knob;                      /* < HAK_KNOBS; of two changes of one knob the later counts */
    uint64_t value;
};
int control_set(const struct control_change *changes, size_t count);

/* Gives a heap its slot, once: maps one over the HAK_SLOT_BYTES at `at` (page aligned), whatever is there.
 * The mapping is not inherited by a child (MADV_DONTFORK).  False: no slot could be had; the memory at
 * `at` is private and zero, is remembered for the statistics at exit, and threads_uncounted is counted.
 * Any thread, with signals held (os_hold_signals). */
#define HAK_SLOT_BYTES (28 * KIB)       /* rounded up to a page where pages are larger */
bool control_slot(void *at);

/* In the child of a fork, once, before anything is counted or traced there: makes a segment of the
 * child's own (or stays private), with all counters 0, gauges too, which the caller then sets from
 * its own metadata, and `inherited` as given, HAK_ROWS counts.  The values in force stay, with a
 * new epoch and generation 0.  Slots are asked for anew.  The parent's segment is not mapped here
 * any more (DONTFORK). */
void control_fork_child(const uint64_t *inherited);

/* At exit, in the process that made the segment: prints the statistics if tiny.heap_v2.stats is on,
 * marks the segment as exited and removes its name.  The mapping stays: threads may still run. */
void control_exit(void);

#endif
