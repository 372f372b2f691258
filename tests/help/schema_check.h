/* schema_check: is this text a canonical JSON reply to that schema? Written on jansson's values
 * alone, sharing nothing with the grammar, so that the two can disagree: expressions are matched by
 * the places that a match can have come to. */
#ifndef MAS_SCHEMA_CHECK_H
#define MAS_SCHEMA_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Parses text, checks it against the schema, key order and white space included. On false, why says
 * what is wrong. */
bool schema_check(const json_t *schema, const char *text, size_t n, char why[256]);

#endif
