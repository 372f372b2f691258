/*
 * recording: records a clinical run and writes its timeline as a Trace Event file (profile.h). It
 * keeps the first intervals of the run and says how many it did not keep.
 */
#ifndef MAS_RECORDING_H
#define MAS_RECORDING_H

#include "llm.h"
#include "outfile.h"
#include "record.h"

struct recording { /* without a recorder: no timeline is wanted */
    struct recorder *recorder;
    struct outfile *file;
    const char *path;
    struct spans *spans; /* pass these on; NULL = none */
};

/* Opens the file before the run, so that a bad path fails early. ERR_USAGE for a path that
 * viewfile_free refuses. path NULL: records nothing. next: sinks that get all spans, too, or
 * NULL. */
int recording_open(const char *path, struct spans *next, struct recording *out, struct err *e);
/* Writes the file, unless a file of another kind took its name during the run. No call may be in
 * flight. command: the words of the command line. Does nothing without a timeline. */
int recording_save(struct recording *r, struct llm *llm, char *const *command, int n,
                   struct err *e);
/* After the llm is closed. A file that was not saved does not appear. */
void recording_close(struct recording *r);

#endif
