/*
 * provider: opens the llm that a configuration names. A provider is a file provider_<name>.c with
 * `const struct provider provider_<name>` and one line in providers.def.
 */
#ifndef MAS_PROVIDER_H
#define MAS_PROVIDER_H

#include <stdatomic.h>

#include "config.h"
#include "llm.h"

struct provider_options {
    const struct config *config; /* provider, model, and the provider's settings */
    /* calls in flight when the configuration leaves their number open; 0 = as many as make a batch
     * fast */
    int calls;
    /* max_context_length is the default: a model with a shorter context takes its own limit */
    bool context_open;
    const char *model_file;             /* in place of the configuration's model; NULL = none */
    const struct source_places *places; /* folders for names of models; NULL = paths only */
    struct spans *spans;    /* sinks of the engine's and the calls' intervals; NULL = none */
    const char *key;        /* of a server; NULL = none. It is neither printed nor recorded */
    const atomic_int *stop; /* non-zero: give up the opening; NULL = never */
    bool hash;              /* compute llm_info.model_sha256, which may take long */
    /* loading, in bytes; may be NULL */
    void (*progress)(uint64_t done, uint64_t total, void *user);
    void *user;
};

struct provider {
    const char *name; /* value of the key provider */
    const char *doc;  /* one line */
    int (*open)(const struct provider_options *o, struct llm **out, struct err *e);
};

/* Opens an llm by config->provider. ERR_CONFIG names all providers; otherwise the errors of the
 * provider. */
int provider_open(const struct provider_options *o, struct llm **out, struct err *e);

#define X(name) extern const struct provider provider_##name;
#include "providers.def"
#undef X

#endif
