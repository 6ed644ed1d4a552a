/* shm.c: the tools' library against a segment in this very process: what a set writes, which
 * values it starts from, sums, a segment that is cut off under a reader, and random damage. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "shm/internal.h"
#include "shm/shm.h"
#include "tests/fixture.h"
#include "tests/tap.h"

static struct fixture *f;
static char path[64];
static struct shm_error err;

static struct shm_proc self(void)
{
    struct stat st;
    struct shm_proc proc = { .pid = getpid(), .ns_pid = getpid(), .live = true,
                             .pid_ns = f->head.header.pid_ns,
                             .start_time = f->head.header.start_time };
    stat(path, &st);
    proc.dev = st.st_dev;
    proc.ino = st.st_ino;
    snprintf(proc.file, sizeof proc.file, "%s", strrchr(path, '/') + 1);
    return proc;
}

static struct shm_seg *attach(void)
{
    struct shm_seg *seg = NULL;
    struct shm_proc proc = self();
    if (shm_attach(&proc, &seg, &err))
        bail("attach: %s", err.text);
    return seg;
}

static void again(unsigned threads)
{
    if (f)
        munmap(f, sizeof *f);
    unlink(path);
    f = fixture_make(path, threads);
    if (!f)
        bail("%s: %s", path, strerror(errno));
}

/* ---- Text ---------------------------------------------------------------------------------- */

static const char *name_of(size_t i, const void *names)
{
    return ((const char *const *)names)[i];
}

static void test_text(void)
{
    static const char *const names[] = { "tiny.front_direct", "tiny.refill.batch", "set", NULL };
    static const struct { uint64_t bytes; const char *text; } sizes[] = {
        { 0, "0 B" }, { 1023, "1023 B" }, { 1024, "1.0 KiB" }, { 1536, "1.5 KiB" },
        { 1 << 20, "1.0 MiB" }, { UINT64_MAX, "16.0 EiB" },
    };
    char buf[24];
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        is_str(shm_bytes_text(sizes[i].bytes, buf), sizes[i].text, "%s", sizes[i].text);
    is_str(shm_nearest("tiny.front_dircet", name_of, names), "tiny.front_direct", "two slips");
    is_str(shm_nearest("batch", name_of, names), "tiny.refill.batch", "the last part alone");
    is_str(shm_nearest("sat", name_of, names), "set", "a short name");
    is_str(shm_nearest("frobnicate", name_of, names), NULL, "nothing near");
    is_str(shm_nearest("", name_of, names), NULL, "an empty name is near to none");

    const struct hak_knob_desc *mode = &fixture_knobs[HAK_KNOB_shm_mode];
    uint64_t value;
    is(shm_value_parse(mode, "640", &value, &err), 0, "octal without a zero");
    is(value, 0640, "is octal");
    is(shm_value_parse(mode, "0x1A0", &value, &err), 0, "or hexadecimal");
    is(value, 0640, "which is the same");
    is(shm_value_parse(mode, "0689", &value, &err), SHM_EREFUSED, "no octal digits");
    is_str(err.text, "shm.mode: 0689 is not a number", "is said");
    is(shm_value_parse(&fixture_knobs[HAK_KNOB_bump_chunk], "010", &value, &err), 0,
       "a zero in front");
    is(value, 10, "does not make it octal");
}

/* ---- Figures ------------------------------------------------------------------------------- */

static bool has_word(const struct shm_words *words, const struct hak_stat_desc *d)
{
    for (unsigned i = 0; i < words->count; i++)
        if (d->offset / 8 - words->row[i].at < words->row[i].count)
            return true;
    return false;
}

/* How many words are listed; UINT_MAX: a row is not in one cache line, or not behind the one before. */
static unsigned words_in(const struct shm_words *words)
{
    unsigned n = 0, next = 0;
    for (const struct shm_row *r = words->row; r < words->row + words->count; r++) {
        if (r->at < next || r->at % 8 + r->count > 8)
            return UINT_MAX;
        n += r->count;
        next = r->at + r->count;
    }
    return n;
}

