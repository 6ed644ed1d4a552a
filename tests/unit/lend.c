/* lend.c: a thread that sleeps lends the slabs of which it uses little; what its caches hold of them goes to who has
 * them by then. */
#include "tests/unit/blocks.h"

static struct heap *owner, *other;

static unsigned slabs_in(const struct heap *h, unsigned bin)
{
    unsigned n = 0;

    for (const struct slab *s = h->cold.bin[bin].avail; s; s = s->next)
        n++;
    for (const struct slab *s = h->cold.bin[bin].full; s; s = s->next)
        n++;
    return n;
}

/* Blocks of a bin until one comes from a slab that was another heap's; SIZE_MAX: none of the first `most` did. */
static size_t allocs_until_adopted(struct heap *from, unsigned bin, void **got, size_t most)
{
    unsigned before = slabs_in(from, bin);

    for (size_t n = 0; n < most;) {
        got[n++] = alloc(bin_info[bin].size);
        if (slabs_in(from, bin) < before)
            return n;
    }
    return SIZE_MAX;
}

/* In the caches of `h`, of slabs that are another heap's. */
static unsigned foreign_in_caches(const struct heap *h, unsigned bin)
{
    const struct bin *b = &h->hot.bin[bin];
    unsigned n = 0;

    for (uint64_t i = 0; i < stack_count(&b->l0); i++)
        n += heap_of_owner(address_owner((uintptr_t)b->l0_cells[i])) != h;
    for (uint64_t i = 0; i < stack_count(&b->l1); i++)
        n += heap_of_owner(address_owner((uintptr_t)b->l1.base[i])) != h;
    return n;
}

static void *lent[400];                 /* blocks of `other` */
static size_t lent_n, lost;             /* what is in the caches of `other` is lost to a child */

/* Blocks are on their way to `other`, and lent_n + 3 in use.  When they have come back the laws hold as before. */
static int inherits_what_was_passed_on(void)
{
    const unsigned bin = bin_of_tiny(KIB);
    uint64_t counts[HAK_ROWS], remote;

    front_inherited(counts);
    must(counts[bin] == lent_n + 3 + lost);
    for (int look = 0; look < 2; look++) {
        remote = 0;
        for (struct heap *h = heap_first(); h; h = h->cold.next_all) {
            must(heap_try(h) && heap_is_sound(h));
            heap_ensure_slot(h);
            heap_walk(h, 0);
            const struct hak_row *r = &h->slot.row[bin];
#ifndef HAK_NO_STATS
            must(r->walk.used == r->walk.used_law);
#endif
            remote += r->walk.batch + r->walk.queue + r->remote_frees - r->drained;
            heap_drop(h);
        }
        must(remote == 0);
        heap_help(other);
        must(queue_length(other) == 0);
    }
    return faults_taken() != 0;
}

/* All but one of them count as free already. */
static int passes_one_on_and_forks(void)
{
    void *p = lent[--lent_n];

    remote_free_now(address_owner((uintptr_t)p), p);
    return strcmp(in_child(inherits_what_was_passed_on), "exit 0");
}

static void flush_caches(struct heap *h, unsigned bin)
{
    heap_enter(h);
    l0_flush(h, bin);
    l1_trim(h, bin, stack_count(&h->hot.bin[bin].l1));
    heap_leave(h);
}

static void test_idle(void)
{
    static void *mine[1000];
    enum { MOST = sizeof lent / sizeof *lent };
    size_t all = 0;
    const unsigned bin = bin_of_tiny(KIB);
    size_t n;

    heap_purge();
    struct bin *b = &owner->hot.bin[bin];
    while (all < 400 || owner->cold.bin[bin].avail || stack_count(&b->l0) + stack_count(&b->l1) > 0)
        mine[all++] = alloc(KIB);
    for (n = 0; n < all; n++)
        if (n % 3)                                      /* more than a quarter of each slab stays in use */
            release(mine[n]);
    other = thread_begins();
    time_passes(1000);
    is(allocs_until_adopted(owner, bin, lent, 100), SIZE_MAX, "a thread that sleeps keeps slabs of which it uses much");
    for (n = 0; n < 100; n++)
        release(lent[n]);
    heap_purge();

    heap_self = owner;
    for (n = 9; n < all; n += 3)
        if (n % 12)
            release(mine[n]);
    flush_caches(owner, bin);
    for (n = 12; n < all; n += 12)                     /* of nearly all slabs nothing, but in the caches */
        release(mine[n]);
    heap_tick(owner);
    heap_self = other;
    is(allocs_until_adopted(owner, bin, lent, 100), SIZE_MAX, "one that is at work keeps the others, too");
    for (n = 0; n < 100; n++)
        release(lent[n]);
    heap_purge();
    time_passes(5000);                                  /* the tick has set the clock back */
    lent_n = allocs_until_adopted(owner, bin, lent, MOST);
    ok(lent_n < MOST, "one that sleeps lends them");
    unsigned foreign = foreign_in_caches(owner, bin);
    ok(foreign > 0, "with %u blocks of its caches in it", foreign);
    check(3 + lent_n);
    is(faults_taken(), 0, "all is counted");

    heap_self = owner;
    flush_caches(owner, bin);
    is(foreign_in_caches(owner, bin), 0, "what goes back from its caches");
    is(queue_length(other), foreign, "is handed to who has the slab by now");
    check(3 + lent_n);
#ifndef HAK_NO_STATS
    is(passed_on, foreign, "and counted");
#endif
    lost = stack_count(&other->hot.bin[bin].l0) + stack_count(&other->hot.bin[bin].l1);
    is_str(in_child(passes_one_on_and_forks), "exit 0", "a child inherits it as free, and counts it once");

    /* At work again: blocks from its caches are its own, and what it frees finds its way. */
    heap_self = other;
    for (n = 0; n < lent_n; n++)
        release(lent[n]);
    drain_mine();
    heap_self = owner;
    for (n = 0; n < 9; n += 3)
        release(mine[n]);
    check(0);
    is(passed_on, 0, "everything comes back");
    heap_self = other;
    end_of_thread();
    heap_past_end = 0;
    heap_self = owner;
    nothing_left();
    is(faults_taken(), 0, "and every slab");
}

int main(void)
{
    start_front();
    if (!(owner = heap_mine()))
        bail("no heap");
    test_idle();
    return tap_done();
}
