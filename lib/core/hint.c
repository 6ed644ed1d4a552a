/* hint.c: see hint.h for why this is right. */
#include "lib/core/hint.h"

#define BIT(i) ((uint64_t)1 << ((i) % 64))

static void set(_Atomic uint64_t *word, uint32_t i)
{
    if (!(atomic_load(word) & BIT(i)))
        atomic_fetch_or(word, BIT(i));
}

/* True: the word has become empty. */
static bool clear(_Atomic uint64_t *word, uint32_t i)
{
    return (atomic_fetch_and(word, ~BIT(i)) & ~BIT(i)) == 0;
}

void hint_set(struct hint *h, uint32_t i)
{
    set(&h->low[i >> HINT_BITS], i);
    set(&h->mid[i >> (2 * HINT_BITS)], i >> HINT_BITS);
    set(&h->top, i >> (2 * HINT_BITS));
}

static void clear_mid(struct hint *h, uint32_t m)
{
    if (!clear(&h->mid[m >> HINT_BITS], m))
        goto look_again;
    clear(&h->top, m >> HINT_BITS);
    if (atomic_load(&h->mid[m >> HINT_BITS]))
        set(&h->top, m >> HINT_BITS);
look_again:
    if (atomic_load(&h->low[m])) {
        set(&h->mid[m >> HINT_BITS], m);
        set(&h->top, m >> HINT_BITS);
    }
}

void hint_clear(struct hint *h, uint32_t i)
{
    if (clear(&h->low[i >> HINT_BITS], i))
        clear_mid(h, i >> HINT_BITS);
}

uint32_t hint_first(struct hint *h)
{
    for (;;) {
        uint64_t top = atomic_load(&h->top);
        if (!top)
            return HINT_NONE;
        uint32_t t = (uint32_t)__builtin_ctzll(top);
        uint64_t mid = atomic_load(&h->mid[t]);
        if (!mid) {                                     /* stale: another clears it right now */
            clear(&h->top, t);
            if (atomic_load(&h->mid[t]))
                set(&h->top, t);
            continue;
        }
        uint32_t m = t << HINT_BITS | (uint32_t)__builtin_ctzll(mid);
        uint64_t low = atomic_load(&h->low[m]);
        if (low)
            return m << HINT_BITS | (uint32_t)__builtin_ctzll(low);
        clear_mid(h, m);
    }
}

uint64_t hint_some(struct hint *h, uint32_t *first)
{
    uint32_t i = hint_first(h);

    if (i == HINT_NONE)
        return 0;
    *first = i - i % 64;
    return atomic_load(&h->low[i >> HINT_BITS]);
}
