/* realloc_growth: buffers that grow by a quarter at a time, in turn, so that none always lies at
 * the end of the heap; one that has reached MAX is freed and begins again. */
#include "bench.h"

#define USAGE "BUFFERS MAX OPS"
#define FIRST 16                /* bytes of a new buffer */

struct buffer {
    char *data;
    size_t size;
};

int main(int argc, char **argv)
{
    size_t buffers = bench_arg(argc, argv, 1, USAGE);
    size_t max = bench_arg(argc, argv, 2, USAGE);
    uint64_t ops = bench_arg(argc, argv, 3, USAGE);
    struct buffer *buffer = bench_map(buffers * sizeof *buffer);
    uint64_t rng = BENCH_SEED;

    for (size_t i = 0; i < buffers; i++)        /* they do not all reach MAX at once */
        buffer[i].size = bench_between(&rng, FIRST, max);
    struct bench_time start = bench_time();
    for (uint64_t i = 0; i < ops; i++) {
        struct buffer *b = &buffer[i % buffers];
        if (b->size > max) {
            free(b->data);
            *b = (struct buffer){ NULL, FIRST };
        }
        size_t old = b->data ? b->size : 0, grown = b->size + b->size / 4 + 1;
        char *data = realloc(b->data, grown);
        if (!data || (old && data[old - 1] != 1))
            bench_die("realloc_growth: realloc lost the contents");
        bench_touch(data + old, grown - old);
        data[grown - 1] = 1;
        *b = (struct buffer){ data, grown };
    }
    bench_report("realloc_growth", ops, start);
}
