/* core.h: what the unit tests of lib/base, lib/core and lib/front share.  They call no malloc: what
 * they need is static or mapped. */
#ifndef TESTS_UNIT_CORE_H
#define TESTS_UNIT_CORE_H

#include "abi/layout.h"
#include "lib/base/base.h"
#include "lib/base/hooks.h"
#include "lib/base/os.h"
#include "tests/under.h"

/* In a check that threads run or that is made very often: counts a fault and says where, once. */
static _Atomic long faults;

__attribute__((unused, noinline))
static void fault(const char *what, int line)
{
    if (atomic_fetch_add(&faults, 1) == 0) {
        char text[256];
        int n = snprintf(text, sizeof text, "# line %d: not so: %s\n", line, what);
        if (write(1, text, (size_t)n) != n)
            _exit(99);
    }
}
#define must(e) ((e) ? (void)0 : fault(#e, __LINE__))

/* The faults since the last call. */
__attribute__((unused))
static long faults_taken(void)
{
    return atomic_exchange(&faults, 0);
}

/* A knob table with the defaults. */
__attribute__((unused))
static union hak_knobs default_knobs(void)
{
    return (union hak_knobs){ {
#define KNOB(id, name, type, context, unit, min, max, def, alias, help) .id = def,
#include "abi/knobs.def"
#undef KNOB
    } };
}

/* Counters of threads without a heap. */
static __thread struct hak_slot_full my_slot;

__attribute__((unused))
static struct hak_slot_full *slot_of_thread(void)
{
    return &my_slot;
}

__attribute__((unused))
static uint64_t global(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}
#define GLOBAL(field) global(hak_global(field))

__attribute__((unused))
static void *mapped(size_t bytes)
{
    void *p = os_map(bytes, os_page);
    if (!p)
        bail("no memory: %m");
    return p;
}

/* Everything of it reads as zero; looks at one word in every 512. */
__attribute__((unused))
static int zeroed(const void *p, size_t bytes)
{
    const uint64_t *w = p;
    for (size_t i = 0; i < bytes / sizeof *w; i += 64)
        if (w[i])
            return 0;
    return 1;
}

#endif
