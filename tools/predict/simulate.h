/*
 * simulate: decode steps of a model on a device that is not there (kernels/sim.h), by the whole
 * engine: its plan, its scheduler, its stage. Needs a file, which may be hollow (synth.h); weights
 * are not read.
 */
#ifndef MAS_SIMULATE_H
#define MAS_SIMULATE_H

#include "engine.h"
#include "sim.h"

struct simulate {
    const char *model;
    uint64_t vram_bytes, ram_bytes, lost_bytes; /* lost: sim.h */
    struct plan_rates rates; /* of the plan; disk, step_s and launch_s are not simulated */
    enum plan_mode mode;
    int cpu_layers; /* PLAN_ANY = as the mode says */
    int n_ctx, n_seq;
    enum fmt kv_fmt;
    const char *draft_model; /* NULL = none */
    int max_draft;
    double spoil; /* share of its guesses that are wrong: all others are right */
    /* tokens of each prompt; 0 = as many as leave room for all sequences to begin */
    int n_prompt;
    /* measured, after n_warm that are not; with a draft: tokens of the last sequence */
    int n_step;
    int n_warm;
};

struct simulated {
    /* mean of the measured steps; with a draft: of the last sequence's tokens */
    double step_s;
    double rate; /* tokens a second, all sequences together */
    /* tokens that a sequence got out of a step, on average; of the whole run */
    double per_pass;
    double busy[SIM_ENGINES]; /* share of that time */
    int kv_len;               /* longest sequence in the middle of them */
    double begin;             /* of the measured steps, on the clock of the spans */
    struct plan plan;         /* what the engine planned; plan_free by simulated_free */
    struct sim_span *span;    /* (n_span) of the measured steps */
    size_t n_span;
};

/* Errors as engine_open; ERR_USAGE when n_ctx is too short for n_seq sequences to meet. */
int simulate_run(const struct simulate *in, struct simulated *out, struct err *e);
void simulated_free(struct simulated *r);

#endif
