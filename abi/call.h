/* call.h: how the allocator's own system calls, and its memory, are told from the program's.
 *
 * libhakmem makes its calls of mmap, munmap, mremap, madvise and futex with three registers set that
 * the kernel neither reads nor changes, and that a tracer sees in the registers at the entry of the
 * call (hakprobe does, in the kernel):
 *
 *              tag                what               where
 *   x86-64     rbx                r12                r13
 *   aarch64    x9                 x10                x11
 *
 * The tag is HAK_CALL_TAG.  What: 0, or the address of a text that says what the call is for, at most
 * HAK_CALL_WHAT bytes with its NUL; for futex the name of the lock.  So a call says itself whose it
 * is, in any process and thread, from the first one on, linked statically or preloaded.
 *
 * Where: 0 (not made yet), or the address of the table by which the process itself finds what lies
 * at an address.  With 8-byte words, and 2 MiB units of addresses below 2^48:
 *
 *   leaf = where + HAK_CALL_LEAF + word[where, a >> HAK_CALL_LEAF_SHIFT]
 *   unit = word[leaf, (a >> HAK_CALL_UNIT_SHIFT) modulo 2^HAK_CALL_UNIT_BITS]
 *
 * A unit that is 0 has nothing of the allocator's blocks; one that is even is a SuperSlab; an odd one
 * less 1 is the address of two words, the first byte of a huge block's mapping and its length. */
#ifndef HAK_ABI_CALL_H
#define HAK_ABI_CALL_H

#define HAK_CALL_TAG  0x6d656d6b61682a2aULL     /* "**hakmem" in memory */
#define HAK_CALL_WHAT 16

#define HAK_CALL_LEAF_SHIFT 32
#define HAK_CALL_LEAF       (8u << 16)
#define HAK_CALL_UNIT_SHIFT 21
#define HAK_CALL_UNIT_BITS  11

#endif
