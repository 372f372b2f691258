/*
 * engine_options: everything that a caller tells the engine. The members that users may choose are
 * the rows of options.def; each stands there with its meaning, range and default.
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
    /* Not for users: */
    uint64_t swap_bytes; /* memory for KV pages on the host; 0 = as the plan says */
    bool always_draft;   /* also where drafting does not pay: for tests */
    double spoil_drafts; /* 0 to 1, share of drafted tokens made wrong: for simulations */
    bool profile;        /* measure the time of every op (engine_profile) */
    struct sim *sim;     /* the clock of backend "sim" */
    const struct plan_rates *rates; /* of the machine; NULL = measured when they are needed */
    void (*progress)(uint64_t done, uint64_t total, void *user); /* loading, bytes; may be NULL */
    void *user;
};

/* The rows of options.def, for struct engine_options. */
extern const struct option_set engine_option_set;

#endif
