/* fixture_segment.c: a process with a segment and pretended threads, to test the tools against
 * what a sound library never does.
 *
 *   fixture_segment [NAME=NUMBER...] [corrupt=WHAT]
 *     threads   slots in use (default 3)
 *     busy      the first so many make calls every millisecond and tick (default 0)
 *     pace      so many allocations and frees each (default 100)
 *     turns     so many times after each request, and not otherwise (default 0: always)
 *     slow      every so many milliseconds instead (default 1)
 *     deaf      the last so many of those never tick: apply, walk and purge nothing (default 0)
 *     refuse    every generation is refused, for this reason (enum hak_refusal)
 *     walked    1: all slots have answered a walk before
 *     silent    1: purges are never carried out
 *     superslabs   how many are live, whatever the map says (default 7)
 *     abi, flags, uncounted, ready, inherited, env_errors, process_state   put into the segment
 *     corrupt   see corruptions[]
 *
 * Prints its pid once the segment is ready, and runs until it is killed (its segment stays).  Any
 * other text in `corrupt` is an error, so that a test can't misspell one. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>

#include "tests/fixture.h"

static struct {
    unsigned threads, busy, pace, turns, slow, deaf, refuse, walked, silent, ready;
    unsigned ss_live, abi, flags, uncounted, inherited, env_errors, process_state;
    const char *corrupt;
} opt = { .threads = 3, .pace = 100, .slow = 1, .ready = 1, .ss_live = 7, .abi = HAK_ABI_MAJOR,
        .process_state = HAK_PROC_RUNNING };

static char path[64];

/* ---- Corruptions --------------------------------------------------------------------------- */

static void magic(struct fixture *f)      { f->head.header.magic[0] = 'X'; }
static void total(struct fixture *f)      { f->head.header.total_size++; }
static void knobs_off(struct fixture *f)  { f->head.header.knob_off = UINT32_MAX; }
static void knobs_many(struct fixture *f) { f->head.header.knob_count = UINT32_MAX; }
static void knob_size(struct fixture *f)  { f->head.header.knob_size = 8; }
static void stats_many(struct fixture *f) { f->head.header.stat_count = 60000; }
static void bins_off(struct fixture *f)   { f->head.header.bin_off = UINT32_MAX - 8; }
static void class_size(struct fixture *f) { f->head.header.class_size = 0; }
static void state_off(struct fixture *f)  { f->head.header.state_off += 8; }
static void control(struct fixture *f)    { f->head.header.control_off = sizeof *f - 8; }
static void stride(struct fixture *f)     { f->head.header.slot_stride = 0; }
static void slots_max(struct fixture *f)  { f->head.header.slots_max = UINT32_MAX; }
static void inherited(struct fixture *f)  { f->head.header.inherited_off = 2 * FIXTURE_PAGE - 8; }
static void pid(struct fixture *f)        { f->head.header.pid++; }
static void used(struct fixture *f)       { f->state.state.slots_used = UINT32_MAX; }
static void seq(struct fixture *f)        { f->state.state.seq = 1; }
static void used_law(struct fixture *f)   { f->slots[1].slot.row[2].walk.used++; }
static void cached_law(struct fixture *f) { f->slots[1].slot.row[2].walk.sll--; }
static void queue_law(struct fixture *f)  { f->slots[0].slot.row[4].walk.queue += 5; }
static void pool_law(struct fixture *f)   { f->state.global.ss_lru++; }
static void offsets(struct fixture *f)
{
    for (int i = 0; i < 128; i++)
        f->head.stat[i].offset = UINT32_MAX - 7;
}
static void no_slots(struct fixture *f)   { f->head.header.slots_max = 0; }
static void slot_most(struct fixture *f)
{
    f->head.header.slots_max = 1;
    f->head.header.slot_stride = (1 << 20) + 8;
}
static void stats_most(struct fixture *f)      /* tables that lie in the file, but are too long */
{
    f->head.header.stat_off = 0;
    f->head.header.stat_count = 4097;
}
static void bins_most(struct fixture *f)
{
    f->head.header.bin_off = 0;
    f->head.header.bin_count = 1025;
}
static void class_most(struct fixture *f)
{
    f->head.header.class_off = 0;
    f->head.header.class_count = 65;
}
static void overlap(struct fixture *f)         /* the same words again and again */
{
    for (int i = 0; i < 128; i++) {
        f->head.stat[i] = f->head.stat[0];
        snprintf(f->head.stat[i].name, sizeof f->head.stat[i].name, "counter%d", i);
    }
    f->head.header.stat_count = 128;
}
static void no_map(struct fixture *f)
{
    f->head.header.header_size = offsetof(struct hak_seg_header, map_off);
}
static void map_today(struct fixture *f)       /* two SuperSlabs as one of 128 slabs: 0 to 2 live, 3 in the LRU */
{
    memmove(f->map[6], f->map[7], 2 * sizeof *f->map);
    memset(f->map[8], 0, 4 * sizeof *f->map);
    f->head.header.map_count = 6;
    f->head.header.map_size = 2 * sizeof *f->map;
    f->state.state.map_used = 6;
    f->state.global.ss_live = 3;
    f->state.global.ss_lru = 1;
    f->state.global.ss_unmapped = 8;
}
static void map_half(struct fixture *f)        /* the same, but only the first 64 slabs of each are known */
{
    map_today(f);
    for (unsigned i = 1; i < 12; i += 2)
        memset(f->map[i], 0, sizeof *f->map);
}
static void map_older(struct fixture *f)       /* a SuperSlab of 32 slabs */
{
    uint16_t *cells = f->map[0];
    for (unsigned i = 0; i < 12; i++)
        memmove(cells + 32 * i, f->map[i], 64);
    f->head.header.map_size = 64;
}
static void map_empty(struct fixture *f)  { f->state.state.map_used = 0; }
static void strings(struct fixture *f)
{
    memset(f->head.knob[0].name, 'n', sizeof f->head.knob[0].name);
    memset(f->head.stat[0].name, 'n', sizeof f->head.stat[0].name);
}
static void cut(struct fixture *f)
{
    (void)f;
    if (truncate(path, 5000))
        abort();
}
static void name_twice(struct fixture *f)
{
    (void)f;
    if (link(path, "/dev/shm/another-name"))
        abort();
}

