/* find.c: which processes have a segment, and which segments have lost theirs.
 *
 * A segment is live while its process holds the flock that it took at birth (it ends with the
 * mapping: exit, exec, kill -9).  A forked child that has not unmapped it prolongs the lock, so in
 * our own pid namespace pid and start time must fit as well. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/internal.h"

#define KEEP_AT_START 16

/* ---- /proc --------------------------------------------------------------------------------- */

/* A running process: its pid namespace, and the pid it has there. */
struct task {
    int      pid, ns_pid;
    uint64_t pid_ns;
};

struct tasks {
    struct task *task;
    size_t       count, room;
};

/* The whole small file, ended with NUL; false where it can't be read. */
static bool read_proc(int pid, const char *name, char *buf, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return false;
    buf[n] = 0;
    return true;
}

/* Inode of a namespace; 0 where it is not ours to know. */
static uint64_t ns_inode(const char *pid, const char *kind)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%.16s/ns/%s", pid, kind);
    return stat(path, &st) ? 0 : st.st_ino;
}

uint64_t shm_own_pid_ns(void)
{
    static uint64_t inode;
    if (!inode)
        inode = ns_inode("self", "pid");
    return inode;
}

/* What a process that started then is at, as the third field of its stat has it; 0: it is not there. */
static char process_state(int pid, uint64_t start_time)
{
    char stat[1024], *end, *p;
    if (!read_proc(pid, "stat", stat, sizeof stat) || !(p = end = strrchr(stat, ')')))
        return 0;
    for (int field = 2; field < 22 && p; field++)       /* p is at the end of field 2 */
        p = strchr(p + 1, ' ');
    return p && strtoull(p + 1, NULL, 10) == start_time ? end[2] : 0;
}

bool shm_same_process(int pid, uint64_t start_time)
{
    return process_state(pid, start_time) != 0;
}

/* Of a segment whose lock is free.  A zombie runs no more, and may wait for its parent for ever; it is one, too,
 * whose first thread alone has ended, but that has its lock. */
static bool runs_unlocked(int pid, uint64_t start_time)
{
    char state = process_state(pid, start_time);
    return state && state != 'Z';
}

/* The same where /proc does not show the process (hidepid): then that one has its pid must do. */
static bool runs(int pid, uint64_t start_time)
{
    char stat[16];
    return shm_same_process(pid, start_time)
        || (kill(pid, 0) && errno == EPERM && !read_proc(pid, "stat", stat, sizeof stat));
}

static bool is_number(const char *s)
{
    return *s && strspn(s, "0123456789") == strlen(s);
}

/* The last number of the line "NSpid: 1234 7" of /proc/pid/status. */
static int innermost_pid(int pid)
{
    char status[4096], *p;
    if (!read_proc(pid, "status", status, sizeof status) || !(p = strstr(status, "\nNSpid:")))
        return 0;
    int last = 0, used;
    for (p += 7; sscanf(p, " %d%n", &last, &used) == 1 && p[used] == '\t'; p += used)
        ;
    return last;
}

bool shm_innermost(int pid, uint64_t *pid_ns, int *ns_pid)
{
    char text[16];

    snprintf(text, sizeof text, "%d", pid);
    *pid_ns = ns_inode(text, "pid");
    *ns_pid = innermost_pid(pid);
    return *pid_ns && *ns_pid;
}

static bool task_add(struct tasks *tasks, const char *pid)
{
    struct task t = { .pid = atoi(pid), .pid_ns = ns_inode(pid, "pid") };
    if (!t.pid_ns)
        return true;
    t.ns_pid = t.pid_ns == shm_own_pid_ns() ? t.pid : innermost_pid(t.pid);
    if (tasks->count == tasks->room) {
        size_t room = tasks->room ? 2 * tasks->room : 256;
        struct task *more = realloc(tasks->task, room * sizeof *more);
        if (!more)
            return false;
        tasks->task = more;
        tasks->room = room;
    }
    tasks->task[tasks->count++] = t;
    return true;
}

/* Every process whose namespaces we may look at; the others' segments aren't ours to read either. */
static bool tasks_read(struct tasks *tasks)
{
    DIR *dir = opendir("/proc");
    bool good = dir != NULL;
    for (struct dirent *e; good && (e = readdir(dir)); )
        if (is_number(e->d_name))
            good = task_add(tasks, e->d_name);
    if (dir)
        closedir(dir);
    return good;
}

