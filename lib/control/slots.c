/* slots.c: gives each heap a slot, a range of the segment's file that is mapped over the heap's own.
 *
 *   the process                      the file
 *   chunk[0].at -> | slots 0 to 31   |  at.slots  part of the segment's own mapping
 *   chunk[1].at -> | slots 32 to 63  |            mapped when needed: what is mapped counts for
 *     ...                                         RLIMIT_AS and is locked by mlockall
 *   a heap's    -> | slot i          |            the same pages, mapped a second time
 *
 * A slot is free, then taken by a thread, which maps it and puts memory behind it, and then used for good.
 * Where there is no memory to be had it is free again.  Nobody maps a slot that another thread has:
 * threads that are born together would do so in vain, again and again.
 *
 *   FREE -> TAKEN           any thread, by compare-exchange
 *   TAKEN -> USED or FREE   the thread that took it
 *
 * So below slots_used there may be slots without memory, which readers leave out.
 *
 * Signals are held meanwhile.  A handler that forks would leave its child, where code below it goes on,
 * with half a slot, of a segment that is not mapped there.
 */
#include "lib/control/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/base/os.h"
#include "lib/base/syscall.h"

#define CHUNKS (SLOTS_MOST / CHUNK_SLOTS)

_Static_assert(HAK_SLOT_BYTES == (sizeof(struct hak_slot_full) + 4095) / 4096 * 4096, "as lib/front knows, forked.c");

enum { FREE, TAKEN, USED };

static struct {
    char *_Atomic at;                   /* NULL: not mapped, nor is any further one, and all its slots are free */
    _Atomic uint8_t slot[CHUNK_SLOTS];
} chunk[CHUNKS];

static _Atomic size_t used_below;       /* a slot below which all are used, to look from there */

/* Slots that could not be had, linked by their spare words. */
static struct hak_slot_full *_Atomic private_slots;

void slots_forget(void)
{
    for (size_t c = 0; c < CHUNKS && atomic_load(&chunk[c].at); c++)
        memset(&chunk[c], 0, sizeof chunk[c]);
    atomic_store(&used_below, 0);
    atomic_store(&private_slots, NULL);
}

void slots_start(char *first)
{
    atomic_store(&chunk[0].at, first);
}

/* ---- Mapping --------------------------------------------------------------------------------- */

static size_t slot_offset(size_t i)
{
    return seg.at.slots + i * seg.at.stride;
}

/* Maps the file from `offset` on once more, over what is at `at` (NULL: anywhere).  mremap of
 * length 0 does that for the pages from `mapped` on, even beyond the end of that mapping, needs no
 * descriptor, and keeps MADV_DONTFORK.  NULL: it can't be done, and there may be nothing at `at` any more. */
static char *map_again(char *mapped, size_t offset, size_t bytes, void *at)
{
    char *p = sys_mremap(mapped, 0, bytes, MREMAP_MAYMOVE | (at ? MREMAP_FIXED : 0), at);
    if (p)
        return p;

    int fd = seg_reopen();              /* a kernel without mremap's duplication */
    if (fd < 0)
        return NULL;
    p = sys_mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (at ? MAP_FIXED : 0), fd, (off_t)offset);
    sys_close(fd);
    if (p)
        sys_madvise(p, bytes, MADV_DONTFORK);
    return p;
}

/* Each chunk is mapped from the last slot of the one before. */
static bool map_chunk(size_t c)
{
    size_t last = c * CHUNK_SLOTS - 1, bytes = (CHUNK_SLOTS + 1) * seg.at.stride;
    char *before = atomic_load(&chunk[c - 1].at) + (CHUNK_SLOTS - 1) * seg.at.stride, *none = NULL;

    if (bytes > seg.at.total - slot_offset(last))
        bytes = seg.at.total - slot_offset(last);
    char *fresh = map_again(before, slot_offset(last), bytes, NULL);
    if (!fresh)
        return false;
    if (!atomic_compare_exchange_strong(&chunk[c].at, &none, fresh + seg.at.stride))
        sys_munmap(fresh, bytes);       /* another thread was first */
    return true;
}

