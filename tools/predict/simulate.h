/*
 * simulate: decode steps of a model on a simulated device (kernels/sim.h), by the whole engine:
 * plan, scheduler, stage. Needs a file, which may be hollow (synth.h). Weights are not read.
 */
#ifndef MAS_SIMULATE_H
#define MAS_SIMULATE_H

#include "engine.h"
#include "sim.h"

struct simulate {
    const char *model;
    uint64_t vram_bytes, ram_bytes, lost_bytes; /* lost: sim.h */
    struct plan_rates rates;             /* of the plan and of the clock; disk is not simulated */
    struct sim_card more[SIM_CARDS - 1]; /* (n_more) cards after the first, which rates describes */
    int n_more;
    double peer;       /* bytes/s from card to card; 0 = through main memory */
    double link_limit; /* bytes/s, as the engine's option; 0 = none */
    enum plan_mode mode;
    enum plan_split split; /* of several cards */
    int cpu_layers;        /* PLAN_ANY = the mode decides */
    int n_ctx, n_seq;
    /* the placement to run, which then decides instead of mode and cpu_layers; NULL = the engine's
     * own. n_run: sequences that run on it; 0 = its n_seq */
    const struct plan *plan;
    int n_run;
    enum fmt kv_fmt;
    const char *draft_model; /* NULL = none */
    int max_draft;
    double spoil; /* share of its drafts that are rejected; all others are accepted */
    /* tokens of each prompt. 0 = the most with which all sequences can begin. Without a draft, the
     * last steps are then measured: the first sequence has nearly n_ctx tokens in them */
    int n_prompt;
    /* measured steps, after n_warm unmeasured ones or more; with a draft: tokens of the last
     * sequence */
    int n_step;
    int n_warm;
};

struct simulated {
    /* mean of the measured steps; with a draft: mean of the last sequence's tokens */
    double step_s;
    double rate; /* tokens a second, all sequences together */
    /* mean number of tokens per sequence and step, of the whole run */
    double per_pass;
    /* share of that time: of the cards the mean, and of each */
    double busy[SIM_ENGINES], card_busy[SIM_CARDS][SIM_ENGINES];
    int n_card;
    int n_run;             /* sequences that ran */
    int kv_len;            /* longest sequence, in the middle of the measured steps */
    double begin;          /* of the measured steps, on the clock of the spans */
    struct plan plan;      /* the engine's plan; simulated_free frees it */
    struct sim_span *span; /* (n_span) of the measured steps */
    size_t n_span;
};

/* The result is a pure function of `in` and of the model file's header. A plan of tensor parallel:
 * calls and copies take PLAN_CALL_S and PLAN_COPY_S, too (sim.h). Errors as engine_open; ERR_USAGE
 * when n_ctx is too short for n_seq sequences to meet. */
int simulate_run(const struct simulate *in, struct simulated *out, struct err *e);
void simulated_free(struct simulated *r);

#endif
