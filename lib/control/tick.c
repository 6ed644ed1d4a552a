/* tick.c: the values in force, and what a thread does about them at its tick.
 *
 * Two tables; the one in force is table[epoch & 1].  A new one is written to the other, then epoch
 * grows: readers copy and look at epoch again, writers need nobody's consent, and a child made in
 * the middle finds a whole table.
 *
 *                    who                       how
 *   epoch, table     any thread reads          copy, then epoch must be what it was
 *                    the holder of the lock    writes the idle table, then epoch
 *   seen, revert_ns  any thread reads          a hint to take the lock
 *   the rest         the holder of the lock
 *   state page       tools read                inside state.seq
 *
 * tests/model/generation.pml is the model of this and of what tools do.
 *
 * The lock is only ever tried: who doesn't get it leaves the work to its holder.  Nothing that is
 * read from the control page is used before request_check has passed it. */
#include "lib/control/internal.h"

#include <errno.h>
#include <string.h>

#include "lib/base/lock.h"
#include "lib/base/os.h"

#define TORN_MAX 100                    /* ticks at which a request kept changing under our eyes */

struct table {
    uint64_t generation;
    union hak_knobs knobs;
};

static struct {
    uint64_t epoch;                     /* from 1 */
    struct table table[2];
    uint64_t seen;                      /* control.generation that was last looked at */
    uint64_t revert_ns;                 /* CLOCK_BOOTTIME of a pending revert; 0: none */
    struct lock lock;
    union hak_knobs replaced;           /* what the revert puts back */
    struct hak_origin_rec reverted_by;
    struct hak_origin_rec origin[HAK_KNOBS];
    unsigned torn;
    unsigned forks;                     /* of which this process is the child */
} force;

/* ---- The table ------------------------------------------------------------------------------- */

static struct table *table_of(uint64_t epoch)
{
    return &force.table[epoch & 1];
}

/* The epoch of the copy; 0: two changes came in the middle. */
static uint64_t table_copy(struct table *to)
{
    uint64_t epoch = get(force.epoch);
    const struct table *t = table_of(epoch);

    to->generation = get(t->generation);
    for (unsigned i = 0; i < HAK_KNOBS; i++)
        to->knobs.values[i] = get(t->knobs.values[i]);
    return get(force.epoch) == epoch ? epoch : 0;
}

uint64_t control_knobs(union hak_knobs *out)
{
    struct table t;
    uint64_t epoch;

    while (!(epoch = table_copy(&t)))
        ;
    *out = t.knobs;
    return epoch;
}

const union hak_knobs *tick_knobs(void)
{
    return &table_of(force.epoch)->knobs;
}

/* ---- The state page -------------------------------------------------------------------------- */

/* Between state_open and state_close readers retry.  The number is kept here, not read back: the
 * page may be another by the end (fork). */
static uint32_t state_open(void)
{
    uint32_t seq = get(seg.state->state.seq) | 1;

    put(seg.state->state.seq, seq);
    return seq;
}

static void state_close(uint32_t seq)
{
    put(seg.state->state.seq, seq + 1);
}

static void put_origin(struct hak_origin_rec *to, const struct hak_origin_rec *from)
{
    put(to->from, from->from);
    put(to->pid, from->pid);
    put(to->uid, from->uid);
    put(to->ns, from->ns);
}

static void state_values(void)
{
    struct hak_state *s = &seg.state->state;
    const struct table *t = table_of(force.epoch);

    put(s->generation, t->generation);
    put(s->examined, force.seen);
    put(s->epoch, force.epoch);
    put(s->revert_ns, force.revert_ns);
    put(s->trace_on, atomic_load_explicit(&hak_trace_hook, memory_order_relaxed) ? 1u : 0u);
    for (unsigned i = 0; i < HAK_KNOBS; i++) {
        put(s->values[i], t->knobs.values[i]);
        put_origin(&s->origin[i], &force.origin[i]);
    }
}

void tick_publish_all(void)
{
    uint32_t seq = state_open();

    state_values();
    state_close(seq);
}

/* ---- Changing the values in force; the lock is held ------------------------------------------ */

static void put_in_force(const union hak_knobs *knobs, uint64_t generation,
                         const struct hak_origin_rec *origin)
{
    uint64_t next = force.epoch + 1;
    const struct table *old = table_of(force.epoch);
    struct table *t = table_of(next);

    for (unsigned i = 0; i < HAK_KNOBS; i++) {
        if (knobs->values[i] != old->knobs.values[i])
            force.origin[i] = *origin;
        put(t->knobs.values[i], knobs->values[i]);
    }
    put(t->generation, generation);
    put(force.epoch, next);
    trace_switch(knobs->trace_ring);
    tick_publish_all();
}

