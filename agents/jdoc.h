/*
 * jdoc: strict reading of small JSON documents that come from a model, a dataset or a trace. Depth
 * is capped before the parser recurses, duplicate keys and invalid UTF-8 are refused, and every
 * getter names the key it missed. Values belong to the document.
 */
#ifndef MAS_JDOC_H
#define MAS_JDOC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "err.h"

#define JDOC_DEPTH 16

/* ERR_DATA with the column of the fault (bytes from 1); ERR_NOMEM. The caller owns *out
 * (json_decref). */
int jdoc_load(const char *s, size_t n, json_t **out, struct err *e);
/* As jdoc_load, for a value of any type. Its strings may hold NUL, so the caller must use their
 * length. */
int jdoc_value(const char *s, size_t n, json_t **out, struct err *e);
/* As jdoc_value, for a document nested at most `most` deep. */
int jdoc_deep(const char *s, size_t n, size_t most, json_t **out, struct err *e);
const char *jdoc_type_name(json_type t); /* "an object", "null", .. */

/* The object's value of that key and type; ERR_DATA when it is missing or of another type. */
int jdoc_get(const json_t *obj, const char *key, json_type type, json_t **out, struct err *e);
int jdoc_string(const json_t *obj, const char *key, const char **out, struct err *e);
/* Real or integer in [lo, hi]. */
int jdoc_number(const json_t *obj, const char *key, double lo, double hi, double *out,
                struct err *e);
int jdoc_int(const json_t *obj, const char *key, json_int_t lo, json_int_t hi, json_int_t *out,
             struct err *e);
int jdoc_array(const json_t *obj, const char *key, size_t lo, size_t hi, json_t **out,
               struct err *e);
/* Every key of the object is one of keys (NULL-terminated); ERR_DATA names the first other one. */
int jdoc_only(const json_t *obj, const char *const *keys, struct err *e);

#endif
