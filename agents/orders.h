/*
 * orders: does the order of the options, or the wording, change the answer? The variants of one
 * question are a group (vary.h). Questions without an origin are a group if text and options are
 * the same, in whatever order.
 */
#ifndef MAS_ORDERS_H
#define MAS_ORDERS_H

#include "export.h"
#include "stats.h"

struct orders {
    struct stats_rate same;  /* groups whose answers all name the same option, of n groups */
    struct stats_rate right; /* groups that are right in all variants, of n groups */
    size_t alone;            /* finished questions without another variant, in no group */
    size_t unfinished;       /* groups of which a part alone is finished, in no rate */
    /* Finished questions by the place at which the key was shown, and the share of right ones. */
    struct stats_rate at[MEDQA_OPTIONS];
    size_t chosen[MEDQA_OPTIONS]; /* answers by the place at which the option was shown */
    size_t not_shown;             /* finished questions without a recorded order (imported) */
};
/* ERR_DATA, ERR_NOMEM. */
int orders_count(const struct export_run *x, struct orders *out, struct err *e);
/* A table for people. */
void orders_table(const struct orders *o, struct str *out);
/* The same as one JSON object; the members of "places" are letters. */
void orders_json(const struct orders *o, struct str *out);

#endif
