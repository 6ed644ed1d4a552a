/* hakmem.h: the public interface of libhakmem beyond the malloc family.
 *
 * The library is normally preloaded, and then needs no header.  A program that links it gets the
 * standard allocation functions and these.
 *
 * Any thread may call any of these at any time, in the child of a fork too.  Those marked
 * "signal-safe" may also be called in a signal handler, whatever it interrupted.  None is a
 * cancellation point; none changes errno: functions that can fail return 0 or an error number. */
#ifndef HAKMEM_H
#define HAKMEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library's version, "MAJOR.MINOR.PATCH"; a static string.  Signal-safe. */
const char *hak_version(void);

/* Gives memory back to the kernel: the calling thread's caches, the free slabs of the shared pool,
 * cached mappings.  Other threads' caches stay.  Returns the bytes given back. */
size_t hak_purge(void);

/* ---- Knobs: what `hakctl list`, `get` and `set` show and change, from inside ------------------ */

struct hak_knob {
    const char *name;               /* "tiny.heap_v2.class_mask", as in hakmem(7); all strings are static */
    const char *unit;               /* "" or what it counts: "blocks", "ms" */
    const char *help;
    uint64_t    min, max, initial;  /* initial: the default */
    int         live;               /* 0: read once, at the start */
    int         bits;               /* 1: a set of bits, with none that max has not */
};

/* The knobs, in a fixed order: number i, from 0 on; NULL after the last.  The library's own.
 * Signal-safe. */
const struct hak_knob *hak_knob(size_t i);

/* The value in force; threads work by it from their next tick on.  ENOENT: no such knob.
 * Signal-safe. */
int hak_get(const char *name, uint64_t *value);

/* Changes one live knob, or several of them, all or none, as one request like those of hakctl; a
 * knob that is named twice gets the later value.  It is in force on return, and the calling thread
 * works by it; others do from their next tick on.  A pending `hakctl set --revert-after` stays
 * pending, and does not undo it.
 * ENOENT: no such knob; EINVAL: out of range; EPERM: read at the start alone; EBUSY: another writer
 * held the lock for a quarter of a second.  On an error nothing has changed. */
struct hak_setting {
    const char *name;
    uint64_t    value;
};
int hak_set(const char *name, uint64_t value);
int hak_set_all(const struct hak_setting *settings, size_t count);

/* ---- Counters: what `hakctl stats` shows ----------------------------------------------------- */

#define HAK_SIZE_CLASSES 11         /* C0 to C7, mid, large, huge */

struct hak_counter {
    const char *name;               /* "heap_v2_hits", as in hakmem(7); a static string */
    uint64_t    value;              /* of the whole process, to the last call that has returned */
    uint64_t    by_class[HAK_SIZE_CLASSES];     /* its parts; all 0 where it isn't counted by class */
};

/* Fills in the counters, in a fixed order, as many as there is room for, and returns how many there
 * are.  Frees are read before allocations, so that what is live never comes out below 0.  All are 0
 * in a library built without counters.  Signal-safe. */
size_t hak_counters(struct hak_counter *counters, size_t room);

/* ---- C23 ------------------------------------------------------------------------------------- */

/* Sized frees: as free(p).  The size and alignment are not looked at. */
void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t alignment, size_t size);

#ifdef __cplusplus
}
#endif
#endif
