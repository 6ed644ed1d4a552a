/* api.c: every function of the malloc family does what glibc's manual says, errors included. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include "tests/under.h"

#define MiB ((size_t)1 << 20)

/* One size of every tier, and their edges. */
static const size_t sizes[] = {
    0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 64, 65, 100, 128, 129, 256, 500, 512, 513, 1000, 1024,
    1025, 1500, 2048, 4095, 4096, 4097, 8192, 10000, 16384, 32767, 32768, 32769, 50000, 65536, 65537,
    100000, 131072, 262144, 500000, MiB - 1, MiB, MiB + 1, 2 * MiB, 2 * MiB + 1, 3 * MiB + 7, 9 * MiB
};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* gcc takes the block for gone even where reallocarray fails. */
static void *(*volatile call_reallocarray)(void *, size_t, size_t) = reallocarray;

/* The compiler must not see through a size or drop an unused block. */
static size_t hide(size_t n) { __asm__ volatile("" : "+r"(n)); return n; }

static int all_are(const unsigned char *p, int c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != c)
            return 0;
    return 1;
}

/* --- blocks ------------------------------------------------------------------------------------ */

static void test_malloc(void)
{
    int bad = 0, misaligned = 0, lost = 0;
    unsigned char *p[SIZES];
    for (int i = 0; i < SIZES; i++) {
        p[i] = malloc(sizes[i]);
        size_t usable = malloc_usable_size(p[i]);
        bad += !p[i] || usable < sizes[i];
        misaligned += (uintptr_t)p[i] % (sizes[i] >= 16 ? 16 : 8) != 0;
        memset(p[i], i, usable);
    }
    for (int i = 0; i < SIZES; i++)
        lost += !all_are(p[i], i, malloc_usable_size(p[i]));
    is(bad, 0, "malloc gives a block of at least the size, 0 included");
    is(misaligned, 0, "aligned to 16 from 16 bytes on, to 8 below");
    is(lost, 0, "every usable byte is the block's own");
    for (int i = 0; i < SIZES; i++)
        free(p[i]);
    free(NULL);
    is(malloc_usable_size(NULL), 0, "malloc_usable_size(NULL)");
}

static void test_zero_sizes_differ(void)
{
    void *p = malloc(0), *q = malloc(0), *r = calloc(0, 8), *s = realloc(NULL, 0);
    ok(p && q && r && s && p != q && p != r && p != s && q != r && q != s && r != s,
       "blocks of size 0 are blocks, each its own");
    free(p);
    free(q);
    free(r);
    free(s);
}

static void test_calloc(void)
{
    int dirty = 0;
    for (int i = 0; i < SIZES; i++)
        for (int again = 0; again < 3; again++) {
            unsigned char *p = malloc(sizes[i]), *q = malloc(sizes[i]);
            memset(p, 0xA5, malloc_usable_size(p));
            memset(q, 0xA5, malloc_usable_size(q));
            free(p);
            free(q);
            p = calloc(1, sizes[i]);
            q = calloc(sizes[i], 1);
            dirty += !all_are(p, 0, sizes[i]) + !all_are(q, 0, sizes[i]);
            free(p);
            free(q);
        }
    is(dirty, 0, "calloc zeroes memory that was used before");
}

static void test_realloc(void)
{
    int moved = 0, lost = 0, lost_at = -1;
    for (int i = 0; i < SIZES; i++) {
        unsigned char *p = malloc(sizes[i]);
        size_t usable = malloc_usable_size(p);
        memset(p, 0x5A, usable);
        if (usable)
            moved += realloc(p, usable) != p;
        for (int j = 0; j < SIZES; j++) {
            if (!sizes[j])
                continue;
            usable = malloc_usable_size(p);
            memset(p, j, usable);
            p = realloc(p, sizes[j]);
            if (!p || !all_are(p, j, usable < sizes[j] ? usable : sizes[j]))
                lost++, lost_at = j;
        }
        free(p);
    }
    is(moved, 0, "realloc to the usable size stays in place");
    is(lost, 0, "realloc keeps every usable byte (to %zu)", lost_at < 0 ? 0 : sizes[lost_at]);

    void *p = malloc(100);
    errno = 0;
    void *q = realloc(p, hide(0));
    ok(q == NULL && errno == 0, "realloc(p, 0) frees and returns NULL, no error");
    p = realloc(NULL, 100);
    ok(p && malloc_usable_size(p) >= 100, "realloc(NULL, n) is malloc(n)");
    q = reallocarray(p, 100, 50);
    ok(q && malloc_usable_size(q) >= 5000, "reallocarray");
    free(q);
}

