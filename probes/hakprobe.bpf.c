/* hakprobe.bpf.c: counts system calls on memory, futexes and page faults, in the kernel.
 *
 *   sys_enter       what is it, whose, of which process? ─> flight[thread]
 *   sys_exit        flight[thread] ─> counts[process, call, whose], waits[process, address]
 *   fault_begin, fault_end    the same for page faults
 *   process_exec, process_exit    what they leave behind
 *
 * A map without room counts what it could not take (lost[]); nothing is left out in silence.  All
 * counts are atomic additions: two CPUs, or a program that was preempted, can't lose one. */
#include "probes/kernel.h"

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "abi/call.h"
#include "probes/hakprobe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Filters, set before loading; the verifier cuts out what they exclude.  Watched are the processes
 * that user space has entered in `processes`, and */
const volatile bool learn = false;          /* those that make a marked call */
const volatile bool in_cgroup = false;      /* those of the cgroup in `cgroup` */
const volatile __u32 wanted = ~0u;          /* bit c: calls of kind c */

enum { PROCESSES = 1024, FLIGHTS = 16384, WAITS = 8192 };

/* A call, or a fault, that has begun. */
struct flight {
    struct hakprobe_counts_key key;
    __u64 start;
    __u64 bytes;                    /* that success means */
    __u64 was, wanted;              /* brk: the end of the heap, and where it is to be */
    __u64 wait;                     /* futex: the address waited at, or 0 */
    char lock[16];
};
struct flight_key {
    __u64 thread;
    __u64 fault;                    /* a thread can have a fault within a call */
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, FLIGHTS);
    __type(key, struct flight_key);
    __type(value, struct flight);
} flights SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, PROCESSES);
    __type(key, struct hakprobe_id);
    __type(value, struct hakprobe_process);
} processes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, PROCESSES * HAKPROBE_ROWS);
    __type(key, struct hakprobe_counts_key);
    __type(value, struct hakprobe_counts);
} counts SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, WAITS);
    __type(key, struct hakprobe_waits_key);
    __type(value, struct hakprobe_waits);
} waits SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, HAKPROBE_LOST_KINDS);
    __type(key, __u32);
    __type(value, __u64);
} lost SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} cgroup SEC(".maps");

#define ADD(field, n) __sync_fetch_and_add(&(field), (n))

static __always_inline void lose(__u32 kind)
{
    __u64 *n = bpf_map_lookup_elem(&lost, &kind);

    if (n)
        ADD(*n, 1);
}

/* ---- Registers and numbers of the architecture ---------------------------------------------- */

#if defined(__TARGET_ARCH_x86)
enum { NR_MMAP = 9, NR_MUNMAP = 11, NR_BRK = 12, NR_MREMAP = 25, NR_MADVISE = 28, NR_FUTEX = 202 };
#define ARG0(regs)  BPF_CORE_READ(regs, di)
#define ARG1(regs)  BPF_CORE_READ(regs, si)
#define ARG2(regs)  BPF_CORE_READ(regs, dx)
#define TAG(regs)   BPF_CORE_READ(regs, bx)
#define WHAT(regs)  BPF_CORE_READ(regs, r12)
#define WHERE(regs) BPF_CORE_READ(regs, r13)
/* 32-bit code has numbers of its own. */
#define FOREIGN(regs) (BPF_CORE_READ(regs, cs) == 0x23)
#elif defined(__TARGET_ARCH_arm64)
enum { NR_MMAP = 222, NR_MUNMAP = 215, NR_BRK = 214, NR_MREMAP = 216, NR_MADVISE = 233 };
enum { NR_FUTEX = 98 };
#define ARG0(regs)  BPF_CORE_READ(regs, user_regs.regs[0])
#define ARG1(regs)  BPF_CORE_READ(regs, user_regs.regs[1])
#define ARG2(regs)  BPF_CORE_READ(regs, user_regs.regs[2])
#define TAG(regs)   BPF_CORE_READ(regs, user_regs.regs[9])
#define WHAT(regs)  BPF_CORE_READ(regs, user_regs.regs[10])
#define WHERE(regs) BPF_CORE_READ(regs, user_regs.regs[11])
#define FOREIGN(regs) ((BPF_CORE_READ(regs, user_regs.pstate) & 0x10) != 0)
#else
#error "hakprobe knows x86-64 and aarch64"
#endif

