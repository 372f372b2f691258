/*
 * shape: the models that tools know by name (shapes.def), and sketches of models for predictions. A
 * sketch comes from a shape, without a file, or from the header of a file.
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

/* false when no shape has that name. */
bool shape_find(const char *name, struct shape *out);
/* Fails with ERR_USAGE. The text names the option, the unknown name and all known names. */
int shape_unknown(const char *option, const char *name, struct err *e);

struct sketch {        /* a model for predictions */
    struct gguf *file; /* NULL: the sketch of a shape */
    struct model m;
};

int sketch_shape(const struct shape *shape, enum mixture mix, struct sketch *out, struct err *e);
/* path: a name for source_open. Errors of source_open and model_init. */
int sketch_file(const char *path, struct sketch *out, struct err *e);
void sketch_close(struct sketch *s);

#endif
