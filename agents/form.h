/*
 * form: the bodies and the replies of one API of model servers. A form is a file form_<name>.c with
 * `const struct form form_<name>`. It writes requests as JSON and reads replies. It knows no
 * network, so tests read replies from files.
 *
 * A reply is untrusted. A reader takes any bytes, and fails with ERR_DATA for anything that is not
 * a whole reply of its form.
 */
#ifndef MAS_FORM_H
#define MAS_FORM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

#define FORM_TEXT 128

/* How a server takes a schema, in the order of preference. */
enum form_schema {
    FORM_TEXT_ONLY,   /* not at all: the prompt says it, and the reply is checked */
    FORM_JSON_SCHEMA, /* response_format json_schema, strict */
    FORM_GUIDED_JSON, /* guided_json, of older vLLM */
    FORM_FORMAT       /* format, of Ollama */
};
const char *form_schema_name(enum form_schema s); /* "json_schema", .. */

/* How a server takes top_k and min_p, which the API of OpenAI lacks. */
enum form_sampling {
    FORM_SAMPLING_MINUS, /* both; top_k -1 is off */
    FORM_SAMPLING_ZERO,  /* both; top_k 0 is off */
    FORM_SAMPLING_PLAIN  /* neither */
};

/* Facts that the probe finds out; a form writes requests by them. */
struct form_server {
    const char *model;
    int n_ctx; /* tokens of the context, as sent to servers that take a limit */
    enum form_schema schema;
    enum form_sampling sampling;
    bool logprobs;          /* ask for log-probabilities */
    bool completion_tokens; /* the limit is called max_completion_tokens, not max_tokens */
    bool thinks;            /* the model can think before it replies */
    bool no_special;        /* scores: takes add_special_tokens false, which leaves BOS out */
};

struct form_chat { /* one request */
    const char *system, *user;
    size_t system_len, user_len;
    const char *schema; /* JSON text; NULL = free text */
    /* the reply that broke the schema, and the fault; NULL = the first try */
    const char *broken, *fault;
    size_t broken_len;
    int max_tokens, max_think;
    double temperature, top_p, min_p;
    int top_k;
    uint32_t seed; /* at most INT32_MAX */
};

enum form_end {
    FORM_STOP,
    FORM_LENGTH,  /* the limit of tokens was reached */
    FORM_REFUSED, /* the model or a filter of the service refuses */
};

struct llm_token; /* llm.h */

struct form_reply {
    struct str text, think, refusal;
    enum form_end end;
    bool counted; /* the numbers of tokens are there */
    int n_prompt, n_cached;
    int n_new;      /* without thinking */
    int n_think;    /* 0 = none, or the server does not say */
    double mean_lp; /* NaN = unknown */
    char model[FORM_TEXT];
    char fingerprint[FORM_TEXT]; /* "" = none */
};
#define FORM_REPLY_INIT                                                                            \
    {                                                                                              \
        .text = STR_INIT, .think = STR_INIT, .refusal = STR_INIT                                   \
    }
void form_reply_free(struct form_reply *r);

/* Log-probabilities of texts as continuations of one prompt. */
struct form_score {
    const char *prompt;
    size_t prompt_len;
    const char *const *option; /* (n) */
    const size_t *option_len;
    int n;
    bool no_bos; /* only for a server with no_special */
};

struct form {
    const char *name;
    const char *chat;     /* path of a request, after the address */
    const char *complete; /* path of a score; NULL = the form has none */
    bool cuts;            /* such servers cut a long prompt and do not say so */
    void (*write)(const struct form_server *s, const struct form_chat *c, struct str *out);
    /* ERR_DATA, ERR_NOMEM. out is FORM_REPLY_INIT; free it also after a failure. */
    int (*read)(const char *s, size_t n, struct form_reply *out, struct err *e);
    void (*write_score)(const struct form_server *s, const struct form_score *c, struct str *out);
    /* lp, tokens: (n) of the score. ERR_DATA also when a token crosses the border of an option. */
    int (*read_score)(const struct form_score *c, const char *s, size_t n, double *lp, int *tokens,
                      struct form_reply *out, struct err *e);
    /* As read_score, of a score whose prompt and first option together are the text: the tokens of
     * that text. *token: the caller frees it. ERR_DATA also when the server does not name the most
     * probable token of each place. */
    int (*read_prompt)(const struct form_score *c, const char *s, size_t n,
                       struct llm_token **token, int *n_token, struct form_reply *out,
                       struct err *e);
};
extern const struct form form_openai, form_ollama;

/* ---- for the forms --------------------------------------------------------------------------- */

/* The messages of a request as members of a JSON array. A schema that the server does not take
 * stands in the system's text. */
void form_messages(const struct form_server *s, const struct form_chat *c, struct str *out);
/* Appends a string value, if there is one. ERR_DATA: another type than string or null. */
int form_append(const json_t *obj, const char *key, struct str *out, struct err *e);
void form_copy(const json_t *obj, const char *key, char out[FORM_TEXT]); /* "" if it is no string */
/* A whole number of 0 or more; 0 if there is none. */
int form_count(const json_t *obj, const char *key);
/* Mean of the member logprob over the items of a list; NaN if there is none. */
double form_mean(const json_t *list);

/* ---- for their users ------------------------------------------------------------------------- */

/* Appends the message of a refusal's body: {"error": {"message": ..}} and its relatives, or the
 * first bytes of any other body. */
void form_fault(const char *s, size_t n, struct str *out);
/* The JSON of a reply in free text: the whole text, or all of it inside one fence of Markdown. */
void form_json_part(const char *s, size_t n, const char **part, size_t *part_len);

#endif
