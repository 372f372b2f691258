/*
 * schema_check: checks whether a text is a canonical JSON reply to a schema. It uses jansson's
 * values only and shares no code with the grammar, so that the two can disagree. Regular
 * expressions are matched by the set of places that a match can reach.
 */
#ifndef MAS_SCHEMA_CHECK_H
#define MAS_SCHEMA_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Parses text and checks it against the schema, key order and white space included. false: why says
 * what is wrong. */
bool schema_check(const json_t *schema, const char *text, size_t n, char why[256]);

#endif