/* Our pid of a process in another pid namespace; 0: it has none that we may know. */
static int pid_of(const struct tasks *tasks, uint64_t pid_ns, int ns_pid)
{
    for (size_t i = 0; i < tasks->count; i++)
        if (tasks->task[i].pid_ns == pid_ns && tasks->task[i].ns_pid == ns_pid)
            return tasks->task[i].pid;
    return 0;
}

/* Whether uid is one of the four that the process has. */
static bool has_uid(int pid, uid_t uid)
{
    char status[4096], *p;
    unsigned id[4];
    if (!read_proc(pid, "status", status, sizeof status) || !(p = strstr(status, "\nUid:"))
        || sscanf(p, "\nUid: %u %u %u %u", &id[0], &id[1], &id[2], &id[3]) != 4)
        return false;
    return uid == id[0] || uid == id[1] || uid == id[2] || uid == id[3];
}

/* ---- One segment --------------------------------------------------------------------------- */

int shm_open_dir(int via_pid)
{
    if (!via_pid)
        return open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/root", via_pid);
    int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -1;
    /* The path is the other side's to shape: no link of it may lead out of its root. */
    struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC,
                            .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    int dir = (int)syscall(SYS_openat2, root, "dev/shm", &how, sizeof how);
    close(root);
    return dir;
}

bool shm_locked(int fd)
{
    if (!flock(fd, LOCK_SH | LOCK_NB)) {
        flock(fd, LOCK_UN);
        return false;
    }
    return errno == EWOULDBLOCK;
}

/* hakmem.<pid>.<starttime>[.<n>] */
static bool parse_name(const char *name, int *pid, uint64_t *start_time)
{
    size_t prefix = strlen(HAK_SEG_PREFIX);
    int used = 0;
    if (strlen(name) >= sizeof((struct shm_proc *)0)->file || strncmp(name, HAK_SEG_PREFIX, prefix)
        || !isdigit((unsigned char)name[prefix])
        || sscanf(name + prefix, "%d.%" SCNu64 "%n", pid, start_time, &used) != 2)
        return false;
    const char *rest = name + prefix + used;
    return *pid > 0 && (!*rest || (*rest == '.' && is_number(rest + 1)));
}

/* From pid, the running process (0: none that we know), or as the segment last knew it. */
static void read_comm(struct shm_proc *proc, int pid, int fd, uint32_t state_off)
{
    char comm[sizeof proc->comm] = "?";
    if (!pid || !read_proc(pid, "comm", comm, sizeof comm)) {
        off_t off = state_off + (off_t)offsetof(struct hak_state, comm);
        if (!state_off || pread(fd, comm, sizeof comm, off) != (ssize_t)sizeof comm)
            strcpy(comm, "?");
    }
    comm[sizeof comm - 1] = 0;
    comm[strcspn(comm, "\n")] = 0;
    for (char *p = comm; *p; p++)
        if (!isprint((unsigned char)*p))
            *p = '?';
    strcpy(proc->comm, comm);
}

/* A stranger can plant a file under any process's name.  Ours, root's, and those of the process's
 * own user are good; of dead processes only root looks at others'. */
static bool trusted(uid_t owner, int pid)
{
    return owner == geteuid() || owner == 0 || (pid ? has_uid(pid, owner) : geteuid() == 0);
}

static void identify(struct shm_proc *proc, int fd, const struct tasks *tasks)
{
    struct hak_seg_header header = { .pid = proc->ns_pid, .start_time = proc->start_time };
    bool own_ns = true;
    if (!shm_read_header(fd, &header, &proc->err)) {
        proc->pid_ns = header.pid_ns;
        proc->born_ns = header.born_ns;
        own_ns = header.pid_ns == shm_own_pid_ns();
        if (header.pid != proc->ns_pid || header.start_time != proc->start_time)
            shm_fail(&proc->err, SHM_EIO, "its segment is damaged: the header names pid %d",
                     header.pid);
    }
    proc->live = shm_locked(fd) && (!own_ns || runs(proc->ns_pid, proc->start_time));
    int pid = !proc->live ? 0 : own_ns ? proc->ns_pid : pid_of(tasks, proc->pid_ns, proc->ns_pid);
    proc->pid = proc->live ? pid : proc->ns_pid;
    if (!trusted(proc->uid, pid))
        shm_fail(&proc->err, SHM_EPERM, "its segment belongs to uid %u; not trusted",
                 (unsigned)proc->uid);
    read_comm(proc, pid, fd, proc->err.code ? 0 : header.state_off);
}

