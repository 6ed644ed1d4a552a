/* control_life.c: fork, exec, exit and sudden death; the statistics at exit. */
#include "tests/unit/control.h"
#include "lib/base/os.h"
#include "tests/unit/forbid.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/ioctl.h>

static struct seg s;
static const uint64_t none[HAK_ROWS];

static void start(void)
{
    control_init();
    seg_own(&s);
}

/* ---- fork ---- */

static int has_segment(pid_t pid)
{
    struct seg other;
    return seg_open(&other, pid) == 0;
}

/* Mappings of segments in this process. */
static int mapped(void)
{
    char line[256];
    int n = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, "/dev/shm/hakmem.") != NULL;
    fclose(f);
    return n;
}

static int in_fork(pid_t parent, uint64_t parent_epoch, struct hak_globals *globals)
{
    struct hak_orders o = { .epoch = parent_epoch };
    uint64_t inherited[HAK_ROWS] = { [3] = 33, [HAK_ROW_HUGE] = 44 };
    struct seg own;
    char name[128];

    need(mapped() == 0);
    errno = 123;
    control_fork_child(inherited);
    need(errno == 123);
    need(atomic_load(&hak_globals) == globals);         /* where it was, in another segment */
    need(mapped() == 3);
    seg_own(&own);
    need(own.h->pid == getpid() && own.h->pid != parent);
    need(own.state->process_state == HAK_PROC_RUNNING);
    need(own.state->generation == 0 && own.state->examined == 0 && own.control->generation == 0);
    need(own.state->epoch == parent_epoch + 1);
    need(seg_value(&own, "tiny.bump_chunk") == 9);
    need(own.control->values[0][HAK_KNOB_bump_chunk] == 9);
    need(own.state->origin[HAK_KNOB_bump_chunk].from == HAK_FROM_CONTROL);
    need(own.state->origin[HAK_KNOB_os_decay_ms].from == HAK_FROM_ENV);
    need(seg_global(&own, "meta_bytes") == 0 && own.state->slots_used == 0);
    const uint64_t *i = (void *)(own.base + own.h->state_off + own.h->inherited_off);
    need(i[0] == 0 && i[3] == 33 && i[HAK_ROW_HUGE] == 44);
    need(hak_tick(&o) && o.generation == 0 && o.epoch == parent_epoch + 1);
    need(o.knobs.bump_chunk == 9);
    need(!hak_tick(&o));
    GLOBAL_ADD(meta_bytes, 5);
    need(seg_global(&own, "meta_bytes") == 5);
    struct hak_slot_full *slot = slot_memory();
    need(control_slot(slot) && own.state->slots_used == 1);
    slot->row[0].l0_hits = 17;
    need(seg_class(&own, "heap_v2_hits", 0) == 17);
    need(seg_set(&own, "tiny.bump_chunk", 11) == 1);
    need(hak_tick(&o) && o.generation == 1 && o.knobs.bump_chunk == 11);
    seg_name(getpid(), name, sizeof name);
    control_exit();
    need(access(name, F_OK) == -1 && has_segment(parent));
    return 0;
}

static int forks(void)
{
    struct hak_orders o = { 0 };
    struct hak_slot_full *slot = slot_memory();
    pid_t pid, self = getpid();

    start();
    hak_tick(&o);
    seg_set(&s, "tiny.bump_chunk", 9);
    need(hak_tick(&o));
    need(control_slot(slot));
    slot->row[0].l0_hits = 3;
    GLOBAL_ADD(meta_bytes, 77);
    struct hak_globals *globals = atomic_load(&hak_globals);
    /* the test's own look, which a child inherits */
    munmap(s.base, s.size);
    pid = fork();
    if (pid == 0) {
        verdict->line = in_fork(self, o.epoch, globals);
        _exit(0);
    }
    need(waitpid(pid, NULL, 0) == pid);
    if (verdict->line)
        return verdict->line;
    seg_own(&s);
    need(seg_value(&s, "tiny.bump_chunk") == 9 && !hak_tick(&o) && s.state->epoch == o.epoch);
    need(seg_global(&s, "meta_bytes") == 77 && seg_class(&s, "heap_v2_hits", 0) == 3);
    return 0;
}