static __always_inline int call_of(long nr)
{
    switch (nr) {
    case NR_MMAP:    return HAKPROBE_MMAP;
    case NR_MUNMAP:  return HAKPROBE_MUNMAP;
    case NR_MADVISE: return HAKPROBE_MADVISE;
    case NR_MREMAP:  return HAKPROBE_MREMAP;
    case NR_BRK:     return HAKPROBE_BRK;
    case NR_FUTEX:   return HAKPROBE_FUTEX;
    default:         return -1;
    }
}

/* ---- Processes ------------------------------------------------------------------------------ */

static __always_inline void own_id(struct hakprobe_id *id)
{
    struct pid *pid = bpf_get_current_task_btf()->group_leader->thread_pid;

    id->zero = 0;
    if (pid->level == 0) {          /* the usual case, and these are loads, no calls */
        id->pid = pid->numbers[0].nr;
        id->pid_ns = pid->numbers[0].ns->ns.inum;
    } else {
        struct upid *innermost = &pid->numbers[pid->level];
        id->pid = BPF_CORE_READ(innermost, nr);
        id->pid_ns = BPF_CORE_READ(innermost, ns, ns.inum);
    }
}

static __always_inline bool exiting(void)
{
    enum { PF_EXITING = 4 };
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();

    return BPF_CORE_READ(task, flags) & PF_EXITING;
}

static __always_inline void set_comm(struct hakprobe_process *p)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();

    BPF_CORE_READ_STR_INTO(&p->comm, task, group_leader, comm);
}

/* The current process, if it is one to watch. */
static __always_inline struct hakprobe_process *own_process(struct hakprobe_id *id, bool marked)
{
    own_id(id);
    struct hakprobe_process *p = bpf_map_lookup_elem(&processes, id);

    if (p && !p->ended) {
        if (!p->comm[0])
            set_comm(p);
        return p;
    }
    if (!p && !(learn && marked) && !(in_cgroup && bpf_current_task_under_cgroup(&cgroup, 0) == 1))
        return 0;
    /* One that has ended, and whose counts user space has still to take away, leaves no room for
     * another one of the same number. */
    struct hakprobe_process fresh = { 0 };
    if (!p) {
        set_comm(&fresh);
        bpf_map_update_elem(&processes, id, &fresh, BPF_NOEXIST);
        p = bpf_map_lookup_elem(&processes, id);
    }
    if (p && !p->ended)
        return p;
    if (!exiting()) /* what the kernel does at the end of a process is not its own */
        lose(HAKPROBE_LOST_PROCESS);
    return 0;
}

/* ---- The end of a call, or of a fault ------------------------------------------------------- */

static __always_inline unsigned bucket(__u64 ns)
{
    unsigned b = 0;

    if (ns >> 32)
        return HAKPROBE_BUCKETS - 1;
#define HALF(bits) if (ns >> (bits)) { ns >>= (bits); b += (bits); }
    HALF(16) HALF(8) HALF(4) HALF(2) HALF(1)
#undef HALF
    return b;
}

static __always_inline struct hakprobe_counts *counts_of(const struct hakprobe_counts_key *key)
{
    struct hakprobe_counts *c = bpf_map_lookup_elem(&counts, key);

    if (!c) {
        static const struct hakprobe_counts zero;
        bpf_map_update_elem(&counts, key, &zero, BPF_NOEXIST);
        c = bpf_map_lookup_elem(&counts, key);
    }
    if (!c)
        lose(HAKPROBE_LOST_COUNTS);
    return c;
}

