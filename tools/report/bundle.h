/*
 * bundle: the folder of a run, or of an experiment, as one file for a reviewer: a tar archive
 * (POSIX.1-1988 ustar) in gzip. The same files give the same bytes: names are sorted, and no time
 * or owner is kept.
 *
 *   NAME/run.json, records.jsonl, traces.jsonl[.gz], summary.json, results.csv
 *   NAME/traces.jsonl.gz.old, ..    former traces whose failed attempts were replaced (retried.h)
 *   NAME/review/manifest.json       size and sha256 of every other file; hashes of the run
 *   NAME/review/config.json         the settings
 *   NAME/review/prompts/S/..        prompts and schemas of the strategy, and shared forms
 *   NAME/review/specialties.yaml    the catalogue
 *   NAME/review/questions.jsonl     the data file, if it was found unchanged
 *   NAME/review/report.html         the page of mas report
 *
 * Of an experiment:
 *
 *   NAME/grid.json, summary.json
 *   NAME/CELL/run.json, ..          as above, of each run that has begun
 *   NAME/CELL/review/..             its settings, prompts and catalogue
 *   NAME/review/..                  questions, page and manifest, of all runs
 *
 * The model is not in it; its sha256 is.
 */
#ifndef MAS_BUNDLE_H
#define MAS_BUNDLE_H

#include "mem.h"
#include "str.h"

#define BUNDLE_BYTES ((size_t)4 << 30) /* largest archive that is read back, unpacked */
#define BUNDLE_NAME 220                /* longest name, bytes, with the folder's */
#define BUNDLE_FILES 32768

struct bundle_file {
    char name[BUNDLE_NAME + 1]; /* below the folder NAME: "review/manifest.json" */
    struct str data;
};

struct bundle {
    char top[64];      /* NAME */
    const char *under; /* a folder below NAME for the files that are added; NULL = none */
    struct bundle_file *f;
    size_t n, cap;
};

/* Moves data into the bundle. ERR_DATA for a name that is too long, has a step upwards, or does not
 * fit into the two fields of a header. */
int bundle_add(struct bundle *b, const char *name, struct str *data, struct err *e);
const struct bundle_file *bundle_find(const struct bundle *b, const char *name); /* NULL: none */
/* By name. */
void bundle_sort(struct bundle *b);
/* Sorts the files and appends the archive. ERR_NOMEM. */
int bundle_pack(struct bundle *b, struct str *out, struct err *e);
/* Reads an archive of bundle_pack. Any other form of tar is refused. ERR_DATA names the byte of the
 * unpacked archive; ERR_NOINPUT, ERR_IO, ERR_NOMEM. */
int bundle_read(const char *path, struct bundle *out, struct err *e);
/* The same of an archive that is unpacked and in memory. The text is untrusted. */
int bundle_parse(const char *text, size_t n, struct bundle *out, struct err *e);
void bundle_free(struct bundle *b); /* accepts a zeroed one */

#endif
