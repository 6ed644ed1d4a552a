/* record.c: writes and reads recordings; see record.h. */
#define _GNU_SOURCE
#include "hakstat/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hakstat/memory.h"

#define MAGIC "HAKSTAT3"
#define OLDER "HAKSTAT2"                /* of a SuperSlab it has at most OLDER_SLABS cells, and doesn't say how many */
enum { OLDER_SLABS = 64 };
enum { MAGIC_SIZE = sizeof MAGIC - 1, KEY_EVERY = 64, TABLES_MOST = 1 << 20, CHUNK_MOST = 1 << 30 };
enum { TRACE_WORDS = HAK_TRACE_RECORDS * sizeof(struct hak_trace_record) / 8 };

enum chunk_kind { CHUNK_SEGMENT = 1, CHUNK_FRAME };
struct chunk_head {
    uint32_t kind, size;                /* size: of what follows */
    uint32_t sum;                       /* of kind, size and what follows */
    uint32_t pad;
};
struct segment_head {
    int32_t pid;
    char    comm[16];
    uint32_t slabs;                     /* whose cells are there, of a SuperSlab's; 0 in OLDER */
};
struct frame_head {
    uint64_t time_ns, boot_ns, rss_bytes;
    uint32_t slots;
    uint32_t key;                       /* 1: differences are from 0 */
};

/* FNV-1a. */
static uint32_t checksum(const struct chunk_head *head, const uint8_t *body)
{
    uint32_t sum = 2166136261u;

    for (size_t i = 0; i < 8; i++)      /* kind and size */
        sum = (sum ^ ((const uint8_t *)head)[i]) * 16777619u;
    for (size_t i = 0; i < head->size; i++)
        sum = (sum ^ body[i]) * 16777619u;
    return sum;
}

/* ---- The words of a sample: state area, trace ring, map, slots-------------------------------- */

static size_t state_words(const struct shm_seg *seg)
{
    return seg->header.state_size / 8;
}

/* Of the cells of so many slabs of a SuperSlab. */
static size_t cell_words(size_t slabs)
{
    return slabs * sizeof(uint16_t) / 8;
}

static size_t map_words(size_t slabs)
{
    return HAK_MAP_SUPERSLABS * cell_words(slabs);
}

static size_t all_words(const struct shm_seg *seg, size_t slabs, unsigned slots)
{
    return state_words(seg) + TRACE_WORDS + map_words(slabs) + (size_t)slots * seg->header.slot_stride / 8;
}

/* Attaching has checked the other areas. */
static bool has_trace(const struct shm_seg *seg)
{
    const struct hak_seg_header *h = &seg->header;

    return h->trace_size >= TRACE_WORDS * 8 && h->trace_off % 8 == 0 &&
           h->trace_off <= h->total_size && h->trace_size <= h->total_size - h->trace_off;
}

/* ---- Writing ---------------------------------------------------------------------------------- */

struct recorder {
    int fd;
    struct hak_seg_header header;       /* of the last frame's segment */
    unsigned frames;                    /* of this segment */
    uint64_t *last, *words;             /* of the last frame and of this one */
    size_t count;                       /* words of the last frame */
    uint8_t *chunk;
    size_t used, room;
};

int record_open(const char *path, struct recorder **recorder, struct shm_error *err)
{
    struct recorder *r;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, MAGIC, MAGIC_SIZE) != MAGIC_SIZE)
        return shm_fail(err, SHM_EIO, "%s: %s", path, strerror(errno));
    r = must_realloc(NULL, sizeof *r);
    *r = (struct recorder){ .fd = fd };
    *recorder = r;
    return SHM_OK;
}

void record_close(struct recorder *r)
{
    if (r == NULL)
        return;
    close(r->fd);
    free(r->last);
    free(r->words);
    free(r->chunk);
    free(r);
}

static uint8_t *chunk_room(struct recorder *r, size_t size)
{
    if (r->used + size > r->room) {
        r->room = 2 * (r->used + size);
        r->chunk = must_realloc(r->chunk, r->room);
    }
    r->used += size;
    return r->chunk + r->used - size;
}

