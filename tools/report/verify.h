/*
 * verify: checks a run's folder, or the unpacked folder of a bundle (bundle.h), part by part. Each
 * difference is named with its place. A part that is not at hand is named as not checked.
 */
#ifndef MAS_VERIFY_H
#define MAS_VERIFY_H

#include <stdbool.h>

#include "str.h"

struct verify_known { /* the last model file whose hash was computed; begin with zeros */
    char name[1024], sha256[65];
};

struct verify_options {
    const char *dir;
    const char *model;  /* a file, or a name as for -m; NULL = the run's, where it is found */
    const char *data;   /* NULL = the bundle's, or the file that the run names */
    const char *lead;   /* begins each finding; NULL = nothing */
    bool of_experiment; /* a cell: the experiment has the manifest */
    struct verify_known *known; /* NULL = nothing is kept */
};

struct verify {
    int n_same, n_differ, n_open; /* parts: as recorded, different, not checked */
    struct str text;              /* one line a finding */
};

/* 0 also when parts differ; then n_differ is not 0. Other errors: the check itself failed. */
int verify_folder(const struct verify_options *o, struct verify *out, struct err *e);
/* The same of the folder of an experiment: grid.json, its figures, and each cell that has begun. */
int verify_experiment(const struct verify_options *o, struct verify *out, struct err *e);
void verify_free(struct verify *v);

#endif
