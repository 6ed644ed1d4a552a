/* maps.c: the counts out of the kernel's maps, our own or pinned ones (probes.h). */
#include <bpf/bpf.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "probes/internal.h"

enum { MAPS = 4 };
static const char *const map_names[MAPS] = { "processes", "counts", "waits", "lost" };

static int *map_fd(struct probes *p, int i)
{
    int *fds[MAPS] = { &p->processes, &p->counts, &p->waits, &p->lost };

    return fds[i];
}

struct probes *probes_new(void)
{
    struct probes *p = calloc(1, sizeof *p);

    for (int i = 0; p && i < MAPS; i++)
        *map_fd(p, i) = -1;
    if (p)
        p->directory = -1;
    return p;
}

/* ---- Pinned --------------------------------------------------------------------------------- */

static const char *pin_path(char *path, size_t size, const char *directory, int map)
{
    return snprintf(path, size, "%s/%s", directory, map_names[map]) < (int)size ? path : "";
}

static int open_directory(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Who counts has a lock on the directory, which goes with its process however that ends. */
static bool hold(int directory)
{
    struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

    return directory >= 0 && fcntl(directory, F_OFD_SETLK, &lock) == 0;
}

static bool is_held(int directory)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    return fcntl(directory, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static void unpin(const char *path, int directory)
{
    for (int i = 0; i < MAPS; i++)
        unlinkat(directory, map_names[i], 0);
    rmdir(path);
}

/* Takes away what a hakprobe that was killed has left: all the maps, and nobody holds them. */
static void sweep(const char *path)
{
    int directory = open_directory(path), present = 0;

    if (directory < 0)
        return;
    for (int i = 0; i < MAPS; i++)
        present += faccessat(directory, map_names[i], F_OK, 0) == 0;
    if (present == MAPS && !is_held(directory))
        unpin(path, directory);
    close(directory);
}

/* Whether a new directory would be in a BPF file system. */
static bool can_be_pinned(const char *directory)
{
    char *copy = strdup(directory);
    struct statfs fs;
    bool can = copy && !statfs(dirname(copy), &fs) && (unsigned long)fs.f_type == BPF_FS_MAGIC;

    free(copy);
    return can;
}

static int cannot_make(const char *path, struct shm_error *err)
{
    int error = errno, directory = open_directory(path);
    const char *why = error != EEXIST ? "" : is_held(directory) ? " (another hakprobe pins there)"
                                           : " (no hakprobe pins there; rm -r removes it)";

    if (directory >= 0)
        close(directory);
    return shm_fail(err, error == EPERM || error == EACCES ? SHM_EPERM : SHM_EIO, "%s: %s%s", path,
                    strerror(error), why);
}

int probes_pin(struct probes *p, const char *directory, struct shm_error *err)
{
    char path[4096];
    bool pinned;

    if (!can_be_pinned(directory))
        return shm_fail(err, SHM_EIO,
                        "%s is in no BPF file system (mount -t bpf none /sys/fs/bpf makes one)",
                        directory);
    sweep(directory);
    if (mkdir(directory, 0700))
        return cannot_make(directory, err);
    p->directory = open_directory(directory);
    pinned = hold(p->directory);        /* before there is a map, so that no sweep takes one */
    for (int i = 0; pinned && i < MAPS; i++)
        pinned = !bpf_obj_pin(*map_fd(p, i), pin_path(path, sizeof path, directory, i));
    if (!pinned) {
        int error = errno;
        unpin(directory, p->directory);
        return shm_fail(err, error == EPERM ? SHM_EPERM : SHM_EIO, "%s: can't pin maps: %s",
                        directory, strerror(error));
    }
    p->pinned = strdup(directory);
    return SHM_OK;
}

static int open_maps(struct probes *p, const char *directory, struct shm_error *err)
{
    char path[4096];

    p->directory = open_directory(directory);
    if (p->directory >= 0 && !is_held(p->directory))
        return shm_fail(err, SHM_EGONE, "%s: the hakprobe that pinned there was killed", directory);
    for (int i = 0; i < MAPS; i++) {
        *map_fd(p, i) = bpf_obj_get(pin_path(path, sizeof path, directory, i));
        if (*map_fd(p, i) < 0)
            return shm_fail(err, errno == EPERM || errno == EACCES ? SHM_EPERM : SHM_EGONE,
                            "%s: %s", path, strerror(errno));
    }
    return SHM_OK;
}

int probes_open_pinned(const char *directory, struct probes **probes, struct shm_error *err)
{
    struct probes *p = probes_new();
    int code = p ? open_maps(p, directory, err) : shm_fail(err, SHM_EIO, "out of memory");

    if (code)
        probes_close(p);
    else
        *probes = p;
    return code;
}

bool probes_still_pinned(const struct probes *p)
{
    return is_held(p->directory);
}

void probes_close(struct probes *p)
{
    if (!p)
        return;
    if (p->pinned)
        unpin(p->pinned, p->directory);
    free(p->pinned);
    if (p->directory >= 0)
        close(p->directory);
    if (p->skel)
        probes_unload(p);
    for (int i = 0; !p->skel && i < MAPS; i++)
        if (*map_fd(p, i) >= 0)
            close(*map_fd(p, i));
    free(p);
}

/* ---- Reading -------------------------------------------------------------------------------- */

static void make_printable(char text[16])
{
    text[15] = 0;
    for (char *c = text; *c; c++)
        if (!isprint((unsigned char)*c))
            *c = '?';
}

/* Room for one more of an array; NULL: no memory. */
static void *grow(void *array, size_t count, size_t size)
{
    if (count & (count - 1))
        return array;
    return realloc(array, (count ? 2 * count : 1) * size);
}

static void read_counts(struct probes *p, struct probes_process *process)
{
    for (uint32_t call = 0; call < HAKPROBE_CALLS; call++)
        for (uint32_t whose = 0; whose < HAKPROBE_WHOSE; whose++) {
            struct hakprobe_counts_key key = { process->id, call, whose };
            struct hakprobe_counts *counts = &process->counts[call][whose];
            if (bpf_map_lookup_elem(p->counts, &key, counts))
                *counts = (struct hakprobe_counts){ 0 };
        }
}

static bool add_process(struct probes *p, const struct hakprobe_id *id, struct probes_reading *r)
{
    struct hakprobe_process in_kernel;

    if (bpf_map_lookup_elem(p->processes, id, &in_kernel))
        return true;                            /* forgotten by its hakprobe just now */
    void *more = grow(r->processes, r->process_count, sizeof *r->processes);
    if (!more)
        return false;
    r->processes = more;
    struct probes_process *process = &r->processes[r->process_count++];
    process->id = *id;
    process->ended = in_kernel.ended;           /* read before its counts: then they are the last */
    memcpy(process->comm, in_kernel.comm, sizeof process->comm);
    make_printable(process->comm);
    read_counts(p, process);
    return true;
}

static bool read_processes(struct probes *p, struct probes_reading *r)
{
    struct hakprobe_id id, next;

    for (void *at = NULL; !bpf_map_get_next_key(p->processes, at, &next); at = &id) {
        id = next;
        if (!add_process(p, &id, r))
            return false;
    }
    return true;
}

static bool read_waits(struct probes *p, const struct hakprobe_id *only, struct probes_reading *r)
{
    struct hakprobe_waits_key key, next;

    for (void *at = NULL; !bpf_map_get_next_key(p->waits, at, &next); at = &key) {
        struct hakprobe_waits waits;
        key = next;
        if ((only && memcmp(only, &key.id, sizeof *only)) ||
            bpf_map_lookup_elem(p->waits, &key, &waits))
            continue;
        void *more = grow(r->waits, r->wait_count, sizeof *r->waits);
        if (!more)
            return false;
        r->waits = more;
        make_printable(waits.lock);
        r->waits[r->wait_count++] = (struct probes_wait){ key.id, key.address, waits };
    }
    return true;
}

static int by_id(const void *a, const void *b)
{
    const struct hakprobe_id *x = &((const struct probes_process *)a)->id;
    const struct hakprobe_id *y = &((const struct probes_process *)b)->id;

    if (x->pid_ns != y->pid_ns)
        return x->pid_ns < y->pid_ns ? -1 : 1;
    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* What took the most time first. */
static int by_time(const void *a, const void *b)
{
    uint64_t x = ((const struct probes_wait *)a)->waits.ns,
             y = ((const struct probes_wait *)b)->waits.ns;

    return x > y ? -1 : x < y;
}

static void read_losses(struct probes *p, struct probes_reading *r)
{
    uint32_t last = HAKPROBE_LOST_MISSED;
    uint64_t missed = p->skel ? probes_missed(p) : 0;

    if (p->skel)                    /* for those who read it where it is pinned */
        bpf_map_update_elem(p->lost, &last, &missed, BPF_ANY);
    for (uint32_t i = 0; i < HAKPROBE_LOST_KINDS; i++)
        bpf_map_lookup_elem(p->lost, &i, &r->lost[i]);
}

int probes_read(struct probes *p, const struct hakprobe_id *only, struct probes_reading **reading,
                struct shm_error *err)
{
    struct probes_reading *r = calloc(1, sizeof *r);
    struct timespec now;

    if (!r || !(only ? add_process(p, only, r) : read_processes(p, r)) || !read_waits(p, only, r)) {
        probes_reading_free(r);
        return shm_fail(err, SHM_EIO, "out of memory");
    }
    read_losses(p, r);
    if (r->process_count)
        qsort(r->processes, r->process_count, sizeof *r->processes, by_id);
    if (r->wait_count)
        qsort(r->waits, r->wait_count, sizeof *r->waits, by_time);
    clock_gettime(CLOCK_MONOTONIC, &now);
    r->time_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    *reading = r;
    return SHM_OK;
}

/* Its place among the watched goes last: until then no other process can take its number. */
void probes_forget(struct probes *p, const struct hakprobe_id *id)
{
    struct probes_reading r = { 0 };

    read_waits(p, id, &r);
    for (size_t i = 0; i < r.wait_count; i++)
        bpf_map_delete_elem(p->waits, &(struct hakprobe_waits_key){ *id, r.waits[i].address });
    free(r.waits);
    for (uint32_t call = 0; call < HAKPROBE_CALLS; call++)
        for (uint32_t whose = 0; whose < HAKPROBE_WHOSE; whose++)
            bpf_map_delete_elem(p->counts, &(struct hakprobe_counts_key){ *id, call, whose });
    bpf_map_delete_elem(p->processes, id);
}
