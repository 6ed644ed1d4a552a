/* record.h: samples in a file, and back.
 *
 * The file is host-specific, like a segment: a magic, then chunks, each with its length and
 * a checksum, so that a torn tail is only a shorter recording:
 *
 *     "HAKSTAT3"
 *     SEGMENT   pid, name, cells of a SuperSlab; the segment's header and descriptors as they are
 *     FRAME     clocks; the words of state area, trace ring, map and slots (of these, what counters
 *               that this program knows name) that differ from the last frame (of a key frame: from
 *               0), as LEB128 pairs (words skipped, zigzag difference)
 *     FRAME     ...
 *
 * A replay puts the words into a file of its own and reads it by shm/, as if it were a process:
 * screens can't tell the difference, and what does not hold there is found by the same checks.
 *
 * Not thread-safe.  Errors as in shm.h. */
#ifndef HAKSTAT_RECORD_H
#define HAKSTAT_RECORD_H

#include "shm/shm.h"

/* What is kept of a sample besides the snapshot. */
struct sample {
    struct shm_snap *snap;              /* with its segment, snap->seg */
    const struct hak_trace_record *events;
    size_t   event_count;
    const struct shm_superslab *map;    /* of SuperSlabs */
    size_t   map_count;
    uint64_t rss_bytes;
};

struct recorder;

/* Makes the file; it must not exist. */
int  record_open(const char *path, struct recorder **recorder, struct shm_error *err);

/* Appends a sample, of whichever process. */
int  record_sample(struct recorder *recorder, const struct sample *sample, struct shm_error *err);
void record_close(struct recorder *recorder);           /* NULL is fine */

struct replay;

/* Reads a recording.  One whose tail is torn ends with its last whole chunk. */
int  replay_open(const char *path, struct replay **replay, struct shm_error *err);
void replay_close(struct replay *replay);               /* NULL is fine */
unsigned replay_count(const struct replay *replay);     /* samples; at least 1 */

/* Sample i: the snapshot is the caller's, its segment, the events and the map are the replay's (those two:
 * until the next call). */
int  replay_sample(struct replay *replay, unsigned i, struct sample *sample,
                   struct shm_error *err);

#endif