/* Begins a chunk after those that are to be written with it; returns where. */
static size_t chunk_begin(struct recorder *r, enum chunk_kind kind)
{
    size_t at = r->used;
    struct chunk_head head = { .kind = kind };

    memcpy(chunk_room(r, sizeof head), &head, sizeof head);
    return at;
}

static void chunk_end(struct recorder *r, size_t at)
{
    struct chunk_head head;

    memcpy(&head, r->chunk + at, sizeof head);
    head.size = (uint32_t)(r->used - at - sizeof head);
    head.sum = checksum(&head, r->chunk + at + sizeof head);
    memcpy(r->chunk + at, &head, sizeof head);
}

static int add_segment(struct recorder *r, const struct shm_seg *seg, struct shm_error *err)
{
    size_t size = seg->header.state_off, at = chunk_begin(r, CHUNK_SEGMENT);
    struct segment_head head = { .pid = seg->proc.pid, .slabs = (uint32_t)shm_map_slabs(seg) };

    if (size > TABLES_MOST)
        return shm_fail(err, SHM_EIO, "its descriptors are too large to record");
    memcpy(head.comm, seg->proc.comm, sizeof head.comm);
    memcpy(chunk_room(r, sizeof head), &head, sizeof head);
    if (pread(seg->fd, chunk_room(r, size), size, 0) != (ssize_t)size)
        return shm_fail(err, SHM_EIO, "its segment was cut off");
    chunk_end(r, at);
    r->header = seg->header;
    r->frames = 0;
    return SHM_OK;
}

static void put_number(struct recorder *r, uint64_t n)
{
    for (; n >= 0x80; n >>= 7)
        *chunk_room(r, 1) = (uint8_t)(n | 0x80);
    *chunk_room(r, 1) = (uint8_t)n;
}

/* Fills r->words from a sample; returns how many there are. */
static size_t lay_words(struct recorder *r, const struct sample *s)
{
    const struct shm_seg *seg = s->snap->seg;
    size_t slabs = shm_map_slabs(seg), cells = cell_words(slabs), state = state_words(seg);
    size_t count = all_words(seg, slabs, s->snap->slot_count);
    struct hak_trace_record *ring;

    r->words = must_realloc(r->words, count * 8);
    memset(r->words, 0, count * 8);
    memcpy(r->words, s->snap->state_bytes, state * 8);
    ring = (struct hak_trace_record *)(r->words + state);
    for (size_t i = 0; i < s->event_count; i++)
        ring[(s->events[i].order - 1) % HAK_TRACE_RECORDS] = s->events[i];
    state += TRACE_WORDS;
    for (size_t i = 0; i < s->map_count; i++)
        memcpy(r->words + state + i * cells, s->map[i].cell, cells * 8);
    state += map_words(slabs);
    memcpy(r->words + state, s->snap->slot_bytes, (count - state) * 8);
    return count;
}

static void add_frame(struct recorder *r, const struct sample *s)
{
    size_t count = lay_words(r, s), at = chunk_begin(r, CHUNK_FRAME), skipped = 0;
    struct frame_head head = {
        .time_ns = s->snap->time_ns, .boot_ns = s->snap->boot_ns, .rss_bytes = s->rss_bytes,
        .slots = s->snap->slot_count, .key = r->frames++ % KEY_EVERY == 0,
    };
    uint64_t *swap = r->last;

    memcpy(chunk_room(r, sizeof head), &head, sizeof head);
    for (size_t i = 0; i < count; i++) {
        uint64_t was = head.key || i >= r->count ? 0 : r->last[i];
        uint64_t more = r->words[i] - was;

        if (more == 0) {
            skipped++;
            continue;
        }
        put_number(r, skipped);
        put_number(r, more << 1 ^ (uint64_t)-(int64_t)(more >> 63));
        skipped = 0;
    }
    chunk_end(r, at);
    r->last = r->words;
    r->words = swap;
    r->count = count;
}

