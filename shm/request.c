/* request.c: writes requests to the control page, as abi/segment.h says at struct hak_control, and
 * watches the state page and the slots for the answer. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/internal.h"

#define LOCK_NS   UINT64_C(2000000000)
#define SETTLE_MS 50        /* time in which a thread that runs at all gets a CPU and moves */

/* ---- The writers' lock --------------------------------------------------------------------- */

static int gone(struct shm_error *err)
{
    return shm_fail(err, SHM_EGONE, "the process has ended");
}

static int map_control(struct shm_seg *seg, struct shm_error *err)
{
    if (seg->control)
        return SHM_OK;
    if (!seg->writable)
        return shm_fail(err, SHM_EPERM, "permission denied: its segment is read-only for you");
    void *map = mmap(NULL, seg->header.control_size, PROT_READ | PROT_WRITE, MAP_SHARED, seg->fd,
                     seg->header.control_off);
    if (map == MAP_FAILED)
        return shm_fail(err, SHM_EIO, "can't map its control page: %s", strerror(errno));
    seg->control = map;
    return SHM_OK;
}

static int set_lock(const struct shm_seg *seg, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET };
    return fcntl(seg->fd, F_OFD_SETLK, &lock);
}

int shm_begin_request(struct shm_seg *seg, struct shm_error *err)
{
    if (!shm_alive(seg))
        return gone(err);
    int code = map_control(seg, err);
    uint64_t deadline = shm_clock_ns(CLOCK_MONOTONIC) + LOCK_NS;
    while (!code && set_lock(seg, F_WRLCK)) {
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            code = shm_fail(err, SHM_EIO, "can't lock its control page: %s", strerror(errno));
        else if (shm_clock_ns(CLOCK_MONOTONIC) > deadline)
            code = shm_fail(err, SHM_EIO, "another tool has held the lock of its control page for "
                            "two seconds");
        else
            shm_nap_us(500);
    }
    return code;
}

void shm_end_request(struct shm_seg *seg)
{
    set_lock(seg, F_UNLCK);
}

static bool read_control(const struct shm_seg *seg, struct hak_control *control)
{
    return shm_copy_out(control, seg->control, sizeof *control);
}

#define PUT(seg, field, value) \
    shm_copy_in(&(seg)->control->field, value, sizeof (seg)->control->field)

/* ---- Waiting for the answer ---------------------------------------------------------------- */

/* What a request waits for: `slot` says whether one thread has done it; `whole` (or NULL) whether
 * the process as a whole has, which ends the wait.  ended_too: those that move do it for the heaps
 * of ended threads as well. */
struct goal {
    uint64_t number;
    bool     ended_too;
    bool   (*slot)(const struct hak_slot *slot, uint64_t number);
    bool   (*whole)(const struct hak_state *state, uint64_t number);
};

struct progress {
    unsigned moved, done, idle, ended_left;
    int      laggard;           /* tid of that thread which moved, is not done, and has made most */
    uint64_t laggard_frees;     /* frees since the snapshot before the request */
    bool     whole;
};

/* Whether a slot belonged to another thread, or to none, when the snapshot before was taken. */
static bool is_new(const struct shm_snap *before, const struct shm_snap *now, unsigned slot)
{
    if (slot >= before->slot_count)
        return true;
    const struct hak_slot *was = shm_slot(before, slot), *is = shm_slot(now, slot);
    return was->state != is->state || was->started_ns != is->started_ns;
}

/* Whether the thread of a slot has made a call since the snapshot before the request. */
static bool has_moved(const struct shm_snap *before, const struct shm_snap *now, unsigned slot)
{
    return is_new(before, now, slot) || shm_moves(before, slot) != shm_moves(now, slot);
}

static uint64_t frees_since(const struct shm_snap *before, const struct shm_snap *now, unsigned slot)
{
    struct shm_sums was = { 0 }, is;
    if (slot < before->slot_count)      /* one slot counts on from one thread to the next */
        shm_sum_all(before, slot, &was);
    shm_sum_all(now, slot, &is);
    return is.frees - was.frees;
}

