/* text: whole files as byte strings, for commands that take their text by -f or from a pipe. */
#ifndef MAS_TEXT_H
#define MAS_TEXT_H

#include "str.h"

/* Appends all bytes of path to out; NULL or "-" is standard input. ERR_NOINPUT, ERR_IO, ERR_NOMEM name
 * the path. */
int text_read(const char *path, struct str *out, struct err *e);

#endif
