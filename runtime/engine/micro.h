/* micro: cuts the rows of a batch into micro-batches for a pipeline (plan.h: plan_n_micro). */
#ifndef MAS_MICRO_H
#define MAS_MICRO_H

#include "forward.h"

/* Writes rows first .. first + n - 1 of b to out, whose arrays have the sizes of those of b. Rows,
 * positions in q_start and logit_row count from the first row. A sequence that begins or ends
 * outside has only its rows here: kv_len ends at its last one. max_kv_len is that of b. logit_row
 * keeps the order of b. */
void micro_slice(const struct batch *b, int max_pages, int first, int n, struct batch *out);

/* order[i]: the place of logits row i of b when the rows with logits of all n_micro micro-batches
 * lie one after the other. order (b->n_logit). */
void micro_order(const struct batch *b, int n_micro, int32_t *order);

#endif
