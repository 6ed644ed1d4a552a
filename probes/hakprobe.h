/* hakprobe.h: what hakprobe.bpf.c, in the kernel, and the tools share: the contents of the maps.
 * The includer has uint32_t and uint64_t. */
#ifndef HAKPROBE_H
#define HAKPROBE_H

enum hakprobe_call {
    HAKPROBE_MMAP, HAKPROBE_MUNMAP, HAKPROBE_MADVISE, HAKPROBE_MREMAP, HAKPROBE_BRK, HAKPROBE_FUTEX,
    HAKPROBE_FAULT, HAKPROBE_CALLS,
};

/* Whose a call is: the allocator's has the mark of abi/call.h.  Whose a fault is: the allocator's
 * is in its blocks; not known as long as the process has made no marked call. */
enum hakprobe_whose { HAKPROBE_PROGRAM, HAKPROBE_ALLOCATOR, HAKPROBE_NOT_KNOWN, HAKPROBE_WHOSE };

/* What was not counted: by the map that had no room for it, or, the last one, since the program that
 * counts it was running on that CPU already. */
enum hakprobe_lost {
    HAKPROBE_LOST_FLIGHT,           /* calls: too many in the kernel at once */
    HAKPROBE_LOST_PROCESS,          /* calls and faults of processes beyond the most */
    HAKPROBE_LOST_COUNTS,           /* calls and faults, for the same reason */
    HAKPROBE_LOST_WAITS,            /* waits that are counted as calls, but not by address */
    HAKPROBE_LOST_MISSED,           /* calls and faults, of whichever process; set by user space */
    HAKPROBE_LOST_KINDS,
};

/* A process, as it knows itself: its innermost pid namespace and its pid there. */
struct hakprobe_id {
    uint64_t pid_ns;
    uint32_t pid;
    uint32_t zero;
};

struct hakprobe_process {
    uint64_t where;                 /* its table of blocks (abi/call.h); 0: not known yet */
    uint32_t ended;
    char comm[16];
    uint32_t zero;
};

/* Calls of one kind that have returned: as many as the sum of the histogram, whose buckets are
 * those of abi/segment.h, from entry to return. */
#define HAKPROBE_BUCKETS 32
struct hakprobe_counts {
    uint64_t histogram[HAKPROBE_BUCKETS];
    uint64_t ns;
    uint64_t bytes;                 /* of those that succeeded */
    uint64_t errors;                /* those that failed */
    uint64_t unfinished;            /* besides these: never came back.  The thread was killed in the
                                     * call; the fault was answered by a signal */
};
#define HAKPROBE_ROWS (HAKPROBE_CALLS * HAKPROBE_WHOSE)     /* of a process, at most */
struct hakprobe_counts_key {
    struct hakprobe_id id;
    uint32_t call, whose;
};

/* Waits at one futex. */
struct hakprobe_waits {
    uint64_t histogram[HAKPROBE_BUCKETS];
    uint64_t ns;
    char lock[16];                  /* the allocator's name for it; empty: the program's */
};
struct hakprobe_waits_key {
    struct hakprobe_id id;
    uint64_t address;
};

#endif
