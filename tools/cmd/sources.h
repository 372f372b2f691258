/*
 * sources: the list of downloads (configs/sources.yaml), and the folders in which names of models
 * are looked up. This is the one place that reads the environment for them:
 *
 *   MAS_SOURCES      the list; without it the one in the program
 *   OLLAMA_MODELS    Ollama's folder; without it ~/.ollama/models, then the folder of its service,
 *                    /usr/share/ollama/.ollama/models
 *   HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub
 *                    the Hugging Face cache, the first that is set; without one
 *                    ~/.cache/huggingface/hub
 *   HF_ENDPOINT      the server of hf: names, in place of the list's; may have a path
 */
#ifndef MAS_SOURCES_H
#define MAS_SOURCES_H

#include <stdbool.h>

#include "mem.h"
#include "source.h"

struct sources_entry {
    const char *name, *about, *file;
    const char *const *get; /* (n_get) addresses as they are written, in order */
    size_t n_get;
    const char *sha256; /* NULL: not known */
    uint64_t bytes;     /* 0: not known */
    bool data;          /* questions, not a model */
};

struct sources_mirror {
    const char *of;
    const char *const *at; /* (n_at) */
    size_t n_at;
};

struct sources_token {
    const char *at;         /* scheme://host[:port] */
    const char *env, *file; /* NULL: none */
};

struct sources {
    struct source_places places;   /* of models; known are the models of the list */
    const char *data;              /* folder of data */
    const char *hf, *ollama;       /* servers; hf may have a path */
    struct sources_entry *entry;   /* (n_entry) models, then data */
    struct sources_mirror *mirror; /* (n_mirror) */
    struct sources_token *token;   /* (n_token) */
    size_t n_entry, n_model, n_mirror, n_token;
    struct arena words;
};

/* A sha256 that a person wrote: 64 hex digits, in lower case in *out. ERR_USAGE begins with
 * `of`. */
int sources_digest(struct sources *s, const char *text, const char **out, const char *of,
                   struct err *e);
/* file: the list; NULL = MAS_SOURCES, or the one in the program. A section that the list leaves out
 * is the one of the list in the program. ERR_NOINPUT; ERR_CONFIG names the file and the key. */
int sources_open(const char *file, struct sources *out, struct err *e);
void sources_close(struct sources *s); /* accepts a zeroed one */
/* NULL: no such name. */
const struct sources_entry *sources_find(const struct sources *s, const char *name);
/* "~/x" becomes $HOME/x. */
int sources_home(const char *path, struct str *out, struct err *e);

/* With the usual list: the path of a model's name (source_find), and its file opened. */
int sources_model(const char *name, struct str *path, struct err *e);
int sources_gguf(const char *name, struct gguf **out, struct err *e);
/* The path of a file of questions: a path, or a name of the list's data. ERR_NOINPUT names the
 * command that downloads it. */
int sources_data(const char *name, struct str *path, struct err *e);

#endif
