/* verify_part: what the parts of a check share (verify.h). */
#ifndef MAS_VERIFY_PART_H
#define MAS_VERIFY_PART_H

#include "recorded.h"
#include "replay.h"
#include "trace.h"
#include "verify.h"

#define VERIFY_SHOWN 8 /* places named of one kind */
#define VERIFY_BYTES ((size_t)4 << 30)

struct verify_check {
    const struct verify_options *o;
    struct verify *v;
    struct recorded recorded; /* empty for an experiment */
    struct trace_run run;
    struct replay lines;
    bool has_run; /* run and lines were read */
};

/* UNFINISHED: as it is after a kill, and counted as not checked. */
enum verify_word { SAME, DIFFERS, OPEN, UNFINISHED };

void verify_say(struct verify_check *c, enum verify_word k, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* An error of a part: bad data and missing files are findings, others end the check. */
int verify_found(struct verify_check *c, int rc, const struct err *why, const char *part,
                 struct err *e);
/* Is the file in the folder? path gets its name. */
bool verify_at_hand(const struct verify_check *c, const char *name, char path[1200]);

/* Compares a file of the folder with its size in bytes and its hash, as `by` lists them. A missing
 * file and another hash are findings, which *bad counts. ERR_IO, ERR_NOMEM. */
struct verify_listed {
    const char *name, *by, *sha256;
    int64_t bytes;
};
int verify_file(struct verify_check *c, const struct verify_listed *f, int *bad, struct err *e);

/* The files of a bundle against review/manifest.json. */
int verify_manifest(struct verify_check *c, struct err *e);
/* The former traces against the names, hashes and replaced attempts of run.json (retried.h). One
 * that run.json does not name is a finding if its attempts are in no other file. */
int verify_former(struct verify_check *c, struct err *e);
/* results.csv and all figures of run.json and summary.json, against those of the trace. Figures
 * that are exactly those of the trace's first cases are older than the trace: a kill leaves such.
 * ERR_NOMEM and errors of reading. */
int verify_figures(struct verify_check *c, struct err *e);

#endif
