/* internal.h: a struct probes, for load.c, which makes it count, and maps.c, which reads it. */
#ifndef PROBES_INTERNAL_H
#define PROBES_INTERNAL_H

#include "probes/probes.h"

struct bpf_link;
struct hakprobe_bpf;

struct probes {
    int processes, counts, waits, lost;         /* the maps; owned by skel if there is one */
    struct hakprobe_bpf *skel;                  /* NULL: pinned ones of another process */
    struct bpf_link **events;                   /* page faults: three a CPU */
    size_t event_count;
    char *pinned;               /* the directory that probes_close takes away; or NULL */
    int directory;              /* that one, locked, or the one that the maps are from; or -1 */
};

struct probes *probes_new(void);                /* NULL: no memory */
uint64_t probes_missed(const struct probes *probes);    /* what HAKPROBE_LOST_MISSED counts */
void probes_unload(struct probes *probes);      /* what probes_open did */

#endif
