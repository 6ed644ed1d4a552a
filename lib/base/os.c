/* os.c: the kernel's side of os.h, by the library's own system calls, which nothing interposes. */
#include "lib/base/os.h"
#include "lib/base/hooks.h"
#include "lib/base/lock.h"
#include "lib/base/syscall.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define META_CHUNK (1 * MIB)

size_t os_page = 4096;

void os_init(void)
{
    size_t page = getauxval(AT_PAGESZ);

    if (page)
        os_page = page;
}

size_t os_limit(int resource)
{
    struct rlimit r;

    return getrlimit(resource, &r) != 0 || r.rlim_cur > SIZE_MAX ? SIZE_MAX : r.rlim_cur;
}

/* At `hint`, if that is free, else where the kernel likes. */
static char *map_near(uintptr_t hint, size_t bytes)
{
    return sys_mmap((void *)hint, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

/* The kernel places mappings downwards next to each other: what is not aligned mostly is a little further
 * down, and after the first one a plain mapping of a multiple of the alignment is aligned already. */
void *os_map(size_t bytes, size_t align)
{
    bytes = round_up(bytes, os_page);
    uintptr_t hint = 0;
    char *p;
    for (unsigned tries = 0; tries < 2; tries++) {
        p = map_near(hint, bytes);
        if (!p || align <= os_page || ((uintptr_t)p & (align - 1)) == 0)
            return p;
        os_unmap(p, bytes);
        hint = (uintptr_t)p & ~(align - 1);
    }
    if (bytes + align < bytes || !(p = map_near(0, bytes + align - os_page)))
        return NULL;

    char *start = (char *)round_up((uintptr_t)p, align);
    char *end = p + bytes + align - os_page;
    if (start > p)
        os_unmap(p, (size_t)(start - p));
    if (end > start + bytes)
        os_unmap(start + bytes, (size_t)(end - start) - bytes);
    return start;
}

bool os_map_at(void *p, size_t bytes)
{
    return sys_mmap(p, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != NULL;
}

bool os_map_gap(void *p, size_t bytes)
{
    void *got = sys_mmap(p, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

    if (got && got != p)
        os_unmap(got, bytes);
    return got == p;
}

static struct {
    struct lock lock;
    char *next, *end;
    _Atomic size_t mapped;
} meta = { .lock.name = "meta" };

void os_meta_note(size_t bytes)
{
    atomic_fetch_add_explicit(&meta.mapped, bytes, memory_order_relaxed);
    GLOBAL_ADD(meta_bytes, bytes);
}

static void *map_meta(size_t bytes)
{
    void *p = os_map(bytes, os_page);

    if (p)
        os_meta_note(bytes);
    return p;
}

/* Waits for nobody, since who waits may have a lock that a handler on top of the other one waits for. */
void *os_meta(size_t bytes)
{
    void *p = NULL;

    bytes = round_up(bytes, hak_cacheline);
    if (bytes > META_CHUNK / 4 || !lock_try(&meta.lock))
        return map_meta(round_up(bytes, os_page));
    if ((size_t)(meta.end - meta.next) < bytes && (p = map_meta(META_CHUNK)) != NULL) {
        meta.next = p;
        meta.end = meta.next + META_CHUNK;
    }
    if ((size_t)(meta.end - meta.next) >= bytes) {
        p = meta.next;
        meta.next += bytes;
    }
    lock_drop(&meta.lock);
    return p;
}

size_t os_meta_mapped(void)
{
    return atomic_load_explicit(&meta.mapped, memory_order_relaxed);
}

void os_meta_after_fork(void)
{
    if (lock_after_fork(&meta.lock))
        meta.next = meta.end = NULL;                        /* they may be of two chunks */
}

bool os_unmap(void *p, size_t bytes)
{
    bool done = sys_munmap(p, bytes) == 0;

    if (!done)
        sys_madvise(p, bytes, MADV_DONTNEED);
    return done;
}

bool os_purge(void *p, size_t bytes)
{
    return sys_madvise(p, bytes, MADV_DONTNEED) == 0;
}

bool os_resize(void *p, size_t old_bytes, size_t new_bytes)
{
    return sys_mremap(p, old_bytes, new_bytes, 0, NULL) != NULL;
}

bool os_move(void *from, size_t bytes, void *to, size_t new_bytes)
{
    return sys_mremap(from, bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != NULL;
}

void os_hugepages(void *p, size_t bytes)
{
    sys_madvise(p, bytes, MADV_HUGEPAGE);
}

bool os_wipe_on_fork(void *p, size_t bytes)
{
    return sys_madvise(p, bytes, MADV_WIPEONFORK) == 0;
}

#define SIGNAL(n)   (UINT64_C(1) << ((n) - 1))      /* masks are as the kernel has them */
#define SIGNALS_NOT UINT64_MAX                      /* they could not be held; no mask has SIGKILL in it */

uint64_t os_hold_signals(void)
{
    uint64_t before = 0, held = ~(SIGNAL(SIGBUS) | SIGNAL(SIGFPE) | SIGNAL(SIGILL) | SIGNAL(SIGSEGV)
                                  | SIGNAL(SIGSYS) | SIGNAL(SIGTRAP));
    int saved = errno;

    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &held, &before, sizeof held) == 0)
        return before;
    errno = saved;
    return SIGNALS_NOT;
}

void os_release_signals(uint64_t held)
{
    if (held != SIGNALS_NOT)
        syscall(SYS_rt_sigprocmask, SIG_SETMASK, &held, NULL, sizeof held);
}

uint64_t os_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int os_tid(void)
{
    return (int)syscall(SYS_gettid);
}

void os_yield(void)
{
    int saved = errno;

    syscall(SYS_sched_yield);
    errno = saved;
}

void os_pause(unsigned tried)
{
    int saved = errno;

    /* libc's nanosleep is a cancellation point. */
    if (tried >= 1000)
        syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &(struct timespec) { .tv_nsec = 50000 }, NULL);
    else if (tried >= 100)
        os_yield();
    errno = saved;
}

void os_futex_wait(_Atomic uint32_t *word, uint32_t value, const char *lock)
{
    sys_futex(word, FUTEX_WAIT_PRIVATE, value, lock);
}

void os_futex_wake(_Atomic uint32_t *word, const char *lock)
{
    sys_futex(word, FUTEX_WAKE_PRIVATE, 1, lock);
}
