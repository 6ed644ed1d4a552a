/* control_life.c: slots, fork, exec, exit and sudden death; the statistics at exit. */
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

/* ---- slots ---- */

#define THREADS 8
#define SLOTS_A_THREAD 50

static void *take_slots(void *arg)
{
    intptr_t got = 0;

    for (int i = 0; i < SLOTS_A_THREAD; i++) {
        struct hak_slot_full *slot = slot_memory();
        got += control_slot(slot);
        slot->head.tid = (int32_t)(intptr_t)arg * SLOTS_A_THREAD + i + 1;
        slot->row[5].l0_hits = 1;
        slot->row[HAK_ROWS - 1].walk.used_law = (uint64_t)slot->head.tid;
    }
    return (void *)got;
}

static long vm_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld", &pages) != 1)
        bail("/proc/self/statm: %m");
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int many_slots(void)
{
    enum { ALL = THREADS * SLOTS_A_THREAD };
    static char seen[ALL + 1];

    start();
    need(run_threads(THREADS, take_slots, NULL) == ALL);
    need(s.state->slots_used == ALL && seg_global(&s, "threads_uncounted") == 0);
    for (unsigned i = 0; i < ALL; i++) {
        const struct hak_slot_full *slot = (void *)seg_slot(&s, i);
        need(slot->head.tid > 0 && slot->head.tid <= ALL && !seen[slot->head.tid]++);
        need(slot->row[HAK_ROWS - 1].walk.used_law == (uint64_t)slot->head.tid);
    }
    need(seg_class(&s, "heap_v2_hits", 4) == ALL);
    return 0;
}

static int little_address_space(void)
{
    long before = vm_kib();
    control_init();
#ifndef SANITIZED                               /* its own memory comes and goes */
    need(vm_kib() - before < 3072);
#endif
    return before < 0;
}

/* ---- kernels that can do less, and sandboxes ---- */

static _Atomic int signals;

static void count_signal(int sig)
{
    (void)sig;
    signals++;
}

#define POPULATE_WRITE 23

/* Whether tools find memory behind the first slots. */
static bool have_memory(unsigned count)
{
    char name[128];

    seg_name(getpid(), name, sizeof name);
    int fd = open(name, O_RDONLY);
    off_t hole = fd >= 0 ? lseek(fd, (off_t)s.h->slots_off, SEEK_HOLE) : -1;
    close(fd);
    return hole >= (off_t)(s.h->slots_off + (size_t)count * s.h->slot_stride);
}

static int slots_work(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct hak_slot_full *slot = slot_memory();
        need(control_slot(slot) && s.state->slots_used == i + 1);
        slot->row[0].l0_hits = 1;
    }
    need(seg_class(&s, "heap_v2_hits", 0) == count && seg_global(&s, "threads_uncounted") == 0);
    return 0;
}

static int no_populate(void)
{
    const char *why = forbid(SYS_madvise, POPULATE_WRITE, EINVAL);
    if (why)
        return cannot("seccomp: %s", why);
    start();
    need(slots_work(70) == 0);
    need(have_memory(70));
    return 0;
}

/* After a system call was forbidden, unless that failed: there is no segment, and the program runs on. */
static int stays_private(const char *why)
{
    if (why)
        return cannot("seccomp: %s", why);
    control_init();
    need(!control_slot(slot_memory()) && atomic_load(&hak_globals)->uncounted == 1);
    return 0;
}

/* Signals that come faster than memory does: it gives up (libqb #451). */
static int always_interrupted(void)
{
    return stays_private(forbid(SYS_madvise, POPULATE_WRITE, EINTR));
}

static int interrupted_on_an_old_kernel(void)
{
    const char *why = forbid(SYS_madvise, POPULATE_WRITE, EINVAL);

    return stays_private(why ? why : forbid(SYS_fallocate, -1, EINTR));
}

static int no_second_mapping(void)
{
    const char *why = forbid(SYS_mremap, -1, ENOMEM);
    if (why)
        return cannot("seccomp: %s", why);
    start();
    need(slots_work(70) == 0);
    need(have_memory(70));
    return 0;
}

/* Old, and no room: no SIGBUS, and what cannot be had is private memory. */
static int old_and_full(void)
{
    const char *why = own_mounts();
    unsigned got = 0;

    if (why)
        return cannot("%s", why);
    need(mount("t", "/dev/shm", "tmpfs", 0, "size=80k") == 0);
    if ((why = forbid(SYS_madvise, POPULATE_WRITE, EINVAL)))
        return cannot("seccomp: %s", why);
    start();
    struct hak_slot_full *slot;
    while (control_slot(slot = slot_memory())) {
        memset(slot, 0, sizeof *slot);
        need(++got < 16);
    }
    memset(slot, 0xFF, sizeof *slot);
    need(got >= 1 && s.state->slots_used == got);
    return 0;
}

/* The file is another by the time that it must be opened again. */
static int old_and_replaced(void)
{
    char name[128];
    struct stat st;
    const char *why = forbid(SYS_madvise, POPULATE_WRITE, EINVAL);

    if (why)
        return cannot("seccomp: %s", why);
    start();
    need(control_slot(slot_memory()));
    seg_name(getpid(), name, sizeof name);
    need(unlink(name) == 0);
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    struct hak_slot_full *slot = slot_memory();
    need(!control_slot(slot));
    slot->row[0].l0_hits = 1;
    need(fstat(fd, &st) == 0 && st.st_size == 0 && st.st_blocks == 0);
    unlink(name);
    return 0;
}

