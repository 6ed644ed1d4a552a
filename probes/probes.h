/* probes.h: the kernel's counts of system calls on memory, futexes and page faults, for hakprobe
 * and hakstat.
 *
 *   probes_open ──────┐
 *   probes_open_pinned┴─> struct probes ──> probes_read ──> struct probes_reading
 *
 * probes_open loads hakprobe.bpf.c and attaches it; counting ends with probes_close.  It needs
 * CAP_BPF and CAP_PERFMON.  probes_open_pinned reads what another process counts.  In a build
 * without eBPF both fail, and say so.
 *
 * Not thread-safe.  Errors as in shm.h. */
#ifndef PROBES_H
#define PROBES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probes/hakprobe.h"
#include "shm/shm.h"

/* Names of enum hakprobe_call, hakprobe_whose and hakprobe_lost. */
extern const char *const probes_call_names[HAKPROBE_CALLS],
    *const probes_whose_names[HAKPROBE_WHOSE], *const probes_lost_names[HAKPROBE_LOST_KINDS];

/* What is counted, and with how much room. */
struct probes_scope {
    const struct hakprobe_id *ids;  /* these processes */
    size_t id_count;
    bool learn;                     /* and those that make a marked call */
    const char *cgroup;             /* and those in this one of version 2 and below it; or NULL */
    uint32_t calls;                 /* bit c: kind c of enum hakprobe_call */
    unsigned flights, processes, waits;     /* entries of the maps; 0: as many as is usual */
    const char *types;              /* a file of BTF, in place of the kernel's own; or NULL */
    bool verbose;                   /* libbpf may write to standard error */
};

/* What it takes, in the order in which it is tried. */
enum probes_part { PROBES_TYPES, PROBES_PROGRAMS, PROBES_SYSCALLS, PROBES_FAULTS, PROBES_PARTS };
struct probes_report {
    struct {
        bool tried, works;
        char text[300];             /* where it comes from; why it doesn't work */
    } part[PROBES_PARTS];
};
extern const char *const probes_part_names[PROBES_PARTS];

struct probes;

/* Counts from here on.  It fails where neither system calls nor page faults can be counted; *report
 * says which can.  SHM_EPERM: for want of a privilege, which is named; SHM_EIO: all else. */
int probes_open(const struct probes_scope *scope, struct probes **probes,
                struct probes_report *report, struct shm_error *err);

/* Lets others read the counts, in a new directory of a BPF file system; probes_close takes it away.
 * One that a killed process has left there is replaced. */
int probes_pin(struct probes *probes, const char *directory, struct shm_error *err);

/* Counts that another process pins; and whether it still does. */
int probes_open_pinned(const char *directory, struct probes **probes, struct shm_error *err);
bool probes_still_pinned(const struct probes *probes);
#define PROBES_DIRECTORY "/sys/fs/bpf/hakmem"

void probes_close(struct probes *probes);       /* NULL is fine */

/* All counts since the start, at a moment. */
struct probes_process {
    struct hakprobe_id id;
    char comm[16];                  /* printable */
    bool ended;
    struct hakprobe_counts counts[HAKPROBE_CALLS][HAKPROBE_WHOSE];
};
struct probes_wait {
    struct hakprobe_id id;
    uint64_t address;
    struct hakprobe_waits waits;    /* its lock's name is printable */
};
struct probes_reading {
    uint64_t time_ns;               /* CLOCK_MONOTONIC */
    struct probes_process *processes;
    struct probes_wait *waits;
    size_t process_count, wait_count;
    uint64_t lost[HAKPROBE_LOST_KINDS];
};

/* `only`: this process alone, or NULL.  The reading is the caller's, until probes_reading_free. */
int probes_read(struct probes *probes, const struct hakprobe_id *only,
                struct probes_reading **reading, struct shm_error *err);
void probes_reading_free(struct probes_reading *reading);       /* NULL is fine */

/* What has been counted between two readings, as a reading of its own; NULL: no memory.  Before the
 * first one is NULL. */
struct probes_reading *probes_since(const struct probes_reading *now,
                                    const struct probes_reading *before);

/* Forgets a process that has ended, with its counts: its number may be another's from then on. */
void probes_forget(struct probes *probes, const struct hakprobe_id *id);

/* The sum of a histogram. */
uint64_t probes_sum(const uint64_t histogram[HAKPROBE_BUCKETS]);

#endif
