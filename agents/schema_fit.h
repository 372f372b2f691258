/*
 * schema_fit: checks a JSON value against a JSON Schema, for replies of servers that do not decode
 * under it. The keywords are those that prompts use: type, enum, const, properties, required,
 * additionalProperties, items, minItems, maxItems, uniqueItems, minLength, maxLength, minimum,
 * maximum. Annotations and x-.. are ignored. Any other keyword is refused at the start.
 */
#ifndef MAS_SCHEMA_FIT_H
#define MAS_SCHEMA_FIT_H

#include "err.h"
#include "str.h"

struct schema_fit;
/* name appears in messages. ERR_CONFIG: the text or a keyword, with its JSON path. ERR_NOMEM. */
int schema_fit_open(const char *json, size_t n, const char *name, struct schema_fit **out,
                    struct err *e);
void schema_fit_close(struct schema_fit *s); /* accepts NULL */
/* The schema for a server: without annotations and x-.. keywords, which strict servers refuse. A
 * number of at most 201 possible values is an enum, which more servers keep to than a range. */
const char *schema_fit_text(const struct schema_fit *s);
/* The same for a prompt: ranges stay ranges. */
const char *schema_fit_plain(const struct schema_fit *s);
/* ERR_DATA: s[0..n) is no JSON, or breaks the schema; the message has the JSON path. ERR_NOMEM. */
int schema_fit_check(const struct schema_fit *f, const char *s, size_t n, struct err *e);

#endif
