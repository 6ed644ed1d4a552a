/* screens.c: all screens, in the order of their keys and tabs. */
#include "hakstat/screens.h"

const struct screen *const screens[SCREENS] = {
    &screen_classes, &screen_threads, &screen_superslabs, &screen_knobs, &screen_latencies,
    &screen_events, &screen_counters, &screen_probes,
    [SCREEN_PROCESSES] = &screen_processes,
    [SCREEN_HELP] = &screen_help,
};