static void test_sums(void)
{
    struct shm_seg *seg = attach();
    struct shm_snap *snap;
    struct shm_sums s;
    f->state.inherited[2] = 4;
    is(shm_snapshot(seg, &snap, &err), 0, "a snapshot");
    is(snap->slot_count, 3, "three slots");
    is(snap->threads, 3, "three threads");
    ok(snap->exact && !snap->torn, "exact");
    shm_sum_bin(snap, 1, 2, &s);
    is(s.allocs, 120, "allocations of one slot and bin");
    is(s.frees, 68, "frees");
    is(s.live_bytes, 52 * 32, "bytes");
    shm_sum_bin(snap, SHM_ALL, 2, &s);
    is(s.live, 26 * 6 + 4, "all slots: the inherited blocks too");
    shm_sum_class(snap, SHM_ALL, 3, &s);
    is(s.heap_v2_hits, 2 * 60, "a class of two bins");
    is(s.live_bytes, 26 * 6 * (48 + 64), "each by its own size");
    shm_sum_bin(snap, SHM_ALL, HAK_ROW_HUGE, &s);
    is(s.live_bytes, 12000000, "huge: bytes are counted");
    shm_sum_bin(snap, SHM_ALL, HAK_ROWS, &s);
    is(s.allocs, 0, "a bin that isn't there");
    is(shm_total(snap, shm_stat(seg, HAK_SCOPE_THREAD, "ticks")), 42, "a total");
    is(shm_total(snap, NULL), 0, "a counter that isn't there");
    is(shm_thread(snap, 3, shm_stat(seg, HAK_SCOPE_THREAD, "ticks")), 0, "a slot that isn't there");
    /* Frees are read before allocations: which words are which. */
    unsigned named = 0;
    for (unsigned i = 0; i < seg->stat_count; i++)
        named += seg->stats[i].scope == HAK_SCOPE_GLOBAL ? 0 : shm_values(seg->bin_count, &seg->stats[i], &(size_t){ 0 });
    is(words_in(&seg->walks) + words_in(&seg->others) + words_in(&seg->frees) + words_in(&seg->allocs), named,
       "each word is in one list, in rows of a cache line");
    ok(seg->others.count * 3 < words_in(&seg->others), "neighbours are in one row");
    for (unsigned i = 0; i < 7; i++)
        ok(has_word(i < 3 ? &seg->allocs : &seg->frees, seg->calls[i]), "%s", seg->calls[i]->name);
    for (unsigned i = 0; i < 4; i++)
        ok(has_word(i < 2 ? &seg->allocs : &seg->frees, seg->bytes[i]), "%s", seg->bytes[i]->name);
    is(words_in(&seg->allocs), 3 * HAK_ROWS + 2, "no others are with the allocations,");
    is(words_in(&seg->frees), 5 * HAK_ROWS + 2, "nor, realloc_in_place aside, with the frees");
    /* Without the single slots. */
    struct shm_snap *sums;
    unsigned differ = 0;
    is(shm_snapshot_sums(seg, &sums, &err), 0, "a snapshot of the sums");
    is(sums->threads, 3, "three threads");
    is(shm_slot(sums, 1)->tid, shm_slot(snap, 1)->tid, "it has the head of a slot");
    is(shm_thread(sums, 1, shm_stat(seg, HAK_SCOPE_THREAD, "ticks")), 0, "and no counter of one");
    for (unsigned i = 0; i < seg->stat_count; i++) {
        const struct hak_stat_desc *d = &seg->stats[i];
        uint64_t one[HAK_HIST_BUCKETS], all[HAK_HIST_BUCKETS], both[HAK_HIST_BUCKETS];
        for (unsigned bin = 0; bin < seg->bin_count; bin++) {
            uint64_t sum = 0;
            for (unsigned slot = 0; slot < 3; slot++)
                sum += shm_bin(snap, slot, d, bin);
            uint64_t without_walks = d->scope == HAK_SCOPE_WALK ? 0 : sum;
            differ += shm_bin(sums, SHM_ALL, d, bin) != without_walks || shm_bin(snap, SHM_ALL, d, bin) != sum;
        }
        shm_hist(sums, SHM_ALL, d, all);
        shm_hist(snap, SHM_ALL, d, both);
        for (unsigned slot = 0; slot < 3; slot++) {
            shm_hist(snap, slot, d, one);
            for (unsigned b = 0; b < HAK_HIST_BUCKETS; b++)
                all[b] -= one[b], both[b] -= one[b];
        }
        for (unsigned b = 0; b < HAK_HIST_BUCKETS; b++)
            differ += all[b] || both[b];
        uint64_t ones = shm_thread(snap, 0, d) + shm_thread(snap, 1, d) + shm_thread(snap, 2, d);
        differ += shm_thread(sums, SHM_ALL, d) != ones || shm_thread(snap, SHM_ALL, d) != ones;
    }
    is(differ, 0, "all slots together are the sums of the single slots");
    shm_sum_bin(sums, SHM_ALL, 2, &s);
    is(s.live, 26 * 6 + 4, "all slots: worked out as there");
    shm_snap_free(sums);
    shm_snap_free(snap);

    /* Read in the middle of things: more frees than allocations. */
    f->slots[0].slot.row[5].remote_frees = 1000000;
    shm_snapshot(seg, &snap, &err);
    shm_sum_bin(snap, SHM_ALL, 5, &s);
    is(s.live, 0, "blocks live are never negative");
    shm_snap_free(snap);
    shm_detach(seg);
}

