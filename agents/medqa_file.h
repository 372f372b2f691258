/*
 * medqa_file: finds the records of a question file. The first bytes tell the container:
 *
 *   {..}          one JSON object a line
 *   [{..}, ..]    a JSON array, or several arrays one after the other
 *   {"id": {..}}  one object of records by their names
 *   {"question": {"0": ..}, ..}   one object of columns, as pandas writes it
 *   CSV           a line of names and then rows (RFC 4180); or rows of question, options and the
 *                 letter of the key, without names
 *
 * A row of CSV and a row of columns become one JSON object of their named values. An empty cell of
 * CSV is an absent value. The file is untrusted. Nothing here judges a record.
 */
#ifndef MAS_MEDQA_FILE_H
#define MAS_MEDQA_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Takes the record s[0..n), which begins in that line (from 1). s is valid during the call only.
 * why: the record is unusable for this reason; NULL = judge it. */
typedef int medqa_file_take(void *user, const char *s, size_t n, int64_t line, const char *why,
                            struct err *e);

/* ERR_DATA when the text is UTF-16 or UTF-32: names the encoding and how to convert it. */
int medqa_file_encoding(const char *s, size_t n, const char *name, struct err *e);
/* Passes all records in their order. name: of the file, for messages, and for the subject of rows
 * without names ("anatomy_test.csv" is anatomy). ERR_DATA when the container is broken or the text
 * is UTF-16 or UTF-32, or the error of take. */
int medqa_file_walk(const char *text, size_t n, const char *name, medqa_file_take *take, void *user,
                    struct err *e);

#endif
