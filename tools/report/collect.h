/* collect: gathers the files of a bundle (bundle.h) from a run's folder. */
#ifndef MAS_COLLECT_H
#define MAS_COLLECT_H

#include <stdbool.h>

#include "bundle.h"

struct collect_notes {
    bool has_data; /* the questions are in it */
    bool has_page; /* so is the report: an experiment may have too many runs for one */
    /* the figures on disk were older than the trace; those in it are computed anew */
    bool renewed;
};
/* data: a file of questions; NULL = the one that the run names. It is left out when it is not the
 * run's. ERR_DATA when the run is damaged; ERR_NOINPUT, ERR_IO, ERR_NOMEM. */
int collect_run(const char *dir, const char *data, struct bundle *out, struct collect_notes *notes,
                struct err *e);

/* The same of an experiment: every run that has begun. data as above. ERR_CONFIG when a cell's folder
 * holds another run (gridcell.h). */
int collect_experiment(const char *dir, const char *data, struct bundle *out,
                       struct collect_notes *notes, struct err *e);

/* Writes every file into the folder dir, which exists, and its subfolders. ERR_CREATE, ERR_IO. */
int collect_unpack(const struct bundle *b, const char *dir, struct err *e);
void collect_remove(const struct bundle *b, const char *dir); /* files of collect_unpack */

#endif