/* A word has one name: were it read for two, its sum would be twice what it is. */
static void test_names(void)
{
    uint32_t count = f->head.header.stat_count;
    struct hak_stat_desc *ticks = f->head.stat, *more = &f->head.stat[count];
    while (strcmp(ticks->name, "ticks"))
        ticks++;
    more[0] = more[1] = *ticks;
    snprintf(more[0].name, sizeof more[0].name, "ticks_too");
    snprintf(more[1].name, sizeof more[1].name, "head");
    more[1].offset = offsetof(struct hak_slot, walk_seq) / 8 * 8;
    f->head.header.stat_count = count + 2;

    struct shm_seg *seg = attach();
    struct shm_snap *snap;
    ok(!shm_stat(seg, HAK_SCOPE_THREAD, "ticks_too"), "a second name for a word is left out");
    ok(!shm_stat(seg, HAK_SCOPE_THREAD, "head"), "so is a counter in the head of a slot");
    is(shm_snapshot(seg, &snap, &err), 0, "a snapshot");
    is(shm_total(snap, shm_stat(seg, HAK_SCOPE_THREAD, "ticks")), 42, "the sum is right");
    shm_snap_free(snap);
    shm_detach(seg);
    f->head.header.stat_count = count;
}

/* ---- What a set writes --------------------------------------------------------------------- */

static int set(struct shm_seg *seg, const char *name, uint64_t value, unsigned revert_ms,
               struct shm_ack *ack, uint64_t *old)
{
    struct shm_change change = { .knob = shm_knob(seg, name), .value = value };
    int code = shm_set(seg, &change, 1, 0, revert_ms, ack, &err);
    *old = change.old;
    return code;
}

/* The tools' library asks it how often it was put off the CPU: once in the middle of a read, here, while the
 * process works on. */
static long put_off, asked;

int getrusage(__rusage_who_t who, struct rusage *u)
{
    (void)who;
    *u = (struct rusage){ .ru_nivcsw = asked++ ? put_off : 0 };
    if (put_off && asked == 2)
        f->slots[0].slot.row[2].l0_pushes += 7;
    return 0;
}

static void test_put_off(void)
{
    struct shm_seg *seg = attach();
    struct shm_snap *snap;
    const struct hak_stat_desc *pushes = shm_stat(seg, HAK_SCOPE_BIN, "heap_v2_pushes");
    uint64_t before = f->slots[0].slot.row[2].l0_pushes;

    asked = 0, put_off = 1;
    if (shm_snapshot(seg, &snap, &err))
        bail("%s", err.text);
    is(shm_bin(snap, 0, pushes, 2), before + 7, "who was put off the CPU in the middle of a read reads again");
    is(asked, 4, "once");
    shm_snap_free(snap);
    put_off = 0;
    f->slots[0].slot.row[2].l0_pushes = before;
    shm_detach(seg);
}

