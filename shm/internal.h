/* internal.h: what the files of shm/ share among themselves. */
#ifndef HAK_SHM_INTERNAL_H
#define HAK_SHM_INTERNAL_H

#include <time.h>

#include "shm/shm.h"

/* Opens the directory that holds a segment: /dev/shm, or that of another mount namespace. */
int shm_open_dir(int via_pid);

/* Opens a file of that directory for reading, or for both if want_write and it may be, and checks
 * that it is something a segment can be: no link, a regular file, one name, of a sane size. */
int shm_open_file(int dir, const char *name, bool want_write, int *fd, struct shm_error *err);

/* Reads and checks the header.  It is 0 where the file is a segment of our ABI that is ready. */
int shm_read_header(int fd, struct hak_seg_header *header, struct shm_error *err);

/* Whether somebody holds the lock that a segment's process has on it. */
bool shm_locked(int fd);

/* Whether this pid of our own namespace is the process that started at start_time. */
bool shm_same_process(int pid, uint64_t start_time);

/* Inode of our own pid namespace. */
uint64_t shm_own_pid_ns(void);

/* Calls access(arg), which may use a mapping of a segment.  False: the file was cut off under it and
 * access() left in the middle, so it may hold nothing that would have to be given back. */
bool shm_guarded(void (*access)(void *), void *arg);

/* A word of a mapping, inside of shm_guarded.  It is read before what is read next: this pairs with the
 * library's release. */
static inline uint64_t shm_word(const uint64_t *at)
{
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

/* Copies len bytes (a multiple of 8; both sides aligned) out of or into a mapping of a segment, one
 * atomic 8-byte access each.  False: the file was cut off under us. */
bool shm_copy_out(void *dst, const void *src, size_t len);
bool shm_copy_in(void *dst, const void *src, size_t len);
int  shm_cut_off(struct shm_error *err);     /* the error for that */

/* Bytes from an offset on that have memory behind them.  What is in use has, in one piece; to read a hole would give
 * it some. */
uint64_t shm_backed(const struct shm_seg *seg, uint64_t offset);

/* How many values a counter has in the state or in each slot, and how many bytes lie from one to the next. */
unsigned shm_values(unsigned bins, const struct hak_stat_desc *d, size_t *step);

/* Looks up what snapshots and sums need, once the tables are there; shm_forget_known frees it.  False: out of
 * memory. */
bool shm_find_known(struct shm_seg *seg);
void shm_forget_known(struct shm_seg *seg);

/* Reads the state area under its sequence lock, bounded.  False: cut off. */
bool shm_read_state(const struct shm_seg *seg, uint8_t *area, bool *torn);

/* Takes the writers' lock and maps the control page; shm_end_request gives the lock back. */
int  shm_begin_request(struct shm_seg *seg, struct shm_error *err);
void shm_end_request(struct shm_seg *seg);

/* Asks for a walk and waits for it; *before and *after are snapshots around it, *request its
 * number. */
int shm_walk(struct shm_seg *seg, unsigned wait_ms, struct shm_snap **before,
             struct shm_snap **after, uint64_t *request, struct shm_error *err);

/* Nanoseconds of a clock, and a nap. */
uint64_t shm_clock_ns(clockid_t clock);
void     shm_nap_us(unsigned us);

#endif