/* Where it must move, one that grows by less than a quarter gets a quarter more; to more than that, or back, what
 * is asked for. */
static void test_realloc_quarter(void)
{
    int few = 0, many = 0, lost = 0, moves = 0;
    for (size_t n = 16; n <= 16000; n += n / 3) {
        unsigned char *p = malloc(n);
        size_t had = malloc_usable_size(p);
        memset(p, 0x21, had);
        p = realloc(p, had + 1);
        few += malloc_usable_size(p) < had + had / 4;
        lost += !all_are(p, 0x21, had);
        size_t more = malloc_usable_size(p) * 5 / 4;
        void *q = malloc(more);
        p = realloc(p, more);
        many += malloc_usable_size(p) != malloc_usable_size(q);
        free(p);
        free(q);
    }
    is(lost + few, 0, "a block that grows a little gets room for a quarter more");
    is(many, 0, "one that grows by a quarter gets what was asked for");
    void *p = NULL;
    for (size_t n = 16; n <= 16384; n += 16) {
        void *q = realloc(p, n);
        moves += q != p;
        p = q;
    }
    ok(moves <= 31, "a buffer that grows by 16 bytes to 16 KiB moves %d times", moves);
    free(p);
}

static void test_realloc_grows_huge(void)
{
    int lost = 0;
    unsigned char *p = NULL;
    for (size_t n = MiB; n <= 64 * MiB; n += n / 2) {
        p = realloc(p, n);
        p[n - 1] = p[n - MiB] = (unsigned char)(n >> 16);
        lost += n > MiB && p[MiB - 1] != (unsigned char)(MiB >> 16);
    }
    for (size_t n = 64 * MiB; n >= MiB; n /= 2) {
        p = realloc(p, n);
        lost += p[MiB - 1] != (unsigned char)(MiB >> 16);
    }
    is(lost, 0, "a huge block keeps its contents as it grows and shrinks");
    free(p);
}

/* A block of `above` bytes shrinks to and fro across a tier's border, which lies between that and `below`.  What it
 * holds stays, and where it shrinks to half of the border, at `least`, it goes. */
static void realloc_across(size_t above, size_t below, size_t least)
{
    unsigned char *p = malloc(above), *q = p;
    int moved = 0, wrong = 0;

    memset(p, 0x3C, above);
    for (int i = 0; i < 100; i++) {
        q = realloc(p, hide(below));
        moved += q != p;
        wrong += malloc_usable_size(q) < below || malloc_usable_size(q) - below > below / 4;
        p = realloc(q, hide(above));
        moved += q != p;
        wrong += malloc_usable_size(p) < above || !all_are(p, 0x3C, below);
        memset(p, 0x3C, above);
    }
    ok(moved == 0, "realloc from %zu to %zu bytes and back stays in place", above, below);
    ok(wrong == 0, "with its content, and no more than it needs");
    q = realloc(p, hide(least + 1));
    ok(q == p && all_are(q, 0x3C, least + 1), "to half of the border, too");
    q = realloc(q, hide(least));
    ok(q != p && malloc_usable_size(q) - least <= 64 && all_are(q, 0x3C, least), "not to less");
    free(q);
}

static void test_realloc_border(void)
{
    realloc_across(34000, 30000, 16 * 1024);
    realloc_across(2200000, 1900000, MiB);
}

/* --- alignment --------------------------------------------------------------------------------- */

/* The call number `how` for an aligned block. */
static void *aligned(int how, size_t align, size_t n)
{
    void *p = NULL;
    switch (how) {
    case 0:  return aligned_alloc(align, n);
    case 1:  return memalign(align, n);
    default: return align < sizeof p ? malloc(n) : posix_memalign(&p, align, n) ? NULL : p;
    }
}

