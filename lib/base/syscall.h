/* syscall.h: the library's system calls on memory and futexes.
 *
 * Nothing interposes them, each carries the mark of abi/call.h, and each is counted.  They return
 * what the kernel does: -errno on failure; errno is left alone.  Thread- and signal-safe. */
#ifndef HAK_SYSCALL_H
#define HAK_SYSCALL_H

#include <sys/types.h>

#include "lib/base/base.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000        /* a hint, for kernels before 4.17 */
#endif

/* What the mark says of where blocks are (abi/call.h); set once, before there are any. */
extern const void *sys_where;

void *sys_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);  /* NULL: failed */
void *sys_mremap(void *p, size_t bytes, size_t new_bytes, int flags, void *to);     /* NULL: failed */
int   sys_munmap(void *p, size_t bytes);
int   sys_madvise(void *p, size_t bytes, int advice);

/* `lock`: its name, or NULL. */
int   sys_futex(_Atomic uint32_t *word, int op, uint32_t value, const char *lock);

#endif