static void test_set(void)
{
    enum { MASK = HAK_KNOB_heap_v2_class_mask, INLINE = HAK_KNOB_inline_sll };
    struct shm_seg *seg = attach();
    struct shm_ack ack;
    uint64_t old, now = fixture_clock(CLOCK_BOOTTIME);
    is(set(seg, "tiny.heap_v2.class_mask", 0xE, 0, &ack, &old), 0, "the first set");
    is(old, 0xFF, "the old value is the one in force");
    is(ack.generation, 1, "generation 1");
    is(f->control.generation, 1, "is in the control page");
    is(f->control.values[1][MASK], 0xE, "the array of its low bit has the value");
    is(f->control.values[0][MASK], 0xFF, "the other one is as it was");
    is(memcmp(f->control.values[1] + MASK + 1, f->control.values[0] + MASK + 1,
              (HAK_VALUES_MAX - MASK - 1) * 8), 0, "all else is equal");
    is(f->control.writer[1].pid, getpid(), "who wrote it");
    is(f->control.writer[1].uid, geteuid(), "by which uid");
    is(f->control.writer[1].revert_ns, 0, "no revert");

    is(set(seg, "tiny.inline_sll", 1, 5000, &ack, &old), 0, "a second one, before a look");
    is(f->control.generation, 2, "generation 2");
    is(f->control.values[0][MASK], 0xE, "contains the pending first");
    is(f->control.values[0][INLINE], 1, "and its own");
    ok(f->control.writer[0].revert_ns >= now + 5000000000 && f->control.writer[0].revert_ns < now + 65000000000,
       "the time of the revert");
    is(f->control.writer[1].revert_ns, 0, "is not the first's");

    /* Refused: the third starts from what is in force. */
    f->state.state.examined = f->state.state.refused = 2;
    is(set(seg, "tiny.bump_chunk", 9, 0, &ack, &old), 0, "a third one, after a refusal");
    is(f->control.values[1][MASK], 0xFF, "is without what was refused");
    is(f->control.values[1][INLINE], 0, "all of it");
    is(f->control.values[1][HAK_KNOB_bump_chunk], 9, "and has its own");
    is(f->control.writer[1].revert_ns, 0, "and cancels the revert");

    struct shm_change startup = { .knob = shm_knob(seg, "os.thp"), .value = 1 };
    is(shm_set(seg, &startup, 1, 0, 0, &ack, &err), SHM_EREFUSED, "a startup knob");
    is(f->control.generation, 3, "writes nothing");
    shm_detach(seg);
}

/* ---- Losing the race with the process ------------------------------------------------------- */

/* Between its two looks at the values in force a set asks for its uid: that is when the process
 * changes one of them here, so many times. */
static unsigned changes_left;

uid_t geteuid(void)
{
    if (changes_left) {
        changes_left--;
        f->state.state.values[HAK_KNOB_bump_chunk]--;
        f->state.state.seq += 2;
    }
    return (uid_t)syscall(SYS_geteuid);
}

static void test_lost_races(void)
{
    struct shm_seg *seg = attach();
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct shm_ack ack;
    uint64_t old;
    int other = open(path, O_RDWR | O_CLOEXEC);
    changes_left = 100;
    is(set(seg, "tiny.inline_sll", 1, 0, &ack, &old), SHM_EIO, "the values change under each of 100 tries");
    is_str(err.text, "its values change all the time", "is said");
    is(changes_left, 0, "after the last of them");
    is(ack.generation, 0, "no generation is ours");
    is(f->control.generation, 0, "nor is there one");
    ok(other >= 0 && !fcntl(other, F_OFD_SETLK, &lock), "the lock is free again");
    close(other);

    changes_left = 99;
    is(set(seg, "tiny.inline_sll", 1, 0, &ack, &old), 0, "they change under 99 tries");
    is(f->control.generation, 1, "the 100th makes a generation");
    is(f->control.values[1][HAK_KNOB_bump_chunk], 256 - 199, "of the last values in force");
    is(f->control.values[1][HAK_KNOB_inline_sll], 1, "and its own");
    shm_detach(seg);
}

/* ---- Being cut off ------------------------------------------------------------------------- */

static void test_cut_off(void)
{
    struct shm_seg *seg = attach();
    struct shm_snap *snap;
    struct shm_ack ack;
    struct shm_law laws[SHM_LAWS];
    uint64_t old;
    is(truncate(path, FIXTURE_PAGE), 0, "the segment is cut off");
    is(shm_snapshot(seg, &snap, &err), SHM_EIO, "a snapshot survives it");
    is_str(err.text, "its segment was cut off", "and says so");
    is(set(seg, "tiny.inline_sll", 1, 0, &ack, &old), SHM_EIO, "so does a set");
    is(ack.generation, 0, "which wrote nothing");
    is(shm_check(seg, 10, laws, &err), SHM_EIO, "and a check");
    shm_detach(seg);
}

/* ---- The map ------------------------------------------------------------------------------- */

static struct shm_superslab superslabs[4096];
static size_t slabs;

static size_t look_at_map(void)
{
    struct shm_seg *seg = attach();
    slabs = shm_map_slabs(seg);
    size_t n = shm_map(seg, superslabs, sizeof superslabs / sizeof *superslabs);
    shm_detach(seg);
    return n;
}

