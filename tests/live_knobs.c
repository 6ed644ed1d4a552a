/* live_knobs.c: a change of a knob takes effect in a running process: in every thread, within one
 * countdown of its own frees, and by what the counters say.  The process asks by its own control
 * page, as hakctl does from outside, so that "within" is a number of calls and not of milliseconds.
 *
 * It also shows that TinyHeapV2 is supplied (fault 5 of the research prototype: a magazine whose
 * counters rose to 200,000 calls with 0 hits, because nothing ever put a block into it).
 */
#define _GNU_SOURCE
#include "tests/worker.h"

enum { PAIRS = 1000, C3 = 3 };

/* One request of each class, C0 to C7. */
static const size_t size_of[] = { 8, 16, 32, 64, 128, 256, 512, 1024 };
enum { CLASSES = 8 };

/* --- applied within one countdown ----------------------------------------------------------------- */

static int countdown(uint64_t interval) { return interval < 2048 ? (int)interval : 2048; }

/* Ask, then let one worker do exactly so many frees, by fn. */
static int acknowledges(struct worker *w, int frees, size_t size,
                        void (*fn)(struct worker *, size_t, int))
{
    static uint64_t mask;
    uint64_t g = seg_set(&s, "tiny.heap_v2.class_mask", mask ^= 0xFF);
    fn(w, size, frees);
    if (applied(w) == g)
        return 1;
    diag("after %d frees of %zu bytes the thread is at generation %llu of %llu", frees, size,
         (unsigned long long)applied(w), (unsigned long long)g);
    return 0;
}

static void test_countdown(void)
{
    static const uint64_t intervals[] = { 2048, 1, 2, 7, 100, 2047, 2049, 65536, 2048 };
    static const size_t sizes[] = { 1, 64, 1000, 3000, 30000, 100000, 2000000 };
    int late = 0, late_foreign = 0, deaf = 0;
    for (size_t i = 0; i < sizeof intervals / sizeof *intervals; i++) {
        uint64_t g = seg_set(&s, "tiny.sll.drain_interval", intervals[i]);
        for (int j = 0; j < WORKERS; j++) {
            pairs(&workers[j], 64, 2048);
            deaf += applied(&workers[j]) != g;
        }
        int frees = countdown(intervals[i]);
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
            late += !acknowledges(&workers[j % WORKERS], frees, sizes[j], pairs);
        late_foreign += !acknowledges(&workers[i % WORKERS], frees, 64, free_foreign);
        late_foreign += !acknowledges(&workers[i % WORKERS], frees, 5000, free_foreign);
    }
    is(deaf, 0, "a new drain interval is applied within one old countdown by all threads");
    is(late, 0, "a thread applies a change within min(drain_interval, 2048) of its own frees");
    is(late_foreign, 0, "of other threads' blocks, too");
}

/* A thread that does nothing holds nobody up, and applies when it wakes. */
static void test_idle(void)
{
    uint64_t g = seg_set(&s, "tiny.heap_v2.class_mask", 0xFF);
    pairs(&workers[0], 64, 2048);
    is(applied(&workers[0]), g, "one thread has applied it");
    ok(applied(&workers[1]) != g, "an idle one has not");
    is(seg_read(&s.state->generation), g, "the state page says that it is in force");
    is(seg_value(&s, "tiny.heap_v2.class_mask"), 0xFF, "and what it is");
    pairs(&workers[1], 64, 2048);
    is(applied(&workers[1]), g, "the idle one applies it after its own countdown");
    for (int j = 0; j < WORKERS; j++)
        pairs(&workers[j], 64, 2048);
}

/* --- the effect ------------------------------------------------------------------------------------ */

/* Whether one pair after the other is served by TinyHeapV2, if it is `on`, or FastCache, and by nothing else. */
static int serves(struct worker *w, unsigned class, size_t size, int on)
{
    pairs(w, size, 1);
    uint64_t l0 = hits(w, "heap_v2_hits", class), l1 = hits(w, "fast_cache_hits", class);
    uint64_t pushed = hits(w, "heap_v2_pushes", class);
    pairs(w, size, PAIRS);
    l0 = hits(w, "heap_v2_hits", class) - l0;
    l1 = hits(w, "fast_cache_hits", class) - l1;
    pushed = hits(w, "heap_v2_pushes", class) - pushed;
    /* A tick may fall among the pairs and empty what it finds: one call each is not a hit.  And a block may come from a
     * slab that this thread has lent while it slept: it goes back to the slab's owner. */
    unsigned most = PAIRS - 3;
    if (on ? l0 >= most && l1 <= 3 && pushed >= most : l0 == 0 && l1 >= most && pushed == 0)
        return 1;
    diag("class %u, %zu bytes: %llu hits in TinyHeapV2, %llu in FastCache, %llu pushes", class, size,
         (unsigned long long)l0, (unsigned long long)l1, (unsigned long long)pushed);
    return 0;
}

static void test_mask(uint64_t mask)
{
    set_everywhere("tiny.heap_v2.class_mask", mask);
    int wrong = 0;
    for (int j = 0; j < WORKERS; j++)
        for (unsigned c = 0; c < CLASSES; c++)
            wrong += !serves(&workers[j], c, size_of[c], mask >> c & 1);
    is(wrong, 0, "mask 0x%llx: TinyHeapV2 serves the %d pairs of its classes and none of the others'",
       (unsigned long long)mask, PAIRS);
}

static void test_mid(uint64_t mask, int mid)
{
    set_everywhere("tiny.heap_v2.class_mask", mask);
    set_everywhere("tiny.heap_v2.mid", mid);
    int wrong = 0, on = mid && mask >> 7;
    for (size_t size = 1025; size <= 32768; size += 1951)
        wrong += !serves(&workers[0], HAK_CLASS_MID, size, on);
    is(wrong, 0, "mask 0x%llx, mid %d: TinyHeapV2 serves %s", (unsigned long long)mask, mid,
       on ? "mid" : "nothing of mid");
}