/* Fills *proc for a file of dir; false where it is no segment at all or has just gone. */
static bool look_at(struct shm_proc *proc, int dir, int via_pid, const char *name,
                    const struct tasks *tasks)
{
    struct stat st;
    *proc = (struct shm_proc){ .via_pid = via_pid };
    if (!parse_name(name, &proc->ns_pid, &proc->start_time))
        return false;
    strcpy(proc->file, name);
    proc->pid = proc->ns_pid;
    strcpy(proc->comm, "?");
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
        return false;
    proc->uid = st.st_uid;
    proc->dev = st.st_dev;
    proc->ino = st.st_ino;

    int fd, code = shm_open_file(dir, name, false, &fd, &proc->err);
    if (code) {
        proc->live = runs(proc->pid, proc->start_time);
        read_comm(proc, proc->live ? proc->pid : 0, -1, 0);
        return code != SHM_EGONE;
    }
    identify(proc, fd, tasks);
    close(fd);
    return true;
}

/* ---- All of them --------------------------------------------------------------------------- */

struct procs {
    struct shm_proc *proc;
    size_t           count, room;
};

static bool procs_add(struct procs *procs, const struct shm_proc *proc)
{
    if (procs->count == procs->room) {
        size_t room = procs->room ? 2 * procs->room : 16;
        struct shm_proc *more = realloc(procs->proc, room * sizeof *more);
        if (!more)
            return false;
        procs->proc = more;
        procs->room = room;
    }
    procs->proc[procs->count++] = *proc;
    return true;
}

static bool scan_dir(struct procs *procs, int dir, int via_pid, const struct tasks *tasks)
{
    DIR *d = fdopendir(dir);
    bool good = true;
    for (struct dirent *e; good && d && (e = readdir(d)); ) {
        struct shm_proc proc;
        if (look_at(&proc, dirfd(d), via_pid, e->d_name, tasks))
            good = procs_add(procs, &proc);
    }
    if (d)
        closedir(d);
    else
        close(dir);
    return good;
}

/* Directories already scanned. */
struct seen {
    dev_t  dev;
    ino_t  ino;
};

static bool scan_place(struct procs *procs, int via_pid, const struct tasks *tasks,
                       struct seen *seen, size_t *count)
{
    struct stat st;
    int dir = shm_open_dir(via_pid);
    if (dir < 0)
        return true;
    bool known = fstat(dir, &st) != 0;
    for (size_t i = 0; i < *count && !known; i++)
        known = seen[i].dev == st.st_dev && seen[i].ino == st.st_ino;
    if (known) {
        close(dir);
        return true;
    }
    seen[(*count)++] = (struct seen){ st.st_dev, st.st_ino };
    return scan_dir(procs, dir, via_pid, tasks);
}

/* What a process sees as its files: in which mount namespace, and the first bytes of its root's path, as we see it. */
struct view {
    uint64_t mnt_ns;
    char     root[8];
};

static struct view view_of(const char *pid)
{
    struct view view = { .mnt_ns = ns_inode(pid, "mnt") };
    char path[32];
    snprintf(path, sizeof path, "/proc/%.16s/root", pid);
    if (readlink(path, view.root, sizeof view.root) < 0)
        view.root[0] = 0;
    return view;
}

/* Whether a process may see another /dev/shm than we do. */
static bool elsewhere(int pid, const struct view *own)
{
    char text[16];
    snprintf(text, sizeof text, "%d", pid);
    struct view view = view_of(text);
    return view.mnt_ns != own->mnt_ns || (view.root[0] && memcmp(view.root, own->root, sizeof view.root));
}

bool shm_sees_ours(int pid)
{
    struct view own = view_of("self");
    return !elsewhere(pid, &own);
}

