/*
 * exposure: has a model seen questions before? Nothing is generated. The model scores texts, and
 * four figures follow for each question:
 *
 * - n-gram accuracy: at EXPOSURE_POINTS places of the text, at equal distances, does the model's
 *   most probable continuation of EXPOSURE_GRAM tokens equal the text's? (R. Xu et al.,
 *   Benchmarking Benchmark Leakage in Large Language Models, 2024.) A place counts if each of its
 *   tokens is the most probable one after the text before it. That is greedy decoding, without
 *   decoding.
 * - min-k: the mean log-probability of the least probable EXPOSURE_SHARE of the tokens (W. Shi et
 *   al., Detecting Pretraining Data from Large Language Models, ICLR 2024).
 * - the same figures of another wording of the question, whose facts are the same. It is a
 *   paraphrase that the caller gives, or the text with its sentences in another order. Then the
 *   last sentence, which asks, stays. The first one moves to the end of the others.
 * - order: is the file's order of the options more probable than all its other cyclic orders? (S.
 *   Ni et al., Training on the Benchmark Is Not All You Need, 2024.) For a model that has not seen
 *   the file each order is as probable as any other, if the file's order is arbitrary. So the share
 *   of a model without that knowledge is known: 1 / options.
 *
 * Min-k and n-gram accuracy mean nothing alone: they also depend on style and subject. They are
 * compared with the other wording, and with questions that the model cannot have seen.
 */
#ifndef MAS_EXPOSURE_H
#define MAS_EXPOSURE_H

#include <stdatomic.h>

#include "llm.h"
#include "medqa.h"
#include "stats_sample.h"
#include "stats_test.h"

#define EXPOSURE_GRAM 5
#define EXPOSURE_POINTS 5
#define EXPOSURE_SHARE 0.2

struct exposure_text {     /* a text that was scored */
    int tokens;            /* that have a log-probability; 0 = the text was not scored */
    double mean_lp, min_k; /* natural logs; NaN without tokens */
    int points, exact;     /* places of n-grams, and those that the model completes */
};

struct exposure_item {
    const struct medqa_question *q;
    const char *words; /* the other wording; NULL = there is none */
    struct exposure_text text, other;
    int n_orders; /* 0 = not scored */
    double
        order_lp[MEDQA_OPTIONS]; /* of the cyclic orders of the options; the first is the file's */
    bool first;                  /* the file's order is more probable than every other one */
    char why[200];               /* a text was not scored; "" = all were */
};

struct exposure_options {
    struct llm *llm;
    const struct medqa_question *question; /* (n) */
    size_t n;
    const struct medqa *words; /* paraphrases (vary.h); NULL = other orders of the sentences */
    const atomic_int *stop;    /* NULL = never */
    void (*progress)(size_t done, size_t n, void *user); /* NULL = none */
    void *user;
    struct arena *arena; /* of the other wordings */
};
/* Fills item (n). A text that does not fit the context is not scored, and its item says why.
 * ERR_CONFIG when the llm cannot score prompts and raw options; ERR_CANCEL. */
int exposure_run(const struct exposure_options *o, struct exposure_item *item, struct err *e);

/* The figures of a text from its tokens. */
int exposure_measure(const struct llm_token *t, int n, struct exposure_text *out,
                     struct err *e); /* ERR_NOMEM */
/* Appends the text with its sentences in another order; nothing if it has fewer than two. */
void exposure_reorder(const char *text, struct str *out);

struct exposure_figures {
    size_t n, failed; /* questions; those of which a text was not scored */
    size_t tokens;
    struct stats_rate ngram; /* places; the interval is over questions */
    struct stats_mean min_k, mean_lp;
    size_t n_other;          /* questions with another wording */
    struct stats_mean more;  /* min-k of the text minus that of the other wording */
    double ngram_other;      /* share of places of the other wordings */
    struct stats_rate first; /* questions whose file's order is the most probable one */
    double chance;           /* mean of 1 / options: that share by chance */
    double p;                /* P(at least so many by chance) */
};
int exposure_figures(const struct exposure_item *item, size_t n, struct exposure_figures *out,
                     struct err *e); /* ERR_NOMEM */

struct
    exposure_compared { /* questions beside reference questions: P(a question's figure is higher) */
    struct stats_auc min_k, mean_lp, ngram;
};
int exposure_compare(const struct exposure_item *a, size_t n_a, const struct exposure_item *b,
                     size_t n_b, struct exposure_compared *out, struct err *e); /* ERR_NOMEM */

/* Appends one JSON line a question. set: "data" or "reference". */
void exposure_lines(const struct exposure_item *item, size_t n, const char *set, struct str *out);
/* Appends a table for people. */
void exposure_table(const char *title, const struct exposure_figures *f, struct str *out);
void exposure_table_compared(const struct exposure_compared *c, struct str *out);

#endif
