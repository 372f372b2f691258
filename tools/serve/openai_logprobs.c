/* Log-probabilities in the two forms of OpenAI's API. */
#include <math.h>
#include <string.h>

#include "openai.h"

void openai_float(float f, struct str *out)
{
    if (isnan(f))
        str_adds(out, "null");
    else if (isinf(f))
        str_adds(out, "-9999.0");
    else
        str_addf(out, "%.9g", (double)f);
}

size_t openai_chars(const char *s, size_t n)
{
    size_t chars = 0;
    for (size_t i = 0; i < n; i++)
        chars += ((unsigned char)s[i] & 0xc0) != 0x80;
    return chars;
}

/* A token as JSON text. Bytes that are no whole characters have the form bytes:\xe2\x98, as they
 * have at OpenAI's. */
static void token_json(const struct tokenizer *tok, int32_t id, struct str *out)
{
    const char *s;
    size_t n, at = 0;
    uint32_t cp;
    tokenizer_text(tok, id, &s, &n);
    while (at < n) {
        int len = utf8_decode(s + at, n - at, &cp);
        if (!len)
            break;
        at += (size_t)len;
    }
    if (at == n) {
        str_add_json(out, s, n);
        return;
    }
    str_adds(out, "\"bytes:");
    for (size_t i = 0; i < n; i++)
        str_addf(out, "\\\\x%02x", (unsigned char)s[i]);
    str_adds(out, "\"");
}

static void bytes_json(const struct tokenizer *tok, int32_t id, struct str *out)
{
    const char *s;
    size_t n;
    tokenizer_text(tok, id, &s, &n);
    str_adds(out, "[");
    for (size_t i = 0; i < n; i++)
        str_addf(out, i ? ", %u" : "%u", (unsigned)(unsigned char)s[i]);
    str_adds(out, "]");
}

static void chat_token(const struct tokenizer *tok, int32_t id, float lp, struct str *out)
{
    str_adds(out, "{\"token\": ");
    token_json(tok, id, out);
    str_adds(out, ", \"logprob\": ");
    openai_float(lp, out);
    str_adds(out, ", \"bytes\": ");
    bytes_json(tok, id, out);
}

void openai_logprobs_list(const struct gen *g, int from, int to, struct str *out)
{
    const struct request *r = &g->r;
    const struct tokenizer *tok = g->m->tok;
    str_adds(out, "[");
    for (int i = from; i < to; i++) {
        size_t at = (size_t)(r->n_think + i);
        const struct token_lp *top = r->out_top ? r->out_top + at * (size_t)r->n_top : NULL;
        str_adds(out, i > from ? ", " : "");
        chat_token(tok, r->out[at], r->out_lp[at], out);
        str_adds(out, ", \"top_logprobs\": [");
        for (int k = 0; top && k < r->n_top && top[k].id >= 0; k++) {
            str_adds(out, k ? ", " : "");
            chat_token(tok, top[k].id, top[k].lp, out);
            str_adds(out, "}");
        }
        str_adds(out, "]}");
    }
    str_adds(out, "]");
}

void openai_logprobs_chat(const struct gen *g, int from, int to, struct str *out)
{
    str_adds(out, "{\"content\": ");
    openai_logprobs_list(g, from, to, out);
    str_adds(out, ", \"refusal\": null}");
}

/* ---- completions ----------------------------------------------------------------------------- */

struct place { /* of a token: in the prompt, or in the reply */
    int32_t id;
    float lp;
    const struct token_lp *top; /* (n_top) or NULL */
};

static struct place place_of(const struct gen *g, bool prompt, int i)
{
    const struct request *r = &g->r;
    size_t top = (size_t)r->n_top, at = (size_t)i + (prompt ? 0 : (size_t)r->n_think);
    const struct token_lp *list = prompt ? r->prompt_top : r->out_top;
    return (struct place){.id = prompt ? r->prompt[i] : r->out[at],
                          .lp = prompt ? r->prompt_lp[i] : r->out_lp[at],
                          .top = list && top ? list + at * top : NULL};
}

