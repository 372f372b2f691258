/* recorded: the settings of a run that is on disk, as run.json has them. */
#ifndef MAS_RECORDED_H
#define MAS_RECORDED_H

#include <jansson.h>

#include "err.h"
#include "mem.h"

#define RECORDED_SETS 160

struct recorded {
    json_t *doc;            /* run.json */
    const json_t *identity; /* of the run */
    const json_t *about;    /* settings and facts of its last start */
    bool imported;          /* its answers come from a file of mas import: no settings */
    /* (n_set) the settings that decide results, as "key=value" in the form of --set */
    const char *set[RECORDED_SETS];
    int n_set;
    struct arena words;
};

/* ERR_NOINPUT, ERR_IO, ERR_DATA (names the file), ERR_CONFIG (another format), ERR_NOMEM. */
int recorded_open(const char *dir, struct recorded *out, struct err *e);
void recorded_close(struct recorded *r); /* accepts a zeroed one */
/* A text of the identity's settings, of the identity, or of the last start; "" = none. */
const char *recorded_text(const struct recorded *r, const char *key);

#endif