static __always_inline void count_wait(const struct flight *f, __u64 ns)
{
    struct hakprobe_waits_key key = { .id = f->key.id, .address = f->wait };
    struct hakprobe_waits *w = bpf_map_lookup_elem(&waits, &key);

    if (!w) {
        static const struct hakprobe_waits zero;
        bpf_map_update_elem(&waits, &key, &zero, BPF_NOEXIST);
        w = bpf_map_lookup_elem(&waits, &key);
    }
    if (!w) {
        lose(HAKPROBE_LOST_WAITS);
        return;
    }
    if (f->lock[0])
        __builtin_memcpy(w->lock, f->lock, sizeof w->lock);
    ADD(w->histogram[bucket(ns) & (HAKPROBE_BUCKETS - 1)], 1);
    ADD(w->ns, ns);
}

static __always_inline void land(const struct flight *f, bool failed, __u64 bytes)
{
    __u64 ns = bpf_ktime_get_ns() - f->start;
    struct hakprobe_counts *c = counts_of(&f->key);

    if (f->wait)
        count_wait(f, ns);
    if (!c)
        return;
    ADD(c->histogram[bucket(ns) & (HAKPROBE_BUCKETS - 1)], 1);
    ADD(c->ns, ns);
    if (failed)
        ADD(c->errors, 1);
    else
        ADD(c->bytes, bytes);
}

static __always_inline void crash(const struct flight_key *key)
{
    struct flight *f = bpf_map_lookup_elem(&flights, key);
    struct hakprobe_counts *c = f ? counts_of(&f->key) : 0;

    if (c)
        ADD(c->unfinished, 1);
    if (f)
        bpf_map_delete_elem(&flights, key);
}

/* ---- System calls --------------------------------------------------------------------------- */

/* The operations of futex(2) that wait. */
static __always_inline bool waits_at(__u64 op)
{
    enum { WAIT = 0, LOCK_PI = 6, WAIT_BITSET = 9, WAIT_REQUEUE_PI = 11, LOCK_PI2 = 13 };
    enum { OPERATION = 127 };

    op &= OPERATION;
    return op == WAIT || op == LOCK_PI || op == WAIT_BITSET || op == WAIT_REQUEUE_PI ||
           op == LOCK_PI2;
}

static __always_inline void take_arguments(struct flight *f, struct pt_regs *regs, bool marked)
{
    switch (f->key.call) {
    case HAKPROBE_MMAP:
    case HAKPROBE_MUNMAP:
    case HAKPROBE_MADVISE:
        f->bytes = ARG1(regs);
        break;
    case HAKPROBE_MREMAP:
        f->bytes = ARG2(regs);
        break;
    case HAKPROBE_BRK: {
        struct task_struct *task = (struct task_struct *)bpf_get_current_task();
        f->was = BPF_CORE_READ(task, mm, brk);
        f->wanted = ARG0(regs);
        break;
    }
    case HAKPROBE_FUTEX:
        if (waits_at(ARG1(regs)))
            f->wait = ARG0(regs);
        if (f->wait && marked)
            bpf_probe_read_user_str(f->lock, sizeof f->lock, (void *)WHAT(regs));
        break;
    }
}

SEC("raw_tp/sys_enter")
int BPF_PROG(sys_enter, struct pt_regs *regs, long nr)
{
    struct flight f = { 0 };
    struct flight_key thread = { .thread = bpf_get_current_pid_tgid() };
    int call = call_of(nr);

    if (call < 0 || !(wanted >> call & 1) || FOREIGN(regs))
        return 0;
    bool marked = TAG(regs) == HAK_CALL_TAG;
    struct hakprobe_process *p = own_process(&f.key.id, marked);
    if (!p)
        return 0;
    if (marked)
        p->where = WHERE(regs);
    f.key.call = call;
    f.key.whose = marked ? HAKPROBE_ALLOCATOR : HAKPROBE_PROGRAM;
    take_arguments(&f, regs, marked);
    f.start = bpf_ktime_get_ns();
    if (bpf_map_update_elem(&flights, &thread, &f, BPF_ANY))
        lose(HAKPROBE_LOST_FLIGHT);
    return 0;
}

