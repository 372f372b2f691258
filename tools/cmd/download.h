/*
 * download: brings a model or questions by name: of the list (sources.h), by address, from Hugging
 * Face or from Ollama's registry. pull.h has the rules of a transfer. A file that is here is never
 * replaced, unless force says so: it must be the one that was asked for.
 */
#ifndef MAS_DOWNLOAD_H
#define MAS_DOWNLOAD_H

#include "pull.h"
#include "str.h"

struct download_options {
    const char *name;
    const char *out;    /* the file to write; NULL = the name's own, in its folder */
    const char *list;   /* as in sources_open */
    const char *sha256; /* that it must have; NULL = the list's, or not known */
    bool force;
    struct pull_options pull; /* without tokens: they come from the list */
    /* A file begins, and is complete. kept: it was here already. Both may be NULL. */
    void (*begin)(const struct pull_file *f, void *user);
    void (*end)(const char *path, const struct pull_result *r, bool kept, void *user);
    void *user;
};

/* Appends the path of the file, of a model's first part. Errors as of sources_open and pull_file;
 * ERR_USAGE: no such name. */
int download(const struct download_options *o, struct str *path, struct err *e);

#endif
