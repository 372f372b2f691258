/*
 * gridfile: grid.json in the folder of an experiment. It holds the identity of the whole: factors,
 * data, and each cell with its folder, settings and outcome. Each cell's folder is a run (trace.h).
 *
 * The file is written before the first cell, after every cell and at the end, each time as a whole.
 * A cell keeps its folder as long as its hash stays the same, whatever else the experiment's file
 * changes. A cell that the experiment no longer has stays in the file as removed; its folder stays.
 */
#ifndef MAS_GRIDFILE_H
#define MAS_GRIDFILE_H

#include "grid.h"
#include "jdoc.h"

#define GRIDFILE_NAME "grid.json"
#define GRIDFILE_FORMAT 1

/* A cell of a file that was read; texts belong to the file's document. */
struct gridfile_cell {
    const char *name, *hash, *state, *why;
    const char **value; /* (n_key) NULL = the cell does not read it */
    const json_t *doc;
    size_t done, total, correct;
};

struct gridfile {
    json_t *doc;
    const char *name;
    const char **key; /* (n_key) of the factors; a seed is the last one */
    size_t n_key;
    struct gridfile_cell *cell; /* (n) in the order of the product; removed ones at the end */
    size_t n, n_removed;
    struct arena arena;
};

/* Is dir the folder of an experiment? */
bool gridfile_is(const char *dir);
/* ERR_NOINPUT, ERR_DATA, ERR_CONFIG for another format, ERR_NOMEM. */
int gridfile_read(const char *dir, struct gridfile *out, struct err *e);
void gridfile_free(struct gridfile *f); /* accepts a zeroed one */

/* Gives the cells of g the folders that past, an earlier file, has for the same hash. A name that
 * an older cell holds is not taken by another. Appends a line to notes for cells that are kept, new
 * and removed, if past is not the same experiment. */
int gridfile_adopt(struct grid *g, const struct gridfile *past, struct str *notes, struct err *e);

struct gridfile_about {
    const char *version, *data_path;
    const struct grid_data *data;
    size_t asked; /* records */
};
/* Appends or writes the file. past NULL = there was none; its cells that g lacks are written as
 * removed. */
int gridfile_text(const struct grid *g, const struct gridfile_about *about,
                  const struct gridfile *past, struct str *out, struct err *e);
int gridfile_write(const char *dir, const struct grid *g, const struct gridfile_about *about,
                   const struct gridfile *past, struct err *e);

#endif