static void revert_if_due(void)
{
    if (!force.revert_ns || clock_ns(CLOCK_BOOTTIME) < force.revert_ns)
        return;
    put(force.revert_ns, (uint64_t)0);
    force.reverted_by.from = HAK_FROM_REVERT;
    force.reverted_by.ns = clock_ns(CLOCK_REALTIME);
    put_in_force(&force.replaced, table_of(force.epoch)->generation, &force.reverted_by);
}

/* A request, copied from the control page. */
struct request {
    uint64_t generation, revert_ns;
    struct hak_origin_rec writer;
    union hak_knobs knobs;
};

/* False: it changed under our eyes. */
static bool request_read(struct request *r)
{
    const struct hak_control *c = seg.control;

    r->generation = get(c->generation);
    unsigned which = r->generation & 1;
    const struct hak_writer *w = &c->writer[which];

    for (unsigned i = 0; i < HAK_KNOBS; i++)
        r->knobs.values[i] = get(c->values[which][i]);
    r->writer = (struct hak_origin_rec){ .from = HAK_FROM_CONTROL, .pid = get(w->pid), .uid = get(w->uid),
                                         .ns = get(w->ns) };
    r->revert_ns = get(w->revert_ns);
    return get(c->generation) == r->generation;
}

static enum hak_refusal request_check(const struct request *r, unsigned *knob)
{
    const union hak_knobs *now = tick_knobs();

    for (*knob = 0; *knob < HAK_KNOBS; ++*knob) {
        uint64_t value = r->knobs.values[*knob];
        if (!knob_valid(*knob, value))
            return HAK_REFUSED_RANGE;
        if (knob_table[*knob].context == HAK_STARTUP && value != now->values[*knob])
            return HAK_REFUSED_STARTUP;
    }
    return HAK_REFUSED_NOT;
}

static void request_refuse(const struct request *r, enum hak_refusal reason, unsigned knob)
{
    struct hak_state *s = &seg.state->state;
    uint32_t seq = state_open();

    put(s->refused, r->generation);
    put(s->refused_reason, (uint32_t)reason);
    put(s->refused_knob, (uint32_t)knob);
    put(s->refused_value, reason == HAK_REFUSED_TORN ? 0 : r->knobs.values[knob]);
    put(s->examined, r->generation);
    state_close(seq);
    GLOBAL_ADD(refused, 1);
}

/* A revert that is pending is cancelled by a generation without one, and taken over by one with:
 * what is put back then is what was in force before the first of them. */
static void request_accept(const struct request *r)
{
    if (r->revert_ns && !force.revert_ns)
        force.replaced = *tick_knobs();
    force.reverted_by = r->writer;
    put(force.revert_ns, r->revert_ns);
    put_in_force(&r->knobs, r->generation, &r->writer);
}

static void request_take(void)
{
    struct request r;
    unsigned knob = 0;

    if (get(seg.control->generation) == force.seen)
        return;
    bool whole = request_read(&r);
    if (!whole && ++force.torn < TORN_MAX)
        return;
    force.torn = 0;
    put(force.seen, r.generation);
    enum hak_refusal reason = whole ? request_check(&r, &knob) : HAK_REFUSED_TORN;
    if (reason == HAK_REFUSED_NOT)
        request_accept(&r);
    else
        request_refuse(&r, reason, knob);
}

/* The values in force, their origins and a pending revert are the parent's; generation and control page start
 * anew. */
static void inherit(void)
{
    force.torn = 0;
    put(force.seen, (uint64_t)0);
    struct table *t = table_of(force.epoch + 1);
    *t = *table_of(force.epoch);
    t->generation = 0;
    put(force.epoch, force.epoch + 1);
}

/* A revert comes before all else, and again after a request that comes too late for its own.  A signal handler
 * may fork in the middle: what the child takes then is its parent's request, and the first to its own page may
 * well have the same generation. */
static void take_all(void)
{
    unsigned forks = get(force.forks);

    revert_if_due();
    request_take();
    revert_if_due();
    if (unlikely(get(force.forks) != forks)) {
        inherit();
        tick_publish_all();
    }
}

static hak_cold void look(void)
{
    if (!lock_try(&force.lock))
        return;
    take_all();
    lock_drop(&force.lock);
}

