/*
 * target: the names of the files that a command writes. One rule for all of them:
 *
 * - An output is no input of the command, by whatever name or link.
 * - Two outputs are not one file.
 * - An existing regular file is replaced only when it is empty, when it is of the kind that is
 *   written (viewfile.h), or with --force.
 *
 * Pipes, devices and descriptors may always be written.
 */
#ifndef MAS_TARGET_H
#define MAS_TARGET_H

#include "viewfile.h"

struct target {
    const char *option; /* "--csv", for messages */
    const char *path;   /* NULL = not written; "-" = standard output */
    enum viewfile kind;
};

enum target_force {
    TARGET_NEVER, /* the command has no --force */
    TARGET_ASKS,  /* --force was not given */
    TARGET_FORCED
};
/* input: (n_input) paths that the command reads; NULL entries are left out. ERR_USAGE names the
 * option, the file and the rule. Errors of outfile_replaces. Call it before anything is written. */
int target_check(const struct target *t, size_t n, const char *const *input, size_t n_input,
                 enum target_force force, struct err *e);

#endif
