/*
 * replay: the lines of a run's trace, case by case, with every prompt and reply. trace.h says what
 * the lines are.
 *
 * - Only whole cases are here. Damage is refused as trace_read refuses it.
 * - The text is read once and stays in memory. A case is a range of it.
 * - A line is parsed when it is asked for.
 */
#ifndef MAS_REPLAY_H
#define MAS_REPLAY_H

#include <jansson.h>

#include "result.h"
#include "str.h"

struct replay_case {
    /* offsets: of the first call's line, of the case's line, after it */
    size_t first, last, end;
    int n_calls;
    size_t result; /* index into replay.results.r */
};

struct replay {
    char path[1100]; /* of the file that was read; "" = the run has none yet */
    struct str text;
    struct results results; /* in order of the trace */
    struct replay_case *c;  /* (n) likewise */
    size_t n, cap;
    size_t unfinished; /* bytes of an unfinished case at the end, left out */
};

/* ERR_NOINPUT, ERR_IO, ERR_DATA (damage: line and question), ERR_NOMEM. */
int replay_open(const char *dir, struct replay *out, struct err *e);
void replay_free(struct replay *r); /* accepts a zeroed one */

/* The case with that id, or with an id that begins so. ERR_NOINPUT when there is none, ERR_USAGE
 * when several begin so. */
int replay_find(const struct replay *r, const char *id, const struct replay_case **out,
                struct err *e);

/* The next line of a case from *at on (start with c->first): its calls, then the case itself.
 * Writes its text without the line end and moves *at after it. false: no line is left. */
bool replay_line(const struct replay *r, const struct replay_case *c, size_t *at, const char **line,
                 size_t *n);
/* Parses a line. Its strings may hold NUL. The caller owns *out. ERR_DATA, ERR_NOMEM. */
int replay_parse(const char *line, size_t n, json_t **out, struct err *e);

/* The string of that key, with its length; "" when there is none. */
const char *replay_text(const json_t *line, const char *key, size_t *n);

#endif
