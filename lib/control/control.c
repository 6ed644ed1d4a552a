/* control.c: start, fork and exit of the control layer.  See control.h. */
#include "lib/control/internal.h"

#include <errno.h>
#include <string.h>

#include "lib/base/os.h"

/* What was counted before the state page was there. */
static void move_globals(void)
{
    struct hak_globals *old = atomic_load_explicit(&hak_globals, memory_order_relaxed);

    seg.state->global = *old;
    atomic_store_explicit(&hak_globals, &seg.state->global, memory_order_release);
}

void control_init(void)
{
    int saved = errno;

    os_init();
    unsigned refused = tick_start();
    const union hak_knobs *knobs = tick_knobs();
    const char *why = seg_make(knobs);
    if (why && knobs->verbose)
        hak_warn("no segment", why);
    move_globals();
    GLOBAL_ADD(env_errors, refused);
    trace_switch(knobs->trace_ring);
    tick_publish_all();
    hak_map = map_cells;
    hak_tick = tick;
    hak_purged = tick_purged;
    seg_ready();
    errno = saved;
}

void control_fork_child(const uint64_t *inherited)
{
    int saved = errno;

    hak_globals_after_fork();
    trace_child();
    map_child();
    tick_child();
    seg_make(tick_knobs());
    move_globals();
    memcpy(seg.state->inherited, inherited, sizeof seg.state->inherited);
    trace_switch(tick_knobs()->trace_ring);
    tick_publish_all();
    seg_ready();
    errno = saved;
}

/* A child that skipped the handlers of fork has its parent's variables: the name is not its own,
 * and the segment is not mapped in it. */
void control_exit(void)
{
    int saved = errno;
    union hak_knobs knobs;

    if (sys_getpid() != seg.self.pid)
        return;
    control_knobs(&knobs);
    if (knobs.heap_v2_stats)
        report_print();
    if (seg.shared) {
        put(seg.state->state.process_state, (uint32_t)HAK_PROC_EXITED);
        if (seg_named())
            unlinkat(AT_FDCWD, seg.path, 0);
    }
    errno = saved;
}
