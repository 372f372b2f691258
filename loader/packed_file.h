/* packed_file: what the parts of packed share: packed.c opens and checks the file, packed_write.c
 * writes it. */
#ifndef MAS_PACKED_FILE_H
#define MAS_PACKED_FILE_H

#include "gguf_bytes.h"
#include "packed.h"
#include "str.h"

#define PACKED_MAGIC "maspack1"

struct packed_tensor {
    uint64_t file_at, bytes, at; /* in the model; in the file of packed weights */
    const struct tensor *t;
    bool packs;
};

struct packed {
    char *path;
    struct packed_tensor *tensor; /* (n) in the order of the model's file */
    size_t n;
    uint64_t bytes, n_sum;  /* of weights, padded; blocks of them */
    struct str text;        /* the one that a valid file has */
    struct gguf_bytes file; /* mapped */
};

struct packed_foot {
    char magic[8];
    uint64_t bytes, text_bytes, n_sum;
    uint64_t sum; /* of text and sums */
};

/* The folder of the file. */
int packed_dir(const struct packed *p, struct str *dir, struct err *e);
/* Writes the file of o->w and gives it its name. *refused: an error is the fault of the file or its
 * folder, not of the model. */
int packed_write(struct packed *p, const struct packed_options *o, bool *refused, struct err *e);

#endif
