/*
 * viewfile: the kinds of files that commands write, and their names. Such a file never replaces a
 * file of another kind, for example an input of the command. The kind of a file is told by its
 * beginning; a bundle is read as a whole.
 */
#ifndef MAS_VIEWFILE_H
#define MAS_VIEWFILE_H

#include <argp.h>
#include <stdbool.h>

#include "err.h"

enum viewfile {
    VIEWFILE_TRACE,
    VIEWFILE_TIMELINE,
    VIEWFILE_PAGE,
    VIEWFILE_REPORT,
    VIEWFILE_TABLE,   /* results.csv, and tables of several runs */
    VIEWFILE_SUMMARY, /* summary.json of a run or of an experiment */
    VIEWFILE_IDS,
    VIEWFILE_INSPECT,
    VIEWFILE_BUNDLE,
    VIEWFILE_VARIANTS,
    VIEWFILE_PICTURE
};

/* The value of an option. An empty one prints the message and returns EINVAL for argp. */
error_t viewfile_name(struct argp_state *st, const char *option, const char *arg, const char **out);

/* May path be written? A free name, a FIFO, a device and a descriptor may. An existing regular file
 * may, when it is empty or begins like a file of that kind. Otherwise ERR_USAGE. Call it before
 * outfile_open, which may empty the file. Errors of outfile_replaces, too. */
int viewfile_free(enum viewfile kind, const char *path, struct err *e);
/* True when path is a regular file that is not empty and begins like a file of that kind. */
bool viewfile_is(enum viewfile kind, const char *path);
/* Are both names of one file, by any name or link? A character device is no such file. */
bool viewfile_same(const char *a, const char *b);
/* ERR_USAGE when two options name one file, by any name or link. A path may be NULL. A character
 * device may be named twice. */
int viewfile_apart(const char *option_a, const char *a, const char *option_b, const char *b,
                   struct err *e);

#endif
