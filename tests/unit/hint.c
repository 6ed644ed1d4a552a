/* hint.c: a set of SuperSlab numbers: exact for one thread; for many, a number that belongs in it is
 * never missing for good. */
#include "tests/unit/interleave.h"
#include "lib/core/hint.h"

enum { SET = 5 };                           /* of the sets side by side, the one that is tried */
static struct hint hint;

static int empty(void)
{
    const _Atomic uint64_t *word = (const void *)&hint, *end = (const void *)(&hint + 1);
    while (word < end && !*word)
        word++;
    return word == end && hint_first(&hint, SET) == HINT_NONE;
}

static void test_each_alone(void)
{
    for (uint32_t i = 0; i < HINT_MAX; i++) {
        hint_set(&hint, SET, i);
        must(hint_first(&hint, SET) == i);
        hint_clear(&hint, SET, i);
        must(hint_first(&hint, SET) == HINT_NONE);
    }
    is(faults_taken(), 0, "each of %u numbers, alone, is found and forgotten", HINT_MAX);
    ok(empty(), "nothing is left");
}

static void test_side_by_side(void)
{
    for (unsigned set = 0; set < HINT_SETS; set++)
        hint_set(&hint, set, 4096 * set + set);
    hint_clear(&hint, SET, 4096 * SET + SET);
    for (unsigned set = 0; set < HINT_SETS; set++)
        must(hint_first(&hint, set) == (set == SET ? HINT_NONE : 4096 * set + set));
    for (unsigned set = 0; set < HINT_SETS; set++)
        hint_clear(&hint, set, 4096 * set + set);
    is(faults_taken(), 0, "eight sets side by side don't see each other's numbers");
    ok(empty(), "nothing is left");
}

static void test_full(void)
{
    for (uint32_t i = HINT_MAX; i-- > 0;) {
        hint_set(&hint, SET, i);
        must(hint_first(&hint, SET) == i);
    }
    for (uint32_t i = 0; i < HINT_MAX; i++) {
        uint32_t first;
        must(hint_first(&hint, SET) == i);
        must(hint_some(&hint, SET, &first) == UINT64_MAX << i % 64 && first == i - i % 64);
        hint_clear(&hint, SET, i);
    }
    is(faults_taken(), 0, "a full set gives all of them, in order, and those in one word at once");
    is(hint_some(&hint, SET, &(uint32_t){ 0 }), 0, "none when there is none");
    ok(empty(), "nothing is left");
}

/* Against a plain array, in neighbourhoods of a low word, a mid word and the whole range. */
static void test_model(void)
{
    static const uint32_t within[] = { 2, 64, 130, 4096, 8200, HINT_MAX };
    static uint8_t in[HINT_MAX];
    uint64_t seed = 2;

    for (unsigned w = 0; w < sizeof within / sizeof *within; w++) {
        uint32_t base = (HINT_MAX - within[w]) / 2, end = base + within[w], lowest = HINT_NONE;
        for (int step = 0; step < 20000; step++) {
            uint32_t i = base + (uint32_t)(rnd(&seed) % within[w]);
            if (rnd(&seed) % 2) {
                hint_set(&hint, SET, i);
                in[i] = 1;
                lowest = i < lowest ? i : lowest;
            } else {
                i = lowest != HINT_NONE && rnd(&seed) % 2 ? lowest : i;
                hint_clear(&hint, SET, i);
                in[i] = 0;
                while (lowest < end && !in[lowest])
                    lowest++;
                if (lowest == end)
                    lowest = HINT_NONE;
            }
            must(hint_first(&hint, SET) == lowest);
        }
        for (uint32_t i; (i = hint_first(&hint, SET)) != HINT_NONE; in[i] = 0) {
            must(in[i]);
            hint_clear(&hint, SET, i);
        }
    }
    is(faults_taken(), 0, "the lowest number is always that of a plain array");
    ok(empty(), "nothing is left");
}

