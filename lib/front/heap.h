/* heap.h: a thread's heap: the structs, what always holds of them, and the two hot paths.
 *
 * A heap serves one thread at a time and is never unmapped: the next thread takes over, whole, what
 * an ended one left, slabs, counters and all.
 *
 *   0        hot     a head, then a struct bin (L0, and the head of L1) for every bin
 *   24 KiB   offsets from a request to its bin
 *   64 KiB   slot    the thread's counters: a shared page of the segment, or private memory
 *   128 KiB  cold    lists of slabs, SLLs, remote batches, the arrays of L1
 *
 * A bin and its row of counters are both seven cache lines, an odd number, so that they use all sets of
 * the processor's cache alike, and lie at a constant distance, so that a counter costs one add to
 * memory.  The owner word of a slab (address.h) is the address of the owner's struct bin: one
 * subtraction tells `free` that a block is its own, and where it goes.
 *
 * `hot` is zeroed in the child of a fork by the kernel (MADV_WIPEONFORK): every count and every
 * capacity is 0 there, so that the first call takes a slow path, which notices the fork.
 *
 * `hot` is its thread's alone.  `cold` is for whoever holds the heap: the slow paths of its thread do
 * (heap_enter), and any other thread may try to, so that what was freed to a thread that sleeps or has
 * ended goes back to the slabs all the same, and slabs of which it uses little serve others (ended.c).  So a
 * cache may hold blocks of a slab that was its heap's when they came, and is no more.  Of `cold`, what is called kept
 * is the thread's without a hold; others empty the cells by an exchange (large.c).
 *
 * A block is in exactly one of: user, L0, L1, SLL, a remote batch, a remote queue, the slab's map, or
 * not carved yet.  Who moves it:
 *
 *   user -> L0, L1                     the owner, in free
 *   L0 -> L1, slab; L1 -> SLL, slab    the owner, where L1 is full and at a tick; of a slab that is another's
 *                                      by now: to the queue of that one
 *   user -> batch -> queue of owner    another thread, in free; a batch by one compare-exchange
 *   queue, SLL -> slab                 whoever holds the heap; a queue by exchange-all
 *   queue -> L1                        the owner, likewise
 *   slab, SLL -> L1; L0, L1 -> user    the owner, in malloc
 *
 * While a thread forks its L0 and L1 may be elsewhere, as a whole (forked.c).
 */
#ifndef HAK_HEAP_H
#define HAK_HEAP_H

#include "lib/base/hooks.h"
#include "lib/core/superslab.h"

#define HEAP_ALIGN   (256 * KIB)
#define L0_CAP       50                     /* what fits in a struct bin */
#define TICK_FREES   HAK_TICK_FREES         /* most frees between two ticks, whatever the knobs say */
#define BATCH_BITS   4
#define BATCHES      (1 << BATCH_BITS)
#define BATCH_BLOCKS 61
#define FEW_BLOCKS   5
#define BATCH_BYTES  (64 * KIB)
#define LARGE_KEPT   8                      /* most that large.cache may say */

/* Said to alias anything, so that a block is in its place before the cache says so: a fork in a signal handler between
 * the two leaves a block that is nowhere, not one that is stale. */
typedef void *cell __attribute__((may_alias));

/* A cache: the blocks between `base` and `top`.  All zero: not used yet; then, as in each state that a handler or a child
 * may find it in, `top` is at most `base` where there is no block, and not below `end` where there is no room.
 *
 * By pointers, since the hot paths load what they have just stored again and again, the block from its cell and `top`
 * itself.  Processors guess which store such a load will find before either address is known, which cuts the way from one
 * call to the next; those of Intel only where both addresses are a register and a constant, and where the store is not
 * one that loads, too (an add to memory). */
struct stack {
    cell *top, *end, *base;
};

struct bin {
    struct stack l0, l1;                    /* TinyHeapV2; FastCache, whose cells are elsewhere */
    cell l0_cells[L0_CAP];
};