static const struct { const char *name; void (*make)(struct fixture *f); } corruptions[] = {
    { "magic", magic }, { "total", total }, { "knobs_off", knobs_off },
    { "knobs_many", knobs_many }, { "knob_size", knob_size }, { "stats_many", stats_many },
    { "bins_off", bins_off }, { "class_size", class_size }, { "state_off", state_off },
    { "control", control }, { "stride", stride }, { "slots_max", slots_max },
    { "inherited", inherited }, { "pid", pid }, { "used", used }, { "seq", seq },
    { "used_law", used_law }, { "cached_law", cached_law }, { "queue_law", queue_law },
    { "pool_law", pool_law }, { "offsets", offsets }, { "no_slots", no_slots }, { "slot_most", slot_most },
    { "stats_most", stats_most }, { "bins_most", bins_most }, { "class_most", class_most }, { "overlap", overlap },
    { "no_map", no_map },
    { "map_today", map_today }, { "map_half", map_half }, { "map_older", map_older }, { "map_empty", map_empty },
    { "strings", strings },
    { "cut", cut }, { "name_twice", name_twice },
};

static void corrupt(struct fixture *f)
{
    for (unsigned i = 0; i < sizeof corruptions / sizeof *corruptions; i++)
        if (!strcmp(corruptions[i].name, opt.corrupt)) {
            corruptions[i].make(f);
            return;
        }
    fprintf(stderr, "fixture_segment: no corruption '%s'\n", opt.corrupt);
    unlink(path);
    exit(2);
}

/* ---- A life -------------------------------------------------------------------------------- */

static void examine(struct fixture *f)
{
    struct hak_state *state = &f->state.state;
    uint64_t g = __atomic_load_n(&f->control.generation, __ATOMIC_ACQUIRE);
    if (g == state->examined)
        return;
    __atomic_store_n(&state->seq, state->seq + 1, __ATOMIC_SEQ_CST);
    if (opt.refuse) {
        state->refused = g;
        state->refused_reason = opt.refuse;
        state->refused_knob = HAK_KNOB_heap_v2_class_mask;
        state->refused_value = f->control.values[g & 1][HAK_KNOB_heap_v2_class_mask];
    } else {
        memcpy(state->values, f->control.values[g & 1], sizeof state->values);
        state->generation = g;
        state->epoch++;
    }
    state->examined = g;
    __atomic_store_n(&state->seq, state->seq + 1, __ATOMIC_SEQ_CST);
}

