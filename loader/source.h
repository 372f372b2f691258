/*
 * source: opens a model by name. A name is one of
 *
 *   PATH                             a .gguf file; any part of a model in several files
 *   demo                             the model inside the program
 *   ollama:NAME:TAG                  a model of a local Ollama store (store.h)
 *   hf:ORG/REPO/FILE                 a file of the Hugging Face cache (store.h)
 *   a name of the list of downloads  its file in the folder of models
 *
 * A file with that path goes before a name of the list. This room reads no environment: the caller
 * says where the folders are (struct source_places).
 */
#ifndef MAS_SOURCE_H
#define MAS_SOURCE_H

#include "gguf.h"
#include "str.h"

struct source_known { /* a download that has a name */
    const char *name;
    const char *file; /* name of the file, in the folder of models or of data */
};

struct source_places {     /* folders in which names are looked up; NULL or 0: there is none */
    const char *ollama[3]; /* folders of Ollama stores, each with manifests/ and blobs/ */
    const char *hub;       /* the Hugging Face cache */
    const char *models;    /* folder of downloads */
    const struct source_known *known; /* (n_known) */
    size_t n_known;
};

/* Appends the path that a name means, or "demo". ERR_NOINPUT names what is there, and the command
 * that brings a model of the list. A path is not checked. */
int source_find(const char *name, const struct source_places *p, struct str *path, struct err *e);
/* Finds, then opens. p may be NULL: paths and demo only. */
int source_open_from(const char *name, const struct source_places *p, struct gguf **out,
                     struct err *e);
/* The name of the list that is nearest to a name; NULL if none is near. */
const char *source_nearest(const char *name, const struct source_known *known, size_t n);

/* name: a path to a .gguf file (any part of a model in several files), or "demo" for the model
 * embedded in the program. ERR_NOINPUT names the path and the supported forms. For a file that is
 * no GGUF it names the kind of file, if that is known: directory, empty, HTML download page,
 * safetensors. */
int source_open(const char *name, struct gguf **out, struct err *e);
/* Checks a downloaded file: one whole GGUF file, maybe one part of a model. Errors as of
 * source_open. */
int source_check(const char *path, struct err *e);
/* sha256 of the whole file, or of all parts one after the other: 64 hex digits and NUL. Reads every
 * byte once; progress may be NULL. */
int source_sha256(const struct gguf *g, void (*progress)(uint64_t, uint64_t, void *), void *user,
                  char hex[65], struct err *e);

#endif
