/*
 * gen: one reply that an API asks of a resident model. It follows the tokens of a request, makes
 * complete characters of them, keeps thinking and reply apart, and stops at stop strings.
 *
 * Invariants:
 *   - The pieces of the reply, one after another, are text; those of the thinking are think. A
 *     piece ends at the end of a character.
 *   - No byte of a stop string is in text, wherever tokens end. Bytes that may begin a stop string
 *     are held back until the next token decides.
 *   - A reply depends on the request alone: model, prompt, parameters, seed, id.
 *   - A reply may begin free and go on under a grammar (calls of functions): decide() reads its
 *     first bytes, which are held back until then. If they begin a call, the reply starts again
 *     under the grammar. The thinking before it comes out the same, and is given out once.
 */
#ifndef MAS_GEN_H
#define MAS_GEN_H

#include <stdatomic.h>

#include "chat.h"
#include "hub.h"
#include "live.h"
#include "str.h"
#include "token_list.h"
#include "tokenizer.h"
#include "work.h"

#define GEN_STOPS 16      /* stop strings of a request */
#define GEN_STOP_MOST 256 /* bytes of one */

enum gen_finish {
    GEN_STOP,   /* the model's end of turn, a stop string, or the schema's end */
    GEN_LENGTH, /* the limit of tokens; also a reply that its schema's closer ended */
    GEN_CANCEL, /* the client left, or the server stops */
    GEN_ERROR,  /* see r.err */
};

enum gen_verdict { GEN_UNDECIDED, GEN_FREE, GEN_CALL };

struct gen_stop {
    const char *s;
    size_t n;
};

struct gen {
    /* in: r's prompt, limits, sampling, grammar, n_top, ..; gen fills out, on_token, done, user */
    struct request r;
    struct hub_model *m;      /* held by the caller until done */
    struct token_list prompt; /* r.prompt; freed by gen_free */
    struct gen_stop stop[GEN_STOPS];
    int n_stop;
    struct work *work;
    bool keep_end;     /* an end token of the reply is in out, after the n_text tokens; see ended */
    bool score_prompt; /* fills r.prompt_lp, and r.prompt_top if r.n_top */
    /* NULL = the reply is as r.grammar says. Otherwise r.grammar is NULL, and bytes that decide()
     * takes for the beginning of a call start the reply again under call_grammar. */
    const struct grammar *call_grammar;
    enum gen_verdict (*decide)(const char *s, size_t n);
    /* Each piece of text as it becomes final, on the engine's thread; must not block. Tokens
     * [piece_from, piece_to) of the reply begin in this piece. NULL = none. */
    void (*on_piece)(struct gen *g, const char *text, size_t n, bool thinking);
    /* The reply has ended, finish is set: on the engine's thread, before done. NULL = none. */
    void (*on_end)(struct gen *g);
    /* on a thread of work, once, after a successful gen_submit */
    void (*done)(struct gen *g);
    void *user;
    /* out */
    struct str text, think;
    enum gen_finish finish;
    int stopped;       /* the stop string that ended the reply, -1 = none */
    int n_text;        /* tokens of the reply that count: until the stop string was complete */
    size_t *token_end; /* (n_out - n_think) bytes of raw text after each token of the reply */
    int piece_from, piece_to;
    bool calls; /* the reply is under call_grammar */
    bool ended; /* by an end token, under keep_end */
    /* internal */
    struct token_list added;
    struct live live;          /* makes characters of the tokens */
    struct str raw, raw_think; /* all bytes so far, before stops and holding back */
    size_t shown, shown_think; /* bytes given to on_piece */
    bool cut;                  /* a stop string was found: further tokens are dropped */
    enum gen_verdict verdict;
    bool continues; /* the reply continues a text: its leading space stays */
    atomic_bool cancelled;
    struct work_job job;
};

void gen_init(struct gen *g, struct hub_model *m, struct work *w);
/* Adds a stop string, borrowed until done. ERR_DATA: empty, too long, or one too many. */
int gen_add_stop(struct gen *g, const char *s, size_t n, struct err *e);
/* Adds a thinking of at most max tokens. ERR_DATA: the model does not think. */
int gen_think(struct gen *g, int max, struct err *e);
/* Fails as gen_submit would for a bad request. Takes nothing. */
int gen_check(struct gen *g, struct err *e);
/* Takes the prompt's tokens and buffers, and submits. Errors as engine_submit. */
int gen_submit(struct gen *g, struct err *e);
/* done follows. From any thread, between gen_submit and done. */
void gen_cancel(struct gen *g);
/* Tokens of the reply that begin before the end of text, and a kept end token. */
int gen_tokens(const struct gen *g);
void gen_free(struct gen *g); /* frees its buffers, not g; never while it is submitted */

#endif
