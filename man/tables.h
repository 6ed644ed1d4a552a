/* tables.h: the rows of abi/ and of hakstat's keys as lines for man/tables.awk.  Only the C
 * preprocessor reads it. */
#define KNOB(id, name, type, context, unit, min, max, def, alias, help) \
    @knob | name | type | context | unit | min | max | def | alias | help
#include "abi/knobs.def"

#define BIN_STAT(id, name, help)            @bin_stat    | name | ""   | COUNTER | help
#define SAMPLE_STAT(id, name, help)         @sample_stat | name | "bytes" | COUNTER | help
#define THREAD_STAT(id, name, unit, help)   @thread_stat | name | unit | COUNTER | help
#define HIST(id, name, help)                @hist        | name | "ns" | COUNTER | help
#define GLOBAL_STAT(id, name, kind, unit, help) @global_stat | name | unit | kind | help
#define WALK_STAT(id, name, help)           @walk_stat   | name | ""   | GAUGE   | help
#include "abi/stats.def"

#define BIN(size, cls, slabs, fast_cache)   @bin | size | cls | slabs | fast_cache
#define BIN_ALIGNED(size, cls, slabs, fast_cache) @bin_aligned | size | cls | slabs | fast_cache
#include "abi/sizes.def"

#define PROBE1(name, help, t, a, ha) @probe | #name | help | t | #a | ha
#define PROBE2(name, help, t, a, ha, u, b, hb) PROBE1(name, help, t, a, ha) | u | #b | hb
#define PROBE3(name, help, t, a, ha, u, b, hb, v, c, hc) \
    PROBE2(name, help, t, a, ha, u, b, hb) | v | #c | hc
#define PROBE4(name, help, t, a, ha, u, b, hb, v, c, hc, w, d, hd) \
    PROBE3(name, help, t, a, ha, u, b, hb, v, c, hc) | w | #d | hd
#include "abi/probes.def"

#define KEY(action, label, help, ...)       @key | label | "" | COUNTER | help
#include "hakstat/keys.def"
