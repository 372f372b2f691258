/*
 * stats: the statistics of a set of results, with their uncertainty. The denominator is always
 * every record of the data file that was asked for. Unparsed and failed cases, rejected records and
 * questions not run yet are not right, and are counted separately. A duplicate counts as the record
 * that it repeats.
 */
#ifndef MAS_STATS_H
#define MAS_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "records.h"
#include "result.h"
#include "retried.h"
#include "roles.h"
#include "stat.h"
#include "stats_alpha.h"
#include "stats_curve.h"
#include "stats_test.h"
#include "stats_variants.h"

struct stats_paired {
    size_t n, both, only_a, only_b, neither; /* questions that both runs have finished */
    size_t left_out;   /* questions that one of them was asked and not both have finished */
    double difference; /* accuracy of b minus a; NaN when n == 0 */
    double lo, hi;     /* its 95 % BCa bootstrap interval over questions; NaN as in stats_boot.h */
    double p;          /* exact McNemar; NaN when n == 0 */
    double p_holm;     /* adjusted for all comparisons of a table; stats_pair sets it to p */
};
/* Do the 95 % interval of a difference and its test at 5 % disagree? One of them excludes a
 * difference of 0 then, and the other does not. False when one is not defined. */
bool stats_disagree(double lo, double hi, double p);
/* Pairs two runs by question id. draws: bootstrap samples; the same seed gives the same interval.
 * Results of records that were not asked for are left out. ERR_NOMEM. */
struct trace_run;
int stats_pair(const struct trace_run *a, const struct trace_run *b, int draws, uint64_t seed,
               struct stats_paired *out, struct err *e);

#define STATS_NO_STEP "(not given)"
#define STATS_REJECTED "(rejected)"

struct stats_group {
    const char *name; /* belongs to the run */
    /* unknown: records of rate.n whose outcome is not known yet. Like the accuracy of the run,
     * lo assumes all of them wrong, hi all right. */
    size_t unknown;
    struct stats_rate rate;
};

struct stats_summary {
    /* n = records asked for. For questions not run yet, lo assumes all wrong, hi all right. */
    struct stats_rate accuracy;
    struct stats_rate so_far; /* records whose outcome is known */
    /* n = answered + unparsed + failed + planned + not_run (questions) + duplicates + rejected */
    size_t answered, unparsed, failed, planned, not_run, duplicates, rejected;
    size_t no_key;   /* questions */
    size_t finished; /* questions with a result: answered + unparsed + failed + planned */
    size_t calls_cut, cases_cut, calls_closed,
        cases_closed; /* replies that met their token limit, and their cases */
    struct stats_group
        *step; /* (n_step) all records, by name: STATS_NO_STEP, STATS_REJECTED among them */
    size_t n_step;
    struct stats_group specialty[CATALOG_MAX]; /* questions for which it was selected; by name */
    int n_specialty;
    size_t thoughts_cut, cases_thought_cut; /* thinking cut at its budget: replies, their cases */
    const struct roles_row *role;           /* (n_role) belong to the run */
    size_t n_role;
    struct stats_variants variants; /* zero if the run has none */
    double agreement;               /* mean over the n_agreement cases that have one; NaN = none */
    size_t n_agreement;
    /* the same by classes of synonyms (agreement.h), in runs that recorded it */
    double agreement_class;
    size_t n_agreement_class;
    /* Choices of speakers who have not read each other (consult.h): of options, and votes. Units
     * are finished questions. */
    struct stats_alpha choices, votes;
    /* Finished questions whose answer has a probability: their number, and stats_curve.h over them.
     * NaN and empty bins when n_ece == 0. */
    size_t n_ece;
    /* Mean of stats_brier_options over the n_options questions that have a key and probabilities
     * of all their options; NaN = none. */
    size_t n_options;
    double brier_options;
    double ece, brier, aurc;
    struct stats_bin bin[STATS_BINS];
    struct stats_step *sure; /* (n_sure) the risk-coverage curve */
    size_t n_sure;
    /* per finished question; NaN = not known, as in imported runs */
    double calls, prompt_tokens, cached_tokens, new_tokens;
    double think_tokens; /* likewise; 0 = nothing was thought. new_tokens has none of them */
    /* The answers are those of another program: calls, replies, thinking are not known. */
    bool imported;
    struct stat_summary seconds; /* per finished question */
    /* Energy. Means over the n_joules finished questions that have joules; NaN = none has. A token:
     * one that the model computed (result_computed), or a new one, thinking included. cost: USD. */
    size_t n_joules;
    double joules, joules_per_token, joules_per_new_token, cost;
    struct retried retried; /* questions that were asked again, of the records asked for */
    double token_usd; /* price of the tokens of a finished question; 0 = the run has no prices */
    /* the source of the joules, of the last question that has some; "" = none has */
    const char *energy;
    /* why the last finished question without joules has none; "" = all have, or not recorded */
    const char *energy_gap;
};
/* price: USD per kWh, NaN = not known. Free with stats_free. ERR_NOMEM. */
int stats_summarize(const struct trace_run *run, double price_kwh, struct stats_summary *out,
                    struct err *e);
void stats_free(struct stats_summary *s); /* accepts a zeroed one */

/* "partial, 6 of 60" (records), or "" when every question asked for was run. */
void stats_partial(const struct stats_summary *s, char out[64]);

#endif
