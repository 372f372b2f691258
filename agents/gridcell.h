/*
 * gridcell: does the folder of a cell hold that cell? A folder can be moved, or be written by
 * another command. The hash of a cell (grid.h) is computed again from the identity in run.json, and
 * compared with the hash in grid.json.
 */
#ifndef MAS_GRIDCELL_H
#define MAS_GRIDCELL_H

#include "gridfile.h"

/* 0: DIR/NAME holds cell `at` of the file. ERR_CONFIG: it holds another run; the message names the
 * cell whose run it is, or the first setting that differs. ERR_NOINPUT: no run has begun there.
 * ERR_DATA, ERR_IO, ERR_NOMEM. */
int gridcell_check(const char *dir, const struct gridfile *f, size_t at, struct err *e);

#endif
