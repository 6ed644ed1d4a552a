/* seccomp.c: a process that locks itself in after it has started: malloc needs no system call that
 * an allocator would not need, and lives with those that are refused.
 *
 * "Kill": whatever is not on a short list ends the process.  "Refuse": all of the kernel's newer or
 * less usual calls fail with EPERM, for threads and forked children as well.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "tests/under.h"

/* What glibc's malloc needs, and what a program needs to say how it went. */
static const int for_memory[] = {
    SYS_mmap, SYS_munmap, SYS_mremap, SYS_madvise, SYS_mprotect, SYS_brk, SYS_futex,
    SYS_read, SYS_write, SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_clock_gettime
};
/* What threads and fork need besides. */
static const int for_threads[] = {
    SYS_clone, SYS_clone3, SYS_rseq, SYS_set_robust_list, SYS_rt_sigprocmask, SYS_rt_sigaction,
    SYS_wait4, SYS_gettid, SYS_getpid, SYS_close, SYS_tgkill
};
enum { A = sizeof for_memory / sizeof *for_memory, B = sizeof for_threads / sizeof *for_threads };

static int allow_only(int lists, unsigned otherwise)
{
    struct sock_filter f[4 + 2 * (A + B)];
    unsigned short n = 0;
    f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < A + (lists > 1 ? B : 0); i++) {
        int nr = i < A ? for_memory[i] : for_threads[i - A];
        f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1);
        f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise);
    struct sock_fprog p = { n, f };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p))
        return errno;
    return 0;
}

/* Every tier, much and again, so that memory is mapped, given back and mapped again. */
static int use_memory(void)
{
    enum { N = 3000 };
    static void *blocks[8][N];
    static int next;
    void **p = blocks[__atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % 8];
    uint64_t seed = 1;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            size_t size = rnd(&seed) % (i % 50 ? 5000 : i % 500 ? 300000 : 5000000);
            p[i] = i % 3 ? malloc(size) : aligned_alloc(64, size);
            if (!p[i])
                return 1;
            memset(p[i], i, size < 4096 ? size : 4096);
        }
        for (int i = 0; i < N; i++)
            p[i] = realloc(p[i], 1 + rnd(&seed) % 20000);
        for (int i = 0; i < N; i++)
            free(p[i]);
        malloc_trim(0);
    }
    return 0;
}

static int killed_for_more(void)
{
    int e = allow_only(1, SECCOMP_RET_KILL_PROCESS);
    return e ? 100 + e % 100 : use_memory();
}

static void *in_thread(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)use_memory();
}

static int refused_more(void)
{
    int e = allow_only(2, SECCOMP_RET_ERRNO | EPERM);
    if (e)
        return 100 + e % 100;
    if (use_memory() || run_threads(4, in_thread, NULL))
        return 2;
    return strcmp(in_child(use_memory), "exit 0") ? 3 : 0;
}

int main(int argc, char **argv)
{
    (void)argc;
    run_under_hakmem(argv);
    free(malloc(1));
    const char *how = in_child(killed_for_more);
    if (!strcmp(how, "exit 122") || !strcmp(how, "exit 101")) {
        skip("no seccomp filters: errno %s", how + 6);
        return tap_done();
    }
    is_str(how, "exit 0", "only the system calls of an ordinary malloc, or death");
    is_str(in_child(refused_more), "exit 0", "threads and a child, where all others are refused");
    return tap_done();
}
