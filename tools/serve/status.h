/* status: facts of the server and its models, for the paths that tell them. */
#ifndef MAS_STATUS_H
#define MAS_STATUS_H

#include "field.h"
#include "gguf.h"
#include "server.h"
#include "source.h"

extern const char serve_version[]; /* "0.1.0" */

/* Opens the file of a model, which need not be resident. Reads it: not on the transport's threads.
 * ERR_NOINPUT: the message has no path. */
int status_gguf(struct serve *s, int index, struct gguf **out, struct err *e);
/* Append a JSON string, or null: the file's chat template; the text of a token, id < 0 = none. */
void status_template(const struct gguf *g, struct str *out);
void status_token(const struct tokenizer *t, int32_t id, struct str *out);

extern const struct field_set tokenize_fields, detokenize_fields, apply_template_fields;

#endif