/* ---- A request of the process itself --------------------------------------------------------- */

static int changes_check(const struct control_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (knob_table[changes[i].knob].context == HAK_STARTUP)
            return EPERM;
        else if (!knob_valid(changes[i].knob, changes[i].value))
            return EINVAL;
    return 0;
}

static void change(union hak_knobs *knobs, const struct control_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        knobs->values[changes[i].knob] = changes[i].value;
}

/* Nobody else writes to the page, nor looks at what is in it while the lock of the table is held. */
static void page_write(struct hak_control *page, uint64_t generation, const union hak_knobs *knobs,
                       const struct hak_origin_rec *writer)
{
    unsigned which = generation & 1;
    struct hak_writer *w = &page->writer[which];

    for (unsigned i = 0; i < HAK_KNOBS; i++)
        put(page->values[which][i], knobs->values[i]);
    put(w->pid, writer->pid);
    put(w->uid, writer->uid);
    put(w->ns, writer->ns);
    put(w->revert_ns, force.revert_ns);
    put(page->generation, generation);
}

/* What was asked for before comes before: a revert or another's request must not undo this one.  A
 * revert that is pending stays so, and leaves alone what the process itself has set. */
static int set_held(const struct control_change *changes, size_t count, struct hak_control *page)
{
    struct hak_origin_rec self = { .from = HAK_FROM_API, .pid = seg.self.pid, .uid = geteuid(),
                                   .ns = clock_ns(CLOCK_REALTIME) };

    take_all();
    uint64_t generation = table_of(force.epoch)->generation;
    union hak_knobs knobs = *tick_knobs();
    change(&knobs, changes, count);
    if (page) {
        if (get(page->generation) != force.seen)        /* torn: its writer ignores the lock */
            return EBUSY;
        generation = force.seen + 1;
        page_write(page, generation, &knobs, &self);
        put(force.seen, generation);
    }
    change(&force.replaced, changes, count);
    put_in_force(&knobs, generation, &self);
    return 0;
}

int tick_set(const struct control_change *changes, size_t count, struct hak_control *page)
{
    int why = changes_check(changes, count);

    for (unsigned tried = 0; !why && !lock_try(&force.lock); tried++)
        if (tried < BUSY_TRIES)
            os_pause(tried);
        else
            why = EBUSY;
    if (why)
        return why;
    why = set_held(changes, count, page);
    lock_drop(&force.lock);
    return why;
}

/* ---- The tick -------------------------------------------------------------------------------- */

/* What can't be copied whole at this tick is at the next. */
static hak_cold bool learn(struct hak_orders *orders)
{
    struct table t;
    uint64_t epoch = table_copy(&t);

    if (!epoch)
        return false;
    orders->epoch = epoch;
    orders->generation = t.generation;
    orders->knobs = t.knobs;
    return true;
}

bool tick(struct hak_orders *orders)
{
    const struct hak_control *c = seg.control;
    uint64_t revert = get(force.revert_ns);

    orders->purge = get(c->purge);
    orders->walk = get(c->walk);
    if (unlikely(get(c->generation) != get(force.seen))
        || unlikely(revert && clock_ns(CLOCK_BOOTTIME) >= revert))
        look();
    return unlikely(get(force.epoch) != orders->epoch) && learn(orders);
}

/* Every thread purges for itself; the bytes of one request add up.  Inside state.seq where the lock
 * can be had; its holder has it open otherwise, mostly. */
void tick_purged(uint64_t request, uint64_t bytes)
{
    static _Atomic uint64_t last, sum;
    struct hak_state *s = &seg.state->state;
    bool mine = lock_try(&force.lock);
    uint32_t seq = mine ? state_open() : 0;

    if (atomic_exchange_explicit(&last, request, memory_order_relaxed) != request)
        atomic_store_explicit(&sum, 0, memory_order_relaxed);
    bytes += atomic_fetch_add_explicit(&sum, bytes, memory_order_relaxed);
    put(s->purged_bytes, bytes);
    put(s->purge_done, request);
    if (mine) {
        state_close(seq);
        lock_drop(&force.lock);
    }
}

/* ---- Start and fork -------------------------------------------------------------------------- */

unsigned tick_start(void)
{
    force.epoch = 1;
    return knobs_at_start(&table_of(1)->knobs, force.origin);
}

/* Before the segment is made: tick_publish_all follows. */
void tick_child(void)
{
    lock_after_fork(&force.lock);
    put(force.forks, force.forks + 1);
    inherit();
}