static void test_alignments(void)
{
    static const size_t n[] = { 0, 1, 8, 24, 100, 1000, 4096, 30000, 70000, 300000, MiB + 1, 3 * MiB };
    enum { N = sizeof n / sizeof *n, SHIFTS = 25 };
    int bad = 0, lost = 0, moved = 0;
    for (int how = 0; how < 3; how++)
        for (int shift = 0; shift < SHIFTS; shift++) {
            unsigned char *p[N];
            for (int i = 0; i < N; i++) {
                p[i] = aligned(how, (size_t)1 << shift, hide(n[i]));
                bad += !p[i] || (uintptr_t)p[i] % ((size_t)1 << shift)
                     || malloc_usable_size(p[i]) < n[i];
                memset(p[i], i + 1, malloc_usable_size(p[i]));
            }
            for (int i = 0; i < N; i++) {
                size_t usable = malloc_usable_size(p[i]);
                void *q = realloc(p[i], usable);
                moved += q != p[i];
                p[i] = q;
                lost += !all_are(p[i], i + 1, usable);
                p[i] = realloc(p[i], usable + 100);
                lost += !all_are(p[i], i + 1, usable);
                free(p[i]);
            }
        }
    is(bad, 0, "alignments from 1 to 16 MiB by aligned_alloc, memalign and posix_memalign");
    is(moved, 0, "realloc of one to its usable size stays in place");
    is(lost, 0, "aligned blocks keep every usable byte, through realloc too");
}

/* Aligned blocks are small enough to share slabs; they must not share bytes, and freeing one by
 * the pointer inside its cell must free that cell. */
static void test_aligned_churn(void)
{
    enum { N = 500 };
    static unsigned char *p[N];
    static size_t n[N];
    uint64_t seed = 7;
    int bad = 0;
    for (int step = 0; step < 50000; step++) {
        int i = (int)(rnd(&seed) % N);
        if (p[i]) {
            bad += !all_are(p[i], i & 0xFF, n[i]);
            free(p[i]);
        }
        size_t align = (size_t)16 << rnd(&seed) % 8;
        n[i] = rnd(&seed) % 2000;
        p[i] = aligned_alloc(align, hide(n[i]));
        bad += (uintptr_t)p[i] % align != 0;
        memset(p[i], i & 0xFF, n[i]);
    }
    for (int i = 0; i < N; i++)
        free(p[i]);
    is(bad, 0, "small aligned blocks in random order");
}

static void test_pages(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int bad = 0;
    for (int i = 0; i < SIZES; i++) {
        void *p = valloc(hide(sizes[i])), *q = pvalloc(hide(sizes[i]));
        bad += !p || (uintptr_t)p % page || malloc_usable_size(p) < sizes[i];
        bad += !q || (uintptr_t)q % page || malloc_usable_size(q) < (sizes[i] + page - 1) / page * page;
        free(p);
        free(q);
    }
    is(bad, 0, "valloc and pvalloc give whole pages");
}

static void test_odd_sizes_and_alignments(void)
{
    static const size_t odd[] = { 3, 7, 12, 24, 48, 100, 4097, 6144 };
    void *p = aligned_alloc(64, 100);
    ok(p && (uintptr_t)p % 64 == 0, "aligned_alloc takes a size that is no multiple");
    free(p);
    void *const untouched = &p;
    int bad = 0;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        p = untouched;
        bad += posix_memalign(&p, odd[i], 100) != EINVAL || p != untouched;
    }
    p = untouched;
    bad += posix_memalign(&p, 0, 100) != EINVAL || p != untouched;
    bad += posix_memalign(&p, sizeof p / 2, 100) != EINVAL || p != untouched;
    is(bad, 0, "posix_memalign: EINVAL for what is no power of two or under 8; the pointer stays");
    if (!under_hakmem)
        return;
    bad = 0;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        errno = 0;
        bad += aligned_alloc(odd[i], 100) != NULL || errno != EINVAL;
    }
    is(bad, 0, "aligned_alloc: EINVAL for what is no power of two");
}

/* --- errors ------------------------------------------------------------------------------------ */

