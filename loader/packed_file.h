/*
 * packed_file: what the parts of packed share.
 *
 *   packed.c         opens, checks and maps the file
 *   packed_text.c    says which model a file was made from
 *   packed_lock.c    lets one process write
 *   packed_write.c   writes the file
 */
#ifndef MAS_PACKED_FILE_H
#define MAS_PACKED_FILE_H

#include <sys/types.h>
#include <time.h>

#include "gguf_bytes.h"
#include "packed.h"
#include "str.h"

#define PACKED_MAGIC "maspack2" /* its last character is the version of the layout */
#define PACKED_KIND 7           /* characters that all versions have in common */

struct packed_tensor {
    uint64_t file_at, bytes, at; /* in the model; in the file of packed weights */
    const struct tensor *t;
    bool packs;
};

struct packed_old { /* a file that may not be used and is to be removed */
    bool there;
    dev_t dev;
    ino_t ino;
};

struct packed {
    const struct gguf *g; /* borrowed while it is opened */
    char *path;
    struct packed_tensor *tensor; /* (n) in the order of the model's file */
    size_t n;
    uint64_t bytes, n_sum; /* of head and weights, padded; blocks of them */
    struct str text;       /* the one that a valid file has; it begins with packed_identity's */
    int workers;           /* threads that check */
    /* of the file of that name */
    struct packed_old old;
    struct gguf_bytes file; /* mapped if it is valid */
    struct timespec ctime;
    uint64_t *sum; /* (n_sum) the checksums of a valid file */
    bool touched;  /* the log has said that its times changed */
};

struct packed_foot {
    char magic[8];
    uint64_t bytes, text_bytes, n_sum;
    uint64_t sum; /* of text and sums */
};

/* The folder of the file. */
int packed_dir(const struct packed *p, struct str *dir, struct err *e);
/* Appends why the file of this owner may not decide what the user computes with; nothing if it
 * may. */
void packed_check_owner(const struct gguf *g, uid_t owner, struct str *why);

/* Appends the lines "KEY = VALUE" that tell one version of the model's files from another. ERR_IO:
 * a file is gone. */
int packed_identity(const struct gguf *g, struct str *out, struct err *e);
/* Fills p->text: identity, order, samples, tensors. ERR_IO: the model cannot be read or changes. */
int packed_text(struct packed *p, const struct gguf *g, const char *order, struct err *e);
/* Appends a sentence about the first line in which the text (was, n_was) of a file differs from the
 * text (now, n_now) of this model. */
void packed_differs(const char *was, size_t n_was, const char *now, size_t n_now, struct str *why);

/* Locks the folder of the file, so that one process writes it. Says on stderr which process it
 * waits for. *lock: close it; -1 = this system cannot lock. */
int packed_lock(const struct packed *p, int *lock, struct err *e);

/* Removes the file p->old, writes the file of o->w and gives it its name. *refused: an error is the
 * fault of the file or its folder, not of the model. */
int packed_write(struct packed *p, const struct packed_options *o, bool *refused, struct err *e);

#endif
