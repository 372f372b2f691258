/* source: opens a model by name. A path is opened directly. Other forms (an Ollama store, a Hugging
 * Face cache, a download) will use the same call. */
#ifndef MAS_SOURCE_H
#define MAS_SOURCE_H

#include "gguf.h"

/* name: a path to a .gguf file (any part of a model in several files), or "demo" for the model
 * embedded in the program. ERR_NOINPUT names the path and the supported forms. For a file that is
 * no GGUF it names the kind of file, if that is known: directory, empty, HTML download page,
 * safetensors. */
int source_open(const char *name, struct gguf **out, struct err *e);
/* sha256 of the whole file, or of all parts one after the other: 64 hex digits and NUL. Reads every
 * byte once; progress may be NULL. */
int source_sha256(const struct gguf *g, void (*progress)(uint64_t, uint64_t, void *), void *user,
                  char hex[65], struct err *e);

#endif
