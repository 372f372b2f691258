#include "think.h"

#include <string.h>

#include "chat.h"
#include "tokenizer.h"

struct think think_begin(const struct request_think *t)
{
    return (struct think){.open = t->max > 0};
}

/* Length of the longest proper prefix of close[0..n) that is its suffix too. */
static int think_border(const char *close, int n)
{
    int k = n - 1;
    while (k > 0 && memcmp(close, close + n - k, (size_t)k) != 0)
        k--;
    return k;
}

bool think_take(const struct request_think *t, const struct tokenizer *tok, struct think *b,
                int32_t id)
{
    const char *s;
    size_t n;
    tokenizer_text(tok, id, &s, &n);
    for (size_t i = 0; i < n; i++) {
        while (b->matched && t->close[b->matched] != s[i])
            b->matched = think_border(t->close, b->matched);
        b->matched += t->close[b->matched] == s[i];
        if (b->matched == t->n_close) {
            b->open = false;
            b->rest = i + 1 < n;
            return true;
        }
    }
    return false;
}

static int think_tokens(const int32_t *id, int n, int32_t n_vocab, const char *what, struct err *e)
{
    if (n < 0 || n > THINK_ADDED_MOST)
        FAIL(e, ERR_DATA, "%s of thinking takes %d tokens; at most %d", what, n, THINK_ADDED_MOST);
    for (int i = 0; i < n; i++)
        if (id[i] < 0 || id[i] >= n_vocab)
            FAIL(e, ERR_DATA, "bad token id %d at position %d of %s of thinking: must be 0 to %d",
                 id[i], i, what, n_vocab - 1);
    return 0;
}

int think_check(const struct request *r, const struct tokenizer *tok, struct err *e)
{
    const struct request_think *t = &r->think;
    if (!t->max)
        return 0;
    if (t->max < 0 || !r->max_new)
        FAIL(e, ERR_BUG, "thinking of %d tokens before a reply of %d", t->max, r->max_new);
    if (t->n_close < 1 || t->n_close > THINK_CLOSE_MOST || t->n_end < 1)
        FAIL(e, ERR_DATA, "thinking ends with a text of %d bytes, %d tokens; must be 1 to %d bytes",
             t->n_close, t->n_end, THINK_CLOSE_MOST);
    TRY(think_tokens(t->end, t->n_end, tokenizer_n_vocab(tok), "the end", e));
    return think_tokens(t->after, t->n_after, tokenizer_n_vocab(tok), "the space after the end", e);
}

int think_of_chat(const struct chat *chat, const struct tokenizer *tok, int max,
                  struct token_list *added, struct request_think *t, struct err *e)
{
    const struct chat_thinking *how = chat_thinking(chat);
    struct str end = STR_INIT;
    int rc;
    if (!how)
        FAIL(e, ERR_DATA, "a budget of thinking of %d tokens: chat template %s does not think", max,
             chat_name(chat));
    added->n = 0;
    /* models end the last line of their thoughts before they close the block */
    str_addf(&end, "\n%s%s", how->close, how->after);
    TRY_DONE(str_ok(&end, "the end of thinking", e));
    TRY_DONE(tokenizer_encode(tok, end.s, end.len, TOK_SPECIAL, added, e));
    size_t n_end = added->n;
    TRY_DONE(tokenizer_encode(tok, how->after, strlen(how->after), TOK_SPECIAL, added, e));
    *t = (struct request_think){.max = max,
                                .close = how->close,
                                .n_close = (int)strlen(how->close),
                                .end = added->id,
                                .n_end = (int)n_end,
                                .after = added->id + n_end,
                                .n_after = (int)(added->n - n_end)};
done:
    str_free(&end);
    return rc;
}

void think_text(const struct request *r, const struct tokenizer *tok, struct str *thought,
                struct str *rest)
{
    struct think b = think_begin(&r->think);
    struct str all = STR_INIT;
    size_t n = (size_t)r->think.n_close;
    for (int i = 0; i < r->n_think && b.open; i++) {
        think_take(&r->think, tok, &b, r->out[i]);
        tokenizer_piece(tok, r->out[i], TOK_SPECIAL, &all);
    }
    size_t at = all.len; /* of the closing text; it ends in the last of these tokens */
    if (n && !b.open && !all.failed) {
        at = 0;
        while (memcmp(all.s + at, r->think.close, n) != 0)
            at++;
        if (rest)
            str_add(rest, all.s + at + n, all.len - at - n);
    }
    if (thought)
        str_add(thought, all.s, at);
    if (thought)
        thought->failed = thought->failed || all.failed;
    if (rest)
        rest->failed = rest->failed || all.failed;
    str_free(&all);
}
