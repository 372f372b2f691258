/* rerun: computes a recorded case again, and compares the bytes. */
#ifndef MAS_RERUN_H
#define MAS_RERUN_H

#include "replay.h"

#define RERUN_SETS 32

struct rerun_options {
    const char *dir;
    const char *role;  /* NULL = every role is compared */
    const char *model; /* NULL = the run's */
    const char *data;  /* NULL = the run's */
    const char *set[RERUN_SETS];
    int n_set;
};

/* Prints the differences of the identities, then one line a call, then the verdict. The settings
 * are those of the run's identity. ERR_ITEMS when a prompt, a reply or the answer differs. Errors
 * of clinic_open; ERR_NOINPUT when the questions have no such case. */
int rerun(const struct rerun_options *o, const struct replay *r, const struct replay_case *c,
          struct err *e);

#endif
