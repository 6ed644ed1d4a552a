/* control_start.c: the control layer's start: the segment's birth and self-description, values from
 * the ENV and a configuration file, names that are taken, and machines that have no room for it. */
#include "tests/unit/control.h"

#include <sys/auxv.h>
#include <malloc.h>

/* ---- birth ---- */

static int count_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static int born(void)
{
    struct seg s;
    struct stat st;
    char name[128], boot_id[64] = "", maps[256];
    int fds = count_fds();

    errno = 123;
    control_init();
    need(errno == 123);
    need(count_fds() == fds);
    seg_own(&s);
    seg_name(getpid(), name, sizeof name);
    need(stat(name, &st) == 0 && st.st_nlink == 1 && st.st_uid == geteuid());
    need((st.st_mode & 07777) == 0600);
    need(s.h->total_size == (uint64_t)st.st_size);
    need(s.h->abi_major == HAK_ABI_MAJOR && s.h->header_size == sizeof *s.h);
    need(s.h->pid == getpid());
    need(strstr(name, ".") && s.h->start_time == strtoull(strrchr(name, '.') + 1, NULL, 10));
    need(stat("/proc/self/ns/pid", &st) == 0 && s.h->pid_ns == st.st_ino);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY);
    need(read(fd, boot_id, 36) == 36 && strcmp(boot_id, s.h->boot_id) == 0);
    need(s.h->page_size == getauxval(AT_PAGESZ));
    need(now_ns(CLOCK_BOOTTIME) - s.h->born_ns < 60000000000u);
    need(s.h->state_off % s.h->page_size == 0 && s.h->control_off % s.h->page_size == 0);
    need(s.h->slots_off % s.h->page_size == 0 && s.h->slot_stride % s.h->page_size == 0);
    need(s.h->map_off % s.h->page_size == 0);
    need(s.h->slots_off + (uint64_t)s.h->slots_max * s.h->slot_stride == s.h->total_size);
    need(s.state->process_state == HAK_PROC_RUNNING);
    need(strcmp(s.state->comm, "control_start") == 0);
    need(s.state->generation == 0 && s.state->examined == 0 && s.state->epoch == 1);
    need(s.state->seq % 2 == 0 && s.state->slots_used == 0 && s.control->generation == 0);
    need(memcmp(s.control->values[0], s.state->values, sizeof s.state->values) == 0);
    for (int i = 0; i < HAK_KNOBS; i++)
        need(s.state->origin[i].from == HAK_FROM_DEFAULT);