/* The lock of a killed parent's segment is free, though its child lives. */
static int child_outlives(void)
{
    int ready[2];
    char name[128];
    pid_t child;

    need(pipe(ready) == 0);
    pid_t parent = fork();
    if (parent == 0) {
        control_init();
        if (fork() == 0) {
            child = getpid();
            control_fork_child(none);
            if (write(ready[1], &child, sizeof child) != sizeof child)
                _exit(1);
        }
        linger();
    }
    need(read(ready[0], &child, sizeof child) == sizeof child);
    seg_name(parent, name, sizeof name);
    int fd = open(name, O_RDONLY);
    need(fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) == -1);
    kill(parent, SIGKILL);
    need(waitpid(parent, NULL, 0) == parent);
    bool unlocked = flock(fd, LOCK_SH | LOCK_NB) == 0;
    unlink(name);
    seg_name(child, name, sizeof name);
    kill(child, SIGKILL);
    unlink(name);
    need(unlocked);
    return 0;
}

/* What a child without a segment is like; it has a child of its own, which has one again if there
 * is room by then. */
static int in_private_fork(struct hak_globals *globals)
{
    struct hak_orders o = { 0 };
    union hak_knobs k;
    int status;

    control_fork_child(none);
    need(atomic_load(&hak_globals) == globals && mapped() == 0 && globals->meta_bytes == 0);
    need(control_knobs(&k) == 2 && hak_tick(&o) && o.generation == 0 && !hak_tick(&o));
    need(!control_slot(slot_memory()) && globals->uncounted == 1);
    GLOBAL_ADD(meta_bytes, 1);
    need(mount("t", "/dev/shm", "tmpfs", MS_REMOUNT, "size=1m") == 0);
    pid_t pid = fork();
    if (pid == 0) {
        control_fork_child(none);
        _exit(!(mapped() == 3 && atomic_load(&hak_globals) == globals && globals->meta_bytes == 0
                && globals->uncounted == 0 && control_slot(slot_memory())
                && has_segment(getpid())));
    }
    need(waitpid(pid, &status, 0) == pid && status == 0);
    return 0;
}

static int forks_without_room(void)
{
    const char *why = own_mounts();
    if (why)
        return cannot("%s", why);
    need(mount("t", "/dev/shm", "tmpfs", 0, "size=64k") == 0);
    control_init();
    struct hak_globals *globals = atomic_load(&hak_globals);
    int status;
    GLOBAL_ADD(meta_bytes, 1);
    pid_t pid = fork();
    if (pid == 0) {
        verdict->line = in_private_fork(globals);
        _exit(0);
    }
    need(waitpid(pid, &status, 0) == pid && status == 0);
    if (verdict->line)
        return verdict->line;
    need(globals->meta_bytes == 1 && globals->uncounted == 0);
    return 0;
}

static int forks_privately(void)
{
    control_init();
    GLOBAL_ADD(meta_bytes, 1);
    control_slot(slot_memory());
    pid_t pid = fork();
    if (pid == 0) {
        control_fork_child(none);
        struct hak_globals *g = atomic_load(&hak_globals);
        _exit(g->meta_bytes != 0 || g->uncounted != 0 || has_segment(getpid()));
    }
    int status;
    need(waitpid(pid, &status, 0) == pid && status == 0);
    return 0;
}

/* fork in a signal handler that interrupted a tick, at many places of it; the tick goes on in the
 * child, and the child works on. */
static volatile sig_atomic_t is_child;
static uint64_t value;

static void on_signal(int sig)
{
    int status;

    (void)sig;
    if (is_child)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(100);                                     /* its parent's is not inherited */
        is_child = 1;
        control_fork_child(none);
        if (seg_open(&s, getpid()))
            _exit(2);
        return;
    }
    while (waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status))
        kill(pid, SIGCONT);                             /* it came to a stop_here of its own */
    if (pid < 0 || status != 0)
        _exit(5);
    stop_here();
}

static void work_on(struct hak_orders *o)
{
    for (uint64_t i = 1; i < 4; i++) {
        uint64_t g = seg_set(&s, "tiny.bump_chunk", i);
        while (!hak_tick(o))
            ;
        if (o->generation != g || o->knobs.bump_chunk != i || s.state->generation != g
            || s.state->seq % 2)
            _exit(1);
    }
    GLOBAL_ADD(meta_bytes, 1);
    if (seg_global(&s, "meta_bytes") != 1)
        _exit(3);
    control_exit();
    _exit(has_segment(getpid()) ? 4 : 0);
}

static void tick_and_fork(void)
{
    struct hak_orders o = { 0 };

    start();
    signal(SIGUSR1, on_signal);
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);                /* its tracer would be told */
    for (;;) {
        seg_set(&s, "tiny.bump_chunk", value = 1 + value % 250);
        stop_here();
        interruptible = 1;
        hak_tick(&o);
        interruptible = 0;
        stop_here();
        if (is_child)
            work_on(&o);
        while (o.knobs.bump_chunk != value)
            hak_tick(&o);
    }
}

