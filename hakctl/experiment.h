/* experiment.h: the statistics of `hakctl trial`: randomised blocks, and what may be said of them.
 *
 * Each block holds every arm once, in random order, so that what changes slowly in the process
 * falls on all arms alike.  Arms are compared within blocks, by Student's t over blocks. */
#ifndef HAKCTL_EXPERIMENT_H
#define HAKCTL_EXPERIMENT_H

#include <stdint.h>

/* Of all intervals.  So equal arms are called different in one trial of a hundred. */
#define EXPERIMENT_CONFIDENCE 0.99
#define EXPERIMENT_LEAST 5          /* blocks below which nothing is said */

struct interval { double mean, low, high; };

/* The two-sided quantile: a t variable of df degrees of freedom (at least 1) lies within plus and
 * minus the result with this probability (above 0, below 1). */
double student_t(double confidence, unsigned df);

/* The mean of n values, and where the true one lies.  One value alone: from -inf to +inf; none: all
 * are NaN. */
struct interval interval_of(const double *values, unsigned n, double confidence);

enum finding { TOO_FEW, NO_DIFFERENCE, LESS, MORE };

/* By how many percent b is above a (all above 0), pair by pair, of n blocks.  `comparisons` is how
 * many of the kind are made in all: their findings are right together with the confidence above. */
struct comparison {
    struct interval percent;
    enum finding finding;           /* of b against a */
};
struct comparison compare(const double *a, const double *b, unsigned n, unsigned comparisons);

/* Puts 0 to arms - 1 into order, every order being as likely; *random is any number, and moves on. */
void shuffle_arms(unsigned *order, unsigned arms, uint64_t *random);

#endif