/* Texts of two tokens are equal: an object has one member for them. */
static bool same_text(const struct tokenizer *tok, int32_t a, int32_t b)
{
    const char *s, *t;
    size_t n, m;
    tokenizer_text(tok, a, &s, &n);
    tokenizer_text(tok, b, &t, &m);
    return n == m && !memcmp(s, t, n);
}

/* {text: log-probability} of the most likely tokens and of the token itself. */
static void top_json(const struct gen *g, struct place p, struct str *out)
{
    const struct tokenizer *tok = g->m->tok;
    bool seen = false;
    if (isnan(p.lp)) {
        str_adds(out, "null");
        return;
    }
    str_adds(out, "{");
    int n = 0;
    for (int k = 0; p.top && k < g->r.n_top && p.top[k].id >= 0; k++) {
        bool again = false;
        for (int i = 0; i < k && !again; i++)
            again = same_text(tok, p.top[i].id, p.top[k].id);
        if (again)
            continue;
        seen = seen || same_text(tok, p.top[k].id, p.id);
        str_adds(out, n++ ? ", " : "");
        token_json(tok, p.top[k].id, out);
        str_adds(out, ": ");
        openai_float(p.top[k].lp, out);
    }
    if (!seen) {
        str_adds(out, n ? ", " : "");
        token_json(tok, p.id, out);
        str_adds(out, ": ");
        openai_float(p.lp, out);
    }
    str_adds(out, "}");
}

/* One of the arrays, over the prompt's tokens and the reply's. */
static void array_json(const struct gen *g, bool prompt, int from, int to, struct str *out,
                       void (*item)(const struct gen *g, struct place p, struct str *out))
{
    int n = 0;
    str_adds(out, "[");
    for (int i = 0; prompt && i < g->r.n_prompt; i++) {
        str_adds(out, n++ ? ", " : "");
        item(g, place_of(g, true, i), out);
    }
    for (int i = from; i < to; i++) {
        str_adds(out, n++ ? ", " : "");
        item(g, place_of(g, false, i), out);
    }
    str_adds(out, "]");
}

static void token_item(const struct gen *g, struct place p, struct str *out)
{
    token_json(g->m->tok, p.id, out);
}

static void lp_item(const struct gen *g, struct place p, struct str *out)
{
    (void)g;
    openai_float(p.lp, out);
}

static void offsets_json(const struct gen *g, bool prompt, int from, int to, size_t first,
                         struct str *out)
{
    struct tokenizer_stream st = {0};
    struct str piece = STR_INIT;
    size_t at = prompt ? 0 : first;
    int n = 0;
    str_adds(out, "[");
    for (int i = 0; prompt && i < g->r.n_prompt; i++) {
        str_addf(out, n++ ? ", %zu" : "%zu", at);
        str_clear(&piece);
        tokenizer_stream_push(g->m->tok, &st, g->r.prompt[i], &piece);
        at += openai_chars(piece.s, piece.len);
    }
    out->failed |= piece.failed;
    str_free(&piece);
    at = prompt ? first : at;
    for (int i = from; i < to; i++) {
        size_t begin = i ? g->token_end[i - 1] : 0;
        str_addf(out, n++ ? ", %zu" : "%zu", at);
        at += openai_chars(g->raw.s + begin, g->token_end[i] - begin);
    }
    str_adds(out, "]");
}

void openai_logprobs_text(const struct gen *g, bool prompt, int from, int to, size_t first,
                          struct str *out)
{
    str_adds(out, "{\"tokens\": ");
    array_json(g, prompt, from, to, out, token_item);
    str_adds(out, ", \"token_logprobs\": ");
    array_json(g, prompt, from, to, out, lp_item);
    str_adds(out, ", \"top_logprobs\": ");
    array_json(g, prompt, from, to, out, top_json);
    str_adds(out, ", \"text_offset\": ");
    offsets_json(g, prompt, from, to, first, out);
    str_adds(out, "}");
}
