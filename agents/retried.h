/*
 * retried: the failed attempts of a run that were taken out of its trace so that their questions
 * are asked again (mas eval --retry-failed). run.json keeps them; a run without any lacks the
 * member.
 *
 *   "retried": {"questions": 2, "attempts": 3,
 *               "reasons": [{"why": "stopped after N s", "attempts": 3}],
 *               "replaced": {"ID/CRC": "stopped after 1.2 s", ..},
 *               "files": {"traces.jsonl.gz.old": {"bytes": 812, "sha256": ".."}}}
 *
 * - questions: asked again, each counted once, also those after the records of the last start.
 *   attempts: all that failed and were replaced.
 * - reasons: each number is written as N, so that attempts of one cause fall together.
 * - replaced: ID names the question, CRC is the checksum of the attempt's line in its former trace.
 *   So an attempt that is added twice counts once.
 * - files: the former traces that hold these attempts, in the folder of the run.
 */
#ifndef MAS_RETRIED_H
#define MAS_RETRIED_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "str.h"

#define RETRIED_CRC 8 /* digits of a line's checksum */

/* Objects; NULL = empty. Begin with zeros. */
struct retried {
    json_t *replaced; /* "ID/CRC": reason */
    json_t *files;    /* name: bytes, sha256 */
    json_t *ids;      /* question: number of its attempts */
    json_t *reasons;  /* reason without numbers: number of attempts */
};
void retried_free(struct retried *r);

/* Takes the member of a run.json; without the member, *out is empty. ERR_DATA, ERR_NOMEM. */
int retried_read(const json_t *run, struct retried *out, struct err *e);
/* crc: RETRIED_CRC digits. ERR_NOMEM. */
int retried_add(struct retried *r, const char *id, const char *crc, const char *why, struct err *e);
/* Names a former trace by its size in bytes and its hash. ERR_NOMEM. */
int retried_keep(struct retried *r, const char *name, size_t bytes, const char *sha256,
                 struct err *e);
/* Adds the attempts and files of another run; its files get the end ".END". ERR_NOMEM. */
int retried_join(struct retried *r, const struct retried *more, const char *end, struct err *e);

/* The attempts of questions that are keys of the object ids, without files. ERR_NOMEM. Free with
 * retried_free. */
int retried_choose(const struct retried *r, const json_t *ids, struct retried *out, struct err *e);

size_t retried_questions(const struct retried *r);
size_t retried_attempts(const struct retried *r);
/* Appends the JSON object. whole: with "replaced" and "files". */
void retried_json(const struct retried *r, bool whole, struct str *out);
/* Appends the most frequent reasons with their numbers of attempts, as " 3 stopped after N s". */
void retried_why(const struct retried *r, struct str *out);
/* Appends "2 questions; 3 failed attempts were replaced: 3 stopped after N s", with the most
 * frequent reasons. Nothing when nothing was asked again. */
void retried_text(const struct retried *r, struct str *out);

#endif