int record_sample(struct recorder *r, const struct sample *s, struct shm_error *err)
{
    int code = SHM_OK;
    ssize_t n;

    r->used = 0;
    if (memcmp(&s->snap->seg->header, &r->header, sizeof r->header) != 0)
        code = add_segment(r, s->snap->seg, err);
    if (code != SHM_OK)
        return code;
    add_frame(r, s);
    for (size_t at = 0; at < r->used; at += (size_t)n) {
        n = write(r->fd, r->chunk + at, r->used - at);
        if (n < 0)
            return shm_fail(err, SHM_EIO, "the recording stops: %s", strerror(errno));
    }
    return SHM_OK;
}

/* ---- Reading ---------------------------------------------------------------------------------- */

/* A process of the recording, and our file that stands for its segment. */
struct recorded {
    size_t at;                          /* of its chunk's body */
    uint32_t size;
    struct shm_seg *seg;                /* NULL: not made yet */
    uint8_t *map;
    size_t slabs;                       /* whose cells are in its frames, of a SuperSlab's */
    unsigned slots;                     /* that have memory */
    unsigned frame;                     /* which is in `map` */
    bool filled;                        /* one is */
};

struct frame {
    size_t at;
    uint32_t size;
    unsigned segment;                   /* index of struct recorded */
    bool key;
};

struct replay {
    uint8_t *file;
    size_t size;
    struct frame *frames;
    struct recorded *segments;
    unsigned frame_count, frame_room, segment_count;
    struct hak_trace_record events[HAK_TRACE_RECORDS];
    struct shm_superslab map[HAK_MAP_SUPERSLABS];
};

static void note_segment(struct replay *r, size_t at, uint32_t size)
{
    r->segments = must_realloc(r->segments, (r->segment_count + 1) * sizeof *r->segments);
    r->segments[r->segment_count++] = (struct recorded){ .at = at, .size = size };
}

static void note_frame(struct replay *r, size_t at, uint32_t size)
{
    struct frame_head head;

    if (r->frame_count == r->frame_room) {
        r->frame_room = r->frame_room != 0 ? 2 * r->frame_room : 256;
        r->frames = must_realloc(r->frames, r->frame_room * sizeof *r->frames);
    }
    memcpy(&head, r->file + at, sizeof head);
    r->frames[r->frame_count++] =
        (struct frame){ .at = at, .size = size, .segment = r->segment_count - 1, .key = head.key };
}

/* Finds all whole chunks. */
static void scan(struct replay *r)
{
    struct chunk_head head;
    size_t at = MAGIC_SIZE;

    while (r->size - at >= sizeof head) {
        memcpy(&head, r->file + at, sizeof head);
        at += sizeof head;
        if (head.size > r->size - at || checksum(&head, r->file + at) != head.sum)
            return;
        if (head.kind == CHUNK_SEGMENT && head.size >= sizeof(struct segment_head))
            note_segment(r, at, head.size);
        else if (head.kind == CHUNK_FRAME && head.size >= sizeof(struct frame_head) &&
                 r->segment_count != 0)
            note_frame(r, at, head.size);
        else
            return;
        at += head.size;
    }
}