SEC("raw_tp/sys_exit")
int BPF_PROG(sys_exit, struct pt_regs *regs, long ret)
{
    struct flight_key thread = { .thread = bpf_get_current_pid_tgid() };
    struct flight *f = bpf_map_lookup_elem(&flights, &thread);

    if (!f)
        return 0;
    if (f->key.call == HAKPROBE_BRK) {
        __u64 now = ret, moved = now > f->was ? now - f->was : f->was - now;
        land(f, f->wanted && now != f->wanted, moved);
    } else {
        land(f, ret < 0 && ret >= -4095, f->bytes);
    }
    bpf_map_delete_elem(&flights, &thread);
    return 0;
}

/* ---- Page faults ---------------------------------------------------------------------------- */

static __always_inline __u64 word(__u64 address)
{
    __u64 value = 0;                /* what isn't resident has never been written */

    bpf_probe_read_user(&value, sizeof value, (void *)address);
    return value;
}

/* The process's own table says whether an address is in its blocks: abi/call.h. */
static __always_inline bool in_blocks(__u64 where, __u64 a)
{
    if (a >> 48)
        return false;
    __u64 leaf = where + HAK_CALL_LEAF + word(where + 8 * (a >> HAK_CALL_LEAF_SHIFT));
    __u64 index = a >> HAK_CALL_UNIT_SHIFT & ((1u << HAK_CALL_UNIT_BITS) - 1);
    __u64 unit = word(leaf + 8 * index);

    if (unit & 1)
        return a - word(unit - 1) < word(unit - 1 + 8);
    return unit != 0;
}

SEC("perf_event")
int fault_begin(struct bpf_perf_event_data *ctx)
{
    struct flight f = { 0 };
    struct flight_key thread = { .thread = bpf_get_current_pid_tgid(), .fault = 1 };
    struct hakprobe_process *p = own_process(&f.key.id, false);

    if (!p)
        return 0;
    crash(&thread);                 /* the one before never came back */
    f.key.call = HAKPROBE_FAULT;
    f.key.whose = !p->where ? HAKPROBE_NOT_KNOWN :
                  in_blocks(p->where, ctx->addr) ? HAKPROBE_ALLOCATOR : HAKPROBE_PROGRAM;
    f.start = bpf_ktime_get_ns();
    if (bpf_map_update_elem(&flights, &thread, &f, BPF_ANY))
        lose(HAKPROBE_LOST_FLIGHT);
    return 0;
}

SEC("perf_event")
int fault_end(struct bpf_perf_event_data *ctx)
{
    struct flight_key thread = { .thread = bpf_get_current_pid_tgid(), .fault = 1 };
    struct flight *f = bpf_map_lookup_elem(&flights, &thread);

    if (!f)
        return 0;
    land(f, false, 0);
    bpf_map_delete_elem(&flights, &thread);
    return 0;
}

/* ---- The end of a program ------------------------------------------------------------------- */

SEC("raw_tp/sched_process_exec")
int process_exec(void *ctx)
{
    struct hakprobe_id id;
    own_id(&id);
    struct hakprobe_process *p = bpf_map_lookup_elem(&processes, &id);

    if (p) {
        p->where = 0;
        set_comm(p);
    }
    return 0;
}

SEC("raw_tp/sched_process_exit")
int process_exit(void *ctx)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct flight_key thread = { .thread = bpf_get_current_pid_tgid() };
    struct hakprobe_id id;
    own_id(&id);
    struct hakprobe_process *p = bpf_map_lookup_elem(&processes, &id);

    if (!p)
        return 0;
    crash(&thread);
    thread.fault = 1;
    crash(&thread);
    if (BPF_CORE_READ(task, signal, live.counter) == 0)
        p->ended = 1;
    return 0;
}
