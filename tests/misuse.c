/* misuse.c: a pointer that is no block is recognised before anything behind it is touched; the
 * program ends with one line that says what was wrong with which pointer. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include "tests/under.h"

static char in_data[64] = "data";

/* gcc knows that these are not malloc's. */
static void (*volatile call_free)(void *) = free;
static void *(*volatile call_realloc)(void *, size_t) = realloc;
static size_t (*volatile call_usable)(void *) = malloc_usable_size;

static void do_free(void *p) { call_free(p); }
static void do_realloc(void *p) { call_realloc(p, 100); }
static void do_free_twice(void *p) { call_free(p); call_free(p); }

/* Both times it went to a cache; by the second time that it leaves one, its SuperSlab has been unmapped. */
static void *many[1000];
static void do_free_all_and(void *p)
{
    for (int i = 0; i < 1000; i++)
        call_free(many[i]);
    call_free(p);
    for (int round = 0; round < 20; round++) {
        malloc_trim(0);
        for (int i = 0; i < 3000; i++)
            call_free(malloc(24));
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    setenv("HAKMEM_POOL_LRU_MAX", "0", 1);
    setenv("HAKMEM_POOL_EMPTY_SLABS", "0", 1);
    run_under_hakmem(argv);
    const char *not_free = "free(): not a block in use", *not_realloc = "realloc(): not a block in use";
    char on_stack[64];
    char *mapping = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *unmapped = mmap(NULL, 4 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *large = malloc(200000), *huge = malloc(5000000);
    char *never_used = (char *)((uintptr_t)large & ~(((uintptr_t)2 << 20) - 1)) + (1 << 20);

    dies(do_free, on_stack, not_free, "a local variable");
    dies(do_free, in_data, not_free, "a static one");
    dies(do_free, (void *)(uintptr_t)&main, not_free, "code");
    dies(do_free, mapping, not_free, "another mapping");
    dies(do_free, mapping + 64, not_free, "the middle of it");
    dies(do_free, unmapped + (2 << 20), not_free, "memory that must not be touched");
    dies(do_free, (void *)16, not_free, "a small number");
    dies(do_free, (void *)(uintptr_t)0x7FFFFFFFF000, not_free, "the end of the address space");
    dies(do_free, (void *)(UINTPTR_MAX & ~(uintptr_t)15), not_free, "-16");
    dies(do_free, (void *)((uintptr_t)1 << 52), not_free, "an address that can't be");
    dies(do_free, large + 16, not_free, "the middle of a large block");
    dies(do_free, large + 65536, not_free, "another slab of it");
    is(call_usable(never_used), 0, "malloc_usable_size of a slab that nobody has had yet");
    dies(do_free, never_used, not_free, "to free it");
    dies(do_realloc, never_used, not_realloc, "the same, realloc");
    dies(do_free, huge + 4096, not_free, "the middle of a huge block");
    dies(do_free_twice, large, not_free, "a large block freed twice");
    dies(do_free_twice, huge, not_free, "a huge block freed twice");
    for (int i = 0; i < 1000; i++)
        many[i] = malloc(8000);
    dies(do_free_all_and, many[999], "free(): block freed twice, or not the start of a block",
         "a block freed twice in a SuperSlab that has gone");
    dies(do_realloc, on_stack, not_realloc, "realloc of a local variable");
    dies(do_realloc, mapping, not_realloc, "of another mapping");
    dies(do_realloc, huge + 4096, not_realloc, "of the middle of a huge block");
    is(call_usable(on_stack), 0, "malloc_usable_size of a local variable");
    is(call_usable(mapping), 0, "of another mapping");
    free(large);
    free(huge);
    return tap_done();
}