#define KNOB(id, nm, type, ctx, unit, min, max, def, alias, help) \
    need(s.state->values[HAK_KNOB_##id] == (def));
#include "abi/knobs.def"
#undef KNOB
    FILE *f = fopen("/proc/self/maps", "r");
    int read_only = 0;
    while (f && fgets(maps, sizeof maps, f))
        read_only += strstr(maps, "/dev/shm/hakmem.") && strstr(maps, " r--s ");
    need(read_only == 1);
    return 0;
}

static int locked(void)
{
    char name[128];

    control_init();
    seg_name(getpid(), name, sizeof name);
    int fd = open(name, O_RDONLY);
    need(fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK);
    return 0;
}

static int no_low_fds(void)
{
    close(0), close(1), close(2);
    control_init();
    need(fcntl(0, F_GETFD) == -1 && fcntl(1, F_GETFD) == -1 && fcntl(2, F_GETFD) == -1);
    struct seg s;
    need(seg_open(&s, getpid()) == 0);
    return 0;
}

static int no_malloc(void)
{
    struct mallinfo2 before = mallinfo2();
    control_init();
    control_slot(slot_memory());
    struct mallinfo2 after = mallinfo2();
    need(before.uordblks == after.uordblks && before.hblks == after.hblks);
    return 0;
}

static int early_counts(void)
{
    GLOBAL_ADD(meta_bytes, 4711);
    control_init();
    GLOBAL_ADD(meta_bytes, 1);
    struct seg s;
    seg_own(&s);
    need(seg_global(&s, "meta_bytes") == 4712);
    return 0;
}

/* ---- self-description: every row of the tables against its descriptor ---- */

static int describes_knobs(void)
{
    struct seg s;

    control_init();
    seg_own(&s);
    need(s.h->knob_count == HAK_KNOBS && s.h->knob_size == sizeof(struct hak_knob_desc));
    const struct hak_knob_desc *d = (void *)(s.base + s.h->knob_off);
#define KNOB(id, nm, ty, ctx, un, mi, ma, de, al, he)                                            \
    need(strcmp(d->name, nm) == 0 && strcmp(d->alias, al) == 0 && strcmp(d->unit, un) == 0);     \
    need(strcmp(d->help, he) == 0 && d->type == HAK_##ty && d->context == HAK_##ctx);            \
    need(d->index == HAK_KNOB_##id && d->min == (mi) && d->max == (ma) && d->def == (de));       \
    need(strncmp(d->env, "HAKMEM_", 7) == 0 && strlen(d->env) == strlen(nm) + 7);                \
    for (const char *a = d->env + 7, *b = nm; *a; a++, b++)                                      \
        need(*a == (*b == '.' ? '_' : *b >= 'a' && *b <= 'z' ? *b - 32 : *b));                   \
    d++;
#include "abi/knobs.def"
#undef KNOB
    d = seg_knob(&s, "tiny.heap_v2.class_mask");
    need(strcmp(d->env, "HAKMEM_TINY_HEAP_V2_CLASS_MASK") == 0);
    return 0;
}

static const struct hak_stat_desc *row(const struct seg *s, const char *name, const char *help,
                                       uint32_t scope)
{
    const struct hak_stat_desc *d = seg_stat(s, name, scope);
    return strcmp(d->help, help) == 0 ? d : NULL;
}

static int describes_counters(void)
{
    struct seg s;
    unsigned rows = 0;
    const struct hak_stat_desc *d;

    control_init();
    seg_own(&s);
#define GLOBAL_STAT(id, nm, ki, un, he)                                                          \
    need((d = row(&s, nm, he, HAK_SCOPE_GLOBAL)) && d->kind == HAK_##ki && d->stride == 0);      \
    need(strcmp(d->unit, un) == 0 && d->offset == offsetof(struct hak_state_full, global.id));   \
    rows++;
#define THREAD_STAT(id, nm, un, he)                                                              \
    need((d = row(&s, nm, he, HAK_SCOPE_THREAD)) && d->stride == 0 && !strcmp(d->unit, un));     \
    need(d->offset == offsetof(struct hak_slot_full, thread.id) && d->kind == HAK_COUNTER);      \
    rows++;
#define BIN_STAT(id, nm, he)                                                                     \
    need((d = row(&s, nm, he, HAK_SCOPE_BIN)) && d->stride == sizeof(struct hak_row));           \
    need(d->offset == offsetof(struct hak_slot_full, row[0].id) && d->kind == HAK_COUNTER);      \
    rows++;
#define SAMPLE_STAT(id, nm, he)                                                                  \
    need((d = row(&s, nm, he, HAK_SCOPE_BIN)) && d->stride == sizeof(struct hak_row));        \
    need(d->offset == offsetof(struct hak_slot_full, row[0].sample.id) && !strcmp(d->unit, "bytes"));\
    rows++;
#define HIST(id, nm, he)                                                                         \
    need((d = row(&s, nm, he, HAK_SCOPE_HIST)) && d->stride == 0 && !strcmp(d->unit, "ns"));     \
    need(d->offset == offsetof(struct hak_slot_full, hist.id));                                  \
    rows++;
#define WALK_STAT(id, nm, he)                                                                    \
    need((d = row(&s, nm, he, HAK_SCOPE_WALK)) && d->stride == sizeof(struct hak_row));         \
    need(d->offset == offsetof(struct hak_slot_full, row[0].walk.id) && d->kind == HAK_GAUGE);       \
    rows++;
#include "abi/stats.def"
#undef GLOBAL_STAT
#undef THREAD_STAT
#undef BIN_STAT
#undef SAMPLE_STAT
#undef HIST
#undef WALK_STAT
    need(s.h->stat_count == rows && s.h->stat_size == sizeof *d);
    need(s.h->state_size == sizeof(struct hak_state_full));
    need(s.h->slot_stride >= sizeof(struct hak_slot_full));
    return 0;
}

static int describes_bins(void)
{
    static const uint64_t largest[HAK_CLASSES] = { 8, 16, 32, 64, 128, 256, 512, 1024, 32768,
                                                   2 << 20, 0 };
    static const char *const names[HAK_CLASSES] = { "C0", "C1", "C2", "C3", "C4", "C5", "C6", "C7",
                                                    "mid", "large", "huge" };
    struct seg s;

    control_init();
    seg_own(&s);
    need(s.h->bin_count == HAK_ROWS && s.h->bin_size == sizeof(struct hak_bin_desc));
    const struct hak_bin_desc *b = (void *)(s.base + s.h->bin_off);
#define BIN(sz, cl, slabs, fc) need(b->size == (sz) && b->cls == (cl)); b++;
#include "abi/sizes.def"
#undef BIN
    need(b[0].size == 0 && b[0].cls == HAK_CLASS_LARGE && b[1].size == 0);
    need(b[1].cls == HAK_CLASS_HUGE);
    need(s.h->class_count == HAK_CLASSES && s.h->class_size == sizeof(struct hak_class_desc));
    const struct hak_class_desc *c = (void *)(s.base + s.h->class_off);
    for (int i = 0; i < HAK_CLASSES; i++)
        need(strcmp(c[i].name, names[i]) == 0 && c[i].size_max == largest[i]);
    return 0;
}

/* ---- values at start ---- */

static struct seg started;

static uint64_t value(const char *name)
{
    if (!started.base) {
        control_init();
        seg_own(&started);
    }
    return seg_value(&started, name);
}

static uint32_t origin(const char *name)
{
    return started.state->origin[seg_knob(&started, name)->index].from;
}

static uint64_t refused(void)
{
    return seg_global(&started, "env_errors");
}

static int env_taken(void)
{
    union hak_knobs k;

    need(value("tiny.heap_v2.class_mask") == 0xE);
    need(origin("tiny.heap_v2.class_mask") == HAK_FROM_ENV);
    need(value("tiny.sll.drain_interval") == 10);
    need(value("tiny.refill.batch") == 0x20);
    need(origin("tiny.refill.count_hot") == HAK_FROM_DEFAULT);
    need(refused() == 0);
    need(control_knobs(&k) == 1 && k.heap_v2_class_mask == 0xE && k.sll_drain_interval == 10);
    return 0;
}

static int env_refused(void)
{
    need(value("tiny.heap_v2.class_mask") == DEFAULT(heap_v2_class_mask));
    need(origin("tiny.heap_v2.class_mask") == HAK_FROM_DEFAULT);
    for (int i = 0; i < HAK_KNOBS; i++)
        need(started.state->values[i] == default_of[i]);
    need(refused() == 9);
    return 0;
}

static int alias_taken(void)
{
    need(value("tiny.heap_v2.enable") == 0 && origin("tiny.heap_v2.enable") == HAK_FROM_ENV);
    need(value("tiny.front_direct") == 0);              /* canonical 0 beats alias 1 */
    need(refused() == 0);
    return 0;
}

static int alias_left(void)
{
    need(value("tiny.front_direct") == 0);              /* the canonical one was refused */
    need(origin("tiny.front_direct") == HAK_FROM_ENV);
    need(refused() == 1);
    return 0;
}

static int first_wins(void)
{
    static char *twice[] = { "HAKMEM_OS_DECAY_MS=1", "HAKMEM_OS_DECAY_MS=2",
                             "HAKMEM_OS_DECAY_MSX=3", NULL };
    environ = twice;
    need(value("os.decay_ms") == 1 && refused() == 0);
    return 0;
}

static int no_env(void)
{
    environ = NULL;
    need(value("os.decay_ms") == DEFAULT(os_decay_ms) && refused() == 0);
    return 0;
}

static char conf[64];

static void write_conf(const char *text)
{
    snprintf(conf, sizeof conf, "HAKMEM_CONF=/tmp/hakmem-test.%d", (int)getpid());
    int fd = open(conf + 12, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        bail("%s: %m", conf + 12);
    close(fd);
    putenv(conf);
}

static int conf_taken(void)
{
    write_conf("# profile\n\n  tiny.heap_v2.class_mask = 0x6 \r\ntiny.bump_chunk=7\nos.decay_ms=3\n"
               "\t# another\ntiny.refill.batch =9 # a third");
    setenv("HAKMEM_OS_DECAY_MS", "4", 1);
    value("os.decay_ms");
    unlink(conf + 12);
    need(value("tiny.heap_v2.class_mask") == 6);
    need(origin("tiny.heap_v2.class_mask") == HAK_FROM_CONF);
    need(value("tiny.bump_chunk") == 7 && value("tiny.refill.batch") == 9);
    need(value("os.decay_ms") == 4 && origin("os.decay_ms") == HAK_FROM_ENV);
    need(refused() == 0);
    return 0;
}

static int conf_refused(void)
{
    write_conf("tiny.bump_chunk=0\ntiny.bump=1\nnonsense\n=5\ntiny.bump_chunk\nos.decay_ms=3# no\n"
               "tiny.refill.batch=9\n");
    value("os.decay_ms");
    unlink(conf + 12);
    need(value("tiny.bump_chunk") == DEFAULT(bump_chunk));
    need(value("os.decay_ms") == DEFAULT(os_decay_ms));
    need(value("tiny.refill.batch") == 9);
    need(refused() == 6);
    return 0;
}

static int conf_missing(void)
{
    value("verbose");
    need(refused() == 1);
    return 0;
}

static int conf_fifo(void)
{
    snprintf(conf, sizeof conf, "HAKMEM_CONF=/tmp/hakmem-fifo.%d", (int)getpid());
    need(mkfifo(conf + 12, 0600) == 0);
    putenv(conf);
    value("verbose");
    unlink(conf + 12);
    need(refused() == 1);
    return 0;
}

/* What the library says on standard error while it starts. */
static int start_says(const char *want)
{
    int p[2];
    char got[512] = "";

    need(pipe(p) == 0 && dup2(p[1], 2) == 2);
    control_init();
    close(2);
    close(p[1]);
    need(read(p[0], got, sizeof got - 1) >= 0);
    if (strcmp(got, want) != 0)
        diag("said: %s", got);
    need(strcmp(got, want) == 0);
    return 0;
}

static int says_nothing(void) { return start_says(""); }
static int says_refused(void)
{
    return start_says("hakmem: not a number, ignored: HAKMEM_TINY_BUMP_CHUNK=x (tiny.bump_chunk: 1..256)\n"
                      "hakmem: out of range, ignored: HAKMEM_OS_DECAY_MS=3600001 (os.decay_ms: 0..3600000)\n");
}
static int says_no_segment(void)
{
    return start_says("hakmem: no segment: the knob export is 0\n");
}

static int mode_0640(void)
{
    struct stat st;
    char name[128];

    umask(077);
    need(value("shm.mode") == 0640);
    seg_name(getpid(), name, sizeof name);
    need(stat(name, &st) == 0 && (st.st_mode & 07777) == 0640);
    return 0;
}

/* ---- the name is taken ---- */

static char taken_name[128];

static int take_name(void)
{
    seg_name(getpid(), taken_name, sizeof taken_name);
    return open(taken_name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

/* Whether the segment is behind `name`. */
static int is_named(const char *name)
{
    struct hak_seg_header h;
    int fd = open(name, O_RDONLY | O_NOFOLLOW);
    int good = fd >= 0 && read(fd, &h, sizeof h) == sizeof h && h.ready == 1 && h.pid == getpid();
    close(fd);
    return good;
}

static int named_with_suffix(void)
{
    char name[sizeof taken_name + 2];
    snprintf(name, sizeof name, "%s.1", taken_name);
    return is_named(name);
}

/* Somebody else holds the lock of the taken name. */
static pid_t lock_by_another(int fd)
{
    int p[2];
    char c;
    if (pipe(p))
        bail("pipe: %m");
    pid_t pid = fork();
    if (pid == 0) {
        int again = open(taken_name, O_RDWR);
        if (again < 0 || flock(again, LOCK_EX | LOCK_NB) || write(p[1], "x", 1) != 1)
            _exit(1);
        linger();
    }
    close(p[1]);
    if (read(p[0], &c, 1) != 1)
        bail("nobody could lock the file");
    close(fd);
    return pid;
}

static int taken_dead(void)
{
    struct stat st, now;
    int fd = take_name();
    /* kept open, so that its inode stays its own */
    need(fd >= 0 && fstat(fd, &st) == 0);
    control_init();
    need(is_named(taken_name) && stat(taken_name, &now) == 0 && now.st_ino != st.st_ino);
    return 0;
}

static int taken_locked(bool same_namespace)
{
    struct stat ns;
    struct hak_seg_header h = { .pid = getpid() };
    int fd = take_name();

    need(fd >= 0 && stat("/proc/self/ns/pid", &ns) == 0);
    memcpy(h.magic, HAK_SEG_MAGIC, sizeof h.magic);
    h.pid_ns = ns.st_ino + !same_namespace;
    need(write(fd, &h, sizeof h) == sizeof h);
    pid_t pid = lock_by_another(fd);
    control_init();
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    if (same_namespace)
        need(is_named(taken_name));
    else
        need(!is_named(taken_name) && named_with_suffix());
    if (!same_namespace)
        unlink(taken_name);
    return 0;
}

static int taken_locked_ours(void)   { return taken_locked(true); }
static int taken_locked_others(void) { return taken_locked(false); }

static int taken_symlink(void)
{
    char target[64];
    struct stat st;

    snprintf(target, sizeof target, "/tmp/hakmem-target.%d", (int)getpid());
    int fd = open(target, O_RDWR | O_CREAT | O_EXCL, 0600);
    seg_name(getpid(), taken_name, sizeof taken_name);
    need(fd >= 0 && symlink(target, taken_name) == 0);
    control_init();
    unlink(target);
    need(fstat(fd, &st) == 0 && st.st_size == 0);
    need(lstat(taken_name, &st) == 0 && S_ISLNK(st.st_mode));
    unlink(taken_name);
    need(named_with_suffix());
    return 0;
}

static int taken_by_another_user(void)
{
    int fd = take_name();
    if (fchown(fd, 65534, 65534)) {
        unlink(taken_name);
        return cannot("fchown: %s", strerror(errno));
    }
    control_init();
    need(!is_named(taken_name) && named_with_suffix());
    unlink(taken_name);
    return 0;
}

static int taken_all(void)
{
    char name[sizeof taken_name + 2];
    struct seg s;

    seg_name(getpid(), taken_name, sizeof taken_name);
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, i ? "%s.%d" : "%s", taken_name, i);
        need(mkdir(name, 0700) == 0);
    }
    int line = start_says("hakmem: no segment: all its names are taken\n");
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, i ? "%s.%d" : "%s", taken_name, i);
        rmdir(name);
    }
    need(line == 0 && seg_open(&s, getpid()) == ENOENT);
    return 0;
}

/* ---- no room ---- */

/* Everything works without a segment, too. */
static int works_privately(void)
{
    union hak_knobs k;
    struct hak_orders o = { 0 };
    struct hak_slot_full *slot = slot_memory();
    struct hak_globals *g = atomic_load(&hak_globals);
    uint64_t before = g->uncounted;

    need(control_knobs(&k) == 1 && k.heap_v2_class_mask == DEFAULT(heap_v2_class_mask));
    need(hak_tick(&o) && o.epoch == 1 && o.generation == 0);
    need(o.knobs.heap_v2_class_mask == DEFAULT(heap_v2_class_mask));
    need(!hak_tick(&o) && o.purge == 0 && o.walk == 0);
    slot->row[1].l0_hits = 7;
    need(!control_slot(slot) && slot->row[1].l0_hits == 0);
    need(g->uncounted == before + 1);
    hak_purged(3, 4);
    return 0;
}

static int no_segment(const char *why)
{
    char want[128];
    snprintf(want, sizeof want, "hakmem: no segment: %s\n", why);
    int line = start_says(want);
    return line ? line : works_privately();
}

static int export_off(void)
{
    struct seg s;
    int line = no_segment("the knob export is 0");
    need(seg_open(&s, getpid()) == ENOENT);
    return line;
}

static int fsize_0(void)
{
    struct rlimit none = { 0, 0 };
    need(setrlimit(RLIMIT_FSIZE, &none) == 0);
    return no_segment("a resource limit is too low for it");
}

static int fsize_small(void)
{
    struct seg s;
    struct rlimit some = { 1 << 20, 1 << 20 };

    need(setrlimit(RLIMIT_FSIZE, &some) == 0);
    control_init();
    seg_own(&s);
    need(s.h->total_size <= 1 << 20 && s.h->slots_max > 0);
    need(s.h->map_count == 1024 && hak_map(1023) && !hak_map(1024));
    for (unsigned i = 0; i < s.h->slots_max; i++)
        need(control_slot(slot_memory()));
    need(!control_slot(slot_memory()) && seg_global(&s, "threads_uncounted") == 1);
    need(s.state->slots_used == s.h->slots_max);
    return 0;
}

static int shm_full(void)
{
    const char *why = own_mounts();
    if (why)
        return cannot("%s", why);
    need(mount("t", "/dev/shm", "tmpfs", 0, "size=16k") == 0);
    int line = no_segment("no room for it in /dev/shm");
    seg_name(getpid(), taken_name, sizeof taken_name);
    need(access(taken_name, F_OK) == -1 && errno == ENOENT);
    return line;
}

/* Room for the segment, not for many slots; then there is room again. */
static int shm_fills_up(void)
{
    struct seg s;
    const char *why = own_mounts();
    unsigned got = 0;

    if (why)
        return cannot("%s", why);
    need(mount("t", "/dev/shm", "tmpfs", 0, "size=80k") == 0);
    control_init();
    seg_own(&s);
    struct hak_slot_full *slot;
    while (control_slot(slot = slot_memory())) {
        slot->row[0].l0_hits = 1;
        need(++got < 16);
    }
    need(got >= 1 && s.state->slots_used == got && seg_global(&s, "threads_uncounted") == 1);
    memset(slot, 0xFF, sizeof *slot);                   /* still ours, and writable */
    need(mount("t", "/dev/shm", "tmpfs", MS_REMOUNT, "size=1m") == 0);
    need(control_slot(slot = slot_memory()) && s.state->slots_used == got + 1);
    slot->row[0].l0_hits = 5;
    need(seg_class(&s, "heap_v2_hits", 0) == got + 5);
    return 0;
}

/* The map ends where there is no memory for it, for good. */
static int map_fills_up(void)
{
    struct seg s;
    const char *why = own_mounts();
    uint16_t *cells;
    unsigned n = 0;

    if (why)
        return cannot("%s", why);
    need(mount("t", "/dev/shm", "tmpfs", 0, "size=80k") == 0);
    control_init();
    seg_own(&s);
    need(s.state->map_used == 0);
    for (; (cells = hak_map(n)) != NULL; n++)
        memset(cells, 0xFF, s.h->map_size);
    need(n > 0 && n < HAK_MAP_SUPERSLABS && s.state->map_used == n);
    need(mount("t", "/dev/shm", "tmpfs", MS_REMOUNT, "size=1m") == 0);
    need(!hak_map(n) && !hak_map(HAK_MAP_SUPERSLABS - 1) && s.state->map_used == n);
    need(hak_map(n - 1) && control_slot(slot_memory()));
    return 0;
}

/* Cells of a few, of all there is room for, and of more. */
static int map_of_superslabs(void)
{
    struct seg s;

    need(!hak_map(0));
    control_init();
    seg_own(&s);
    need(s.h->map_count == HAK_MAP_SUPERSLABS && s.h->map_size == 2 * HAK_MAP_SLABS);
    need((char *)hak_map(3) - (char *)hak_map(0) == 3 * (long)s.h->map_size && s.state->map_used == 4);
    hak_map(2)[5] = 4711;
    need(*(uint16_t *)(s.base + s.h->map_off + 2 * s.h->map_size + 10) == 4711);
    need(hak_map(HAK_MAP_SUPERSLABS - 1) && !hak_map(HAK_MAP_SUPERSLABS));
    need(s.state->map_used == HAK_MAP_SUPERSLABS);
    return 0;
}

static int shm_read_only(void)
{
    const char *why = own_mounts();
    if (why)
        return cannot("%s", why);
    need(mount("t", "/dev/shm", "tmpfs", MS_RDONLY, NULL) == 0);
    return no_segment("no file can be made in /dev/shm");
}

static int shm_missing(void)
{
    const char *why = own_mounts();
    if (why)
        return cannot("%s", why);
    need(mount("t", "/dev", "tmpfs", 0, NULL) == 0);
    return no_segment("no file can be made in /dev/shm");
}

static int proc_missing(void)
{
    const char *why = own_mounts();
    if (why)
        return cannot("%s", why);
    need(mount("t", "/proc", "tmpfs", 0, NULL) == 0);
    return no_segment("/proc can't be read");
}

/* ---- a program with another user's rights: neither ENV nor segment ---- */

static int secure_role(void)
{
    union hak_knobs k;
    char name[128];

    if (!getauxval(AT_SECURE))
        return 77;
    control_init();
    control_knobs(&k);
    seg_name(getpid(), name, sizeof name);
    return k.bump_chunk != DEFAULT(bump_chunk) || access(name, F_OK) == 0;
}

static int secure(void)
{
    char copy[64], command[PATH_MAX + 128];
    int status;

    snprintf(copy, sizeof copy, "/tmp/hakmem-secure.%d", (int)getpid());
    snprintf(command, sizeof command, "cp /proc/%d/exe %s && chown 65534 %s && chmod 4755 %s",
             (int)getpid(), copy, copy, copy);
    if (geteuid() != 0)
        return cannot("chown to another user: %s", strerror(EPERM));
    need(system(command) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        execl(copy, copy, "secure", NULL);
        _exit(1);
    }
    need(waitpid(pid, &status, 0) == pid);
    unlink(copy);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        return cannot("/tmp is mounted nosuid");
    need(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "secure") == 0)
        _exit(secure_role());

    CASE("the segment is born: name, mode, header, state, control page read-only", born);
    CASE("it is locked while mapped", locked);
    CASE("descriptors 0 to 2 stay closed", no_low_fds);
    CASE("start and slots allocate nothing", no_malloc);
    CASE("what was counted before the start is not lost", early_counts);
    CASE("every knob is described as its row says", describes_knobs);
    CASE("every counter is described as its row says", describes_counters);
    CASE("every bin and class is described", describes_bins);

    CASE("ENV values: hexadecimal, decimal, no octal",
         env_taken, "HAKMEM_TINY_HEAP_V2_CLASS_MASK=0xE",
         "HAKMEM_TINY_SLL_DRAIN_INTERVAL=010", "HAKMEM_TINY_REFILL_BATCH=0X20");
    CASE("bad ENV values keep the default and are counted", env_refused,
         "HAKMEM_TINY_HEAP_V2_CLASS_MASK=0x1FF", "HAKMEM_TINY_SLL_DRAIN_INTERVAL=0",
         "HAKMEM_TINY_REFILL_BATCH=", "HAKMEM_TINY_REFILL_COUNT_HOT=-1",
         "HAKMEM_TINY_REFILL_COUNT_MID=1 ", "HAKMEM_TINY_BUMP_CHUNK=18446744073709551617",
         "HAKMEM_POOL_LRU_MAX=abc", "HAKMEM_OS_DECAY_MS=0x",
         "HAKMEM_SHM_MODE=0620");
    CASE("aliases; the canonical name beats them", alias_taken, "HAKMEM_TINY_HEAP_V2=0",
         "HAKMEM_TINY_FRONT_DIRECT=0", "HAKMEM_TINY_P0_DIRECT_FC_ALL=1");
    CASE("a refused canonical value leaves the alias's", alias_left,
         "HAKMEM_TINY_FRONT_DIRECT=2", "HAKMEM_TINY_P0_DIRECT_FC_ALL=0");
    CASE("of a variable given twice the first counts", first_wins);
    CASE("no environment at all", no_env);
    CASE("HAKMEM_CONF: values, comments, blanks; ENV beats it", conf_taken);
    CASE("HAKMEM_CONF: bad lines are ignored and counted", conf_refused);
    CASE("HAKMEM_CONF names no file", conf_missing, "HAKMEM_CONF=/nonexistent/hakmem.conf");
    CASE("HAKMEM_CONF names a directory", conf_missing, "HAKMEM_CONF=/tmp");
    CASE("HAKMEM_CONF names a FIFO: no waiting", conf_fifo);
    CASE("nothing is said about bad values",
         says_nothing, "HAKMEM_TINY_BUMP_CHUNK=x", "HAKMEM_EXPORT=0");
    CASE("verbose: what was refused is said", says_refused, "HAKMEM_VERBOSE=1",
         "HAKMEM_TINY_BUMP_CHUNK=x", "HAKMEM_OS_DECAY_MS=3600001");
    CASE("verbose: why there is no segment is said",
         says_no_segment, "HAKMEM_VERBOSE=1", "HAKMEM_EXPORT=0");
    CASE("shm.mode=0640, whatever the umask", mode_0640, "HAKMEM_SHM_MODE=0640");
    CASE("shm.mode=640 is the same", mode_0640, "HAKMEM_SHM_MODE=640");

    CASE("name taken by a dead process: replaced", taken_dead);
    CASE("name taken by an earlier image of this process: replaced", taken_locked_ours);
    CASE("name taken by a live process of another pid namespace: suffix", taken_locked_others);
    CASE("name taken by a symbolic link: suffix, its target untouched", taken_symlink);
    CASE("name taken by another user's file: suffix", taken_by_another_user);
    CASE("all names taken: private", taken_all, "HAKMEM_VERBOSE=1");

    CASE("export=0: private", export_off, "HAKMEM_VERBOSE=1", "HAKMEM_EXPORT=0");
    CASE("RLIMIT_FSIZE=0: private, and alive", fsize_0, "HAKMEM_VERBOSE=1");
    CASE("RLIMIT_FSIZE=1M: a shorter map, fewer slots; beyond them threads count privately", fsize_small);
    CASE("/dev/shm is full: private", shm_full, "HAKMEM_VERBOSE=1");
    CASE("cells for SuperSlabs", map_of_superslabs);
    CASE("/dev/shm fills up: the map ends", map_fills_up);
    CASE("/dev/shm fills up: slots are refused, and given again when there is room", shm_fills_up);
    CASE("/dev/shm is read-only: private", shm_read_only, "HAKMEM_VERBOSE=1");
    CASE("/dev/shm is missing: private", shm_missing, "HAKMEM_VERBOSE=1");
    CASE("/proc is missing: private", proc_missing, "HAKMEM_VERBOSE=1");
    CASE("AT_SECURE: neither ENV nor segment", secure, "HAKMEM_TINY_BUMP_CHUNK=7");
    return tap_done();
}