static struct progress measure(const struct shm_snap *before, const struct shm_snap *now,
                               const struct goal *goal)
{
    struct progress p = { 0 };
    for (unsigned i = 0; i < now->slot_count; i++) {
        const struct hak_slot *slot = shm_slot(now, i);
        if (slot->state == HAK_SLOT_ENDED)
            p.ended_left += goal->ended_too && !goal->slot(slot, goal->number);
        if (slot->state != HAK_SLOT_LIVE)
            continue;
        if (!has_moved(before, now, i)) {
            p.idle++;
            continue;
        }
        p.moved++;
        if (goal->slot(slot, goal->number)) {
            p.done++;
            continue;
        }
        uint64_t frees = frees_since(before, now, i);
        if (p.laggard && frees <= p.laggard_frees)
            continue;
        p.laggard = slot->tid;
        p.laggard_frees = frees;
    }
    p.whole = goal->whole && goal->whole(&now->state, goal->number);
    return p;
}

static bool finished(const struct goal *goal, const struct progress *p, uint64_t waited_ms)
{
    if (goal->whole)
        return p->whole || (!p->moved && waited_ms >= SETTLE_MS);
    return waited_ms >= SETTLE_MS && p->done == p->moved && !(p->moved && p->ended_left);
}

/* Until the goal is reached, all that moved have done it, or wait_ms are over.  *last is the
 * snapshot that *p was measured on. */
static int await(const struct shm_seg *seg, const struct shm_snap *before, const struct goal *goal,
                 unsigned wait_ms, struct progress *p, struct shm_snap **last,
                 struct shm_error *err)
{
    uint64_t start = shm_clock_ns(CLOCK_MONOTONIC);
    for (unsigned nap = 200; ; nap = nap < 10000 ? nap * 2 : nap) {
        uint64_t waited = (shm_clock_ns(CLOCK_MONOTONIC) - start) / 1000000;
        bool alive = shm_alive(seg);
        int code = shm_snapshot(seg, last, err);
        if (code)
            return code;
        *p = measure(before, *last, goal);
        if (waited >= wait_ms || finished(goal, p, waited))
            return SHM_OK;
        shm_snap_free(*last);
        *last = NULL;
        if (!alive)
            return shm_fail(err, SHM_EGONE, "the process has ended before it answered");
        shm_nap_us(nap);
    }
}

/* Requests are numbered upwards; another tool's later one includes ours. */
static bool reached(uint64_t now, uint64_t number)
{
    return (int64_t)(now - number) >= 0;
}

/* ---- What is wanted ------------------------------------------------------------------------ */

static int read_truth(const struct shm_seg *seg, struct hak_state *state, struct shm_error *err)
{
    bool torn;
    uint8_t *area = calloc(1, seg->header.state_size);
    if (!area)
        return shm_fail(err, SHM_EIO, "out of memory");
    bool whole = shm_read_state(seg, area, &torn);
    memcpy(state, area, sizeof *state);
    free(area);
    if (!whole)
        return shm_cut_off(err);
    return torn ? shm_fail(err, SHM_EIO, "its state page is being written all the time") : SHM_OK;
}

/* The control page as one writer left it, without the lock, which who only looks can't have. */
static int peek_control(const struct shm_seg *seg, struct hak_control *control, struct shm_error *err)
{
    const uint8_t *page = seg->map + seg->header.control_off;
    uint64_t now;
    for (int tries = 0; tries < 100; tries++) {
        if (!shm_copy_out(control, page, sizeof *control)
            || !shm_copy_out(&now, page + offsetof(struct hak_control, generation), sizeof now))
            return shm_cut_off(err);
        if (now == control->generation)
            return SHM_OK;
    }
    return shm_fail(err, SHM_EIO, "its control page is being written all the time");
}

/* The request is read before the state: one that is accepted in between is in the state. */
int shm_wanted(const struct shm_seg *seg, struct shm_wanted *wanted, struct shm_error *err)
{
    struct hak_control control;
    struct hak_state state;
    int code = peek_control(seg, &control, err);
    if (!code)
        code = read_truth(seg, &state, err);
    if (code)
        return code;
    uint64_t g = control.generation;
    bool pending = seg->proc.live && !reached(state.examined, g);
    wanted->pending = pending ? g : 0;
    memcpy(wanted->values, pending ? control.values[g & 1] : state.values, sizeof wanted->values);
    return SHM_OK;
}

/* ---- set ----------------------------------------------------------------------------------- */

/* Composes the next value array and stores the generation that selects it.  The caller holds the
 * lock.  False in *fresh: the values in force changed meanwhile (a revert, hak_set), and nothing
 * was stored. */
