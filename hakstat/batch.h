/* batch.h: a screen's table on standard output, sample by sample, for pipes and scripts. */
#ifndef HAKSTAT_BATCH_H
#define HAKSTAT_BATCH_H

#include "hakstat/view.h"

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_CSV };

/* Prints `count` samples (0: until the process ends) of view->screen, view->interval_ms apart,
 * the first after one interval, or, where view->cumulative, at once.  Returns an exit code;
 * where it is not 0, err says why. */
int batch_run(struct view *view, enum format format, unsigned long count, struct shm_error *err);

#endif
