/* kernel.h: what the kernel counts of the watched process (probes/probes.h): by programs of our own
 * (--probes), or from the maps that a hakprobe has pinned, as long as there is one.
 *
 * Not thread-safe. */
#ifndef HAKSTAT_KERNEL_H
#define HAKSTAT_KERNEL_H

#include "probes/probes.h"

struct kernel {
    bool ours;                          /* --probes */
    struct probes *probes;              /* NULL: none counts */
    struct hakprobe_id id;              /* of the watched process */
    struct probes_reading *before, *now, *reset;        /* NULL where there is none */
    struct shm_error err;               /* why there are no readings */
};

/* Another process is watched from now on.  With --probes, `probes` is NULL after an error. */
void kernel_watch(struct kernel *kernel, const struct shm_proc *proc);

/* Takes a reading, if somebody counts this process. */
void kernel_sample(struct kernel *kernel);

/* Counts start at the last reading. */
void kernel_reset(struct kernel *kernel);

void kernel_close(struct kernel *kernel);

#endif
