/*
 * own: the part of a closed reply that the model said itself. A reply that reaches its token limit
 * is completed by its grammar; nothing of that completion is the model's choice.
 */
#ifndef MAS_OWN_H
#define MAS_OWN_H

#include <stddef.h>

#include "err.h"
#include "str.h"

/* s[0..n): JSON of which the model wrote the first n_own bytes. Both texts are JSON of the same
 * shape, without what the model had not begun:
 *     whole  values that the model finished; arrays and objects that it began hold such values only
 *     cut    the same, and the text that it was writing, cut where it stopped
 * A number is finished when a byte stands after it. An object has a key only where a value follows.
 * For text that is no JSON the results are none either. ERR_DATA: nested deeper than jdoc
 * allows, or nothing was begun. */
int own_part(const char *s, size_t n_own, struct str *whole, struct str *cut, struct err *e);

#endif
