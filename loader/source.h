/* source: where a model comes from. A path is opened as it is; other forms (an Ollama store, a
 * Hugging Face cache, a download) join here behind the same call. */
#ifndef MAS_SOURCE_H
#define MAS_SOURCE_H

#include "gguf.h"

/* name: a path to a .gguf file, or "demo" for the model embedded in the program. ERR_NOINPUT names
 * the path and the forms that are understood; a file that is no GGUF is said to be what it is
 * (directory, empty, HTML download page, safetensors, split part) as far as that can be told. */
int source_open(const char *name, struct gguf **out, struct err *e);
/* sha256 of the whole file, 64 hex digits and NUL; reads it all once (progress may be NULL). */
int source_sha256(const struct gguf *g, void (*progress)(uint64_t, uint64_t, void *), void *user,
                  char hex[65], struct err *e);

#endif
