/*
 * imatrix: an importance matrix: for each column of a weight matrix, the mean square of the
 * activations that it was multiplied by. An encoder weighs the error of a column with it. llama.cpp
 * makes such files (tools/imatrix, program llama-imatrix). Two forms are read:
 *
 *   GGUF     general.type = "imatrix"; tensors NAME.in_sum2 (columns) with sums of squares, and
 *            NAME.counts (1) with their number
 *   legacy   32-bit integers and f32 in little endian: entries; of each entry the length of its
 *            name, the name, the number of passes, columns, sums; then passes and the name of the
 *            text
 *
 * The file is untrusted. A number that is negative, infinite or NaN is an error.
 */
#ifndef MAS_IMATRIX_H
#define MAS_IMATRIX_H

#include <stdint.h>

#include "err.h"

struct imatrix;

/* ERR_NOINPUT: the file cannot be opened. ERR_DATA: it has neither form; the message names entry
 * and offset. ERR_NOMEM. */
int imatrix_open(const char *path, struct imatrix **out, struct err *e);
void imatrix_close(struct imatrix *im); /* accepts NULL */

/* *w: (cols) importances of the columns of the tensor, with mean 1 and none below IMATRIX_LEAST, so
 * that a column that no text used still counts. NULL: the file has no entry for it. ERR_DATA: the
 * entry has another number of columns. Valid until imatrix_close. */
#define IMATRIX_LEAST 1e-4f
int imatrix_find(const struct imatrix *im, const char *tensor, int64_t cols, const float **w,
                 struct err *e);

int imatrix_entries(const struct imatrix *im);
int64_t imatrix_chunks(const struct imatrix *im);      /* of text; 0: not stated */
const char *imatrix_dataset(const struct imatrix *im); /* name of the text; "": not stated */

#endif