static int forks_in_handlers(void)
{
    const char *why;
    long interrupted = 0;
    int status = interrupt_everywhere(tick_and_fork, 16, &interrupted, &why);

    if (status == -1)
        return cannot("%s", why);
    diag("interrupted %ld times", interrupted);
    if (status)
        diag("%s", ending(status));
    need(status == 0 && interrupted > 100);
    return 0;
}

/* ---- exit, death, exec ---- */

static int exits(void)
{
    char name[128];

    start();
    seg_name(getpid(), name, sizeof name);
    control_exit();
    need(access(name, F_OK) == -1 && errno == ENOENT);
    need(s.state->process_state == HAK_PROC_EXITED);
    GLOBAL_ADD(meta_bytes, 3);                          /* threads still run */
    need(seg_global(&s, "meta_bytes") == 3);
    return 0;
}

/* The name is another file's by now. */
static int exits_renamed(void)
{
    char name[128];

    start();
    seg_name(getpid(), name, sizeof name);
    need(unlink(name) == 0 && open(name, O_CREAT | O_EXCL, 0600) >= 0);
    control_exit();
    need(unlink(name) == 0);
    return 0;
}

/* A child that skipped the handlers of fork, and exits. */
static int exits_in_raw_child(void)
{
    int status;

    start();
    need(control_slot(slot_memory()));
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        control_exit();
        syscall(SYS_exit_group, 0);
    }
    need(waitpid(pid, &status, 0) == pid && status == 0);
    need(has_segment(getpid()) && s.state->process_state == HAK_PROC_RUNNING);
    return 0;
}

