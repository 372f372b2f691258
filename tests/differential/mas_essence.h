/*
 * mas_essence: the part of a command's output that no free setting may change, as sorted lines of
 * text.
 *
 * Left out are times, energy, and figures of cache and guesses. Every other field counts, also one
 * that is new.
 */
#ifndef MAS_MAS_ESSENCE_H
#define MAS_MAS_ESSENCE_H

#include "str.h"

/* Traces, results.csv and summary.json of a run's folder. ERR_DATA names what cannot be read. */
int essence_of_eval(const char *dir, struct str *out, struct err *e);
/* The JSON object that generate --json prints. */
int essence_of_generate(const char *path, struct str *out, struct err *e);
/* The line that perplexity prints, and a hash of its logits where logits names a file that exists.
 */
int essence_of_perplexity(const char *path, const char *logits, struct str *out, struct err *e);

/* Says where two essences differ: the first lines, and of JSON lines the fields. */
void essence_print_difference(const char *plain, const char *other);

#endif