/* With those before it.  NULL: it can't be mapped. */
static char *chunk_at(size_t c)
{
    size_t mapped = c;

    while (!atomic_load(&chunk[mapped].at))
        mapped--;                       /* the first always is */
    while (mapped < c)
        if (!map_chunk(++mapped))
            return NULL;
    return atomic_load(&chunk[c].at);
}

/* In its chunk, which is mapped. */
static void *slot_at(size_t i)
{
    return atomic_load(&chunk[i / CHUNK_SLOTS].at) + i % CHUNK_SLOTS * seg.at.stride;
}

/* Slot i at `at`, with memory behind it.  Its pages are in our resident set once: in this mapping, and in its
 * chunk's only if that is read. */
static bool map_slot(size_t i, void *at)
{
    return map_again((char *)slot_at(i), slot_offset(i), seg.at.stride, at)
        && seg_back(at, seg.at.stride, slot_offset(i));
}

/* ---- Giving out ------------------------------------------------------------------------------ */

static _Atomic uint8_t *what(size_t i)
{
    return &chunk[i / CHUNK_SLOTS].slot[i % CHUNK_SLOTS];
}

/* The first that is free.  SIZE_MAX: there is none. */
static size_t take_free(void)
{
    bool all_used = true;

    for (size_t i = atomic_load(&used_below); i < seg.at.slots_max && chunk_at(i / CHUNK_SLOTS); i++) {
        uint8_t is = atomic_load(what(i));
        if (is == FREE && atomic_compare_exchange_strong(what(i), &is, TAKEN))
            return i;
        if ((all_used = all_used && is == USED))
            atomic_store(&used_below, i + 1);
    }
    return SIZE_MAX;
}

/* Readers look at slots [0, slots_used). */
static void show_slot(size_t i)
{
    uint32_t *used = &seg.state->state.slots_used, seen = get(*used);

    while (seen <= i && !__atomic_compare_exchange_n(used, &seen, (uint32_t)i + 1, true,
                                                     __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
}

/* False: there is none.  What is at `at` then is of no use. */
static bool take_slot(void *at)
{
    size_t i = seg.shared ? take_free() : SIZE_MAX;

    if (i == SIZE_MAX)
        return false;
    if (i % CHUNK_SLOTS == CHUNK_SLOTS / 2 && i + CHUNK_SLOTS < seg.at.slots_max)
        chunk_at(i / CHUNK_SLOTS + 1);  /* in time: many threads may need it at once */
    bool done = map_slot(i, at);
    atomic_store(what(i), done ? USED : FREE);
    if (done)
        show_slot(i);
    return done;
}

static void keep_private(struct hak_slot_full *slot)
{
    struct hak_slot_full *first = atomic_load(&private_slots);

    if (!os_map_at(slot, round_up(HAK_SLOT_BYTES, os_page)))
        hak_die("no memory for a thread's counters", slot);
    do
        slot->head.pad2[0] = (uintptr_t)first;
    while (!atomic_compare_exchange_weak(&private_slots, &first, slot));
    GLOBAL_ADD(uncounted, 1);
}

bool control_slot(void *at)
{
    int saved = errno;
    bool done = take_slot(at);

    if (!done)
        keep_private(at);
    errno = saved;
    return done;
}

void slots_each(void (*look)(const struct hak_slot_full *slot, void *arg), void *arg)
{
    for (size_t i = 0; i < seg.at.slots_max; i++)
        if (atomic_load(what(i)) == USED)
            look(slot_at(i), arg);
    struct hak_slot_full *slot = atomic_load(&private_slots);
    for (; slot; slot = (struct hak_slot_full *)(uintptr_t)slot->head.pad2[0])
        look(slot, arg);
}
