/* collect: gathers the files of a bundle (bundle.h) from a run's folder. */
#ifndef MAS_COLLECT_H
#define MAS_COLLECT_H

#include <stdbool.h>

#include "bundle.h"

struct collect_notes {
    bool has_data; /* the questions are in it */
    bool renewed; /* the figures on disk were older than the trace; those in it are computed anew */
};
/* data: a file of questions; NULL = the one that the run names. It is left out when it is not the
 * run's. ERR_DATA when the run is damaged; ERR_NOINPUT, ERR_IO, ERR_NOMEM. */
int collect_run(const char *dir, const char *data, struct bundle *out, struct collect_notes *notes,
                struct err *e);

/* Writes every file into the folder dir, which exists, and its subfolders. ERR_CREATE, ERR_IO. */
int collect_unpack(const struct bundle *b, const char *dir, struct err *e);
void collect_remove(const struct bundle *b, const char *dir); /* files of collect_unpack */

#endif
