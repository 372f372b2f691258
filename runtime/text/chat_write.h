/*
 * chat_write: the parts that every renderer of a chat template shares.
 *
 * A renderer writes pieces in order. Template text may hold control tokens, content never does. A
 * stretch of text between two control tokens is encoded as one text, as it is in the whole string.
 * The first failure is kept; later pieces are then ignored.
 */
#ifndef MAS_CHAT_WRITE_H
#define MAS_CHAT_WRITE_H

#include "chat.h"

enum { CHAT_MARKS_MOST = 12 };

struct chat_run;

struct chat_family { /* one row of chats.def */
    const char *name;
    int (*render)(struct chat_run *r, struct err *e);
    const void *form;                     /* of the renderer; NULL = it needs none */
    const struct chat_thinking *thinking; /* NULL = the models do not think */
    const char *date;                     /* written where chat.date is empty; NULL = no date */
    const char *needs; /* control tokens of the template; a vocabulary without them is refused */
    /* further texts that are control tokens if the vocabulary has them; a warning if not */
    const char *marks;
};

struct chat_mark { /* a control token of a template */
    const char *s;
    size_t len;
    int32_t id;
};

struct chat {
    const struct chat_family *family; /* NULL = unknown */
    const struct tokenizer *t;
    char date[CHAT_DATE_MOST + 1];
    struct chat_mark mark[CHAT_MARKS_MOST]; /* (n_mark) those that the vocabulary has */
    int n_mark;
    struct gguf_str lacks; /* a mark of family->needs that the vocabulary lacks; len 0 = none */
    char *path;            /* of the model file, for messages */
    char start[84];        /* of an unknown template, for messages */
    bool bare;             /* the file has no template, and no other was chosen */
};

struct chat_run {
    const struct chat *c;
    const struct chat_message *m; /* (n) */
    int n;
    bool open; /* the last message is an open reply */
    enum chat_think think;
    /* sinks: either is NULL */
    struct token_list *out;
    struct str *whole;
    /* tokens before the last control token are dropped from out: for options */
    bool tail;
    size_t base;     /* out->n at the start */
    struct str text; /* not yet encoded */
    bool begun;      /* BOS is written or decided against */
    int rc;          /* of the first failure, described in *e */
    struct err *e;
};

/* In texts of a template: its bos_token, its eos_token, and the date. */
#define CHAT_BOS "\x01"
#define CHAT_EOS "\x02"
#define CHAT_DATE "\x03"
void chat_put(struct chat_run *r, const char *text);        /* text of the template; NULL = none */
void chat_say(struct chat_run *r, struct gguf_str content); /* content of a message */
int chat_end(struct chat_run *r); /* encodes the rest; the first failure */

bool chat_is(const struct chat_message *m, const char *role);
bool chat_is_open(const struct chat_run *r, int i); /* message i is the open reply */
struct gguf_str chat_raw(const struct chat_message *m);
/* The content without the characters that Python's str.strip removes, at the start or the end. */
struct gguf_str chat_trim_left(struct gguf_str s);
struct gguf_str chat_trim_right(struct gguf_str s);
/* Message i, trimmed as `| trim` does. The open reply keeps its end. */
struct gguf_str chat_trimmed(const struct chat_run *r, int i);
/* The rest of s after the last "</think>"; all of s without one. */
struct gguf_str chat_after_thought(struct gguf_str s);
struct gguf_str chat_strip_newlines(struct gguf_str s, bool left, bool right);
/* The start of the reply for r->think. `own`: the start that the template writes by itself. */
void chat_start_reply(struct chat_run *r, enum chat_think own);

/* ERR_DATA if a message after the first has the role system. */
int chat_one_system(const struct chat_run *r, struct err *e);
/* ERR_DATA unless the messages are an optional system message, then user and assistant in turn. */
int chat_alternate(const struct chat_run *r, struct err *e);

/* ---- renderers ------------------------------------------------------------------------------- */

/* How a template treats a system text. */
enum chat_system {
    CHAT_SYSTEM_ANY,    /* a message like the others, anywhere */
    CHAT_SYSTEM_FIRST,  /* the first message only */
    CHAT_SYSTEM_USER,   /* before the first user text, with a blank line between them */
    CHAT_SYSTEM_LAST,   /* likewise before the last user text */
    CHAT_SYSTEM_MERGED, /* has no place: it is made a part of the first user message */
};

/* A template that writes each message between two texts. */
struct chat_form {
    /* texts; NULL = none */
    const char *start;     /* before everything */
    const char *no_system; /* then, if the first message is not the system's */
    const char *system[2]; /* before and after a content */
    const char *user[2];
    const char *reply[2];
    const char *header; /* of the reply, after the last message */
    enum chat_system place;
    bool alternate;    /* user and assistant must come in turn */
    bool trim_reply;   /* replies without white space at both ends */
    bool trim;         /* contents without white space at both ends */
    bool skip_empty;   /* no system message if its text is empty */
    bool cut_thought;  /* contents of replies begin after the last "</think>" */
    bool cut_newlines; /* contents of replies lose newlines at the start */
    bool user_opens;   /* user[1] has the header, which is not repeated after a user's message */
    bool open_whole;   /* .. but the open reply does not */
    bool opens;        /* the header opens the block of thoughts */
    bool closes;       /* the header has the empty block */
    bool plain_marks;  /* the models' own vocabularies have the marks as plain text, too */
};
int chat_form_render(struct chat_run *r, struct err *e);
int chat_plain_render(struct chat_run *r, struct err *e);
int chat_llama2_render(struct chat_run *r, struct err *e);
int chat_llama31_render(struct chat_run *r, struct err *e);
int chat_qwen3_render(struct chat_run *r, struct err *e);

#endif
