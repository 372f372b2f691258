/*
 * store: finds model files in the folders where other programs keep them. Nothing is written there.
 *
 *   ollama:[REGISTRY/][NAMESPACE/]NAME[:TAG]
 *       MODELS/manifests/REGISTRY/NAMESPACE/NAME/TAG names the blob.
 *       MODELS/blobs/sha256-HEX is the model.
 *   hf:ORG/REPO[@REVISION]/FILE
 *       HUB/models--ORG--REPO/refs/REVISION names the commit.
 *       HUB/models--ORG--REPO/snapshots/COMMIT/FILE leads to the file.
 *
 *       REVISION is a branch, a tag, or a commit. The first 7 digits of a commit that is here
 *       suffice. A '/' in a branch is written as %2F.
 *
 * The defaults: registry.ollama.ai, library, latest; main.
 */
#ifndef MAS_STORE_H
#define MAS_STORE_H

#include "source.h"
#include "str.h"

#define STORE_REGISTRY "registry.ollama.ai"

struct store_ollama {
    char registry[128], space[96], name[96], tag[96];
};
struct store_hub {
    char org[97], repo[97], revision[97];
    char file[1024]; /* may have folders; "" = none was named */
};

/* Take the name without its prefix. ERR_USAGE names the form. */
int store_parse_ollama(const char *name, struct store_ollama *out, struct err *e);
int store_parse_hub(const char *name, struct store_hub *out, struct err *e);

/* Appends a revision as a name has it: '/' as %2F. */
void store_add_revision(struct str *out, const char *revision);
/* Append the full name, as a record of a download has it (origin.h), and the name of the file that
 * a download writes. */
int store_full_ollama(const struct store_ollama *o, struct str *out, struct err *e);
int store_full_hub(const struct store_hub *h, struct str *out, struct err *e);
int store_file_ollama(const struct store_ollama *o, struct str *out, struct err *e);
int store_file_hub(const struct store_hub *h, struct str *out, struct err *e);

/* Reads an Ollama manifest: the digest of its one model layer, 64 hex digits and NUL, and its
 * size. path: for messages. ERR_DATA: no manifest, other than one model, or an adapter (LoRA). A
 * projector gives a warning. */
int store_manifest(const char *json, size_t n, const char *path, char hex[65], uint64_t *bytes,
                   struct err *e);

/* Append the path of the file in a store or the cache. Without one there, the path of the download
 * whose record has that name. ERR_NOINPUT names the folders, and the models that are there. */
int store_find_ollama(const char *name, const struct source_places *p, struct str *path,
                      struct err *e);
int store_find_hub(const char *name, const struct source_places *p, struct str *path,
                   struct err *e);

#endif
