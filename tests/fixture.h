/* fixture.h: makes a segment by itself, without the library, for tests of the tools.
 *
 * Slot s has figures that are multiples of k = s + 1, the same in every bin of blocks, so that
 * everything a tool shows can be worked out by hand.  With n slots the sum of all k is n(n+1)/2.
 *
 *   allocs 60k = heap_v2_hits 10k + fast_cache_hits 30k + slow_allocs 20k
 *   frees  34k = heap_v2_pushes 8k + fast_cache_pushes 12k + slow_frees 10k + remote_frees 4k
 *   live   26k = used 44k - cached 15k (heap_v2 2k, fast_cache 10k, sll 3k) - batched k - queued 2k
 *   sampled: 4k bytes given, 3k asked for, in every bin but C0's
 *   map: of 64 slabs each, as libraries of ABI 1.2 have them, SuperSlabs 0 to 6 live, 7 and 8 in the LRU,
 *        9 to 11 unmapped; in live SuperSlab i slab j is free for j < i, otherwise in use by C0, C3, C4,
 *        C5, C6, C7, mid, and 4j + i/2 of 255 full
 *   large: 3k allocs, k frees, 300000k bytes out, 100000k back; huge: the same, ten times the bytes
 */
#ifndef TESTS_FIXTURE_H
#define TESTS_FIXTURE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "abi/layout.h"

enum { FIXTURE_PAGE = 4096, FIXTURE_SLOTS_MAX = 64, FIXTURE_SLABS = 64 };

/* The file, as it is laid out. */
struct fixture_head {
    struct hak_seg_header header;
    struct hak_knob_desc  knob[HAK_KNOBS];
    struct hak_stat_desc  stat[128];
    struct hak_bin_desc   bin[HAK_ROWS];
    struct hak_class_desc cls[HAK_CLASSES];
};
struct fixture {
    union { struct fixture_head head; char head_pages[24 * FIXTURE_PAGE]; };
    union { struct hak_state_full state; char state_pages[2 * FIXTURE_PAGE]; };
    union { struct hak_control control; char control_page[FIXTURE_PAGE]; };
    union { uint16_t map[12][FIXTURE_SLABS]; char map_page[FIXTURE_PAGE - 8]; };
    uint64_t rounds;            /* no part of a segment: how often all threads have had their turn */
    union { struct hak_slot_full slot; char slot_pages[5 * FIXTURE_PAGE]; }
        slots[FIXTURE_SLOTS_MAX];
};
_Static_assert(offsetof(struct fixture, state) % FIXTURE_PAGE == 0, "pages of its own");

static const struct hak_knob_desc fixture_knobs[] = {
#define KNOB(id, name_, type_, context_, unit_, min_, max_, def_, alias_, help_)                  \
    { .name = name_, .alias = alias_, .unit = unit_, .help = help_, .type = HAK_##type_,          \
      .context = HAK_##context_, .index = HAK_KNOB_##id, .min = min_, .max = max_, .def = def_ },
#include "abi/knobs.def"
#undef KNOB
};

static const struct hak_stat_desc fixture_stats[] = {
#define AT(member) offsetof(struct hak_slot_full, member)
#define BIN_STAT(id, name_, help_) { .name = name_, .help = help_, .scope = HAK_SCOPE_BIN,        \
    .offset = AT(row[0].id), .stride = sizeof(struct hak_row) },
#define SAMPLE_STAT(id, name_, help_) { .name = name_, .unit = "bytes", .help = help_,             \
    .scope = HAK_SCOPE_BIN, .offset = AT(row[0].sample.id), .stride = sizeof(struct hak_row) },
#define THREAD_STAT(id, name_, unit_, help_) { .name = name_, .unit = unit_, .help = help_,       \
    .scope = HAK_SCOPE_THREAD, .offset = AT(thread.id) },
#define HIST(id, name_, help_) { .name = name_, .help = help_, .scope = HAK_SCOPE_HIST,           \
    .offset = AT(hist.id) },
#define GLOBAL_STAT(id, name_, kind_, unit_, help_) { .name = name_, .unit = unit_,               \
    .help = help_, .scope = HAK_SCOPE_GLOBAL, .kind = HAK_##kind_,                                \
    .offset = offsetof(struct hak_state_full, global.id) },