/* Too large by every entry point; how many did not say ENOMEM. */
static int too_large(size_t n)
{
    int bad = 0;
    void *p = NULL, *old = malloc(24);
    memset(old, 0x77, 24);
#define FAILS(call) (errno = 0, (call) != NULL || errno != ENOMEM)
    bad += FAILS(malloc(n));
    bad += FAILS(calloc(1, n));
    bad += FAILS(calloc(n, 1));
    bad += FAILS(realloc(NULL, n));
    bad += FAILS(realloc(old, n));
    bad += FAILS(call_reallocarray(old, 1, n));
    bad += FAILS(call_reallocarray(old, n, 1));
    bad += FAILS(aligned_alloc(64, n));
    bad += FAILS(memalign(4096, n));
    bad += FAILS(valloc(n));
    bad += FAILS(pvalloc(n));
#undef FAILS
    bad += posix_memalign(&p, 64, n) != ENOMEM;
    bad += !all_are(old, 0x77, 24);
    free(old);
    return bad;
}

static void test_too_large(void)
{
    int bad = 0;
    for (size_t i = 0; i < 1 << 14; i++)
        bad += too_large(hide(SIZE_MAX - i));
    for (size_t i = 0; i < 1 << 14; i++)
        bad += too_large(hide((size_t)PTRDIFF_MAX + 1 + i));
    for (int shift = 0; shift < 62; shift++)
        bad += too_large(hide(SIZE_MAX - ((size_t)1 << shift)));
    is(bad, 0, "more than PTRDIFF_MAX is ENOMEM by every call, and the old block stays");
    bad = 0;
    for (int shift = 0; shift < 30; shift++)
        bad += too_large(hide((size_t)PTRDIFF_MAX - ((size_t)1 << shift)));
    is(bad, 0, "a little less is ENOMEM too");
}

static void test_overflow(void)
{
    int bad = 0;
    void *old = malloc(24);
    memset(old, 0x77, 24);
    for (int shift = 2; shift < 63; shift++) {
        size_t a = (size_t)1 << shift, b = SIZE_MAX / a + 1;
        errno = 0;
        bad += calloc(hide(a), hide(b)) != NULL || errno != ENOMEM;
        errno = 0;
        bad += calloc(hide(a + 1), hide(b)) != NULL || errno != ENOMEM;
        errno = 0;
        bad += call_reallocarray(old, hide(b), hide(a)) != NULL || errno != ENOMEM;
        errno = 0;
        bad += call_reallocarray(NULL, hide(a), hide(b)) != NULL || errno != ENOMEM;
    }
    is(bad, 0, "calloc and reallocarray see the product overflow");
    ok(all_are(old, 0x77, 24), "reallocarray that fails leaves the block alone");
    free(old);

    void *p = NULL;
    is(posix_memalign(&p, (size_t)1 << 62, 16), ENOMEM, "an alignment of 2^62 is ENOMEM");
    errno = 0;
    ok(!aligned_alloc((size_t)1 << 62, 16) && errno == ENOMEM, "by aligned_alloc as well");
    errno = 0;
    ok(!memalign((size_t)1 << 46, PTRDIFF_MAX / 2) && errno == ENOMEM, "and both of them large");
}

static void test_errno_survives_free(void)
{
    int bad = 0;
    for (int i = 0; i < SIZES; i++) {
        void *p[64];
        for (int j = 0; j < 64; j++)
            p[j] = malloc(sizes[i] <= MiB ? sizes[i] : j ? 1 : sizes[i]);
        errno = 1234;
        for (int j = 0; j < 64; j++) {
            free(p[j]);
            bad += errno != 1234;
        }
        free(NULL);
        bad += errno != 1234;
    }
    is(bad, 0, "free leaves errno as it was");
}

