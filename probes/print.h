/* print.h: readings as text, JSON lines or OpenMetrics. */
#ifndef PROBES_PRINT_H
#define PROBES_PRINT_H

#include "probes/probes.h"

enum print_format { PRINT_TEXT, PRINT_JSON, PRINT_METRICS };

struct print {
    enum print_format format;
    bool histograms;            /* text: with the buckets */
    /* The pid of a process in our namespace, or 0. */
    int (*pid)(const struct hakprobe_id *id, void *ctx);
    void *ctx;
};

/* `r`: what was counted within interval_ns; for PRINT_METRICS, since the start. */
void print_reading(const struct print *print, const struct probes_reading *r, uint64_t interval_ns);

/* What works and what does not. */
void print_report(const struct print *print, const struct probes_report *report);

#endif
