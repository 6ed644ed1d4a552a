/* control_slots.c: slots, on kernels that can do less and in sandboxes, and while memory for another is awaited. */
#include "tests/unit/control.h"
#include "lib/base/os.h"
#include "tests/unit/forbid.h"

#include <pthread.h>
#include <sys/ioctl.h>

static struct seg s;

static void start(void)
{
    control_init();
    seg_own(&s);
}

/* ---- one after the other, and by many threads ---- */

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

/* After a system call was forbidden, unless that failed: slots work all the same. */
static int does_without(const char *why)
{
    if (why)
        return cannot("seccomp: %s", why);
    start();
    need(slots_work(70) == 0);
    need(have_memory(70));
    return 0;
}

static int no_populate(void)
{
    return does_without(forbid(SYS_madvise, POPULATE_WRITE, EINVAL));
}

static int no_second_mapping(void)
{
    return does_without(forbid(SYS_mremap, -1, ENOMEM));
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

int main(void)
{
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
    return tap_done();
}