/* own_only: our own /dev/shm alone, and without the pids of other namespaces. */
static bool scan(struct procs *procs, bool own_only)
{
    struct tasks tasks = { 0 };
    struct view own = view_of("self");
    size_t places = 0;
    bool good = own_only || tasks_read(&tasks);
    struct seen *seen = calloc(tasks.count + 1, sizeof *seen);
    good = good && seen && scan_place(procs, 0, &tasks, seen, &places);
    for (size_t i = 0; good && i < tasks.count; i++)
        if (elsewhere(tasks.task[i].pid, &own))
            good = scan_place(procs, tasks.task[i].pid, &tasks, seen, &places);
    free(seen);
    free(tasks.task);
    return good;
}

static int by_live_and_pid(const void *a, const void *b)
{
    const struct shm_proc *p = a, *q = b;
    if (p->live != q->live)
        return p->live ? -1 : 1;
    if (p->pid != q->pid)
        return p->pid < q->pid ? -1 : 1;
    return p->born_ns < q->born_ns ? 1 : -1;        /* the newest first */
}

static int find(struct shm_proc **list, size_t *count, bool own_only, struct shm_error *err)
{
    struct procs procs = { 0 };
    *list = NULL;
    *count = 0;
    if (!scan(&procs, own_only)) {
        free(procs.proc);
        return shm_fail(err, SHM_EIO, "out of memory");
    }
    if (procs.count)
        qsort(procs.proc, procs.count, sizeof *procs.proc, by_live_and_pid);
    *list = procs.proc;
    *count = procs.count;
    return SHM_OK;
}

int shm_find(struct shm_proc **list, size_t *count, struct shm_error *err)
{
    return find(list, count, false, err);
}

int shm_find_own(struct shm_proc **list, size_t *count, struct shm_error *err)
{
    return find(list, count, true, err);
}

/* ---- Dead segments ------------------------------------------------------------------------- */

/* Removes a name if it still is the dead segment we saw.  The exclusive lock keeps out a process
 * that is being born under the same name (it takes the lock first, then checks its name). */
static bool remove_dead(const struct shm_proc *proc, bool dry_run)
{
    struct stat st, named;
    int fd = -1, dir = shm_open_dir(proc->via_pid);
    bool gone = dir >= 0 && !shm_open_file(dir, proc->file, false, &fd, NULL)
        && !flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &st)
        && st.st_ino == proc->ino && st.st_dev == proc->dev
        && !fstatat(dir, proc->file, &named, AT_SYMLINK_NOFOLLOW)
        && named.st_ino == st.st_ino && named.st_dev == st.st_dev
        && ((proc->pid_ns && proc->pid_ns != shm_own_pid_ns())
            || !runs_unlocked(proc->ns_pid, proc->start_time))
        && (dry_run || !unlinkat(dir, proc->file, 0));
    if (fd >= 0)
        close(fd);
    if (dir >= 0)
        close(dir);
    return gone;
}

static int by_age(const void *a, const void *b)
{
    const struct shm_proc *p = a, *q = b;
    return p->born_ns == q->born_ns ? 0 : p->born_ns > q->born_ns ? -1 : 1;
}

static size_t collect(size_t keep, bool own_only, bool dry_run,
                      void (*removed)(const struct shm_proc *, void *ctx), void *ctx)
{
    struct shm_proc *list;
    size_t count, dead = 0, gone = 0;
    bool all = geteuid() == 0 && !own_only;
    if (find(&list, &count, own_only, NULL))
        return 0;
    for (size_t i = 0; i < count; i++)
        if (!list[i].live && list[i].err.code != SHM_EPERM && (all || list[i].uid == geteuid()))
            list[dead++] = list[i];
    if (dead)
        qsort(list, dead, sizeof *list, by_age);
    for (size_t i = keep; i < dead; i++) {
        if (!remove_dead(&list[i], dry_run))
            continue;
        gone++;
        if (removed)
            removed(&list[i], ctx);
    }
    free(list);
    return gone;
}

size_t shm_gc(size_t keep, bool dry_run,
              void (*removed)(const struct shm_proc *, void *ctx), void *ctx)
{
    return collect(keep, false, dry_run, removed, ctx);
}

void shm_gc_at_start(void)
{
    collect(KEEP_AT_START, true, false, NULL, NULL);
}