static void tick(struct fixture *f, struct hak_slot_full *slot)
{
    struct hak_state *state = &f->state.state;
    examine(f);
    __atomic_store_n(&slot->head.applied, state->generation, __ATOMIC_RELEASE);
    __atomic_store_n(&slot->head.walk, f->control.walk, __ATOMIC_RELEASE);
    if (!opt.silent && state->purge_done != f->control.purge) {
        state->purged_bytes = 3 << 20;
        __atomic_store_n(&state->purge_done, f->control.purge, __ATOMIC_RELEASE);
    }
}

static bool has_turn(const struct fixture *f)
{
    static uint64_t generation;
    static unsigned turns;
    uint64_t now = __atomic_load_n(&f->control.generation, __ATOMIC_ACQUIRE);
    turns = now == generation ? turns : opt.turns;
    generation = now;
    return !opt.turns || (turns && turns--);
}

static void move(struct fixture *f)
{
    bool turn = has_turn(f);
    for (unsigned s = 0; turn && s < opt.busy; s++) {
        struct hak_slot_full *slot = &f->slots[s].slot;
        slot->row[1].l1_hits += opt.pace;
        slot->row[1].l1_pushes += opt.pace;
        if (s + opt.deaf < opt.busy)
            tick(f, slot);
    }
    __atomic_store_n(&f->rounds, f->rounds + 1, __ATOMIC_RELEASE);
}

static void put_options(struct fixture *f)
{
    f->head.header.abi_major = (uint16_t)opt.abi;
    f->head.header.ready = opt.ready;
    f->head.header.flags = opt.flags;
    f->state.state.process_state = opt.process_state;
    f->state.global.ss_live = opt.ss_live;
    f->state.global.uncounted = opt.uncounted;
    f->state.global.env_errors = opt.env_errors;
    f->state.inherited[0] = opt.inherited;
    for (unsigned s = 0; opt.walked && s < opt.threads; s++)
        f->slots[s].slot.head.walk = 1;
    if (opt.corrupt)
        corrupt(f);
}

static void take_argument(const char *text)
{
    static const struct { const char *name; unsigned *value; } numbers[] = {
        { "threads", &opt.threads }, { "busy", &opt.busy }, { "pace", &opt.pace },
        { "turns", &opt.turns }, { "slow", &opt.slow }, { "deaf", &opt.deaf },
        { "refuse", &opt.refuse }, { "walked", &opt.walked }, { "silent", &opt.silent },
        { "ready", &opt.ready }, { "abi", &opt.abi }, { "flags", &opt.flags },
        { "superslabs", &opt.ss_live }, { "uncounted", &opt.uncounted },
        { "inherited", &opt.inherited }, { "env_errors", &opt.env_errors },
        { "process_state", &opt.process_state },
    };
    size_t length = strcspn(text, "=");
    if (!strncmp(text, "corrupt=", 8)) {
        opt.corrupt = text + 8;
        return;
    }
    for (unsigned i = 0; text[length] && i < sizeof numbers / sizeof *numbers; i++)
        if (strlen(numbers[i].name) == length && !strncmp(text, numbers[i].name, length)) {
            *numbers[i].value = (unsigned)strtoul(text + length + 1, NULL, 10);
            return;
        }
    fprintf(stderr, "fixture_segment: %s?\n", text);
    exit(2);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        take_argument(argv[i]);
    struct fixture *f = fixture_make(path, opt.threads);
    if (!f) {
        fprintf(stderr, "fixture_segment: %s: %s\n", path, strerror(errno));
        return 1;
    }
    put_options(f);
    printf("%d\n", getpid());
    fflush(stdout);
    for (;;) {
        struct timespec turn = { opt.slow / 1000, opt.slow % 1000 * 1000000L };
        nanosleep(&turn, NULL);
        if (!opt.corrupt || strcmp(opt.corrupt, "cut"))
            move(f);
    }
}
