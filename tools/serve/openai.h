/*
 * openai: OpenAI's API: models, completions, chat completions, responses. OPENAI.md says which
 * members have which effect.
 *
 * The three paths share one reader of messages, one reader of the sampling, one writer of
 * log-probabilities. A reply's state, struct openai_reply, lives from ready() to finished().
 */
#ifndef MAS_OPENAI_H
#define MAS_OPENAI_H

#include "grammar.h"
#include "mem.h"
#include "task.h"

/* The first members of each path's args: a row's offset is the same in both. */
struct openai_draw {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "openai_draw.def"
#undef X
};

extern const struct field_set openai_completion_fields, openai_chat_fields, openai_response_fields;

/* ---- openai_reply.c: one call's replies ------------------------------------------------------ */

struct openai_reply {
    struct call *c;
    const struct openai_draw *draw;
    struct gen *gen; /* (n) */
    int n, n_each;   /* n_each to one prompt */
    struct token_bias *bias;
    struct grammar *grammar; /* of all replies, NULL = free text */
    char id[64];             /* "cmpl-.." */
    char fingerprint[24];
    int64_t created;
    bool usage;      /* the stream's last piece has the numbers of tokens */
    bool begun;      /* the stream, by openai_stream_begin */
    struct str head; /* stream: the beginning of each piece, up to "choices": [ */
    struct str line; /* stream: a piece; pieces are made on the engine's thread, one at a time */
    void *user;      /* the path's */
    void *scratch;   /* the path's, freed with the reply */
};

/* Checks what needs no model: stop, logit_bias, stream_options. *param: the member at fault. */
int openai_check(const struct openai_draw *d, const char **param, struct err *e);
/* A stop string is given; an empty list is none. */
bool openai_stops(const struct openai_draw *d);
/* Makes the state with n replies, whose sampling is set: reply i has random stream i % n_each. The
 * task owns it as t->user, its gens as t->gen. ERR_NOMEM; ERR_DATA: a bias of an unknown token;
 * *param then names the member. */
int openai_reply_new(struct task *t, const struct openai_draw *d, const char *prefix, int n,
                     int n_each, struct openai_reply **out, const char **param, struct err *e);
void openai_reply_free(struct openai_reply *r); /* accepts NULL */
/* Gives replies 1 .. n_each - 1 after gen the prompt and the limits of gen. */
int openai_copy(struct gen *gen, int n_each, struct err *e);
/* Starts a stream of events; object: of the pieces, "chat.completion.chunk". */
void openai_stream_begin(struct openai_reply *r, const char *object);
/* Sends r->line as an event, and clears it. */
void openai_send(struct openai_reply *r);
/* The first reply that failed, NULL = none. */
const struct err *openai_failed(const struct openai_reply *r);
/* Ends the call and the task: the error as a reply or as an event. Frees r. */
void openai_fail(struct task *t, struct openai_reply *r, const char *param, const struct err *e);
/* Sends the usage if it is asked for, [DONE], and ends call and task. Frees r. */
void openai_stream_end(struct task *t, struct openai_reply *r);
/* Appends "usage": {..} of all replies. */
void openai_usage(const struct openai_reply *r, struct str *out);
/* Appends "id": .., "object": .., "created": .., "model": .., "system_fingerprint": .. */
void openai_about(const struct openai_reply *r, const char *object, struct str *out);

/* ---- openai_logprobs.c ----------------------------------------------------------------------- */

/* Appends a float, the same text for the same float; null for NaN, -9999.0 for no chance at all. */
void openai_float(float f, struct str *out);
/* A list of tokens [from, to) of the reply; chat's form is {"content": [..], "refusal": null}. */
void openai_logprobs_list(const struct gen *g, int from, int to, struct str *out);
void openai_logprobs_chat(const struct gen *g, int from, int to, struct str *out);
/* Completions' form: {"tokens", "token_logprobs", "top_logprobs", "text_offset"} of the prompt, if
 * prompt, and of tokens [from, to) of the reply. first: characters of the choice's text before
 * them. */
void openai_logprobs_text(const struct gen *g, bool prompt, int from, int to, size_t first,
                          struct str *out);
size_t openai_chars(const char *s, size_t n); /* UTF-8 characters */

/* ---- openai_messages.c ----------------------------------------------------------------------- */

struct openai_messages {
    struct arena arena;
    struct chat_message *m; /* (n) */
    int n;
    bool tool_last; /* the last one holds results of tools: more are added to it */
};
/* Reads "messages" of chat completions. ERR_DATA: the place and the limit. */
int openai_messages_read(const json_t *list, struct openai_messages *out, struct err *e);
/* Reads "input" of responses. */
int openai_input_read(const json_t *input, const char *instructions, struct openai_messages *out,
                      struct err *e);
/* Adds text to the system message, or makes one. */
int openai_messages_system(struct openai_messages *ms, const char *text, size_t n, struct err *e);
void openai_messages_free(struct openai_messages *ms);

struct openai_think {
    int64_t budget; /* most tokens of thinking, -1 = the default */
    bool must;      /* refused if the model does not think */
};
/* From reasoning_effort and think, either may be NULL. ERR_DATA: think of another type. */
int openai_think(const char *effort, const json_t *think, struct openai_think *out, struct err *e);
/* Encodes the conversation as the prompt of every reply, and sets their limits. continues: the last
 * message begins the reply. limit: most tokens of thinking and reply; FIELD_UNSET = the
 * context's. */
int openai_render(struct openai_reply *r, const struct openai_messages *ms,
                  struct openai_think think, bool continues, int64_t limit, struct err *e);

/* ---- openai_format.c ------------------------------------------------------------------------- */

/* Compiles a format of type text, json_object or json_schema; *out NULL = free text. at: its place
 * in messages. flat: the schema stands beside the type, as in responses. */
int openai_format(const json_t *format, const char *at, bool flat, struct grammar **out,
                  struct err *e);
/* Appends JSON text: members in their order, numbers as short as they can be. */
void openai_json(const json_t *v, struct str *out);

/* ---- openai_tools.c -------------------------------------------------------------------------- */

enum tool_mode { TOOLS_NONE, TOOLS_AUTO, TOOLS_REQUIRED, TOOLS_ONE };

struct openai_tools {
    enum tool_mode mode;
    const char *only;        /* TOOLS_ONE: the function */
    struct grammar *grammar; /* of calls; of the arguments under TOOLS_ONE */
};
/* Reads tools and tool_choice, and compiles the grammar of the calls. */
int openai_tools_read(const json_t *tools, const json_t *choice, bool parallel,
                      struct openai_tools *out, const char **param, struct err *e);
/* Appends the system text that describes them. */
void openai_tools_text(const struct openai_tools *t, const json_t *tools, bool parallel,
                       struct str *out);
/* Whether the first bytes of a reply begin a call. For gen. */
enum gen_verdict openai_tools_decide(const char *s, size_t n);

/* Follows the calls' canonical JSON, byte by byte. A zeroed one is at the start. */
struct tool_scan {
    int state, depth, skip;
    bool quoted, escaped;
    int index; /* of the current call */
    char name[68];
    size_t n_name;
    /* a call begins: name is its function; then bytes of its arguments */
    void (*call)(struct tool_scan *s);
    void (*arguments)(struct tool_scan *s, const char *text, size_t n);
    void *user;
};
/* only: the bytes are the arguments of this function, NULL = calls. */
void tool_scan_feed(struct tool_scan *s, const char *only, const char *text, size_t n);

#endif
