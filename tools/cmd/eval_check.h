/* eval_check: mas eval --check: are the settings, the specialties and the model's header good? */
#ifndef MAS_EVAL_CHECK_H
#define MAS_EVAL_CHECK_H

#include "clinic.h"

/* Reads all settings of base, those of each cell of an experiment too, and the header of each local
 * model. Of a server, only the key is looked for. Opens no engine and writes nothing. The questions
 * are the caller's to read. Appends a line of text to out: the runs and the models. Errors as
 * mas eval: ERR_CONFIG, ERR_NOINPUT, ERR_DATA, ERR_USAGE. */
int eval_check(const struct config *base, bool shuffle, struct str *out, struct err *e);

#endif
