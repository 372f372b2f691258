/*
 * shape: the models that tools know by name (shapes.def), and models that are only looked at: of a
 * shape, which has no file, or of a file, of which nothing but the header is read.
 */
#ifndef MAS_SHAPE_H
#define MAS_SHAPE_H

#include "model.h"

struct shape { /* one row of shapes.def */
    const char *name;
    const struct arch *arch;
    struct hparams hp;
    bool tied; /* the output matrix is the embedding */
};

/* False when there is none of that name. */
bool shape_find(const char *name, struct shape *out);
/* ERR_USAGE with the text that names the option, the unknown name and those known. */
int shape_unknown(const char *option, const char *name, struct err *e);

struct sketch {        /* a model for predictions */
    struct gguf *file; /* NULL: of a shape */
    struct model m;
};

int sketch_shape(const struct shape *shape, enum mixture mix, struct sketch *out, struct err *e);
/* path: as source_open takes it, with its errors and those of model_init. */
int sketch_file(const char *path, struct sketch *out, struct err *e);
void sketch_close(struct sketch *s);

#endif