/* A sandbox that lets nothing be opened. */
static int nothing_opens(void)
{
    return stays_private(forbid(SYS_openat, -1, EPERM));
}

/* A sandbox that a process enters after its start, as a server's workers do. */
static int sandboxed_later(void)
{
    struct hak_orders o = { 0 };
    const char *why;

    start();
    if ((why = forbid(SYS_openat, -1, EPERM)))
        return cannot("seccomp: %s", why);
    need(slots_work(70) == 0);
    hak_tick(&o);
    seg_set(&s, "trace.ring", 1);
    need(hak_tick(&o) && s.state->trace_on == 1);
    return 0;
}

/* A sandbox that answers system calls by a handler of SIGSYS: held back, the signal would end the process. */
static int answered_by_signal(void)
{
    start();
    signal(SIGSYS, count_signal);
    if (filter(SYS_madvise, POPULATE_WRITE, SECCOMP_RET_TRAP) == -1)
        return cannot("seccomp: %m");
    control_slot(slot_memory());
    need(signals == 1);
    return 0;
}

/* What is printed at exit. */
static bool statistics(char *text, size_t room)
{
    int p[2];

    if (pipe(p) || dup2(p[1], 2) != 2)
        return false;
    control_exit();
    close(2), close(p[1]);
    ssize_t n = read(p[0], text, room - 1);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* ---- two births at once ---- */

static struct {
    pthread_barrier_t barrier;
    int listener;
    struct hak_slot_full *slot;
    bool got;
} late;

static void *born_late(void *arg)
{
    late.listener = filter(SYS_madvise, POPULATE_WRITE, SECCOMP_RET_USER_NOTIF);
    pthread_barrier_wait(&late.barrier);
    uint64_t held = os_hold_signals();
    late.got = late.listener >= 0 && control_slot(late.slot);
    os_release_signals(held);
    for (int i = 0; i < 5000 && !signals; i++)
        usleep(1000);                   /* TSan puts it off */
    return arg;
}

/* A thread waits for the memory of its slot while another gets the next; then there is none for the first. */
static int gap(int memory)
{
    struct hak_slot_full *slot = slot_memory();
    struct seccomp_notif call = { 0 };
    pthread_t t;

    start();
    late.slot = slot_memory();
    signal(SIGUSR1, count_signal);
    need(pthread_barrier_init(&late.barrier, NULL, 2) == 0 && pthread_create(&t, NULL, born_late, NULL) == 0);
    pthread_barrier_wait(&late.barrier);
    if (late.listener < 0)
        return cannot("seccomp: no user notification");
    need(ioctl(late.listener, SECCOMP_IOCTL_NOTIF_RECV, &call) == 0);
    need(pthread_kill(t, SIGUSR1) == 0);

    need(control_slot(slot) && s.state->slots_used == 2 && seg_global(&s, "threads_uncounted") == 0);
    need(!have_memory(1));
    slot->row[HAK_BIN_16].l0_hits = 5;

    struct seccomp_notif_resp answer = { .id = call.id, .error = memory ? 0 : -ENOMEM,
                                         .flags = memory ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0 };
    need(signals == 0);                                 /* none comes in between */
    need(ioctl(late.listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0);
    need(pthread_join(t, NULL) == 0 && signals == 1 && late.got == memory);
    late.slot->row[HAK_BIN_16].l0_hits = 2;
    need(seg_global(&s, "threads_uncounted") == !memory);
    return 0;
}

static int slow_birth(void)
{
    int line = gap(1);

    if (line)
        return line;
    need(s.state->slots_used == 2 && have_memory(2) && seg_class(&s, "heap_v2_hits", 1) == 7);
    need(control_slot(slot_memory()) && s.state->slots_used == 3);
    return 0;
}

static int failed_birth(void)
{
    int line = gap(0);

    if (line)
        return line;
    need(s.state->slots_used == 2 && !have_memory(1));
    need(control_slot(slot_memory()) && s.state->slots_used == 2 && have_memory(2));
    need(seg_class(&s, "heap_v2_hits", 1) == 5);
    return 0;
}

static int failed_at_exit(void)
{
    char got[2048];
    int line = gap(0);

    if (line)
        return line;
    need(statistics(got, sizeof got) && strstr(got, "\nC1                  7             7  "));
    return 0;
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

    CASE("400 slots taken by 8 threads at once: each one's own, each visible", many_slots);
    CASE("the segment takes less than 3 MiB of address space", little_address_space);
    CASE("a kernel without MADV_POPULATE_WRITE", no_populate);
    CASE("populating memory is interrupted for ever: private", always_interrupted);
    CASE("so is allocating it, on an old kernel", interrupted_on_an_old_kernel);
    CASE("a kernel that maps nothing twice", no_second_mapping);
    CASE("an old kernel and a full /dev/shm", old_and_full);
    CASE("an old kernel, and the segment's name is another file's", old_and_replaced);
    CASE("a sandbox that forbids open: private", nothing_opens);
    CASE("a sandbox entered later", sandboxed_later);
    CASE("a sandbox that answers by SIGSYS", answered_by_signal);
    CASE("a slot is in use before the one below it, whose thread takes no signal meanwhile", slow_birth);
    CASE("and that one is not to be had: the next thread takes it", failed_birth);
    CASE("or none does: all that is in use counts at exit", failed_at_exit, "HAKMEM_TINY_HEAP_V2_STATS=1");
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
