/*
 * grid: an experiment, which is a configuration with several values for some of its keys. A point
 * is one value of each key (a factor). A cell is a run: the points that it stands for differ only
 * in settings that its strategy does not read. EXPERIMENTS.md has the form of the file.
 *
 *   configuration with `experiment:` -- grid_open --> cells -- grid_identify --> hashes
 *     -- gridfile_adopt --> the folders of an earlier start
 *
 * A cell leaves the settings that it does not read as the configuration has them. So a further
 * value of such a factor changes no cell.
 */
#ifndef MAS_GRID_H
#define MAS_GRID_H

#include "config.h"
#include "strategy.h"
#include "subset.h"

#define GRID_GROUP "experiment" /* the group of keys in a configuration */
#define GRID_FACTORS 16
#define GRID_POINTS 4096
#define GRID_NAME 95 /* bytes of the name of a cell's folder */

/* The keys of the group but its factors. */
struct grid_options {
    const char *name;
    struct option_list seeds, only, exclude;
    int n; /* first records of the file; 0 = all */
    const char *step, *ids_file;
    int64_t sample, sample_seed;
    /* variants of the chosen records (vary.h), at most one of three; "" and false = none */
    const char *permute, *paraphrases;
    bool none_of_the_above;
};

struct grid_factor {
    const char *key;          /* of the configuration */
    const char *const *value; /* (n) as texts */
    int n;
    const char *origin; /* its place in the file */
};

enum grid_state { GRID_WAITING, GRID_PARTIAL, GRID_DONE, GRID_FAILED, GRID_REMOVED };
const char *grid_state_name(enum grid_state s); /* "waiting", "partial", .. */

struct grid_cell {
    char name[GRID_NAME + 1]; /* of its folder, below the experiment's */
    int value[GRID_FACTORS];  /* index of the factor's value; -1 = the strategy does not read it */
    struct config config;     /* the settings of the run; borrows texts of the base */
    int model;                /* cells with the same number can share one llm */
    int family;               /* cells with the same number share the beginnings of their prompts */
    char hash[65];            /* of all that the results depend on, but the model's bytes */
    /* the outcome so far */
    enum grid_state state;
    char why[400]; /* of a failed cell */
    size_t done, total, correct;
};

struct grid {
    struct grid_options options;
    struct grid_factor factor[GRID_FACTORS]; /* (n_factor), in the order of the file; seed last */
    int n_factor;
    struct grid_cell *cell; /* (n), in the order of the product; the last factor varies first */
    size_t n, cap;
    size_t *order; /* (n) cells as they are run: by model, then by family, then as above */
    size_t points, left_out; /* of the product; left out by the rules `only` and `exclude` */
    struct arena arena;
};

/* Does the configuration hold an experiment? */
bool grid_given(const struct config *base);
/* Reads the group of base and makes the cells. base must outlive the grid. shuffle: as in
 * strategy_env. ERR_CONFIG names key, value and place; ERR_NOMEM. */
int grid_open(const struct config *base, bool shuffle, struct grid *out, struct err *e);
void grid_close(struct grid *g); /* accepts a zeroed one */
/* The questions of all cells. */
struct grid_data {
    const char *sha256;   /* of their file */
    const char *subset;   /* JSON text of the choice among them, "" = all */
    const char *variants; /* JSON text of the variants made of them, "" = none */
    bool shuffle;         /* as in strategy_env */
};
/* Sets each cell's hash. ERR_NOMEM. */
int grid_identify(struct grid *g, const struct grid_data *data, struct err *e);
/* Value i of the cell as text; NULL = not read. */
const char *grid_value(const struct grid *g, const struct grid_cell *c, int factor);
/* Does the strategy of these settings read the key? */
bool grid_reads(const struct config *c, const char *key, bool shuffle);

#endif
