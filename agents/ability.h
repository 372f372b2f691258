/*
 * ability: finds out what a server can do, by asking it. Nothing is concluded from names.
 *
 *   question                                   finding
 *   the list of models                         the model exists; its context, its owner
 *   a short chat                               name of the model in replies, token counts, top_k
 *   a chat with logprobs                       LLM_CAN_LOGPROBS
 *   the same chat twice, temperature 1         LLM_CAN_SEED
 *   a schema that the prompt contradicts       how schemas are given
 *   echo of a prompt with log-probabilities    LLM_CAN_SCORE, LLM_CAN_RAW; LLM_CAN_PROMPT
 *                                              if it names the most probable tokens
 *
 * LLM_CAN_SCHEMA always holds: llm_http checks each reply and asks once for a repair. Without a way
 * to give a schema, the prompt states it.
 */
#ifndef MAS_ABILITY_H
#define MAS_ABILITY_H

#include "form.h"
#include "remote.h"

struct ability {
    struct form_server server;
    unsigned can;                /* LLM_CAN_.. */
    bool counts;                 /* replies have numbers of tokens */
    char served[FORM_TEXT];      /* the model's name in replies */
    char fingerprint[FORM_TEXT]; /* of a reply; "" = none */
    char version[FORM_TEXT], owner[FORM_TEXT], digest[FORM_TEXT]; /* "" = unknown */
    int n_ctx;                                                    /* of the server; 0 = unknown */
};

/* n_ctx: tokens of the context that is wanted; the server's own limit is the ceiling. ERR_CONFIG:
 * the server has no such model, refuses the key, or is no server of this form. ERR_AGAIN: it does
 * not answer. */
int ability_probe(const struct remote *r, const struct form *f, const char *model, int n_ctx,
                  struct ability *out, struct err *e);
/* Appends the body of a short question, which every healthy server answers. */
void ability_short(const struct ability *a, const struct form *f, struct str *out);
/* Appends the findings as one line for the trace. */
void ability_text(const struct ability *a, const struct remote *r, struct str *out);

#endif
