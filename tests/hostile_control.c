/* hostile_control.c: whoever may write the segment can set legal values and spoil statistics, and
 * no more.  Its control page, then every byte of it, is filled with random bytes while threads
 * allocate: nothing crashes, no block is lost, and no illegal value comes into force.
 *
 * 100,000 fillings with HAK_LONG=1, fewer otherwise.  HAK_SEED repeats a run.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include "tests/seg.h"

enum { THREADS = 3, BLOCKS = 300 };

static struct seg s;
static atomic_bool stop;

/* Allocate, check and free, for as long as the main thread spoils the segment. */
static void *load(void *arg)
{
    uint64_t seed = (uint64_t)(intptr_t)arg;
    unsigned char *p[BLOCKS] = { NULL };
    size_t n[BLOCKS] = { 0 };
    long bad = 0;
    while (!atomic_load(&stop))
        for (int step = 0; step < 100; step++) {
            int i = (int)(rnd(&seed) % BLOCKS);
            if (p[i])
                bad += p[i][0] != (unsigned char)i || p[i][n[i] - 1] != (unsigned char)i;
            free(p[i]);
            n[i] = 1 + rnd(&seed) % (step % 50 ? 1200 : 200000);
            p[i] = malloc(n[i]);
            if (!p[i])
                return (void *)(bad + 1);
            p[i][0] = p[i][n[i] - 1] = (unsigned char)i;
        }
    for (int i = 0; i < BLOCKS; i++)
        free(p[i]);
    return (void *)bad;
}

static const struct hak_knob_desc *knob(unsigned i)
{
    return (void *)(s.base + s.h->knob_off + (size_t)i * s.h->knob_size);
}

/* The values in force, in one piece; 0: the library was writing all the time. */
static int read_values(uint64_t *values)
{
    for (int i = 0; i < 100000; i++) {
        uint32_t before = __atomic_load_n(&s.state->seq, __ATOMIC_ACQUIRE);
        if (before & 1)
            continue;
        for (unsigned k = 0; k < s.h->knob_count; k++)
            values[k] = __atomic_load_n(&s.state->values[knob(k)->index], __ATOMIC_ACQUIRE);
        if (__atomic_load_n(&s.state->seq, __ATOMIC_RELAXED) == before)
            return 1;
    }
    return 0;
}

static uint64_t at_start[HAK_VALUES_MAX];

static int illegal(void)
{
    uint64_t v[HAK_VALUES_MAX];
    if (!read_values(v))
        return 0;
    for (unsigned k = 0; k < s.h->knob_count; k++) {
        const struct hak_knob_desc *d = knob(k);
        if (v[k] < d->min || v[k] > d->max || (d->context == HAK_STARTUP && v[k] != at_start[k])) {
            diag("%s is %llu", d->name, (unsigned long long)v[k]);
            return 1;
        }
    }
    return 0;
}

static void random_bytes(void *to, size_t n, uint64_t *seed)
{
    for (size_t i = 0; i + 8 <= n; i += 8) {
        uint64_t r = rnd(seed);
        memcpy((char *)to + i, &r, 8);
    }
}

/* Mostly legal, so that the checks of single values are met and not only the first. */
static void plausible(uint64_t *seed)
{
    struct hak_control *c = s.control;
    for (int array = 0; array < 2; array++)
        for (unsigned k = 0; k < s.h->knob_count; k++) {
            const struct hak_knob_desc *d = knob(k);
            uint64_t v = d->context == HAK_STARTUP ? at_start[k]
                       : d->min + rnd(seed) % (d->max - d->min + 1);
            c->values[array][d->index] = rnd(seed) % 100 ? v : rnd(seed);
        }
    for (int array = 0; array < 2; array++)
        c->writer[array].revert_ns = rnd(seed) % 2 ? 0 : rnd(seed) % 4 ? 1 : rnd(seed);
    c->walk++;
    c->purge += rnd(seed) % 50 == 0;
    __atomic_store_n(&c->generation, rnd(seed), __ATOMIC_RELEASE);
}

static void fill_control(long times, uint64_t *seed)
{
    int bad = 0;
    uint64_t accepted = 0, last = 0;
    for (long i = 0; i < times; i++) {
        if (i % 2)
            random_bytes(s.control, s.h->control_size, seed);
        else
            plausible(seed);
        if (i % 8 == 0)
            usleep(50);                         /* let the threads look at it */
        bad += illegal();
        accepted += seg_read(&s.state->epoch) != last;
        last = seg_read(&s.state->epoch);
    }
    is(bad, 0, "%ld fillings of the control page: no illegal value in force", times);
    ok(accepted > 10, "though changes were accepted on the way (%llu seen)", (unsigned long long)accepted);
    ok(seg_global(&s, "generations_refused") > 10, "and refused (%llu)",
       (unsigned long long)seg_global(&s, "generations_refused"));
}

/* A good request afterwards: from a page of zeroes, all values as at the start. */
static void set_again(void)
{
    memset(s.control, 0, s.h->control_size);
    for (unsigned k = 0; k < s.h->knob_count; k++)
        s.control->values[0][knob(k)->index] = s.control->values[1][knob(k)->index] = at_start[k];
    __atomic_store_n(&s.control->generation, 424242, __ATOMIC_RELEASE);
    for (int i = 0; i < 10000 && seg_read(&s.state->generation) != 424242; i++)
        usleep(1000);
    is(seg_read(&s.state->generation), 424242, "a good request is still accepted");
    uint64_t v[HAK_VALUES_MAX];
    ok(read_values(v) && !memcmp(v, at_start, s.h->knob_count * sizeof *v), "with all of its values");
}

/* Everything that is backed by memory: header, descriptors, state, map, counters of live threads. */
static void fill_all(long times, uint64_t *seed)
{
    struct hak_seg_header h = *s.h;
    unsigned slots = s.state->slots_used, superslabs = (unsigned)s.state->map_used;
    for (long i = 0; i < times; i++) {
        random_bytes(s.base, h.trace_off, seed);
        random_bytes(s.base + h.map_off, (size_t)superslabs * h.map_size, seed);
        random_bytes(s.base + h.slots_off, (size_t)slots * h.slot_stride, seed);
        usleep(50);
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    run_under_hakmem(argv);
    if (!under_hakmem)
        bail("this test is about hakmem alone");
    seg_own(&s);
    uint64_t seed = (uint64_t)count_of("HAK_SEED", (long)getpid(), (long)getpid());
    diag("HAK_SEED=%llu", (unsigned long long)seed);
    if (!read_values(at_start))
        bail("the state page is never at rest");
    pthread_t t[THREADS];
    long bad = 0;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, load, (void *)(intptr_t)(i + 1));
    fill_control(count_of("HAK_FILLINGS", 10000, 100000), &seed);
    set_again();
    fill_all(count_of("HAK_FILLINGS", 500, 5000), &seed);
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++) {
        void *r;
        pthread_join(t[i], &r);
        bad += (intptr_t)r;
    }
    is(bad, 0, "every block keeps what was written, though every byte of the segment was spoiled");
    bad = 0;
    for (int i = 0; i < 50; i++)
        bad += run_threads(4, load, NULL);
    is(bad, 0, "new threads start in the spoiled segment");
    return tap_done();
}
