/* base.h: the compiler, the machine, and the constants of the address layout. */
#ifndef HAK_BASE_H
#define HAK_BASE_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x)    __builtin_expect(!!(x), 1)
#define unlikely(x)  __builtin_expect(!!(x), 0)
#define often(x)     __builtin_expect_with_probability(!!(x), 1, 0.7)   /* yet the other way is hot, too */
#define hak_opaque(x) __asm__("" : "+r"(x))     /* keeps x in a register, however the compiler could have it again */
#define hak_cold     __attribute__((cold, noinline))
#define hak_inline   static inline __attribute__((always_inline))
#define hak_export   __attribute__((visibility("default")))
#define hak_tls      __thread __attribute__((tls_model("initial-exec")))
#define hak_cacheline 64
#define hak_hot      __attribute__((aligned(hak_cacheline)))    /* elsewhere in a line a call takes up to 15 % longer */

/* All address arithmetic derives from these two. */
#define SLAB_SHIFT   14                             /* 16 KiB */
#define SS_SHIFT     21                             /* 2 MiB */
#define SLAB_SIZE    ((size_t)1 << SLAB_SHIFT)
#define SS_SIZE      ((size_t)1 << SS_SHIFT)
#define SS_SLABS     (1 << (SS_SHIFT - SLAB_SHIFT))
_Static_assert(SS_SLABS == 128, "a SuperSlab's occupancy map is one slab_map");

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

hak_inline size_t round_up(size_t n, size_t to)     /* `to`: a power of two */
{
    return (n + to - 1) & ~(to - 1);
}

hak_inline unsigned log2_floor(uint64_t n)          /* n > 0 */
{
    return 63 - (unsigned)__builtin_clzll(n);
}

/* n bits from `first` on; n > 0, first + n <= 64. */
hak_inline uint64_t bits_of(unsigned first, unsigned n)
{
    return UINT64_MAX >> (64 - n) << first;
}

hak_inline unsigned bits_ones(uint64_t bits)        /* how many are set from the first on */
{
    return bits == UINT64_MAX ? 64 : (unsigned)__builtin_ctzll(~bits);
}

/* Counters in shared memory.  The owner thread is the only writer, and an aligned 8-byte store is
 * whole on every machine we run on, so that a reader in another process sees a value that was true.
 * Plain C lets the compiler use one add to memory; under TSan it is a relaxed atomic instead. */
#ifdef HAK_NO_STATS
#define COUNT(field, n) ((void)&(field), (void)(n))
#elif defined(__SANITIZE_THREAD__)
#define COUNT(field, n) __atomic_store_n(&(field), __atomic_load_n(&(field), __ATOMIC_RELAXED) + (uint64_t)(n), \
                                         __ATOMIC_RELAXED)
#else
#define COUNT(field, n) ((void)((field) += (uint64_t)(n)))
#endif

#ifdef HAK_DEBUG
#define hak_assert(e) ((e) ? (void)0 : hak_die("invariant broken: " #e, NULL))
#else
#define hak_assert(e) ((void)sizeof(e))
#endif

/* The end of the process by our own hand: one line "hakmem: WHAT" or "hakmem: WHAT: 0xADDRESS" on
 * standard error, then abort.  No malloc, no stdio; callable from anywhere, signal handlers too. */
hak_cold _Noreturn void hak_die(const char *what, const void *address);

/* One line "hakmem: WHAT" on standard error.  Same conditions; errno is kept. */
hak_cold void hak_warn(const char *what, const char *detail);

#endif
