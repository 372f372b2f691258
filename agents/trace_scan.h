/*
 * trace_scan: the lines of traces.jsonl. Each ends with its checksum; a case follows its calls.
 * Reading back keeps whole cases, and names the line and question of the first damage.
 */
#ifndef MAS_TRACE_SCAN_H
#define MAS_TRACE_SCAN_H

#include "folder.h"
#include "result.h"
#include "retried.h"
#include "roles.h"

#define TRACE_INDEX ((int64_t)1 << 26) /* questions in one data file */
#define TRACE_BYTES ((size_t)16 << 30) /* largest trace that is read back */

#define TRACE_TRIES 10 /* readings of a folder that a holder overtakes by sealing */

struct trace_scan {
    struct results *results;
    unsigned char **has;
    size_t *n_has;
    struct str *kept;        /* takes the good cases; NULL = not wanted */
    bool once;               /* a case that was finished before is left out and is no damage */
    size_t retry;            /* failed cases of the first so many records are left out; 0 = none */
    size_t failed;           /* number of those */
    struct retried *retried; /* takes them; NULL = not wanted */
    /* calls of the cases whose index is below `asked`; NULL = not counted */
    struct roles *roles;
    size_t asked;
    size_t good_end; /* after the last complete case */
    int64_t line;    /* the current line, from 1 */
    char group[24];  /* question whose calls are being read, "" = none */
    size_t group_at; /* offset of the group's first call */
    int group_calls;
    int64_t damaged;   /* lines or cases found wrong (repair) */
    int64_t first_bad; /* line of the first */
    char bad_id[24];
    char bad_why[160];
};

/* Sets (*has)[index] in a growing array of *n_has; *twice = it was set before. ERR_DATA beyond
 * TRACE_INDEX, ERR_NOMEM. */
int trace_mark(unsigned char **has, size_t *n_has, int64_t index, bool *twice, struct err *e);

/* Closes the JSON object that was appended from `begin` on with its checksum and a newline. */
void trace_end_line(struct str *s, size_t begin);

/* Reads the complete lines of text[0..n). Damage is noted in s; ERR_NOMEM. */
int trace_scan(struct trace_scan *s, const char *text, size_t n, struct err *e);
/* Which file of the folder holds the cases. Both are there after a crash, and then equal. A plain
 * file that is shorter than the whole sealed one has lost its text: *plain is false. Both absent:
 * *plain is false. */
int trace_plain(const struct folder *f, bool *plain, struct err *e);
/* Reads the cases of a folder without a lease into out, which gives up what it held; path: their
 * file, "" = nothing is finished yet. A file may go meanwhile, because its run seals the trace or
 * goes on with it; then the other one is read. ERR_NOINPUT: no file can be opened, in TRACE_TRIES
 * tries. ERR_DATA, ERR_IO, ERR_NOMEM. */
int trace_text(const struct folder *f, char path[1100], struct str *out, struct err *e);
/* Sets the error that names the first damage of the file `path`: ERR_DATA. */
int trace_refuse(const struct trace_scan *s, const char *path, struct err *e);

#endif
