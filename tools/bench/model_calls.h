/*
 * model_calls: the matmuls of one step of a known model (shapes.def), as forward.c calls them. Q, K
 * and V are one call with the norm; gate and up are another. Formats are those of Q4_K_M
 * (mixture.h).
 */
#ifndef MAS_MODEL_CALLS_H
#define MAS_MODEL_CALLS_H

#include "case.h"

enum { MODEL_CALLS = 16 };

struct model_call {
    struct matmul_call call;
    int times; /* in a step */
};

/* Different calls in the order of their first use; *n of them. model: "8b", "70b" or a name of
 * shapes.def. fmt: of every matrix, -1 = those of Q4_K_M. *n = 0: there is no such model. */
int model_calls(const char *model, int fmt, struct model_call out[MODEL_CALLS], int *n,
                struct err *e);

#endif