static int read_file(const char *path, struct replay *r, struct shm_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t got = -1;

    if (fd < 0 || fstat(fd, &st) != 0) {
        shm_fail(err, SHM_EIO, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return SHM_EIO;
    }
    for (r->file = must_realloc(NULL, (size_t)st.st_size); r->size < (size_t)st.st_size;
         r->size += (size_t)got) {
        got = read(fd, r->file + r->size, (size_t)st.st_size - r->size);
        if (got <= 0)
            break;
    }
    close(fd);
    if (r->size < MAGIC_SIZE ||
        (memcmp(r->file, MAGIC, MAGIC_SIZE) != 0 && memcmp(r->file, OLDER, MAGIC_SIZE) != 0))
        return shm_fail(err, SHM_EABI, "%s: no recording of this version of hakstat", path);
    return SHM_OK;
}

int replay_open(const char *path, struct replay **replay, struct shm_error *err)
{
    struct replay *r = must_realloc(NULL, sizeof *r);
    int code;

    memset(r, 0, sizeof *r);
    code = read_file(path, r, err);
    if (code == SHM_OK) {
        scan(r);
        if (r->frame_count == 0)
            code = shm_fail(err, SHM_EIO, "%s: not one whole sample in it", path);
    }
    if (code != SHM_OK) {
        replay_close(r);
        return code;
    }
    *replay = r;
    return SHM_OK;
}

void replay_close(struct replay *r)
{
    if (r == NULL)
        return;
    for (unsigned i = 0; i < r->segment_count; i++)
        if (r->segments[i].seg != NULL) {
            munmap(r->segments[i].map, r->segments[i].seg->header.total_size);
            shm_detach(r->segments[i].seg);
        }
    free(r->segments);
    free(r->frames);
    free(r->file);
    free(r);
}

unsigned replay_count(const struct replay *r)
{
    return r->frame_count;
}

static int damaged(struct shm_error *err)
{
    return shm_fail(err, SHM_EIO, "the recording is damaged");
}

/* How many cells of a SuperSlab its frames have.  False: more than the segment. */
static bool take_slabs(struct recorded *s, uint32_t slabs)
{
    size_t all = shm_map_slabs(s->seg);

    s->slabs = slabs != 0 ? slabs : all < OLDER_SLABS ? all : OLDER_SLABS;
    return s->slabs % 4 == 0 && s->slabs <= s->seg->header.map_size / sizeof(uint16_t);
}

static int no_memory(struct shm_error *err)
{
    return shm_fail(err, SHM_EIO, "no memory for the recording: %s", strerror(errno));
}

/* A file in memory, as large as the segment was, with its header and descriptors. */
static int make_segment(struct replay *r, struct recorded *s, struct shm_error *err)
{
    const uint8_t *tables = r->file + s->at + sizeof(struct segment_head);
    size_t size = s->size - sizeof(struct segment_head);
    struct shm_proc proc = { 0 };
    struct segment_head head;
    struct hak_seg_header header;
    int fd, code;

    if (size < sizeof header)
        return damaged(err);
    memcpy(&header, tables, sizeof header);
    memcpy(&head, r->file + s->at, sizeof head);
    proc.pid = proc.ns_pid = head.pid;
    memcpy(proc.comm, head.comm, sizeof proc.comm - 1);
    fd = memfd_create("hakstat", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)header.total_size) != 0 ||
        pwrite(fd, tables, size, 0) != (ssize_t)size) {
        if (fd >= 0)
            close(fd);
        return no_memory(err);
    }
    code = shm_attach_copy(&proc, fd, &s->seg, err);
    if (code != SHM_OK)
        return code;
    if (!take_slabs(s, head.slabs)) {
        code = damaged(err);
    } else {
        s->map = mmap(NULL, header.total_size, PROT_READ | PROT_WRITE, MAP_SHARED, s->seg->fd, 0);
        code = s->map == MAP_FAILED ? no_memory(err) : SHM_OK;
    }
    if (code != SHM_OK) {
        shm_detach(s->seg);
        s->seg = NULL;
    }
    return code;
}

/* Where word i of a sample is in the segment's file; NULL: it has no such area. */
static uint64_t *word_at(const struct recorded *s, size_t i)
{
    const struct hak_seg_header *h = &s->seg->header;
    size_t state = state_words(s->seg), cells = cell_words(s->slabs), map = map_words(s->slabs);

    if (i < state)
        return (uint64_t *)(s->map + h->state_off) + i;
    i -= state;
    if (i < TRACE_WORDS)
        return has_trace(s->seg) ? (uint64_t *)(s->map + h->trace_off) + i : NULL;
    i -= TRACE_WORDS;
    if (i < map)
        return i / cells < h->map_count
            ? (uint64_t *)(s->map + h->map_off + i / cells * h->map_size) + i % cells : NULL;
    return (uint64_t *)(s->map + h->slots_off) + (i - map);
}