/* Users' large buffers begin where a page does.  A load there waits for what they have just stored, since the
 * processor compares the lower 12 bits first: neither the countdown nor the head of a bin lies at the beginning of
 * a page. */
struct heap_hot {
    char unused[hak_cacheline];
    int32_t countdown;                      /* frees until the next tick */
    uint32_t pad[79];
    struct bin bin[HAK_BINS];               /* all zero, and untouched, before its first use (l1_grow) */
};

_Static_assert(sizeof(struct bin) == sizeof(struct hak_row), "a bin and its row have one stride");

/* From a bin to its row.  Were a counter a multiple of 4 KiB away from a field of its bin, the processor would
 * take the store to the one for a store to the other, and let the next load of that wait. */
#define ROW_DISTANCE (64 * KIB + offsetof(struct hak_slot_full, row) - offsetof(struct heap_hot, bin))
_Static_assert(ROW_DISTANCE % 4096 >= sizeof(struct bin) && ROW_DISTANCE % 4096 <= 4096 - 64,
               "no counter shares its lower 12 bits with a field of its bin");

/* The byte offset of a request's bin in a heap; tiny by the byte, which saves two instructions over
 * steps of eight, and in the heap itself, which saves one more. */
struct heap_offsets {
    uint16_t tiny[TINY_MAX + 1];
    uint16_t mid[(MID_MAX >> MID_STEP) + 1];
};

/* What the owner keeps of a bin apart from the hot part. */
struct bin_cold {
    struct slab *avail, *avail_tail;        /* slabs with blocks to give, and the last of them */
    struct slab *full;                      /* slabs without */
    struct block *sll;
    uint32_t sll_n;
    uint16_t empties;                       /* slabs in `avail` with used == 0 */
    uint16_t l0_room;                       /* capacity of L0, whichever way blocks come into it */
    uint16_t refill;                        /* blocks that a refill brings at most */
    bool sll_on;
    uint16_t l0_seen, l1_seen;              /* what was in L0 and L1 at the last drain: idle_trim */
    uint64_t l0_calls_seen;
};

/* What goes from one heap to another: the addresses of blocks, so that no block is touched on the way.
 * Its memory is metadata and goes back to `home` when it is empty.  There are two sizes. */
struct parcel {
    struct block link;                      /* first: in a queue it stands among blocks (remote.c) */
    struct heap *home;
    uint32_t n;
    uint16_t counted;                       /* forked: of the first so many the parent counted the free */
    uint16_t room;                          /* FEW_BLOCKS or BATCH_BLOCKS */
    void *block[];
};
#define PARCEL_BYTES(room) (sizeof(struct parcel) + (room) * sizeof(void *))
_Static_assert(PARCEL_BYTES(BATCH_BLOCKS) == 512 && PARCEL_BYTES(FEW_BLOCKS) == 64, "eight cache lines, or one");

/* Blocks of one other heap, freed here, not handed over yet. */
struct batch {
    struct heap *to;
    struct parcel *parcel;                  /* NULL: none of them */
    uint64_t bytes;
};

/* The sides of the conservation laws that a forked child inherits (heap_walk). */
struct law_base {
    uint64_t l0, cached, used;
};