static int killed(void)
{
    int ready[2];
    char name[128], c;
    struct seg dead;

    need(pipe(ready) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct hak_slot_full *slot = slot_memory();
        control_init();
        control_slot(slot);
        slot->row[2].l0_hits = 99;
        c = write(ready[1], "x", 1) != 1;
        linger();
    }
    need(read(ready[0], &c, 1) == 1);
    seg_name(pid, name, sizeof name);
    kill(pid, SIGKILL);
    siginfo_t info;
    /* a zombie has its /proc still */
    need(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
    need(seg_open(&dead, pid) == 0 && dead.state->process_state == HAK_PROC_RUNNING);
    need(seg_class(&dead, "heap_v2_hits", 2) == 99);
    int fd = open(name, O_RDONLY);
    need(flock(fd, LOCK_EX | LOCK_NB) == 0);
    need(waitpid(pid, NULL, 0) == pid && unlink(name) == 0);
    return 0;
}

/* exec keeps pid and start time: the second image takes the name over. */
static int exec_role(const char *born)
{
    char name[128];

    control_init();
    seg_own(&s);
    seg_name(getpid(), name, sizeof name);
    bool fresh = s.h->born_ns > strtoull(born, NULL, 10) && s.h->pid == getpid();
    strcat(name, ".1");
    bool plain = access(name, F_OK) == -1;
    control_exit();
    return !fresh || !plain;
}

static int execs(void)
{
    char born[32];
    int status;

    pid_t pid = fork();
    if (pid == 0) {
        control_init();
        seg_own(&s);
        snprintf(born, sizeof born, "%llu", (unsigned long long)s.h->born_ns);
        execl("/proc/self/exe", "control_life", "exec", born, NULL);
        _exit(1);
    }
    need(waitpid(pid, &status, 0) == pid && status == 0);
    return 0;
}

/* ---- dead segments ---- */

static unsigned segments(void)
{
    unsigned n = 0;
    DIR *d = opendir("/dev/shm");
    for (struct dirent *e; (e = readdir(d)); )
        n += strncmp(e->d_name, "hakmem.", 7) == 0;
    closedir(d);
    return n;
}

/* As pid 1 of a pid namespace. */
static int many_children(void)
{
    char living[128], newest[128] = "";
    unsigned after_sweep = 0;           /* segments made since the last sweep, its own included */
    pid_t pid;

    need(mount("t", "/proc", "proc", 0, NULL) == 0);
    need(mount("t", "/dev/shm", "tmpfs", 0, NULL) == 0);
    need(open("/dev/shm/hakmem.9.9.conf", O_CREAT | O_EXCL, 0600) >= 0);    /* not of our making */
    need(open("/dev/shm/hakmem.log", O_CREAT | O_EXCL, 0600) >= 0);
    control_init();
    need((pid = fork()) >= 0);
    if (pid == 0) {
        control_fork_child(none);
        linger();
    }
    seg_name(pid, living, sizeof living);
    for (int i = 0; i < 300; i++) {
        need((pid = fork()) >= 0);
        if (pid == 0) {
            control_fork_child(none);
            _exit(0);
        }
        siginfo_t info;
        need(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
        seg_name(pid, newest, sizeof newest);
        need(waitpid(pid, NULL, 0) == pid);
        if ((uint64_t)pid * 0x9E3779B97F4A7C15u >> 60 == 0)
            after_sweep = 0;
        after_sweep++;
    }
    need(access(living, F_OK) == 0 && access(newest, F_OK) == 0);
    need(access("/dev/shm/hakmem.log", F_OK) == 0);
    need(access("/dev/shm/hakmem.9.9.conf", F_OK) == 0);
    need(after_sweep < 64);
    need(segments() == 16 + after_sweep + 1 + 1 + 2);   /* the living, ourselves, two files */
    return 0;
}

static int children_do_not_pile_up(void)
{
    const char *why = own_mounts();
    int status;

    if (why)
        return cannot("%s", why);
    if (unshare(CLONE_NEWPID))
        return cannot("unshare: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        verdict->line = many_children();
        _exit(0);                       /* its children end with it */
    }
    need(waitpid(pid, &status, 0) == pid && status == 0);
    return verdict->line;
}

/* ---- statistics at exit ---- */

static int prints_statistics(void)
{
    static const char want[] =
        "class     alloc_calls  heap_v2_hits  fast_cache_hits  slow_allocs  heap_v2_pushes"
        "  fast_cache_pushes  slow_frees  remote_frees\n"
        "C1                 11            10                1            0              12"
        "                  0           0             0\n"
        "C3                  7             7                0            0               0"
        "                  0           0             0\n"
        "huge                2             0                0            2               0"
        "                  0           1             4\n";
    char got[2048] = "", head[64];
    struct hak_slot_full *slots[3] = { slot_memory(), slot_memory(), slot_memory() };
    struct rlimit some = { 1 << 20, 1 << 20 };

    need(setrlimit(RLIMIT_FSIZE, &some) == 0);
    control_init();
    seg_own(&s);
    need(control_slot(slots[0]));
    for (unsigned i = 2; i < s.h->slots_max; i++)
        need(control_slot(slot_memory()));
    need(control_slot(slots[1]) && !control_slot(slots[2]));    /* the last counts privately */
    slots[0]->row[HAK_BIN_16].l0_hits = 4;
    slots[1]->row[HAK_BIN_16].l0_hits = 5;
    slots[2]->row[HAK_BIN_16].l0_hits = 1;
    slots[2]->row[HAK_BIN_16].l1_hits = 1;
    slots[0]->row[HAK_BIN_16].l0_pushes = 12;
    slots[0]->row[HAK_BIN_48].l0_hits = 3;
    slots[1]->row[HAK_BIN_64].l0_hits = 4;
    slots[2]->row[HAK_ROW_HUGE].slow_allocs = 2;
    slots[2]->row[HAK_ROW_HUGE].slow_frees = 1;
    slots[2]->row[HAK_ROW_HUGE].remote_frees = 4;
    need(statistics(got, sizeof got));
    snprintf(head, sizeof head, "hakmem: statistics of control_life (pid %d)\n", (int)getpid());
    if (strncmp(got, head, strlen(head)) != 0 || strcmp(got + strlen(head), want) != 0)
        diag("%s", got);
    need(strncmp(got, head, strlen(head)) == 0 && strcmp(got + strlen(head), want) == 0);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "exec") == 0)
        _exit(exec_role(argv[2]));

    CASE("a forked child has its own segment; its parent's is untouched",
         forks, "HAKMEM_OS_DECAY_MS=77");
    CASE("a child does not keep its dead parent's segment locked", child_outlives);
    CASE("a child without room in /dev/shm counts privately, at the same address",
         forks_without_room);
    CASE("a child of a process without a segment has none", forks_privately, "HAKMEM_EXPORT=0");
    if (getenv("HAK_LONG"))                 /* some ten thousand single steps, each two switches */
        CASE("fork in a signal handler that interrupts a tick anywhere", forks_in_handlers);
    CASE("exit removes the name; the mapping stays", exits);
    CASE("exit leaves a name alone that is another file's", exits_renamed);
    CASE("a child that skipped the fork handlers leaves its parent's segment alone",
         exits_in_raw_child);
    CASE("a killed process leaves its segment, unlocked and readable", killed);
    CASE("exec: the new image takes the name over", execs);
    CASE("segments of dead children do not pile up", children_do_not_pile_up);
    CASE("statistics at exit", prints_statistics, "HAKMEM_TINY_HEAP_V2_STATS=1");
    return tap_done();
}
