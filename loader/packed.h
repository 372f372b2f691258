/*
 * packed: the weights of a model in the order that the backend multiplies fastest, kept in a file.
 * A later start maps that file: nothing is read twice, converted or copied. Processes of one host
 * share its pages.
 *
 *   file = head | weights, each at a multiple of WEIGHTS_ALIGN | text | sums | foot
 *
 *   head   the magic, which has the version of this layout; WEIGHTS_ALIGN bytes
 *   text   the model's files: size, inode, device, time of the last write, change time (ctime);
 *          the order of the weights, a hash of samples of their bytes, and a line for each tensor
 *   sums   a checksum of every PACKED_BLOCK bytes of head and weights
 *   foot   sizes, a checksum of text and sums, and the magic again
 *
 * Invariants:
 *   - A file under its name is complete: it is written under no name and synced before that.
 *   - A file is used only when its sizes agree, its text is the one that this model and backend
 *     would have, and every checksum is right. All weights are read for that at each opening, which
 *     also brings them into memory. A checksum finds damage, not forgery: so the file's owner must
 *     be this user, root, or the owner of the model.
 *   - Any other file of packed weights, and an empty file, is refused with a warning that gives the
 *     reason. It is removed and written again. Processes that have mapped the old one keep it.
 *   - Anything else of that name stays as it is: a link, a FIFO, a folder, a device, a file with
 *     other content. A warning names it.
 *   - Of processes that need the file at once, one writes it and the others wait for it. If the
 *     system cannot lock the folder, each writes, and the last one's file stays.
 *   - No fault of the file or of its folder fails packed_open: there is a warning, and there are no
 *     packed weights. The caller loads as without them.
 */
#ifndef MAS_PACKED_H
#define MAS_PACKED_H

#include <stdbool.h>
#include <stdint.h>

#include "ops.h"
#include "weights.h"

/* bytes of weights that have one checksum, and that a thread checks at a time */
#define PACKED_BLOCK ((uint64_t)8 << 20)

struct packed;

struct packed_options {
    /* "" = none; "true" = beside the model's file, where links lead to; otherwise a folder that
     * exists */
    const char *where;
    const struct weights *w; /* borrowed */
    struct ops *ops;         /* packs and checks; borrowed during packed_open */
    /* (bytes done, bytes in all, user) while a file is written; NULL = none */
    void (*progress)(uint64_t, uint64_t, void *);
    void *user;
};

/* Opens the file of packed weights, and writes it first if there is no valid one. *out = NULL:
 * there are none, because the options ask for none or because a warning has said why. ERR_USAGE:
 * the folder does not exist. ERR_IO: the model cannot be read, or it changes. ERR_NOMEM. */
int packed_open(const struct packed_options *o, struct packed **out, struct err *e);
void packed_close(struct packed *p); /* the weights' views die; accepts NULL */

/* The weights of the tensor that begins at this byte of the model: a view, read only. *packs: they
 * are in the backend's order. NULL: no such tensor. */
const void *packed_find(const struct packed *p, uint64_t file_at, bool *packs);
/* Are the mapped weights those that were opened? Cheap enough for a call before every step. Only
 * when a time of the file has changed, all weights are compared with the checksums again. ERR_IO:
 * the file has another size or other weights. One thread at a time. */
int packed_unchanged(struct packed *p, struct err *e);
const char *packed_path(const struct packed *p);
/* The packing of a matrix: some of its rows, from the model, in the backend's order, to dst. The
 * n rows begin at row first; both are multiples of LANES, except that n may reach to the last row.
 * place.c packs with it into memory. */
int packed_rows(struct ops *ops, const struct gguf *g, uint64_t file_at, const struct tensor *w,
                int64_t first, int64_t n, void *dst, struct err *e);
/* Rows from `at` on for one call of packed_rows, at most about 64 MiB. */
int64_t packed_step(const struct tensor *w, int64_t at);

#endif
