/*
 * own: the part of a closed reply that the model itself wrote. A reply that reaches its token limit
 * is completed by its grammar; nothing of that completion is the model's choice.
 */
#ifndef MAS_OWN_H
#define MAS_OWN_H

#include <stddef.h>

#include "err.h"
#include "str.h"

/* s[0..n): JSON of which the model wrote the first n_own bytes. Both results are JSON of the same
 * shape, without the parts that the model had not begun:
 *   whole  finished values; begun arrays and objects hold finished values only
 *   cut    the same, and the unfinished text, cut at the end of the model's part
 *
 * A number is finished when a byte follows it. A key stands in an object only with its value. If s
 * is no JSON, the results are none either. ERR_DATA: nested deeper than jdoc allows, or nothing was
 * begun. */
int own_part(const char *s, size_t n_own, struct str *whole, struct str *cut, struct err *e);

#endif