static bool get_number(const uint8_t **from, const uint8_t *end, uint64_t *n)
{
    *n = 0;
    for (int shift = 0; shift < 64 && *from < end; shift += 7) {
        uint8_t byte = *(*from)++;

        *n |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* Memory behind the slots: shm/ looks at no more of them than have some. */
static bool back_slots(struct recorded *s, unsigned slots)
{
    const struct hak_seg_header *h = &s->seg->header;

    if (slots <= s->slots)
        return true;
    if (slots > h->slots_max ||
        posix_fallocate(s->seg->fd, h->slots_off, (off_t)slots * h->slot_stride) != 0)
        return false;
    s->slots = slots;
    return true;
}

/* A key frame begins with nothing. */
static void clear_words(struct recorded *s)
{
    const struct hak_seg_header *h = &s->seg->header;

    memset(s->map + h->state_off, 0, h->state_size);
    if (has_trace(s->seg))
        memset(s->map + h->trace_off, 0, TRACE_WORDS * 8);
    for (size_t i = 0; i < h->map_count && i < HAK_MAP_SUPERSLABS; i++)
        memset(s->map + h->map_off + i * h->map_size, 0, cell_words(s->slabs) * 8);
    memset(s->map + h->slots_off, 0, (size_t)s->slots * h->slot_stride);
}

static int apply_frame(struct replay *r, unsigned i, struct shm_error *err)
{
    const struct frame *frame = &r->frames[i];
    struct recorded *s = &r->segments[frame->segment];
    const uint8_t *from = r->file + frame->at + sizeof(struct frame_head);
    const uint8_t *end = r->file + frame->at + frame->size;
    struct frame_head head;
    size_t at = 0, count;

    memcpy(&head, r->file + frame->at, sizeof head);
    if (!back_slots(s, head.slots))
        return damaged(err);
    count = all_words(s->seg, s->slabs, head.slots);
    if (head.key)
        clear_words(s);
    while (from < end) {
        uint64_t skip, more;

        if (!get_number(&from, end, &skip) || !get_number(&from, end, &more) || skip >= count - at)
            return damaged(err);
        at += skip;
        uint64_t *word = word_at(s, at++);
        if (word != NULL)
            *word += more >> 1 ^ (uint64_t)-(int64_t)(more & 1);
    }
    s->frame = i;
    s->filled = true;
    return SHM_OK;
}

/* Brings a segment's file to frame i, from where it is or from the key frame before. */
static int go_to(struct replay *r, unsigned i, struct shm_error *err)
{
    struct recorded *s = &r->segments[r->frames[i].segment];
    unsigned from = i;
    int code = SHM_OK;

    if (s->seg == NULL)
        code = make_segment(r, s, err);
    if (code != SHM_OK)
        return code;
    while (!r->frames[from].key && !(s->filled && s->frame + 1 == from)) {
        if (from == 0 || r->frames[from - 1].segment != r->frames[i].segment)
            return damaged(err);
        from--;
    }
    for (; from <= i && code == SHM_OK; from++)
        code = apply_frame(r, from, err);
    return code;
}

int replay_sample(struct replay *r, unsigned i, struct sample *sample, struct shm_error *err)
{
    struct shm_seg *seg;
    struct frame_head head;
    int code = go_to(r, i, err);

    if (code != SHM_OK)
        return code;
    seg = r->segments[r->frames[i].segment].seg;
    code = shm_snapshot(seg, &sample->snap, err);
    if (code != SHM_OK)
        return code;
    memcpy(&head, r->file + r->frames[i].at, sizeof head);
    sample->snap->time_ns = head.time_ns;
    sample->snap->boot_ns = head.boot_ns;
    sample->rss_bytes = head.rss_bytes;
    sample->events = r->events;
    sample->event_count = shm_trace(seg, r->events, HAK_TRACE_RECORDS);
    sample->map = r->map;
    sample->map_count = shm_map(seg, r->map, HAK_MAP_SUPERSLABS);
    return SHM_OK;
}
