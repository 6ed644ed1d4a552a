/* kernel.h: the little of the kernel's types that hakprobe.bpf.c reads, in place of a vmlinux.h
 * made on the machine that builds, so that any machine can.  Fields are found by name in the
 * running kernel's BTF (CO-RE); their order here, and what is left out, means nothing.  What is not
 * read by CO-RE, the numbers and the context of perf events, is the kernel's ABI to user space. */
#ifndef HAKPROBE_KERNEL_H
#define HAKPROBE_KERNEL_H

typedef unsigned char      __u8;
typedef unsigned short     __u16;
typedef unsigned int       __u32;
typedef unsigned long long __u64;
typedef signed int         __s32;
typedef signed long long   __s64;
typedef __u16 __be16;
typedef __u32 __be32, __wsum;
typedef __u64 __be64;
typedef __u32 uint32_t;
typedef __u64 uint64_t;
typedef _Bool bool;
enum { false, true };

enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_CGROUP_ARRAY = 8 };
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };

/* The context of a program on a perf event. */
#if defined(__TARGET_ARCH_x86)
struct user_regs { __u64 reg[21]; };
#else
struct user_regs { __u64 reg[34]; };
#endif
struct bpf_perf_event_data {
    struct user_regs regs;
    __u64 sample_period;
    __u64 addr;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
    unsigned long di, si, dx, r10, r12, r13, bx, cs;
};
#else
struct user_pt_regs {
    __u64 regs[31];
    __u64 pstate;
};
struct pt_regs {
    struct user_pt_regs user_regs;
};
#endif

struct ns_common {
    unsigned int inum;
};
struct pid_namespace {
    struct ns_common ns;
};
struct upid {
    int nr;
    struct pid_namespace *ns;
};
struct pid {
    unsigned int level;
    struct upid numbers[1];
};
typedef struct {
    int counter;
} atomic_t;
struct signal_struct {
    atomic_t live;
};
struct mm_struct {
    unsigned long brk;
};
struct task_struct {
    unsigned int flags;
    struct task_struct *group_leader;
    struct pid *thread_pid;
    struct signal_struct *signal;
    struct mm_struct *mm;
    char comm[16];
};

#pragma clang attribute pop

#endif