static int publish(struct shm_seg *seg, struct shm_change *changes, size_t count,
                   unsigned revert_ms, uint64_t *generation, bool *fresh, struct shm_error *err)
{
    struct hak_state state, again;
    struct hak_control control;
    int code = read_truth(seg, &state, err);
    if (code)
        return code;
    if (!read_control(seg, &control))
        return shm_cut_off(err);

    uint64_t g = control.generation, next = g + 1;
    uint64_t *values = control.values[next & 1];
    memcpy(values, state.examined == g ? state.values : control.values[g & 1],
           sizeof control.values[0]);
    for (size_t i = 0; i < count; i++) {
        changes[i].old = values[changes[i].knob->index];
        values[changes[i].knob->index] = changes[i].value;
    }
    struct hak_writer writer = { getpid(), geteuid(), shm_clock_ns(CLOCK_REALTIME), 0 };
    if (revert_ms)
        writer.revert_ns = shm_clock_ns(CLOCK_BOOTTIME) + revert_ms * UINT64_C(1000000);
    if (!PUT(seg, values[next & 1], values) || !PUT(seg, writer[next & 1], &writer))
        return shm_cut_off(err);
    code = read_truth(seg, &again, err);
    *fresh = !code && again.seq == state.seq;
    if (!*fresh)
        return code;
    if (!PUT(seg, generation, &next))       /* pairs with the library's acquire */
        return shm_cut_off(err);
    *generation = next;
    return SHM_OK;
}

static int write_set(struct shm_seg *seg, struct shm_change *changes, size_t count,
                     unsigned revert_ms, uint64_t *generation, struct shm_snap **before,
                     struct shm_error *err)
{
    int code = shm_begin_request(seg, err);
    if (code)
        return code;
    code = shm_snapshot(seg, before, err);
    bool fresh = false;
    for (int tries = 0; !code && !fresh; tries++) {
        if (tries == 100)
            code = shm_fail(err, SHM_EIO, "its values change all the time");
        else
            code = publish(seg, changes, count, revert_ms, generation, &fresh, err);
    }
    shm_end_request(seg);
    return code;
}

static const struct hak_knob_desc *knob_at(const struct shm_seg *seg, uint32_t index)
{
    for (unsigned i = 0; i < seg->knob_count; i++)
        if (seg->knobs[i].index == index)
            return &seg->knobs[i];
    return NULL;
}

static int refused(const struct shm_seg *seg, const struct hak_state *state, struct shm_error *err)
{
    static const char *const why[] = {
        [HAK_REFUSED_RANGE] = "out of range", [HAK_REFUSED_STARTUP] = "can be set at start only",
    };
    char value[SHM_VALUE_MAX];
    const struct hak_knob_desc *knob = knob_at(seg, state->refused_knob);
    uint32_t reason = state->refused_reason;
    if (reason == HAK_REFUSED_TORN)
        return shm_fail(err, SHM_EREFUSED, "the library refused generation %" PRIu64
                        ": torn while it was read", state->refused);
    if (reason >= sizeof why / sizeof *why || !why[reason] || !knob)    /* of another version */
        return shm_fail(err, SHM_EREFUSED, "the library refused generation %" PRIu64
                        " for reason %u", state->refused, reason);
    return shm_fail(err, SHM_EREFUSED, "%s: the library refused %s: %s", knob->name,
                    shm_value_text(knob, state->refused_value, value), why[reason]);
}

/* A thread that frees little comes to a tick late: it is alive, and all is well. */
static int not_applied(const struct shm_ack *ack, const struct progress *p, unsigned wait_ms,
                       struct shm_error *err)
{
    char why[120] = "is not one of them";
    if (ack->frees_left)
        snprintf(why, sizeof why, "runs, but has made only %" PRIu64 " free%s meanwhile; it applies it "
                 "within its next %u", p->laggard_frees, shm_s(p->laggard_frees), ack->frees_left);
    return shm_fail(err, SHM_EBUSY, "generation %" PRIu64 " is applied by %u/%u threads after %u ms; "
                    "thread %d %s", ack->generation, p->done, p->moved, wait_ms, p->laggard, why);
}

static bool slot_applied(const struct hak_slot *slot, uint64_t generation)
{
    return reached(slot->applied, generation);
}

int shm_startup_knob(const struct hak_knob_desc *knob, struct shm_error *err)
{
    return shm_fail(err, SHM_EREFUSED, "%s: startup knob; start the process with %s=...",
                    knob->name, knob->env);
}

