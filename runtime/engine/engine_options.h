/*
 * engine_options: the settings that a caller passes to the engine. options.def has one row for each
 * member that users may choose, with its meaning, range and default.
 */
#ifndef MAS_ENGINE_OPTIONS_H
#define MAS_ENGINE_OPTIONS_H

#include "fmt.h"
#include "option.h"
#include "plan.h"

struct engine_options {
#define X(...) OPTION_MEMBER(__VA_ARGS__)
#include "options.def"
#undef X
    /* for callers in C only: */
    uint64_t swap_bytes; /* bytes of host memory for KV pages; 0 = the plan chooses */
    bool always_draft;   /* for tests: draft even if it costs more than it saves */
    double spoil_drafts; /* 0 to 1, share of drafted tokens made wrong: for simulations */
    struct spans *spans; /* sinks of the work's intervals (span.h), which outlive the engine */
    struct sim *sim;     /* the clock of backend "sim" */
    /* folders for names of models, which engine_open reads; NULL = paths and demo */
    const struct source_places *places;
    /* (n_rates) of the machine, with several devices of each; NULL = measured when needed */
    const struct plan_rates *rates;
    int n_rates; /* 0 = one, which stands for every device */
    /* with rates: bytes/s from device to device by peer access; 0 = the slower link of the two */
    double peer_rate;
    /* the placement to carry out, for simulations; NULL = the engine makes its own. It must be of
     * this model and these devices. The engine keeps a copy. */
    const struct plan *plan;
    void (*progress)(uint64_t done, uint64_t total, void *user); /* loading, bytes; may be NULL */
    void *user;
};

/* The rows of options.def, for struct engine_options. */
extern const struct option_set engine_option_set;

#endif
