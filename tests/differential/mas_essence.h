/*
 * mas_essence: the part of a command's output that no free setting may change, as sorted lines of
 * text.
 *
 * Times, energy, and figures of cache and drafts are left out. Every other field counts, new ones
 * included.
 */
#ifndef MAS_MAS_ESSENCE_H
#define MAS_MAS_ESSENCE_H

#include "str.h"

/* Traces, results.csv and summary.json of a run's folder. ERR_DATA names an unreadable file. */
int essence_of_eval(const char *dir, struct str *out, struct err *e);
/* The JSON object that generate --json prints. */
int essence_of_generate(const char *path, struct str *out, struct err *e);
/* The line that perplexity prints, and a hash of the logits if the file `logits` exists. */
int essence_of_perplexity(const char *path, const char *logits, struct str *out, struct err *e);

/* Prints the first lines that differ between two essences, and the fields of JSON lines. */
void essence_print_difference(const char *plain, const char *other);

#endif
