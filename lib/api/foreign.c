/* foreign.c: pointers that are not ours.
 *
 * A library loaded with RTLD_DEEPBIND, or one that calls __libc_malloc, hands us glibc's blocks.  One
 * of glibc's main arena can be proved to be that: nobody else moves the break, so it lies between
 * where the break was when we started and where it is, with a chunk header that makes sense.  Such a
 * block goes to glibc; of any other we know nothing, and guessing corrupts: we die. */
#include "lib/api/api.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

extern void __libc_free(void *p) __attribute__((weak));
extern void *__libc_realloc(void *p, size_t n) __attribute__((weak));

static const char *break_at_start;

void foreign_init(void)
{
    break_at_start = sbrk(0);
}

bool foreign_is_libc(const void *p)
{
    const char *at = p, *end = sbrk(0);

    if (!__libc_free || !break_at_start || break_at_start == (char *)-1)
        return false;
    if (at < break_at_start + 2 * sizeof(size_t) || at >= end || (uintptr_t)at % (2 * sizeof(size_t)))
        return false;
    size_t size = ((const size_t *)p)[-1] & ~(size_t)7;
    return size >= 4 * sizeof(size_t) && size <= (size_t)(end - at) + 2 * sizeof(size_t);
}

void foreign_free(void *p)
{
    int saved = errno;

    if (!foreign_is_libc(p))
        hak_die("free(): not a block in use", p);
    __libc_free(p);
    errno = saved;                                      /* libc's own free keeps it only since 2.33 */
}

void *foreign_realloc(void *p, size_t n)
{
    if (!foreign_is_libc(p) || !__libc_realloc)
        hak_die("realloc(): not a block in use", p);
    return __libc_realloc(p, n);
}
