/*
 * manifest: run.json, the description of a run. It holds the identity, the records asked for, the
 * content of the data file, and a session for each change of settings. It also holds the failed
 * attempts that were replaced, and the figures of the last report. Rewritten parts keep every
 * digit. A run by several versions of the program has "versions", which names them.
 */
#ifndef MAS_MANIFEST_H
#define MAS_MANIFEST_H

#include "folder.h"
#include "jdoc.h"
#include "trace.h"

#define MANIFEST_BYTES ((size_t)64 << 20) /* largest run.json that is read back */

struct manifest {
    struct str head;        /* run.json up to the next member */
    struct retried retried; /* questions that were asked again; written if there are any */
    struct str json;        /* all of run.json, as last written */
};

/* ERR_CONFIG unless the document is of the format that this program writes. */
int manifest_format(const json_t *doc, const char *dir, struct err *e);
/* Appends the versions of the program in the sessions of a run.json, each once, as a
 * JSON array. *n: their number. */
void manifest_versions(const json_t *sessions, struct str *out, int *n);
/* Begins a new run, or continues one whose run.json exists and has the same identity. notes names
 * the settings that differ. Writes records.jsonl. ERR_CONFIG, ERR_DATA, ERR_IO, ERR_NOMEM. */
int manifest_begin(struct manifest *m, const struct folder *f, const struct trace_options *o,
                   struct err *e);
int manifest_continue(struct manifest *m, const struct folder *f, struct str *notes,
                      const struct trace_options *o, struct err *e);
void manifest_free(struct manifest *m);
/* Writes run.json with these figures, a JSON object. */
int manifest_write(struct manifest *m, const struct folder *f, const char *figures, struct err *e);

#endif
