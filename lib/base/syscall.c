/* syscall.c: see syscall.h. */
#include "lib/base/syscall.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "abi/call.h"
#include "lib/base/hooks.h"

const void *sys_where;

/* Sanitizers must see what is mapped and unmapped: under them libc makes the calls. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)

#include <unistd.h>

/* TSan knows of mmap and munmap, but not that addresses which mremap gives up may be another thread's
 * next, nor that the kernel puts the one before the other. */
static _Atomic int given_up;

static long call(long nr, const char *what, long a, long b, long c, long d, long e, long f)
{
    int saved = errno;
    long r;

    (void)what;
    if (nr == SYS_mremap)
        atomic_fetch_add_explicit(&given_up, 1, memory_order_release);
    switch (nr) {
    case SYS_mmap:    r = (long)mmap((void *)a, (size_t)b, (int)c, (int)d, (int)e, f); break;
    case SYS_mremap:  r = (long)mremap((void *)a, (size_t)b, (size_t)c, (int)d, (void *)e); break;
    case SYS_munmap:  r = munmap((void *)a, (size_t)b); break;
    case SYS_madvise: r = madvise((void *)a, (size_t)b, (int)c); break;
    default:          r = syscall(nr, a, b, c, d, e, f);
    }
    if (nr == SYS_mremap || nr == SYS_mmap)
        atomic_load_explicit(&given_up, memory_order_acquire);
    if (r == -1)
        r = -errno;
    errno = saved;
    return r;
}

#elif defined(__x86_64__)

static long call(long nr, const char *what, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    register uint64_t tag __asm__("rbx") = HAK_CALL_TAG;
    register const char *why __asm__("r12") = what;
    register const void *where __asm__("r13") = sys_where;

    __asm__ volatile("syscall" : "+a"(nr)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9), "r"(tag), "r"(why), "r"(where)
                     : "rcx", "r11", "memory");
    return nr;
}

#elif defined(__aarch64__)

static long call(long nr, const char *what, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = nr, x0 __asm__("x0") = a, x1 __asm__("x1") = b,
                  x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    register uint64_t tag __asm__("x9") = HAK_CALL_TAG;
    register const char *why __asm__("x10") = what;
    register const void *where __asm__("x11") = sys_where;

    __asm__ volatile("svc 0" : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5), "r"(tag), "r"(why),
                       "r"(where)
                     : "memory");
    return x0;
}

#endif

static void *address(long r)
{
    return r < 0 && r >= -4095 ? NULL : (void *)r;
}

void *sys_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
    GLOBAL_ADD(mmap_calls, 1);
    return address(call(SYS_mmap, NULL, (long)at, (long)bytes, prot, flags, fd, offset));
}

void *sys_mremap(void *p, size_t bytes, size_t new_bytes, int flags, void *to)
{
    GLOBAL_ADD(mremap_calls, 1);
    return address(call(SYS_mremap, NULL, (long)p, (long)bytes, (long)new_bytes, flags, (long)to, 0));
}

int sys_munmap(void *p, size_t bytes)
{
    GLOBAL_ADD(munmap_calls, 1);
    return (int)call(SYS_munmap, NULL, (long)p, (long)bytes, 0, 0, 0, 0);
}

int sys_madvise(void *p, size_t bytes, int advice)
{
    GLOBAL_ADD(madvise_calls, 1);
    return (int)call(SYS_madvise, NULL, (long)p, (long)bytes, advice, 0, 0, 0);
}

int sys_futex(_Atomic uint32_t *word, int op, uint32_t value, const char *lock)
{
    GLOBAL_ADD(futex_calls, 1);
    return (int)call(SYS_futex, lock, (long)word, op, (long)value, 0, 0, 0);
}
