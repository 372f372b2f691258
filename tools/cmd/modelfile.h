/*
 * modelfile: the parts that the commands share that write a model file: the refusal to write onto
 * their input, and their progress.
 */
#ifndef MAS_MODELFILE_H
#define MAS_MODELFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/* ERR_USAGE when `out` is the file `in`, by any name or link. */
int modelfile_apart(const char *in, const char *out, struct err *e);

/* Progress on stderr: a bar that rewrites itself on a terminal, a line every few seconds
 * elsewhere. */
struct modelfile_progress {
    const char *verb; /* "quantizing" */
    uint64_t total;   /* bytes */
    bool quiet;
    /* private */
    bool terminal, drawn;
    int64_t start_ns, last_ns;
};

void modelfile_progress_begin(struct modelfile_progress *p, const char *verb, uint64_t total,
                              bool quiet);
void modelfile_progress_show(struct modelfile_progress *p, uint64_t done, const char *what);
void modelfile_progress_end(struct modelfile_progress *p); /* clears the bar */

#endif
