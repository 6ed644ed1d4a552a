/* attach.c: opens a segment and copies out what describes it.
 *
 * This is where mistrust lives: what has passed here can be used as offsets and counts by the other
 * files.  Only the slots' number (state.slots_used) is checked later, each time it is read. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shm/internal.h"

/* Files beyond this are no segment: 64 GiB is room for millions of threads. */
#define SIZE_MOST (UINT64_C(64) << 30)
/* Many times what a library has today, and little enough for tools to go through every pair of them. */
#define KNOBS_MOST   4096
#define STATS_MOST   4096
#define BINS_MOST    1024
#define CLASSES_MOST 64
#define SLOT_MOST    (1 << 20)
#define UNLOCKED_TRIES 20           /* looks at an unfinished segment, a millisecond apart */
#define LOCKED_TRIES   200

/* ---- Reading and writing a mapping that may be cut off ------------------------------------- */

void (*shm_fault)(int sig);

static sigjmp_buf cut_off;
static volatile sig_atomic_t guarded;

static void on_sigbus(int sig)
{
    if (!guarded) {
        signal(sig, SIG_DFL);       /* not ours: raised again, it kills */
        if (shm_fault)
            shm_fault(sig);
        raise(sig);
        return;
    }
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, sig);
    sigprocmask(SIG_UNBLOCK, &only, NULL);      /* what returning would have done */
    siglongjmp(cut_off, 1);
}

static void install_guard(void)
{
    static bool installed;
    if (installed)
        return;
    struct sigaction action = { .sa_handler = on_sigbus };
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
    installed = true;
}

/* The accesses between two calls are those that may fail. */
static void guard(bool on)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    guarded = on;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

bool shm_guarded(void (*access)(void *), void *arg)
{
    install_guard();
    if (sigsetjmp(cut_off, 0)) {
        guard(false);
        return false;
    }
    guard(true);
    access(arg);
    guard(false);
    return true;
}

struct copy {
    uint64_t       *to;
    const uint64_t *from;
    size_t          words;
};

static void load(void *copy)
{
    const struct copy *c = copy;
    for (size_t i = 0; i < c->words; i++)
        c->to[i] = shm_word(&c->from[i]);
}

/* Written after what was written before: this pairs with the library's acquire. */
static void store(void *copy)
{
    const struct copy *c = copy;
    for (size_t i = 0; i < c->words; i++)
        __atomic_store_n(&c->to[i], c->from[i], __ATOMIC_RELEASE);
}

bool shm_copy_out(void *dst, const void *src, size_t len)
{
    return shm_guarded(load, &(struct copy){ dst, src, len / 8 });
}

bool shm_copy_in(void *dst, const void *src, size_t len)
{
    return shm_guarded(store, &(struct copy){ dst, src, len / 8 });
}

uint64_t shm_backed(const struct shm_seg *seg, uint64_t offset)
{
    off_t hole = lseek(seg->fd, (off_t)offset, SEEK_HOLE);
    return hole > (off_t)offset ? (uint64_t)hole - offset : 0;
}

/* ---- Opening ------------------------------------------------------------------------------- */

/* Only its user and root may open a segment, as a rule. */
static int not_permitted(int dir, const char *name, struct shm_error *err)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
        return shm_fail(err, SHM_EPERM, "permission denied");
    const struct passwd *user = getpwuid(st.st_uid);
    return user ? shm_fail(err, SHM_EPERM, "permission denied: its segment is of user %s", user->pw_name)
                : shm_fail(err, SHM_EPERM, "permission denied: its segment is of user %u", (unsigned)st.st_uid);
}

static int open_failed(int dir, const char *name, struct shm_error *err)
{
    if (errno == EACCES || errno == EPERM)
        return not_permitted(dir, name, err);
    if (errno == ENOENT)
        return shm_fail(err, SHM_EGONE, "its segment is gone");
    if (errno == ELOOP)
        return shm_fail(err, SHM_EIO, "its segment is a symbolic link");
    return shm_fail(err, SHM_EIO, "can't open its segment: %s", strerror(errno));
}