/* munmap and madvise fail on locked memory or at the limit of mappings; free may not show it. */
static int child_no_more_mappings(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    enum { N = 400 };
    static void *p[N];
    for (int i = 0; i < N; i++)
        p[i] = malloc(sizes[i % SIZES]);
    char *area = mmap(NULL, page << 18, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        return 1;
    size_t i = 0;
    while (i < 1 << 18 && !mprotect(area + i * page, page, PROT_READ))
        i += 2;
    if (i >= 1 << 18)
        return 2;                       /* vm.max_map_count was not met */
    errno = 1234;
    for (int j = 0; j < N; j++)
        free(p[j]);
    if (errno != 1234)
        return 3;
    for (int j = 0; j < N; j++) {
        p[j] = malloc(sizes[j % SIZES]);
        if (p[j])
            memset(p[j], 1, sizes[j % SIZES]);
        else if (errno != ENOMEM)
            return 4;
    }
    for (int j = 0; j < N; j++)
        free(p[j]);
    munmap(area, page << 18);
    for (int j = 0; j < SIZES; j++) {
        void *q = malloc(sizes[j]);
        if (!q)
            return 5;
        free(q);
    }
    return 0;
}

/* Pages that the kernel will not take back (locked ones) are still dirty. */
static int child_locked(void)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE))
        return errno;
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < SIZES; i++) {
            unsigned char *p = malloc(sizes[i]);
            memset(p, 0xA5, malloc_usable_size(p));
            free(p);
            malloc_trim(0);
            p = calloc(1, sizes[i]);
            if (!p || !all_are(p, 0, sizes[i]))
                return 200;
            free(p);
        }
    return 0;
}

/* --- what glibc adds --------------------------------------------------------------------------- */

static void test_mallopt(void)
{
    is(mallopt(M_MMAP_THRESHOLD, 1 << 20), 1, "mallopt knows M_MMAP_THRESHOLD");
    is(mallopt(M_TRIM_THRESHOLD, 1 << 20), 1, "and M_TRIM_THRESHOLD");
    is(mallopt(M_MXFAST, 64), 1, "and M_MXFAST");
    is(mallopt(M_ARENA_MAX, 1), 1, "and M_ARENA_MAX");
    if (under_hakmem)
        is(mallopt(123456, 1), 0, "and not a parameter that does not exist");
}

static void test_mallinfo(void)
{
    struct mallinfo2 a = mallinfo2();
    void *p = malloc(64 * MiB);
    struct mallinfo2 b = mallinfo2();
    ok(b.uordblks + b.hblkhd >= a.uordblks + a.hblkhd + 64 * MiB, "mallinfo2 sees 64 MiB more");
    free(p);
    struct mallinfo2 c = mallinfo2();
    ok(c.uordblks <= a.uordblks + MiB, "and less again");
    ok(c.arena + c.hblkhd >= c.uordblks, "no more in use than there is");
    struct mallinfo (*volatile old)(void) = (struct mallinfo (*)(void))dlsym(RTLD_DEFAULT, "mallinfo");
    p = malloc(5000);
    ok(old && old().uordblks >= 5000, "mallinfo");
    free(p);
}

/* Whether s is one XML element with its contents: tags are paired, nothing stands outside. */
static int well_formed(const char *s)
{
    char open[32][32];
    int depth = 0, elements = 0;
    while (*s) {
        if (*s != '<') {
            if (!depth && !strchr(" \n", *s))
                return 0;
            s++;
            continue;
        }
        const char *end = strchr(s, '>');
        int name = (int)strcspn(s + 1, " \n/>"), closing = s[1] == '/';
        if (!end || (!depth && elements))
            return 0;
        if (closing) {
            name = (int)(end - s - 2);
            if (!depth || (int)strlen(open[--depth]) != name || strncmp(open[depth], s + 2, (size_t)name))
                return 0;
            elements += !depth;
        } else if (end[-1] != '/') {
            if (depth == 32 || name < 1 || name > 31)
                return 0;
            snprintf(open[depth++], 32, "%.*s", name, s + 1);
        }
        s = end + 1;
    }
    return depth == 0 && elements == 1;
}

static void test_malloc_info(void)
{
    static char text[1 << 20];
    FILE *f = fmemopen(text, sizeof text, "w");
    is(malloc_info(0, f), 0, "malloc_info");
    fclose(f);
    ok(!strncmp(text, "<malloc version=\"", 17), "it starts as glibc's does");
    ok(well_formed(text), "it is well-formed XML");
    ok(!well_formed("<a><b></a>") && !well_formed("<a/>x") && well_formed("<a x=\"1\"><b/></a>\n"),
       "which this test can tell");
    ok(malloc_info(1, stderr) != 0, "no options are known");
}

