/*
 * trace: a run's folder on disk, such that nothing finished is ever lost and nothing is counted twice.
 *
 *   lock          held (flock) while a run writes; holds its process id
 *   run.json      what the run is: identity (must be the same to go on) and about (recorded only)
 *   traces.jsonl  one line a call, then one line for their case; a crc ends every line
 *   traces.jsonl.gz  the same, sealed when the run is complete (members of 32 cases)
 *
 * A case is appended by one write and one fdatasync, so a crash can leave only an unfinished tail: an
 * unterminated line, or calls without their case. Opening cuts it off, keeps it as traces.jsonl.tail.bad
 * and says so. A line that is complete but wrong is damage: it is refused with its line and question,
 * unless repair is asked for, which drops the case concerned so that it is asked again.
 */
#ifndef MAS_TRACE_H
#define MAS_TRACE_H

#include <stdbool.h>

#include "result.h"
#include "str.h"

struct trace;

struct trace_options {
    const char *dir;      /* made if need be, parents too */
    const char *identity; /* JSON object of JSON objects and values; what must not change */
    const char *about;    /* likewise; what may */
    bool repair;
    bool fresh; /* what the folder holds is moved to DIR/old-1, old-2, .. */
};

/* ERR_CREATE (folder, lock: names the other process), ERR_CONFIG (identity differs: says how),
 * ERR_DATA (damage), ERR_IO, ERR_NOMEM. */
int trace_open(const struct trace_options *opt, struct trace **out, struct err *e);
void trace_close(struct trace *t); /* accepts NULL */

/* What was found when opening: lines of text for the user, "" = nothing to say. */
const char *trace_notes(const struct trace *t);
/* The finished cases, in order of the file; grows with trace_append. */
const struct results *trace_results(const struct trace *t);
bool trace_has(const struct trace *t, int64_t index); /* is that question finished? */

/* Writes a finished case and its calls. On failure the file is cut back to its last good end, the case
 * is not counted, and the run can be continued later. ERR_IO, ERR_NOMEM. */
int trace_append(struct trace *t, const struct consult *c, struct err *e);
/* Compresses a complete run. Crash-safe; does nothing if it is sealed already. */
int trace_seal(struct trace *t, struct err *e);

/* Reads a folder without changing it (export). identity may be NULL; it is appended to. An unfinished tail
 * is left out and mentioned in notes. */
int trace_read(const char *dir, struct results *out, struct str *run_json, struct str *notes,
               struct err *e);

#endif