static void test_enable(void)
{
    set_everywhere("tiny.heap_v2.enable", 0);
    uint64_t before = 0, after = 0;
    for (unsigned c = 0; c < CLASSES; c++)
        before += hits(&workers[0], "heap_v2_hits", c);
    for (unsigned c = 0; c < CLASSES; c++)
        pairs(&workers[0], size_of[c], PAIRS);
    for (unsigned c = 0; c < CLASSES; c++)
        after += hits(&workers[0], "heap_v2_hits", c);
    is(after, before, "without TinyHeapV2 no class has a hit in it");
    set_everywhere("tiny.heap_v2.enable", 1);
    before = hits(&workers[0], "heap_v2_hits", C3);
    pairs(&workers[0], 64, PAIRS + 1);
    ok(hits(&workers[0], "heap_v2_hits", C3) - before >= PAIRS, "and with it again");
}

static void test_leftover(void)
{
    struct worker *w = &workers[0];
    set_everywhere("tiny.heap_v2.class_mask", 0xFF);
    burst(w, 64, BURST);
    uint64_t l0 = hits(w, "heap_v2_hits", C3), l1 = hits(w, "fast_cache_hits", C3);
    pairs(w, 64, PAIRS);
    is(hits(w, "heap_v2_hits", C3) - l0, PAIRS, "stealing: a freed block goes to TinyHeapV2 first");

    set_everywhere("tiny.heap_v2.leftover_mode", 1);
    burst(w, 64, 10);                           /* what stealing left in TinyHeapV2 is used up */
    l0 = hits(w, "heap_v2_hits", C3), l1 = hits(w, "fast_cache_hits", C3);
    uint64_t pushed = hits(w, "heap_v2_pushes", C3), left = hits(w, "heap_v2_leftover", C3);
    pairs(w, 64, PAIRS);
    uint64_t l0_share = hits(w, "heap_v2_hits", C3) - l0, l1_share = hits(w, "fast_cache_hits", C3) - l1;
    ok(l0_share < PAIRS / 20 && l1_share > PAIRS / 20 * 19,
       "leftover: TinyHeapV2's share falls to %llu of %d, FastCache's rises to %llu",
       (unsigned long long)l0_share, PAIRS, (unsigned long long)l1_share);
    burst(w, 64, BURST);
    ok(hits(w, "heap_v2_leftover", C3) > left, "TinyHeapV2 takes what FastCache has no room for");
    is(hits(w, "heap_v2_pushes", C3), pushed, "and nothing else");
    l0 = hits(w, "heap_v2_hits", C3);
    burst(w, 64, BURST);
    ok(hits(w, "heap_v2_hits", C3) > l0, "which serves later calls");
    set_everywhere("tiny.heap_v2.leftover_mode", 0);
}

static void test_front_direct(void)
{
    struct worker *w = &workers[0];
    set_everywhere("tiny.front_direct", 0);
    uint64_t in = hits(w, "sll_pushes", C3);
    burst(w, 64, BURST);
    ok(hits(w, "sll_pushes", C3) > in, "what overflows FastCache goes to the SLL");
    set_everywhere("tiny.front_direct", 1);
    in = hits(w, "sll_pushes", C3);
    burst(w, 64, BURST);
    is(hits(w, "sll_pushes", C3), in, "Front-Direct: no block sees the SLL");
    set_everywhere("tiny.front_direct", 0);
}

/* --- requests that must be refused ------------------------------------------------------------------ */

static void test_refused(void)
{
    uint64_t good = seg_read(&s.state->generation), before = seg_global(&s, "generations_refused");
    uint64_t g = seg_set(&s, "tiny.heap_v2.class_mask", 0x1FF);
    pairs(&workers[0], 64, 2048);
    is(seg_read(&s.state->refused), g, "a value out of range: the generation is refused");
    is(s.state->refused_reason, HAK_REFUSED_RANGE, "the reason is published");
    is(s.state->refused_knob, seg_knob(&s, "tiny.heap_v2.class_mask")->index, "with the knob");
    is(s.state->refused_value, 0x1FF, "and the value");
    is(seg_read(&s.state->generation), good, "the generation in force stays");
    is(seg_value(&s, "tiny.heap_v2.class_mask"), 0xFF, "so does the value");
    g = seg_set(&s, "pool.per_class", 1);
    pairs(&workers[0], 64, 2048);
    is(s.state->refused == g && s.state->refused_reason == HAK_REFUSED_STARTUP, 1,
       "a startup knob can't be changed");
    is(seg_global(&s, "generations_refused") - before, 2, "both are counted");
    set_everywhere("tiny.heap_v2.class_mask", 0xE);
    is(seg_value(&s, "pool.per_class"), 0, "what was refused is not in the next change's base");
}

int main(int argc, char **argv)
{
    (void)argc;
    run_under_hakmem(argv);
    if (!under_hakmem)
        bail("this test is about hakmem alone");
    start_workers();
    is(seg_value(&s, "tiny.heap_v2.class_mask"), 0xFF, "the default mask: every class");
    test_countdown();
    test_idle();
    static const uint64_t masks[] = { 0x0, 0xE, 0xF, 0x0, 0xFF, 0x80, 0xFE };
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++)
        test_mask(masks[i]);
    test_mid(0xFF, 0);
    test_mid(0x7F, 1);
    test_mid(0xFF, 1);
    test_enable();
    test_leftover();
    test_front_direct();
    test_refused();
    end_workers();
    return tap_done();
}