struct heap_cold {
    struct bin_cold bin[HAK_BINS];
    uint16_t fill[HAK_BINS];                /* blocks that the next refill of each bin brings, or `refill` */
    struct batch batch[BATCHES];
    struct parcel *parcels[2];              /* of this heap, empty: for BATCH_BLOCKS, and for few */
    uint32_t kept_most;                     /* cells of `kept` in use: as large.cache says, or none */
    uint32_t kept_none;                     /* slabs of the last run that was freed and not kept */
    uint32_t kept_turn;                     /* the next of `kept` that makes room */
    uint32_t kept_old;                      /* bit i: kept[i] was there at the last tick */
    uint32_t kept_hits, kept_seen;          /* requests that one of them served, or would have; up to the last tick */
    union hak_knobs knobs;                  /* what this thread works by */
    uint64_t epoch, purge, walk;            /* the last ones obeyed */
    uint64_t sll_bins;                      /* bit b: bin b's SLL is not empty */
    uint64_t hot_bins;                      /* bit b: bin b has been used, or is about to be */
    int32_t drain_left;                     /* frees until the next drain */
    uint32_t depth;                         /* slow paths of its own thread, one within the other */
    _Atomic uint32_t held;                  /* by whom (enum held): who works on `cold` */
    _Atomic uint32_t wanted;                /* its thread waits for who holds it */
    bool ended;                             /* it has no thread: `hot` is its holder's, too */
    bool bare;                              /* `hot` and the offsets have been purged: all zero */
    uint8_t rearmed;                        /* times the thread's destructor has put itself off */
    bool has_slot;                          /* the slot is this process's own */
    bool in_segment;                        /* and shared, or is about to be: a child finds a gap there */
    bool rebase;                            /* forked: the law bases are to be taken at the next walk */
    struct heap *next_all, *next_ended;
    struct slab *hole_at;                   /* in `avail`, or NULL: where to go on to look for holes (holes.c) */
    uint64_t hole_bins;                     /* bit b: and in the runs of bin b then */
    uint32_t holes_ms;                      /* when its thread last did */
    struct heap *visit;                     /* the next one that this thread looks after */
    struct heap *lender;                    /* the next one to look for a slab in (heap_adopt_slab) */
    _Atomic uint32_t ticked_ms;             /* when its thread was last seen, by core_now_ms */
    struct law_base base[HAK_BINS];
    struct heap_hot saved;                  /* while the thread forks: what was in `hot` (forked.c) */
    bool away;                              /* `hot` is empty, and in `saved` */
    uint64_t forks;                         /* below the upper 1 a bit for each under way, the last one's the lowest:
                                             * whether it found `hot` whole.  They nest by signal handlers. */

    /* Written by other threads: the remote queue, an address and in the upper 16 bits how many blocks. */
    _Alignas(2 * hak_cacheline) _Atomic uint64_t queue;
    struct parcel *_Atomic parcels_back[2]; /* likewise, that others have emptied */

    /* Large runs that its thread has just freed (large.c); others empty the cells of one that sleeps. */
    _Alignas(2 * hak_cacheline) _Atomic uintptr_t kept[LARGE_KEPT];

    /* The arrays of L1.  One that its bin has outgrown waits for another bin: a bin takes at most one of each
     * length, 16, 32, 64 and so on, which makes less than twice the last. */
    _Alignas(2 * hak_cacheline) void **l1_free[L1_SIZES];   /* by length; the first word of each is the next */
    uint32_t l1_used;                       /* of the words of l1 */
    bool l1_lists_busy;                     /* what l1_free holds is being changed: a signal handler leaves it alone */
    void *l1[2 * L1_BLOCKS];
};

struct heap {
    union { struct heap_hot hot;         char hot_pages[24 * KIB]; };
    union { struct heap_offsets offsets; char offset_pages[40 * KIB]; };
    union { struct hak_slot_full slot;   char slot_pages[64 * KIB]; };
    struct heap_cold cold;
};

/* The heap of a thread that has none: all zero, so that both hot paths leave by their slow exits. */
struct heap_none {
    char zero[offsetof(struct heap, offsets) + sizeof(struct heap_offsets)];
};
extern struct heap_none heap_none;
extern hak_tls struct heap *heap_self;

hak_inline bool heap_is_none(const struct heap *h)
{
    return (const void *)h == &heap_none;
}

hak_inline unsigned bin_index(const struct heap *h, const struct bin *b)
{
    return (unsigned)(b - h->hot.bin);
}