#define WALK_STAT(id, name_, help_) { .name = name_, .help = help_, .scope = HAK_SCOPE_WALK,      \
    .offset = AT(row[0].walk.id), .stride = sizeof(struct hak_row) },
#include "abi/stats.def"
};

static const struct hak_bin_desc fixture_bins[HAK_ROWS] = {
#define BIN(size_, cls_, slabs, fc) { .size = size_, .cls = cls_ },
#include "abi/sizes.def"
#undef BIN
    { .size = 0, .cls = HAK_CLASS_LARGE }, { .size = 0, .cls = HAK_CLASS_HUGE },
};

static const struct hak_class_desc fixture_classes[HAK_CLASSES] = {
    { "C0", 8 }, { "C1", 16 }, { "C2", 32 }, { "C3", 64 }, { "C4", 128 }, { "C5", 256 },
    { "C6", 512 }, { "C7", 1024 }, { "mid", 32768 }, { "large", 1 << 20 }, { "huge", 0 },
};

static uint64_t fixture_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Field 22 of /proc/self/stat. */
static uint64_t fixture_start_time(void)
{
    char text[1024];
    int fd = open("/proc/self/stat", O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    char *s = strrchr(text, ')');
    for (int field = 2; s && field < 22; field++)
        s = strchr(s + 1, ' ');
    return s ? strtoull(s, NULL, 10) : 0;
}

static void fixture_header(struct fixture *f)
{
    struct stat ns;
    stat("/proc/self/ns/pid", &ns);
    f->head.header = (struct hak_seg_header){
        .abi_major = HAK_ABI_MAJOR, .abi_minor = HAK_ABI_MINOR,
        .header_size = sizeof f->head.header, .total_size = sizeof *f,
        .pid = getpid(), .page_size = FIXTURE_PAGE, .pid_ns = ns.st_ino,
        .start_time = fixture_start_time(), .born_ns = fixture_clock(CLOCK_BOOTTIME),
        .version = "9.8.7",
        .knob_off = offsetof(struct fixture, head.knob), .knob_count = HAK_KNOBS,
        .knob_size = sizeof *f->head.knob,
        .stat_off = offsetof(struct fixture, head.stat),
        .stat_count = sizeof fixture_stats / sizeof *fixture_stats,
        .stat_size = sizeof *f->head.stat,
        .bin_off = offsetof(struct fixture, head.bin), .bin_count = HAK_ROWS,
        .bin_size = sizeof *f->head.bin,
        .class_off = offsetof(struct fixture, head.cls), .class_count = HAK_CLASSES,
        .class_size = sizeof *f->head.cls,
        .state_off = offsetof(struct fixture, state), .state_size = sizeof f->state_pages,
        .control_off = offsetof(struct fixture, control), .control_size = FIXTURE_PAGE,
        .trace_off = offsetof(struct fixture, slots), .trace_size = 0,
        .map_off = offsetof(struct fixture, map), .map_count = 12, .map_size = sizeof *f->map,
        .slots_off = offsetof(struct fixture, slots), .slot_stride = sizeof *f->slots,
        .slots_max = FIXTURE_SLOTS_MAX, .inherited_off = offsetof(struct hak_state_full, inherited),
    };
    memcpy(f->head.header.magic, HAK_SEG_MAGIC, sizeof f->head.header.magic);
    memcpy(f->head.knob, fixture_knobs, sizeof fixture_knobs);
    memcpy(f->head.stat, fixture_stats, sizeof fixture_stats);
    memcpy(f->head.bin, fixture_bins, sizeof fixture_bins);
    memcpy(f->head.cls, fixture_classes, sizeof fixture_classes);
    for (int i = 0; i < HAK_KNOBS; i++) {
        char *env = f->head.knob[i].env;
        snprintf(env, HAK_ENV_MAX, "HAKMEM_%.40s", fixture_knobs[i].name);
        for (; *env; env++)
            *env = *env == '.' ? '_' : *env >= 'a' && *env <= 'z' ? (char)(*env - 32) : *env;
    }
}

static void fixture_row(struct hak_slot_full *slot, unsigned bin, uint64_t k)
{
    slot->row[bin] = (struct hak_row){
        .l0_hits = 10 * k, .l1_hits = 30 * k, .slow_allocs = 20 * k, .l0_pushes = 8 * k,
        .l1_pushes = 12 * k, .slow_frees = 10 * k, .remote_frees = 4 * k, .l0_leftover = 5 * k,
        .l0_flushed = k, .refilled = 50 * k, .returned = 5 * k, .drained = k,
    };
    if (bin > 0)
        slot->row[bin].sample = (struct hak_sample){ .asked = 3 * k, .given = 4 * k };
    slot->row[bin].walk = (struct hak_walk){
        .used = 44 * k, .l0 = 2 * k, .l1 = 10 * k, .sll = 3 * k, .batch = k, .queue = 2 * k,
        .l0_law = 2 * k, .cached_law = 15 * k, .used_law = 44 * k,
    };
}

static void fixture_slot(struct hak_slot_full *slot, unsigned s)
{
    uint64_t k = s + 1;
    slot->head.state = HAK_SLOT_LIVE;
    slot->head.tid = getpid() + (int)s;
    slot->head.started_ns = fixture_clock(CLOCK_BOOTTIME);
    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        fixture_row(slot, bin, k);
    slot->row[HAK_ROW_LARGE] = (struct hak_row){ .slow_allocs = 3 * k, .slow_frees = k };
    slot->row[HAK_ROW_HUGE] = slot->row[HAK_ROW_LARGE];
    slot->thread = (struct hak_thread_stats){
        .ticks = 7 * k, .refills = 20 * k, .large_alloc_bytes = 300000 * k,
        .large_free_bytes = 100000 * k, .huge_alloc_bytes = 3000000 * k,
        .huge_free_bytes = 1000000 * k,
    };
    slot->hist.refill[5] = 19 * k;      /* 32 to 64 ns */
    slot->hist.refill[10] = k;          /* 1 to 2 us */
}

static unsigned fixture_first_bin(unsigned cls)
{
    unsigned bin = 0;
    while (fixture_bins[bin].cls != cls)
        bin++;
    return bin;
}

static void fixture_map(struct fixture *f)
{
    static const unsigned cls[9] = { 0, 3, 4, 5, 6, 7, HAK_CLASS_MID };
    for (unsigned i = 0; i < 9; i++)
        for (unsigned j = 0; j < FIXTURE_SLABS; j++)
            f->map[i][j] = (uint16_t)(i >= 7 ? HAK_CELL_LRU : j < i ? HAK_CELL_FREE
                                      : (HAK_CELL_BIN + fixture_first_bin(cls[i])) | (4 * j + i / 2) << 8);
    f->state.state.map_used = 12;
}

static void fixture_state(struct fixture *f, unsigned threads)
{
    struct hak_state *state = &f->state.state;
    state->process_state = HAK_PROC_RUNNING;
    strcpy(state->comm, "fixture");
    state->epoch = 1;
    state->slots_used = threads;
    for (int i = 0; i < HAK_KNOBS; i++)
        state->values[i] = f->control.values[0][i] = fixture_knobs[i].def;
    f->state.global = (struct hak_globals){
        .ss_created = 12, .ss_unmapped = 3, .ss_live = 7, .ss_lru = 2, .ss_peak = 11,
        .threads = threads, .heaps = threads,
    };
}

/* Fills zeroed memory with a whole segment of this process, all but `ready`. */
static void fixture_fill(struct fixture *f, unsigned threads)
{
    fixture_header(f);
    fixture_state(f, threads);
    fixture_map(f);
    for (unsigned s = 0; s < threads; s++)
        fixture_slot(&f->slots[s].slot, s);
}

/* Makes the file, locks and maps it.  NULL with errno. */
static struct fixture *fixture_make(char path[64], unsigned threads)
{
    snprintf(path, 64, "/dev/shm/" HAK_SEG_PREFIX "%d.%llu", getpid(),
             (unsigned long long)fixture_start_time());
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) || ftruncate(fd, sizeof(struct fixture)))
        return NULL;
    struct fixture *f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (f == MAP_FAILED)
        return NULL;
    fixture_fill(f, threads);
    __atomic_store_n(&f->head.header.ready, 1, __ATOMIC_RELEASE);
    return f;
}

#endif
