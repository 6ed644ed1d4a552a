/* experiment.c: the statistics of `hakctl trial` on simulated data, and against printed tables. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hakctl/experiment.h"
#include "tests/tap.h"

static uint64_t state = 12345;

static double uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(state >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void)
{
    return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform());
}

/* One trial: times around 100 that drift, with noise of 3 % and now and then a burst of 30 %; arm b
 * is worse by the factor. */
static enum finding trial(unsigned blocks, double factor)
{
    double a[64], b[64];
    for (unsigned i = 0; i < blocks; i++) {
        double drift = 100 * (1 + 0.02 * i);
        a[i] = drift * exp(0.03 * normal()) * (uniform() < 0.05 ? 1.3 : 1);
        b[i] = drift * exp(0.03 * normal()) * (uniform() < 0.05 ? 1.3 : 1) * factor;
    }
    return compare(a, b, blocks, 1).finding;
}

static unsigned findings(enum finding wanted, unsigned runs, unsigned blocks, double factor)
{
    unsigned n = 0;
    for (unsigned i = 0; i < runs; i++)
        n += trial(blocks, factor) == wanted;
    return n;
}

static void check_quantiles(void)
{
    static const struct { double confidence; unsigned df; double t; } table[] = {
        { 0.95, 1, 12.706 }, { 0.95, 2, 4.303 }, { 0.95, 3, 3.182 }, { 0.95, 10, 2.228 },
        { 0.99, 1, 63.657 }, { 0.99, 4, 4.604 }, { 0.99, 9, 3.250 }, { 0.99, 19, 2.861 },
        { 0.99, 120, 2.617 }, { 0.999, 5, 6.869 }, { 0.95, 100000, 1.960 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        double t = student_t(table[i].confidence, table[i].df);
        ok(fabs(t - table[i].t) < 0.0006, "t(%g, %u) is %g: %g", table[i].confidence, table[i].df,
           table[i].t, t);
    }
}

static void check_intervals(void)
{
    static const double values[] = { 1, 2, 3, 4, 5 };
    struct interval i = interval_of(values, 5, 0.95);
    ok(i.mean == 3 && fabs(i.high - 4.9632) < 1e-3 && fabs(i.low - 1.0368) < 1e-3,
       "1 to 5: 3 +- 1.963");
    i = interval_of(values, 1, 0.95);
    ok(i.mean == 1 && isinf(i.low) && isinf(i.high), "one value says nothing of its error");
    ok(isnan(interval_of(values, 0, 0.95).mean), "no value, no mean");

    static const double a[] = { 10, 20, 30, 40, 50 }, b[] = { 11, 22.2, 32.9, 44.1, 54.9 };
    struct comparison c = compare(a, b, 5, 1), more = compare(a, b, 5, 10);
    ok(fabs(c.percent.mean - 10) < 0.2 && c.finding == MORE, "10 %% more, whatever the level");
    ok(compare(b, a, 5, 1).finding == LESS, "the other way round: less");
    ok(compare(a, b, 4, 1).finding == TOO_FEW, "four blocks are too few");
    ok(more.percent.low < c.percent.low && more.percent.high > c.percent.high,
       "many comparisons: wider intervals");
}

/* All six orders of three arms, about equally often. */
static void check_shuffle(void)
{
    unsigned seen[27] = { 0 }, kinds = 0, least = 6000, order[3];
    uint64_t random = 1;
    for (int i = 0; i < 6000; i++) {
        shuffle_arms(order, 3, &random);
        seen[order[0] * 9 + order[1] * 3 + order[2]]++;
    }
    for (unsigned i = 0; i < 27; i++)
        if (seen[i]) {
            kinds++;
            least = seen[i] < least ? seen[i] : least;
        }
    ok(kinds == 6 && least > 900, "six orders of three arms, each at least %u times of 6000", least);
}

int main(void)
{
    check_quantiles();
    check_intervals();
    check_shuffle();
    unsigned equal = findings(NO_DIFFERENCE, 100, 20, 1), few = findings(NO_DIFFERENCE, 1000, 5, 1);
    ok(equal >= 95, "equal arms, 20 blocks: no difference in %u of 100 runs", equal);
    ok(few >= 970, "equal arms, 5 blocks: no difference in %u of 1000 runs", few);
    unsigned worse = findings(MORE, 100, 20, 1.15), better = findings(LESS, 100, 20, 0.85);
    ok(worse >= 95, "15 %% more: found in %u of 100 runs", worse);
    ok(better >= 95, "15 %% less: found in %u of 100 runs", better);
    return tap_done();
}