/* ---- many ----
 *
 * What a bit stands for is here a token.  As in the pool: who gives one back sets its bit; who finds a
 * bit takes the token or, where there is none, clears the bit and looks again. */

enum { MANY = 4, TOKENS = 3 };
static _Atomic uint32_t token[HINT_MAX];
static uint32_t places[TOKENS];
static uint32_t held[MANY];
static uint64_t seeds[MANY];

static void token_give(uint32_t i)
{
    must(atomic_exchange(&token[i], 1) == 0);
    hint_set(&hint, SET, i);
}

static uint32_t token_take(void)
{
    uint32_t i;

    while ((i = hint_first(&hint, SET)) != HINT_NONE) {
        uint32_t there = 1;
        if (atomic_compare_exchange_strong(&token[i], &there, 0))
            return i;
        hint_clear(&hint, SET, i);
        if (atomic_load(&token[i]))
            hint_set(&hint, SET, i);
    }
    return HINT_NONE;
}

/* Short, since what is missing at the end of a round may come back with the next change; for the same
 * reason some tokens are out then; and there are fewer of them than parts, so that the set is mostly
 * empty. */
static void take_and_give(int me)
{
    for (uint64_t step = 2 + rnd(&seeds[me]) % 8; step > 0; step--) {
        if (held[me] == HINT_NONE) {
            held[me] = token_take();
        } else {
            token_give(held[me]);
            held[me] = HINT_NONE;
        }
    }
}

/* Each token that is not out must be found. */
static void nothing_missing(void)
{
    int out = 0;

    for (int i = 0; i < MANY; i++)
        out += held[i] != HINT_NONE;
    for (int i = out; i < TOKENS; i++)
        must(token_take() != HINT_NONE);
    must(token_take() == HINT_NONE);
    must(empty());
    for (int i = 0; i < TOKENS; i++) {
        must(atomic_load(&token[places[i]]) == 0);
        token_give(places[i]);
    }
    memset(held, 0xFF, sizeof held);                    /* HINT_NONE */
}

static pthread_barrier_t together;
static long rounds;

static void *rounds_of_thread(void *arg)
{
    for (long r = 0; r < rounds; r++) {
        take_and_give((int)(intptr_t)arg);
        if (pthread_barrier_wait(&together) == PTHREAD_BARRIER_SERIAL_THREAD)
            nothing_missing();
        pthread_barrier_wait(&together);
    }
    return NULL;
}

static void test_many(const char *where, const uint32_t at[TOKENS])
{
    memcpy(places, at, sizeof places);
    memset(held, 0xFF, sizeof held);
    for (int i = 0; i < TOKENS; i++)
        token_give(places[i]);
    rounds = count_of("HAK_ROUNDS", 500, 10000);
    stress(MANY, rounds_of_thread);
    is(faults_taken(), 0, "%d numbers %s: none is ever missing for good, by threads", TOKENS, where);
    if (INTERLEAVES) {
        rounds = count_of("HAK_INTERLEAVINGS", 6000, 200000);
        for (long r = 0; r < rounds; r++) {
            interleave(MANY, take_and_give, (uint64_t)r);
            nothing_missing();
        }
        is(faults_taken(), 0, "and in %ld interleavings", rounds);
    }
    for (int i = 0; i < TOKENS; i++)
        must(token_take() != HINT_NONE);
}

int main(void)
{
    test_each_alone();
    test_side_by_side();
    test_full();
    test_model();
    pthread_barrier_init(&together, NULL, MANY);
    test_many("of one low word", (uint32_t[]){ 0, 1, 63 });
    test_many("of as many low words", (uint32_t[]){ 0, 64, 4032 });
    test_many("of as many mid words", (uint32_t[]){ 0, 4096, HINT_MAX - 1 });
    test_many("of some of each", (uint32_t[]){ 4094, 4095, 4096 });
    return tap_done();
}
