/* usdt.c: the semaphores of the USDT points (usdt.h), in the section where watchers expect them. */
#include "lib/base/usdt.h"

#ifdef HAK_USDT
#define SEMAPHORE(name) unsigned short hakmem_##name##_semaphore __attribute__((section(".probes"), used));
#define PROBE1(name, ...) SEMAPHORE(name)
#define PROBE2(name, ...) SEMAPHORE(name)
#define PROBE3(name, ...) SEMAPHORE(name)
#define PROBE4(name, ...) SEMAPHORE(name)
#include "abi/probes.def"
#endif