hak_inline unsigned stack_count(const struct stack *s)
{
    return s->top > s->base ? (unsigned)(s->top - s->base) : 0;
}

hak_inline unsigned stack_room(const struct stack *s)           /* for how many in all */
{
    return s->end > s->base ? (unsigned)(s->end - s->base) : 0;
}

hak_inline bool stack_pop(struct stack *s, void **p, uint64_t *count)
{
    cell *top = s->top;

    if (top <= s->base)
        return false;
    s->top = --top;
    COUNT(*count, 1);                                           /* before the block takes the register */
    *p = *top;
    return true;
}

hak_inline bool stack_push(struct stack *s, void *p)
{
    cell *top = s->top;

    if (top >= s->end)
        return false;
    *top = p;
    s->top = top + 1;
    return true;
}

hak_inline struct hak_row *row_of(struct bin *b)
{
    return (struct hak_row *)((char *)b + ROW_DISTANCE);
}

/* The heap and bin of an owner word. */
hak_inline struct heap *heap_of_owner(uintptr_t owner)
{
    return (struct heap *)(owner & ~(HEAP_ALIGN - 1));
}

hak_inline unsigned bin_of_owner(uintptr_t owner)
{
    return bin_index(heap_of_owner(owner), (struct bin *)owner);
}

/* The bin of h that is to h what the owner's is to the owner. */
hak_inline struct bin *bin_like(struct heap *h, uintptr_t owner)
{
    return (struct bin *)((char *)h + owner % HEAP_ALIGN);
}

/* The same as bin_info[bin_of_owner(owner)].size without that multiplication: by the cache line in which the bin begins.
 * Programs that ask for the size of every block exist (redis). */
hak_inline size_t size_of_owner(uintptr_t owner)
{
    extern uint16_t heap_size_at[sizeof(struct heap_hot) / hak_cacheline];

    return heap_size_at[owner % HEAP_ALIGN / hak_cacheline];
}

/* The slow exits of the hot paths, each with its own name.  The tick is said to be cold, so that the compiler puts the
 * jumps to it out of free's way. */
void *heap_refill(size_t n, struct heap *h);                        /* both caches are empty */
void *heap_refill_bin(size_t n, unsigned bin, struct heap *h);      /* the same for heap_alloc_bin */
void heap_overflow(void *p, struct heap *h, struct bin *b);         /* both caches are full */
void heap_free_other(void *p, struct heap *h);                      /* not this thread's, or no block */
hak_cold void heap_tick(struct heap *h);                            /* the countdown has ended */
void *heap_alloc_large(size_t n, size_t align, bool *zero);         /* above MID_MAX */

/* malloc. Budget, tiny, from L0: 14 instructions, 7 loads, 2 stores (top, counter); from L1 three more.  The
 * way through L1 lies in one cache line, else a batch takes 5 % longer.  tests/hot_path.sh holds the compiled
 * library to it. */
hak_inline bool bin_pop(struct bin *b, void **p)
{
    return often(stack_pop(&b->l0, p, &row_of(b)->l0_hits)) || likely(stack_pop(&b->l1, p, &row_of(b)->l1_hits));
}

hak_inline void *heap_alloc(size_t n)
{
    struct heap *h = heap_self;
    struct bin *b;
    void *p;

    if (likely(n <= TINY_MAX))
        b = (struct bin *)((char *)h + h->offsets.tiny[n]);
    else if (likely(n <= MID_MAX))
        b = (struct bin *)((char *)h + h->offsets.mid[(n + 63) >> MID_STEP]);
    else
        return heap_alloc_large(n, 1, NULL);
    return likely(bin_pop(b, &p)) ? p : heap_refill(n, h);
}

/* A block of a given bin: memory of an alignment comes from one that malloc may not use.  `n` was asked
 * for. */
hak_inline void *heap_alloc_bin(size_t n, unsigned bin)
{
    struct heap *h = heap_self;
    void *p;

    return likely(bin_pop(&h->hot.bin[bin], &p)) ? p : heap_refill_bin(n, bin, h);
}