/* Of the oldest library, of today's and of a newer one. */
static void test_map_slabs(void)
{
    f->head.header.map_size = 64;
    is(look_at_map(), 12, "SuperSlabs of 32 slabs");
    is(slabs, 32, "each");
    is(superslabs[1].cell[0], f->map[0][32], "they lie one behind the other");
    is(superslabs[1].cell[31], f->map[0][63], "up to the last slab");
    is(superslabs[1].cell[32], HAK_CELL_NONE, "and there are no more than that");
    f->head.header.map_count = 6;
    f->head.header.map_size = 2 * sizeof *f->map;
    is(look_at_map(), 6, "SuperSlabs of 128 slabs");
    is(slabs, 128, "each");
    is(superslabs[1].cell[0], f->map[2][0], "from the first");
    is(superslabs[1].cell[127], f->map[3][63], "to the last");
    f->head.header.map_count = 3;
    f->head.header.map_size = 4 * sizeof *f->map;
    is(look_at_map(), 3, "SuperSlabs of 256 slabs");
    is(slabs, HAK_MAP_SLABS, "of which the first are looked at");
    is(superslabs[1].cell[0], f->map[4][0], "of each");
    f->head.header.map_count = 12;
    f->head.header.map_size = 0;
    is(look_at_map() + slabs, 0, "without cells there is no map,");
    f->head.header.map_size = 60;
    is(look_at_map() + slabs, 0, "nor with cells that are not whole words");
    f->head.header.map_size = sizeof *f->map;
}

static void test_map(void)
{
    is(look_at_map(), 12, "the cells of twelve SuperSlabs");
    is(superslabs[2].cell[1], HAK_CELL_FREE, "a free slab");
    is(superslabs[2].cell[3], (HAK_CELL_BIN + fixture_first_bin(4)) | 13 << 8, "one in use");
    is(slabs, 64, "each of 64 slabs");
    is(superslabs[8].cell[63], HAK_CELL_LRU, "one in the LRU");
    is(superslabs[8].cell[64], HAK_CELL_NONE, "and no more");
    is(superslabs[11].cell[0], HAK_CELL_NONE, "an empty place");
    f->state.state.map_used = 5;
    is(look_at_map(), 5, "of those that have been used");
    f->state.state.map_used = UINT64_MAX;
    is(look_at_map(), 12, "but no more than there are");
    f->head.header.map_count = UINT32_MAX;
    is(look_at_map(), 0, "nor than find room in the file");
    f->head.header.map_count = 12;
    test_map_slabs();
    f->head.header.header_size = offsetof(struct hak_seg_header, map_off);
    is(look_at_map(), 0, "a library that has no map");
}

/* ---- A walk that nobody waits for ---------------------------------------------------------- */

static void test_ask_walk(void)
{
    struct shm_seg *seg = attach();
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int other = open(path, O_RDWR | O_CLOEXEC);
    is(shm_ask_walk(seg, &err), SHM_OK, "a walk is asked for");
    is(f->control.walk, 1, "by its number");
    if (other < 0 || fcntl(other, F_OFD_SETLK, &lock))
        bail("no lock: %s", strerror(errno));
    is(shm_ask_walk(seg, &err), SHM_OK, "while another tool has the lock");
    is(f->control.walk, 1, "nothing is written, and nothing waited for");
    close(other);
    shm_detach(seg);
}

/* ---- Random damage ------------------------------------------------------------------------- */

static uint64_t seed = 0x9E3779B97F4A7C15;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

/* Everything a tool does, on whatever is there. */
static bool use(void)
{
    struct shm_proc proc = self();
    struct shm_seg *seg;
    struct shm_snap *snap;
    struct shm_sums sums;
    struct shm_law laws[SHM_LAWS];
    struct shm_ack ack;
    uint64_t old, buckets[HAK_HIST_BUCKETS];
    if (shm_attach(&proc, &seg, &err))
        return false;
    if (!shm_snapshot(seg, &snap, &err)) {
        for (unsigned i = 0; i < seg->stat_count; i++) {
            shm_total(snap, &seg->stats[i]);
            shm_hist(snap, SHM_ALL, &seg->stats[i], buckets);
        }
        for (unsigned cls = 0; cls < HAK_CLASSES; cls++)
            shm_sum_class(snap, SHM_ALL, cls, &sums);
        shm_snap_free(snap);
    }
    if (seg->knob_count)
        set(seg, seg->knobs[0].name, rnd(), 0, &ack, &old);
    shm_check(seg, 0, laws, &err);
    shm_map(seg, superslabs, sizeof superslabs / sizeof *superslabs);
    shm_detach(seg);
    return true;
}