static void test_malloc_stats(void)
{
    char name[] = "/tmp/hakmem-stats-XXXXXX";
    int fd = mkstemp(name), saved = dup(2);
    if (fd < 0)
        bail("%s: %m", name);
    unlink(name);
    dup2(fd, 2);
    malloc_stats();
    dup2(saved, 2);
    close(saved);
    ok(lseek(fd, 0, SEEK_END) > 20, "malloc_stats writes to standard error");
    close(fd);
}

static void test_malloc_trim(void)
{
    enum { N = 1024, SIZE = 64 << 10 };
    static void *p[N];
    for (int i = 0; i < N; i++)
        memset(p[i] = malloc(SIZE), 1, SIZE);
    long full = rss_kib();
    for (int i = 0; i < N; i++)
        free(p[i]);
    malloc_trim(0);
    long trimmed = rss_kib();
    ok(trimmed < full - 48 * 1024, "malloc_trim gives back memory: %ld KiB, then %ld", full, trimmed);
}

static void test_sized_free(void)
{
    void (*sized)(void *, size_t) = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
    void (*both)(void *, size_t, size_t) =
        (void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");
    if (!under_hakmem)
        return;
    if (!ok(sized && both, "free_sized and free_aligned_sized are there"))
        return;
    for (int i = 0; i < SIZES; i++) {
        sized(malloc(sizes[i]), sizes[i]);
        both(aligned_alloc(256, hide(sizes[i])), 256, sizes[i]);
    }
    sized(NULL, 100);
    both(NULL, 64, 100);
    /* A size that is wrong, as of a class deleted through a base without a virtual destructor. */
    long lost = 0;
    for (int i = 0; i < SIZES; i++) {
        void *p = malloc(sizes[i]), *q = malloc(sizes[i]);
        memset(p, 1, sizes[i]);
        memset(q, 2, sizes[i]);
        sized(p, sizes[SIZES - 1 - i]);
        p = malloc(sizes[i]);
        memset(p, 3, sizes[i]);
        lost += !all_are(q, 2, sizes[i]);
        both(p, 4096, 1);
        free(q);
    }
    is(lost, 0, "and free, whatever size they are told");
}

/* Every function resolves to the same library: a partial export hands glibc our blocks. */
static void test_whole_family(void)
{
    static const char *const name[] = {
        "malloc", "calloc", "realloc", "reallocarray", "free", "posix_memalign", "aligned_alloc",
        "memalign", "valloc", "pvalloc", "malloc_usable_size", "malloc_trim", "mallinfo", "mallinfo2",
        "malloc_info", "malloc_stats", "mallopt"
    };
    int elsewhere = 0;
    Dl_info first, info;
    dladdr(dlsym(RTLD_DEFAULT, name[0]), &first);
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        if (!dladdr(dlsym(RTLD_DEFAULT, name[i]), &info) || info.dli_fbase != first.dli_fbase) {
            diag("%s is in %s, not in %s", name[i], info.dli_fname, first.dli_fname);
            elsewhere++;
        }
    is(elsewhere, 0, "the whole family comes from one library");
}

int main(int argc, char **argv)
{
    (void)argc;
    run_under_hakmem(argv);
    test_malloc();
    test_zero_sizes_differ();
    test_calloc();
    test_realloc();
    if (under_hakmem)
        test_realloc_quarter();
    test_realloc_grows_huge();
    test_realloc_border();
    test_alignments();
    test_aligned_churn();
    test_pages();
    test_odd_sizes_and_alignments();
    test_too_large();
    test_overflow();
    test_errno_survives_free();
    test_mallopt();
    if (!under_hakmem || with_counters())
        test_mallinfo();
    test_malloc_info();
    test_malloc_stats();
    test_malloc_trim();
    test_sized_free();
    test_whole_family();
    is_str(in_child(child_no_more_mappings), "exit 0", "at the limit of mappings: NULL or a block");
    const char *locked = in_child(child_locked);
    if (!strcmp(locked, "exit 1") || !strcmp(locked, "exit 12"))
        skip("mlockall: errno %s", locked + 5);
    else
        is_str(locked, "exit 0", "calloc zeroes locked memory");
    return tap_done();
}