/* free. Budget, tiny, to L0: 25 instructions, 8 loads, 4 stores (block, top, counter, countdown).  Two
 * rare events have a test each: "not mine", which is also large, huge, NULL and foreign, and the
 * countdown, which each of the two ways has at its own end: a jump to it costs a batch 5 %. */
hak_inline void heap_free(void *p)
{
    struct heap *h = heap_self;
    struct bin *b = (struct bin *)address_owner((uintptr_t)p);

    if (unlikely((uintptr_t)b - (uintptr_t)h >= sizeof(struct heap_hot))) {
        heap_free_other(p, h);
        return;
    }
    if (likely(stack_push(&b->l0, p))) {
        COUNT(row_of(b)->l0_pushes, 1);
        if (unlikely(--h->hot.countdown == 0))
            heap_tick(h);
        return;
    }
    if (unlikely(!stack_push(&b->l1, p))) {
        heap_overflow(p, h, b);
        return;
    }
    COUNT(row_of(b)->l1_pushes, 1);
    if (unlikely(--h->hot.countdown == 0))
        heap_tick(h);
}

/* Counts a call that takes no other way into this thread's heap; where the counter is in a slot. */
void heap_count(size_t counter);

/* Counts a call that fails; errno ENOMEM, returns NULL. */
void *heap_no_memory(void);

/* What a block can hold; 0: p is no block in use. */
size_t heap_usable_large(const void *p);                            /* without a bin, or no block */
hak_inline size_t heap_usable(const void *p)
{
    uintptr_t owner = address_owner((uintptr_t)p);

    return likely(owner) ? size_of_owner(owner) : heap_usable_large(p);
}

/* Makes a large or huge block n bytes long without copying; NULL: it can't, the block is as it was. */
void *heap_resize_large(void *p, size_t n);

/* ---- the rest of the front, for lib/api ---- */

/* Once, before any heap: tables and the two functions of the layers below us that we must call:
 * `start` makes the process ready (again harmless), `forked` is called by the first slow path in a
 * child that no handler has prepared. */
void front_init(void);
extern void (*front_start)(void);
extern void (*front_forked)(void);

/* A pointer that is not ours comes to free (or realloc): dies, or knows whose it is. */
extern void (*front_foreign)(void *p);

/* Gives a heap its counters: control_slot, or zeroed memory. */
extern bool (*front_slot)(void *at);

/* The calling thread ends: its caches go back, its heap waits for another thread.  Called by the
 * destructor of a pthread key; it may put itself off. */
void heap_thread_exit(void *heap);
extern void (*front_arm)(struct heap *h);           /* sets that key */

/* Gives back what can be given: this thread's caches, the pool's free slabs, cached mappings.
 * Bytes returned to the kernel. */
size_t heap_purge(void);

/* The calling thread applies what is in force now, not at its next tick.  Not for signal handlers. */
void heap_catch_up(void);

/* fork.  prepare and parent run in the forking thread.  In the child: whether what follows is still
 * to do; `child`, once the layers below are ready, after which this thread may count; `inherited`,
 * HAK_ROWS counts of the blocks that live there; `sort`, once the child has its own segment. */
void front_fork_prepare(void);
void front_fork_parent(void);
bool front_is_forked(void);
hak_inline void heap_notice_fork(void)              /* calls front_forked where no handler has run */
{
    extern _Atomic uint32_t *heap_fork_mark;            /* of a word that a child finds zeroed */

    if (unlikely(atomic_load_explicit(heap_fork_mark, memory_order_relaxed) == 0))
        front_forked();
}
void front_fork_child(void);
void front_inherited(uint64_t *inherited);
void front_fork_sort(void);

/* Lists all heaps ever made, for statistics inside the process; signal-safe. */
struct heap *heap_first(void);

#endif
