/* experiment.c: see experiment.h. */
#include "hakctl/experiment.h"

#include <math.h>

/* The probability that |T| is below t, in closed form for whole degrees of freedom: Abramowitz and
 * Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4. */
static double student_within(double t, unsigned df)
{
    double angle = atan(t / sqrt(df)), c = cos(angle), sum = 0, term = 1;
    if (df % 2 == 0) {
        for (unsigned k = 2; k <= df; k += 2) {
            sum += term;
            term *= c * c * (k - 1) / k;
        }
        return sin(angle) * sum;
    }
    term = c;
    for (unsigned k = 3; k <= df; k += 2) {
        sum += term;
        term *= c * c * (k - 1) / k;
    }
    return M_2_PI * (angle + sin(angle) * sum);
}

double student_t(double confidence, unsigned df)
{
    double low = 0, high = 1;
    while (student_within(high, df) < confidence)
        high *= 2;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (student_within(middle, df) < confidence)
            low = middle;
        else
            high = middle;
    }
    return high;
}

struct interval interval_of(const double *values, unsigned n, double confidence)
{
    double sum = 0, squares = 0;
    if (!n)
        return (struct interval){ NAN, NAN, NAN };
    for (unsigned i = 0; i < n; i++)
        sum += values[i];
    double mean = sum / n;
    if (n == 1)
        return (struct interval){ mean, -INFINITY, INFINITY };
    for (unsigned i = 0; i < n; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    double half = student_t(confidence, n - 1) * sqrt(squares / (n - 1) / n);
    return (struct interval){ mean, mean - half, mean + half };
}

/* Differences of logarithms, since what disturbs a process multiplies its times. */
struct comparison compare(const double *a, const double *b, unsigned n, unsigned comparisons)
{
    double ratio[n + 1];
    ratio[0] = 0;
    for (unsigned i = 0; i < n; i++)
        ratio[i] = log(b[i] / a[i]);
    struct interval i = interval_of(ratio, n, 1 - (1 - EXPERIMENT_CONFIDENCE) / comparisons);
    enum finding finding = n < EXPERIMENT_LEAST ? TOO_FEW
                         : i.low > 0 ? MORE : i.high < 0 ? LESS : NO_DIFFERENCE;
    return (struct comparison){
        { 100 * expm1(i.mean), 100 * expm1(i.low), 100 * expm1(i.high) }, finding };
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *random)
{
    uint64_t z = *random += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void shuffle_arms(unsigned *order, unsigned arms, uint64_t *random)
{
    for (unsigned i = 0; i < arms; i++) {
        unsigned j = (unsigned)(next_random(random) % (i + 1));
        order[i] = order[j];
        order[j] = i;
    }
}
