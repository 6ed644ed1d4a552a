/* dlopen.c: RTLD_DEEPBIND makes a library use glibc's malloc beside ours, and then hand us its blocks.
 * dlopen is wrapped to clear the flag.  The real one looks at its return address to find the
 * caller's namespace and search path, so that it is left by a jump, not called. */
#include "lib/api/api.h"

#include <dlfcn.h>

typedef void *dlopen_fn(const char *file, int flags);

static int cleared;

void dlopen_init(bool clear_deepbind)
{
    cleared = clear_deepbind ? RTLD_DEEPBIND : 0;
}

#ifndef HAK_PREFIXED
static dlopen_fn *_Atomic real;

static hak_cold dlopen_fn *find_real(void)
{
    union { void *object; dlopen_fn *function; } u = { dlsym(RTLD_NEXT, "dlopen") };

    if (!u.function)
        hak_die("there is no dlopen behind ours", NULL);
    atomic_store_explicit(&real, u.function, memory_order_relaxed);
    return u.function;
}

hak_export void *dlopen(const char *file, int flags)
{
    dlopen_fn *f = atomic_load_explicit(&real, memory_order_relaxed);

    if (unlikely(!f))
        f = find_real();
    return f(file, flags & ~cleared);                   /* a jump: tests/hot_path.sh looks */
}
#endif
