/* usdt.h: the USDT points of abi/probes.def, each a function usdt_NAME(arguments).
 *
 * On cold paths only.  A point that nobody watches costs a load and a test: the semaphore, which the
 * kernel counts up for every watcher; the nop that a watcher's breakpoint replaces, and the code for
 * the arguments, are behind it.  Without <sys/sdt.h> the functions are empty, and their arguments are
 * checked all the same (the idea is jemalloc's). */
#ifndef HAK_USDT_H
#define HAK_USDT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/base.h"

#ifdef HAK_USDT
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
#define USDT_DECLARE(name) /* the name is sdt.h's */ \
    extern unsigned short hakmem_##name##_semaphore __attribute__((visibility("hidden")));
#define USDT_FIRE(name, n, ...) \
    if (unlikely(__atomic_load_n(&hakmem_##name##_semaphore, __ATOMIC_RELAXED))) \
        STAP_PROBE##n(hakmem, name, __VA_ARGS__)
#else
#define USDT_DECLARE(name)
#define USDT_FIRE(name, n, ...) usdt_nothing(n, __VA_ARGS__)
hak_inline void usdt_nothing(int n, ...) { (void)n; }
#endif

#define PROBE1(name, help, ta, a, ha) \
    USDT_DECLARE(name) \
    hak_inline void usdt_##name(ta a) { USDT_FIRE(name, 1, a); }
#define PROBE2(name, help, ta, a, ha, tb, b, hb) \
    USDT_DECLARE(name) \
    hak_inline void usdt_##name(ta a, tb b) { USDT_FIRE(name, 2, a, b); }
#define PROBE3(name, help, ta, a, ha, tb, b, hb, tc, c, hc) \
    USDT_DECLARE(name) \
    hak_inline void usdt_##name(ta a, tb b, tc c) { USDT_FIRE(name, 3, a, b, c); }
#define PROBE4(name, help, ta, a, ha, tb, b, hb, tc, c, hc, td, d, hd) \
    USDT_DECLARE(name) \
    hak_inline void usdt_##name(ta a, tb b, tc c, td d) { USDT_FIRE(name, 4, a, b, c, d); }
#include "abi/probes.def"
#undef PROBE1
#undef PROBE2
#undef PROBE3
#undef PROBE4

#endif