static void damage(size_t from, size_t to)
{
    uint8_t *bytes = (uint8_t *)f;
    for (uint64_t n = 1 + rnd() % 8; n; n--)
        bytes[from + rnd() % (to - from)] = (uint8_t)rnd();
    f->state.state.seq &= ~1u;          /* else each look takes its full patience */
}

/* A slot without memory: its thread is just being born, or found none. */
static void test_gap(void)
{
    struct stat before, after;
    struct shm_snap *snap;
    struct shm_seg *seg = attach();
    const struct hak_stat_desc *ticks = shm_stat(seg, HAK_SCOPE_THREAD, "ticks");
    shm_snapshot(seg, &snap, &err);
    uint64_t ends = shm_thread(snap, 0, ticks) + shm_thread(snap, 2, ticks);
    shm_snap_free(snap);
    int fd = open(path, O_RDWR);
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offsetof(struct fixture, slots[1]),
                  sizeof f->slots[1]))
        bail("fallocate: %s", strerror(errno));
    fstat(fd, &before);
    is(shm_snapshot(seg, &snap, &err), 0, "a slot without memory: a snapshot");
    is(snap->slot_count, 3, "there are three slots");
    is(snap->threads, 2, "of two threads");
    is(shm_slot(snap, 1)->state, HAK_SLOT_FREE, "one is free");
    ok(shm_thread(snap, SHM_ALL, ticks) == ends && ends, "what the others counted is there");
    shm_snap_free(snap);
    f->state.state.slots_used = 2;
    is(shm_snapshot_sums(seg, &snap, &err), 0, "a snapshot of the sums");
    is(snap->slot_count, 1, "at the end it is left out");
    shm_snap_free(snap);
    fstat(fd, &after);
    is(after.st_blocks, before.st_blocks, "to look gives it no memory");
    close(fd);
    shm_detach(seg);
}

/* Only slots [0, 3) and slot n have memory, of 3000. */
static unsigned found_with(unsigned n)
{
    struct shm_snap *snap;
    size_t size = offsetof(struct fixture, slots) + 3000 * sizeof f->slots[0];
    again(3);
    int fd = open(path, O_RDWR);
    if (ftruncate(fd, (off_t)size)
        || fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offsetof(struct fixture, slots[3]),
                     (off_t)(size - offsetof(struct fixture, slots[3])))
        || pwrite(fd, &f->slots[0], sizeof f->slots[0],
                  (off_t)(offsetof(struct fixture, slots) + n * sizeof f->slots[0])) < 0)
        bail("%s: %s", path, strerror(errno));
    close(fd);
    f->head.header.total_size = size;
    f->head.header.slots_max = f->state.state.slots_used = 3000;
    struct shm_seg *seg = attach();
    is(shm_snapshot(seg, &snap, &err), 0, "slots [0, 3) and slot %u of 3000: a snapshot", n);
    unsigned count = snap->slot_count, threads = snap->threads;
    shm_snap_free(snap);
    shm_detach(seg);
    is(threads, count > 3 ? 4 : 3, "of all that it found");
    return count;
}

static void test_far(void)
{
    is(found_with(1000), 1001, "as if a thousand threads were being born at once");
    is(found_with(2000), 3, "more than can be: a tool's memory is not the segment's to choose");
}

static void test_damage(void)
{
    unsigned attached = 0, rounds = getenv("HAK_LONG") ? 20000 : 1000;
    again(3);
    for (unsigned i = 0; i < rounds; i++) {
        fixture_fill(f, 3);
        f->head.header.ready = 1;
        switch (i % 3) {
        case 0: damage(offsetof(struct hak_seg_header, total_size),
                       sizeof(struct hak_seg_header)); break;
        case 1: damage(0, sizeof(struct fixture_head)); break;
        case 2: damage(offsetof(struct fixture, state), sizeof(struct fixture)); break;
        }
        f->head.header.ready = 1;
        attached += use();
    }
    ok(attached > rounds / 3 && attached < rounds, "survived damage, %u of %u times behind attach",
       attached, rounds);
}

int main(void)
{
    test_text();
    again(3);
    test_names();
    test_sums();
    again(3);
    test_gap();
    test_far();
    again(3);
    test_put_off();
    test_set();
    again(3);
    test_lost_races();
    test_cut_off();
    again(3);
    test_map();
    again(3);
    test_ask_walk();
    test_damage();
    unlink(path);
    return tap_done();
}
