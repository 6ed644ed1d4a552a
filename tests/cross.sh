# cross.sh: the library preloaded into a program of another architecture, under an emulator.  Run by
# make check when cross-compiling.
. "$(dirname "$0")/tap.sh"
need "${EMULATOR%% *}" qemu-user

cat >"$tmp/prog.c" <<'END'
#include <glob.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, BLOCKS = 2000 };
static unsigned char *blocks[THREADS][BLOCKS];

/* Sizes up to 1 MiB, most of them small. */
static size_t size_of(int thread, int i)
{
    return ((size_t)i * 7919 + (size_t)thread) % (1u << (4 + i % 17)) + 1;
}
static void *fill(void *arg)
{
    int t = (int)(long)arg;
    for (int i = 0; i < BLOCKS; i++) {
        blocks[t][i] = malloc(size_of(t, i));
        memset(blocks[t][i], t * 16 + i % 16, size_of(t, i));
    }
    return NULL;
}
/* Each thread checks and frees what its neighbour made. */
static void *drop(void *arg)
{
    int t = ((int)(long)arg + 1) % THREADS;
    long bad = 0;
    for (int i = 0; i < BLOCKS; i++) {
        for (size_t n = 0; n < size_of(t, i); n++)
            bad += blocks[t][i][n] != (unsigned char)(t * 16 + i % 16);
        free(blocks[t][i]);
    }
    return (void *)bad;
}
static long all(void *(*work)(void *))
{
    pthread_t threads[THREADS];
    long sum = 0;
    void *result;
    for (long t = 0; t < THREADS; t++)
        pthread_create(&threads[t], NULL, work, (void *)t);
    for (int t = 0; t < THREADS; t++) {
        pthread_join(threads[t], &result);
        sum += (long)result;
    }
    return sum;
}
int main(void)
{
    void *aligned = NULL;
    int status = -1, bad_align = posix_memalign(&aligned, 65536, 100) || (size_t)aligned % 65536;
    all(fill);
    long bad = all(drop);
    pid_t child = fork();
    if (child == 0) {
        all(fill);
        _exit(all(drop) == 0 ? 7 : 1);
    }
    waitpid(child, &status, 0);
    glob_t segments;
    char name[64];
    snprintf(name, sizeof name, "/dev/shm/hakmem.%d.*", (int)getpid());
    glob(name, 0, NULL, &segments);
    printf("usable %zu, bad bytes %ld, bad alignment %d, child %d, segments %zu\n",
           malloc_usable_size(malloc(100)), bad, bad_align, WEXITSTATUS(status), segments.gl_pathc);
    return 0;
}
END
$CC -O2 -Wall -Werror -pthread "$tmp/prog.c" -o "$tmp/prog" || bail 'the program does not compile'

# From outside it can't be read: the emulator shows a start time that is not the kernel's.
for page in 4096 16384 65536; do
    is "$($EMULATOR -p $page -E LD_PRELOAD="$lib" "$tmp/prog" 2>&1)" \
        'usable 112, bad bytes 0, bad alignment 0, child 7, segments 1' \
        "pages of $page bytes: four threads, blocks freed by other threads, fork, a segment"
done
for test in api sizes; do
    ok "tests/$test with pages of 64 KiB" \
        $EMULATOR -p 65536 -E LD_PRELOAD="$lib" "$HAK_BUILD/tests/$test"
done
done_testing
