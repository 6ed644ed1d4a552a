# cross.sh: the library preloaded into a program of another architecture, under an emulator.  Run by
# make check when cross-compiling.
. "$(dirname "$0")/tap.sh"
need "${EMULATOR%% *}" qemu-user
run() { $EMULATOR -E LD_PRELOAD="$lib" "$@"; }

cat >"$tmp/prog.c" <<'END'
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
    printf("usable %zu, bad bytes %ld, bad alignment %d, child %d\n", malloc_usable_size(malloc(100)),
           bad, bad_align, WEXITSTATUS(status));
    fflush(stdout);
    getchar();
    return 0;
}
END
$CC -O2 -Wall -Werror -pthread "$tmp/prog.c" -o "$tmp/prog" || bail 'the program does not compile'

is "$(run "$tmp/prog" </dev/null 2>&1)" 'usable 112, bad bytes 0, bad alignment 0, child 7' \
    'four threads, blocks freed by other threads, fork: contents and alignment are right'

mkfifo "$tmp/stdin"
in_background $EMULATOR -E LD_PRELOAD="$lib" "$tmp/prog" <"$tmp/stdin" >"$tmp/out"
pid=$!
exec 3>"$tmp/stdin"
wait_until grep -q child "$tmp/out"
stats=$($EMULATOR "$hakctl" -j stats -p $pid)
like "$stats" '"exact": *true' 'its counters are exact'
ok 'and have counted at least the blocks it made' test "$(grep -o '"allocs": *[0-9]*' <<<"$stats" |
    awk -F: '{ n += $2 } END { print n }')" -ge 8000
like "$($EMULATOR "$hakctl" set -p $pid tiny.heap_v2.class_mask=0xE)" \
    '^tiny\.heap_v2\.class_mask: 0xFE -> 0xE \(generation 1, applied by 0/0 threads, [0-9]+ idle\)$' \
    'a knob is set from outside'
exec 3>&-
done_testing