int shm_open_file(int dir, const char *name, bool want_write, int *fd, struct shm_error *err)
{
    int flags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
    *fd = want_write ? openat(dir, name, O_RDWR | flags) : -1;
    if (*fd < 0)
        *fd = openat(dir, name, O_RDONLY | flags);
    if (*fd < 0)
        return open_failed(dir, name, err);

    struct stat st;
    int code = SHM_OK;
    if (fstat(*fd, &st))
        code = shm_fail(err, SHM_EIO, "can't stat its segment: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        code = shm_fail(err, SHM_EIO, "its segment is not a regular file");
    else if (st.st_nlink != 1)
        code = st.st_nlink ? shm_fail(err, SHM_EIO, "its segment has %lu names, not one",
                                      (unsigned long)st.st_nlink)
                           : shm_fail(err, SHM_EGONE, "its segment is gone");
    else if ((st.st_size && (uint64_t)st.st_size < sizeof(struct hak_seg_header))
             || (uint64_t)st.st_size > SIZE_MOST)
        code = shm_fail(err, SHM_EIO, "its segment is damaged: %lld bytes", (long long)st.st_size);
    if (code)
        close(*fd);
    return code;
}

static int damaged(struct shm_error *err, const char *what)
{
    return shm_fail(err, SHM_EIO, "its segment is damaged: %s", what);
}

/* A table of count rows, at most `most`, of size bytes each, at off: wholly in the file, rows at least `least`. */
static bool table_fits(uint64_t total, uint64_t off, uint64_t count, uint64_t most, uint64_t size, uint64_t least)
{
    return size >= least && size <= 65536 && count <= most && off <= total && count * size <= total - off;
}

/* An area of its own pages. */
static bool area_fits(uint64_t total, uint64_t off, uint64_t size, uint64_t least)
{
    return off % (uint64_t)sysconf(_SC_PAGESIZE) == 0 && size >= least && off <= total
        && size <= total - off;
}

/* An older library has no map, and one that doesn't fit is none: its place is 0. */
static void check_map(struct hak_seg_header *h)
{
    if (h->header_size < sizeof *h || h->map_off % 8 || h->map_size % 8
        || h->map_size == 0 || h->map_off > h->total_size
        || (uint64_t)h->map_count * h->map_size > h->total_size - h->map_off)
        h->map_off = h->map_count = h->map_size = 0;
}

static int check_header(const struct hak_seg_header *h, uint64_t file_size, struct shm_error *err)
{
    uint64_t total = h->total_size;
    if (total != file_size)
        return shm_fail(err, SHM_EIO, "its segment is damaged: %" PRIu64 " bytes, not %" PRIu64,
                        file_size, total);
    if (!table_fits(total, h->knob_off, h->knob_count, KNOBS_MOST, h->knob_size, sizeof(struct hak_knob_desc)))
        return damaged(err, "knob table");
    if (!table_fits(total, h->stat_off, h->stat_count, STATS_MOST, h->stat_size, sizeof(struct hak_stat_desc)))
        return damaged(err, "counter table");
    if (!table_fits(total, h->bin_off, h->bin_count, BINS_MOST, h->bin_size, sizeof(struct hak_bin_desc)))
        return damaged(err, "bin table");
    if (!table_fits(total, h->class_off, h->class_count, CLASSES_MOST, h->class_size, sizeof(struct hak_class_desc)))
        return damaged(err, "class table");
    if (!area_fits(total, h->state_off, h->state_size, sizeof(struct hak_state))
        || h->state_size % 8)
        return damaged(err, "state area");
    if (!area_fits(total, h->control_off, h->control_size, sizeof(struct hak_control)))
        return damaged(err, "control page");
    if (!area_fits(total, h->slots_off, (uint64_t)h->slot_stride * h->slots_max, 0)
        || h->slot_stride < sizeof(struct hak_slot) || h->slot_stride % 8
        || h->slot_stride > SLOT_MOST || h->slots_max == 0)
        return damaged(err, "slots");
    if (h->inherited_off % 8 || h->inherited_off > h->state_size
        || h->bin_count * 8u > h->state_size - h->inherited_off)
        return damaged(err, "inherited row");
    return SHM_OK;
}

static bool read_whole(int fd, void *to, size_t size)
{
    return pread(fd, to, size, 0) == (ssize_t)size;
}

int shm_read_header(int fd, struct hak_seg_header *header, struct shm_error *err)
{
    /* The file is made, then locked, then given its length, then filled, within microseconds where the
     * process gets a CPU.  One that dies before the end leaves it so. */
    for (int tries = 0; ; tries++) {
        struct stat st;
        if (fstat(fd, &st) || (st.st_size && !read_whole(fd, header, sizeof *header)))
            return damaged(err, "no header");
        /* What was read along with `ready` may be older than it. */
        if (st.st_size && header->ready == 1 && read_whole(fd, header, sizeof *header)) {
            if (memcmp(header->magic, HAK_SEG_MAGIC, sizeof header->magic))
                return damaged(err, "not a hakmem segment");
            if (header->abi_major != HAK_ABI_MAJOR)
                return shm_fail(err, SHM_EABI, "its segment has ABI %u, this tool knows ABI %u",
                                header->abi_major, HAK_ABI_MAJOR);
            header->boot_id[sizeof header->boot_id - 1] = 0;
            header->version[sizeof header->version - 1] = 0;
            check_map(header);
            return check_header(header, (uint64_t)st.st_size, err);
        }
        bool locked = shm_locked(fd);
        if (!locked && (st.st_size || tries == UNLOCKED_TRIES))
            return shm_fail(err, SHM_EIO, "its segment was never finished");
        if (tries == LOCKED_TRIES)
            return shm_fail(err, SHM_EGONE, "it is only just starting");
        shm_nap_us(1000);
    }
}

/* ---- Descriptors --------------------------------------------------------------------------- */

#define END(string) ((string)[sizeof(string) - 1] = 0)

/* Copies a table of rows that may be longer than we know them to be. */
static void *copy_table(int fd, uint64_t off, unsigned count, unsigned size, size_t known)
{
    uint8_t *raw = calloc(count + 1u, size), *rows = calloc(count + 1u, known);
    if (raw && rows && pread(fd, raw, (size_t)count * size, (off_t)off)
                       == (ssize_t)((size_t)count * size)) {
        for (unsigned i = 0; i < count; i++)
            memcpy(rows + i * known, raw + (size_t)i * size, known);
    } else {
        free(rows);
        rows = NULL;
    }
    free(raw);
    return rows;
}

unsigned shm_values(unsigned bins, const struct hak_stat_desc *d, size_t *step)
{
    *step = d->scope == HAK_SCOPE_HIST ? 8 : d->stride;
    return d->scope == HAK_SCOPE_HIST ? HAK_HIST_BUCKETS
         : d->scope == HAK_SCOPE_BIN || d->scope == HAK_SCOPE_WALK ? bins : 1;
}

/* Which words of a slot have no name yet, and how many more may be looked at for one. */
struct words {
    bool    *named;
    uint64_t left;
};

/* A word has one name, so that no table makes its readers read more than a slot. */
static bool name_words(struct words *words, size_t at, size_t step, uint64_t values)
{
    if (values > words->left)
        return false;
    words->left -= values;
    for (uint64_t i = 0; i < values; i++)
        if (words->named[(at + i * step) / 8] || (i && !step))
            return false;
    for (uint64_t i = 0; i < values; i++)
        words->named[(at + i * step) / 8] = true;
    return true;
}

static bool stat_fits(const struct hak_seg_header *h, const struct hak_stat_desc *d, struct words *words)
{
    size_t step;
    uint64_t values = shm_values(h->bin_count, d, &step);
    uint64_t base = d->scope == HAK_SCOPE_GLOBAL ? h->state_size : h->slot_stride;
    if (d->scope > HAK_SCOPE_WALK || d->offset % 8 || step % 8 || !values
        || d->offset + (values - 1) * step + 8 > base)
        return false;
    return d->scope == HAK_SCOPE_GLOBAL || name_words(words, d->offset, step, values);
}

/* Keeps the counters that have values within their area and of their own: the slot's head is none. */
static bool keep_stats(struct shm_seg *seg)
{
    const struct hak_seg_header *h = &seg->header;
    struct words words = { calloc(h->slot_stride / 8, sizeof(bool)), h->slot_stride / 8 };
    if (!words.named)
        return false;
    memset(words.named, true, sizeof(struct hak_slot) / 8);
    for (unsigned i = 0; i < h->stat_count; i++) {
        struct hak_stat_desc *s = &seg->stats[i], *kept = &seg->stats[seg->stat_count];
        END(s->name), END(s->unit), END(s->help);
        if (!s->name[0] || !stat_fits(h, s, &words))
            continue;
        *kept = *s;
        seg->stat_count++;
    }
    free(words.named);
    return true;
}

/* Copies all tables; drops what can't be used. */
static int read_tables(struct shm_seg *seg, struct shm_error *err)
{
    const struct hak_seg_header *h = &seg->header;
    seg->knobs = copy_table(seg->fd, h->knob_off, h->knob_count, h->knob_size, sizeof *seg->knobs);
    seg->stats = copy_table(seg->fd, h->stat_off, h->stat_count, h->stat_size, sizeof *seg->stats);
    seg->bins = copy_table(seg->fd, h->bin_off, h->bin_count, h->bin_size, sizeof *seg->bins);
    seg->classes = copy_table(seg->fd, h->class_off, h->class_count, h->class_size,
                              sizeof *seg->classes);
    if (!seg->knobs || !seg->stats || !seg->bins || !seg->classes)
        return damaged(err, "can't read its tables");

    for (unsigned i = 0; i < h->knob_count; i++) {
        struct hak_knob_desc *k = &seg->knobs[i];
        END(k->name), END(k->env), END(k->alias), END(k->unit), END(k->help);
        if (k->name[0] && k->index < HAK_VALUES_MAX)
            seg->knobs[seg->knob_count++] = *k;
    }
    if (!keep_stats(seg))
        return damaged(err, "can't read its tables");
    seg->bin_count = h->bin_count;
    seg->class_count = h->class_count;
    for (unsigned i = 0; i < h->class_count; i++)
        END(seg->classes[i].name);
    if (!shm_find_known(seg))
        return shm_fail(err, SHM_EIO, "out of memory");
    return SHM_OK;
}

static int open_seg(struct shm_seg *seg, struct shm_error *err)
{
    int dir = shm_open_dir(seg->proc.via_pid);
    if (dir < 0)
        return shm_fail(err, SHM_EGONE, "its /dev/shm is gone");
    int code = shm_open_file(dir, seg->proc.file, true, &seg->fd, err);
    close(dir);
    if (code) {
        seg->fd = -1;
        return code;
    }
    struct stat st;
    if (fstat(seg->fd, &st) || st.st_ino != seg->proc.ino || st.st_dev != seg->proc.dev)
        return shm_fail(err, SHM_EGONE, "its segment was replaced");
    seg->writable = (fcntl(seg->fd, F_GETFL) & O_ACCMODE) == O_RDWR;
    return SHM_OK;
}

/* Header, tables and the mapping, of the file that is open. */
static int take_in(struct shm_seg *seg, struct shm_error *err)
{
    int code = shm_read_header(seg->fd, &seg->header, err);
    if (!code)
        code = read_tables(seg, err);
    if (code)
        return code;
    void *map = mmap(NULL, seg->header.total_size, PROT_READ, MAP_SHARED, seg->fd, 0);
    if (map == MAP_FAILED)
        return shm_fail(err, SHM_EIO, "can't map its segment: %s", strerror(errno));
    seg->map = map;
    seg->map_size = seg->header.total_size;
    return SHM_OK;
}

static int attach(const struct shm_proc *proc, int fd, struct shm_seg **result,
                  struct shm_error *err)
{
    struct shm_seg *seg = calloc(1, sizeof *seg);
    if (!seg)
        return shm_fail(err, SHM_EIO, "out of memory");
    seg->proc = *proc;
    seg->fd = fd;
    int code = fd < 0 ? open_seg(seg, err) : SHM_OK;
    if (!code)
        code = take_in(seg, err);
    if (code) {
        shm_detach(seg);
        return code;
    }
    *result = seg;
    return SHM_OK;
}

int shm_attach(const struct shm_proc *proc, struct shm_seg **result, struct shm_error *err)
{
    if (proc->err.code) {
        *err = proc->err;
        return proc->err.code;
    }
    return attach(proc, -1, result, err);
}

int shm_attach_copy(const struct shm_proc *proc, int fd, struct shm_seg **result,
                    struct shm_error *err)
{
    return attach(proc, fd, result, err);
}

void shm_detach(struct shm_seg *seg)
{
    if (!seg)
        return;
    if (seg->control)
        munmap(seg->control, seg->header.control_size);
    if (seg->map)
        munmap((void *)seg->map, seg->map_size);
    if (seg->fd >= 0)
        close(seg->fd);
    free(seg->knobs);
    free(seg->stats);
    shm_forget_known(seg);
    free(seg->bins);
    free(seg->classes);
    free(seg);
}

bool shm_alive(const struct shm_seg *seg)
{
    return shm_locked(seg->fd)
        && (seg->proc.pid_ns != shm_own_pid_ns()
            || shm_same_process(seg->proc.ns_pid, seg->proc.start_time));
}

const struct hak_knob_desc *shm_knob(const struct shm_seg *seg, const char *name)
{
    for (unsigned i = 0; i < seg->knob_count; i++)
        if (!strcmp(seg->knobs[i].name, name))
            return &seg->knobs[i];
    return NULL;
}

const struct hak_stat_desc *shm_stat(const struct shm_seg *seg, enum hak_stat_scope scope,
                                     const char *name)
{
    for (unsigned i = 0; i < seg->stat_count; i++)
        if (seg->stats[i].scope == scope && !strcmp(seg->stats[i].name, name))
            return &seg->stats[i];
    return NULL;
}

uint64_t shm_clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void shm_nap_us(unsigned us)
{
    struct timespec t = { us / 1000000, (long)(us % 1000000) * 1000 };
    nanosleep(&t, NULL);
}
