/*
 * call_text: an op's call in words, such as "Q4_K 1x4096->14336 swiglu norm". Equal texts mean
 * equal formats and shapes. Cases of benchmarks, profiles and error messages use these texts. So
 * their rows can be laid side by side.
 */
#ifndef MAS_CALL_TEXT_H
#define MAS_CALL_TEXT_H

#include "ops.h"

enum { CALL_TEXT = 128 }; /* bytes that hold every text */

#define X(op) void call_text_##op(const struct op##_args *a, char out[CALL_TEXT]);
OP_LIST(X)
#undef X

const char *call_epilogue_name(enum matmul_epilogue e); /* "store" .. "geglu" */

#endif
