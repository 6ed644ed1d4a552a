/* hint.c: see hint.h for why this is right. */
#include "lib/core/hint.h"

#define BIT(i) ((uint64_t)1 << ((i) % 64))

static void word_set(_Atomic uint64_t *word, uint32_t i)
{
    if (!(atomic_load(word) & BIT(i)))
        atomic_fetch_or(word, BIT(i));
}

/* True: the word has become empty. */
static bool word_clear(_Atomic uint64_t *word, uint32_t i)
{
    return (atomic_fetch_and(word, ~BIT(i)) & ~BIT(i)) == 0;
}

void hint_set(struct hint *h, unsigned set, uint32_t i)
{
    word_set(&h->low[i >> HINT_BITS].set[set], i);
    word_set(&h->mid[i >> (2 * HINT_BITS)].set[set], i >> HINT_BITS);
    word_set(&h->top.set[set], i >> (2 * HINT_BITS));
}

static void clear_mid(struct hint *h, unsigned set, uint32_t m)
{
    if (!word_clear(&h->mid[m >> HINT_BITS].set[set], m))
        goto look_again;
    word_clear(&h->top.set[set], m >> HINT_BITS);
    if (atomic_load(&h->mid[m >> HINT_BITS].set[set]))
        word_set(&h->top.set[set], m >> HINT_BITS);
look_again:
    if (atomic_load(&h->low[m].set[set])) {
        word_set(&h->mid[m >> HINT_BITS].set[set], m);
        word_set(&h->top.set[set], m >> HINT_BITS);
    }
}

void hint_clear(struct hint *h, unsigned set, uint32_t i)
{
    if (word_clear(&h->low[i >> HINT_BITS].set[set], i))
        clear_mid(h, set, i >> HINT_BITS);
}

uint32_t hint_first(struct hint *h, unsigned set)
{
    for (;;) {
        uint64_t top = atomic_load(&h->top.set[set]);
        if (!top)
            return HINT_NONE;
        uint32_t t = (uint32_t)__builtin_ctzll(top);
        uint64_t mid = atomic_load(&h->mid[t].set[set]);
        if (!mid) {                                     /* stale: another clears it right now */
            word_clear(&h->top.set[set], t);
            if (atomic_load(&h->mid[t].set[set]))
                word_set(&h->top.set[set], t);
            continue;
        }
        uint32_t m = t << HINT_BITS | (uint32_t)__builtin_ctzll(mid);
        uint64_t low = atomic_load(&h->low[m].set[set]);
        if (low)
            return m << HINT_BITS | (uint32_t)__builtin_ctzll(low);
        clear_mid(h, set, m);
    }
}

uint64_t hint_some(struct hint *h, unsigned set, uint32_t *first)
{
    uint32_t i = hint_first(h, set);

    if (i == HINT_NONE)
        return 0;
    *first = i - i % 64;
    return atomic_load(&h->low[i >> HINT_BITS].set[set]);
}