int shm_set(struct shm_seg *seg, struct shm_change *changes, size_t count, unsigned wait_ms,
            unsigned revert_ms, struct shm_ack *ack, struct shm_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (changes[i].knob->context != HAK_LIVE)
            return shm_startup_knob(changes[i].knob, err);
    struct shm_snap *before = NULL, *after = NULL;
    struct progress p = { 0 };
    *ack = (struct shm_ack){ 0 };
    int code = write_set(seg, changes, count, revert_ms, &ack->generation, &before, err);
    if (!code) {
        struct goal goal = { .number = ack->generation, .slot = slot_applied };
        code = await(seg, before, &goal, wait_ms, &p, &after, err);
    }
    if (!code) {
        const struct hak_state *state = &after->state;
        *ack = (struct shm_ack){ ack->generation, reached(state->generation, ack->generation),
                                 p.moved, p.done, p.idle, 0 };
        if (p.done < p.moved && p.laggard_frees < HAK_TICK_FREES)
            ack->frees_left = HAK_TICK_FREES - (unsigned)p.laggard_frees;
        if (!ack->examined && reached(state->examined, ack->generation))
            code = refused(seg, state, err);
        else if (wait_ms && p.done < p.moved)
            code = not_applied(ack, &p, wait_ms, err);
    }
    shm_snap_free(before);
    shm_snap_free(after);
    return code;
}

/* ---- purge and walk ------------------------------------------------------------------------ */

/* Adds one to a request counter of the control page; the lock is held. */
static int add_one(struct shm_seg *seg, size_t offset, uint64_t *number, struct shm_error *err)
{
    uint64_t *at = (uint64_t *)((uint8_t *)seg->control + offset);
    bool whole = shm_copy_out(number, at, 8);
    ++*number;
    return whole && shm_copy_in(at, number, 8) ? SHM_OK : shm_cut_off(err);
}

static int bump(struct shm_seg *seg, size_t offset, uint64_t *number, struct shm_snap **before,
                struct shm_error *err)
{
    int code = shm_begin_request(seg, err);
    if (code)
        return code;
    code = shm_snapshot(seg, before, err);
    if (!code)
        code = add_one(seg, offset, number, err);
    shm_end_request(seg);
    return code;
}

static bool purge_done(const struct hak_state *state, uint64_t number)
{
    return reached(state->purge_done, number);
}

static bool no_slot(const struct hak_slot *slot, uint64_t number)
{
    (void)slot, (void)number;
    return false;
}

int shm_purge(struct shm_seg *seg, unsigned wait_ms, bool *done, uint64_t *bytes,
              struct shm_error *err)
{
    struct shm_snap *before = NULL, *after = NULL;
    struct goal goal = { .slot = no_slot, .whole = purge_done };
    struct progress p = { 0 };
    *done = false;
    *bytes = 0;
    int code = bump(seg, offsetof(struct hak_control, purge), &goal.number, &before, err);
    if (!code)
        code = await(seg, before, &goal, wait_ms, &p, &after, err);
    if (!code) {
        *done = p.whole;
        *bytes = p.whole ? after->state.purged_bytes : 0;
        if (!p.whole && p.moved && wait_ms)
            code = shm_fail(err, SHM_EBUSY, "the purge is pending: %u thread%s moved, none has come "
                            "to it after %u ms; each does at least once in %d of its frees", p.moved,
                            shm_s(p.moved), wait_ms, HAK_TICK_FREES);
    }
    shm_snap_free(before);
    shm_snap_free(after);
    return code;
}

static bool slot_walked(const struct hak_slot *slot, uint64_t number)
{
    return !(slot->walk_seq & 1) && reached(slot->walk, number);
}

int shm_walk(struct shm_seg *seg, unsigned wait_ms, struct shm_snap **before,
             struct shm_snap **after, uint64_t *request, struct shm_error *err)
{
    struct goal goal = { .slot = slot_walked, .ended_too = true };
    struct progress p;
    *before = *after = NULL;
    int code = bump(seg, offsetof(struct hak_control, walk), &goal.number, before, err);
    if (!code)
        code = await(seg, *before, &goal, wait_ms, &p, after, err);
    *request = goal.number;
    if (code) {
        shm_snap_free(*before);
        shm_snap_free(*after);
        *before = *after = NULL;
    }
    return code;
}

int shm_ask_walk(struct shm_seg *seg, struct shm_error *err)
{
    uint64_t number;
    int code = shm_alive(seg) ? map_control(seg, err) : gone(err);
    if (code || set_lock(seg, F_WRLCK))         /* whoever has the lock asks for something himself */
        return code;
    code = add_one(seg, offsetof(struct hak_control, walk), &number, err);
    shm_end_request(seg);
    return code;
}
