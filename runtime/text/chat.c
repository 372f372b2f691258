#include "chat.h"

#include <string.h>

#include "mem.h"
#include "tokenizer.h"
#include "unicode.h"

/* ---- recognising the template -------------------------------------------------------------- */

static bool contains(struct gguf_str hay, const char *needle)
{
    size_t n = strlen(needle);
    for (size_t i = 0; i + n <= hay.len; i++)
        if (hay.s[i] == needle[0] && !memcmp(hay.s + i, needle, n))
            return true;
    return false;
}

/* Finds the id of a control token that a template needs. */
static int control(const struct tokenizer *t, const char *name, int32_t *out, struct err *e)
{
    int32_t id = tokenizer_find(t, name, strlen(name));
    if (id < 0 || !tokenizer_is_control(t, id))
        FAIL(e, ERR_DATA,
             "the chat template needs the control token %s, which the vocabulary lacks", name);
    *out = id;
    return 0;
}

struct llama3 { /* control tokens of the template */
    int32_t bos, header, header_end, eot;
};

static int llama3_find(const struct tokenizer *t, struct llama3 *out, struct err *e)
{
    TRY(control(t, "<|begin_of_text|>", &out->bos, e));
    TRY(control(t, "<|start_header_id|>", &out->header, e));
    TRY(control(t, "<|end_header_id|>", &out->header_end, e));
    return control(t, "<|eot_id|>", &out->eot, e);
}

static int llama2_check(const struct tokenizer *t, struct err *e)
{
    if (tokenizer_bos(t) < 0 || tokenizer_eos(t) < 0)
        FAIL(e, ERR_DATA,
             "the chat template needs the tokens of begin and end of text, but the file "
             "has no tokenizer.ggml.%s_token_id",
             tokenizer_bos(t) < 0 ? "bos" : "eos");
    return 0;
}

int chat_detect(const struct gguf *g, const struct tokenizer *t, enum chat_kind *out, struct err *e)
{
    struct gguf_str text;
    struct llama3 ids;
    if (!gguf_find(g, "tokenizer.chat_template")) {
        *out = CHAT_PLAIN;
        return 0;
    }
    TRY(gguf_get_str(g, "tokenizer.chat_template", &text, e));
    if (contains(text, "<|start_header_id|>") && contains(text, "<|end_header_id|>") &&
        contains(text, "<|eot_id|>")) {
        TRY(llama3_find(t, &ids, e));
        *out = CHAT_LLAMA3;
        return 0;
    }
    if (contains(text, "[INST]") && contains(text, "<<SYS>>")) {
        TRY(llama2_check(t, e));
        *out = CHAT_LLAMA2;
        return 0;
    }
    FAIL(e, ERR_DATA, "%s: tokenizer.chat_template is of no known kind (%s, %s): '%.*s'%s",
         gguf_path(g), chat_name(CHAT_LLAMA3), chat_name(CHAT_LLAMA2),
         text.len > 80 ? 80 : (int)text.len, text.s, text.len > 80 ? ".." : "");
}

const char *chat_name(enum chat_kind k)
{
    switch (k) {
    case CHAT_LLAMA3:
        return "llama3";
    case CHAT_LLAMA2:
        return "llama2";
    case CHAT_PLAIN:
        return "plain";
    }
    return "unknown";
}

/* ---- rendering ----------------------------------------------------------------------------- */

/* The characters that Python's str.strip removes: the templates say `| trim`. */
static bool is_blank(uint32_t cp)
{
    return (cp >= 0x1c && cp <= 0x1f) || unicode_class(cp) == UNICODE_SPACE;
}

static struct gguf_str trim_left(struct gguf_str s)
{
    uint32_t cp;
    for (int k; s.len && (k = utf8_decode(s.s, s.len, &cp)) && is_blank(cp);) {
        s.s += k;
        s.len -= (size_t)k;
    }
    return s;
}

static struct gguf_str trim_right(struct gguf_str s)
{
    while (s.len) {
        size_t k = 1;
        uint32_t cp;
        while (k < 4 && k < s.len && ((unsigned char)s.s[s.len - k] & 0xc0) == 0x80)
            k++;
        if ((size_t)utf8_decode(s.s + s.len - k, k, &cp) != k || !is_blank(cp))
            break;
        s.len -= k;
    }
    return s;
}

/* The text of m, trimmed as the templates trim it. The open reply keeps its end: white space there
 * belongs to the text that the model continues. */
static struct gguf_str content(const struct chat_message *m, bool open)
{
    struct gguf_str s = trim_left((struct gguf_str){m->text, m->len});
    return open ? s : trim_right(s);
}

static bool is_role(const struct chat_message *m, const char *role)
{
    return !strcmp(m->role, role);
}

static int check_roles(enum chat_kind k, const struct chat_message *m, int n, struct err *e)
{
    if (n < 1)
        FAIL(e, ERR_DATA, "a chat of %d messages, needs at least one", n);
    int turn = 0;
    for (int i = 0; i < n; i++) {
        bool user = is_role(&m[i], "user"), system = is_role(&m[i], "system");
        if (!user && !system && !is_role(&m[i], "assistant"))
            FAIL(e, ERR_DATA, "message %d has the role '%s'; known are system, user, assistant", i,
                 m[i].role);
        if (k != CHAT_LLAMA2 || (system && i == 0))
            continue;
        if (system || user != (turn % 2 == 0))
            FAIL(e, ERR_DATA,
                 "message %d has the role '%s', but the Llama 2 template takes one system "
                 "message first and then user and assistant in turn",
                 i, m[i].role);
        turn++;
    }
    if (k == CHAT_LLAMA2 && turn == 0)
        FAIL(e, ERR_DATA, "a chat of a system message alone; the Llama 2 template needs a user's");
    return 0;
}

/* Encodes the text of b, then empties b. */
static int flush(const struct tokenizer *t, struct str *b, unsigned flags, struct token_list *out,
                 struct err *e)
{
    TRY(str_ok(b, "a chat message", e));
    TRY(tokenizer_encode(t, b->s, b->len, flags, out, e));
    str_clear(b);
    return 0;
}

static int llama3_header(const struct tokenizer *t, const struct llama3 *ids, const char *role,
                         struct token_list *out, struct err *e)
{
    TRY(token_list_push(out, ids->header, e));
    TRY(tokenizer_encode(t, role, strlen(role), 0, out, e));
    return token_list_push(out, ids->header_end, e);
}

static int llama3_message(const struct tokenizer *t, const struct llama3 *ids,
                          const struct chat_message *m, bool open, struct str *b,
                          struct token_list *out, struct err *e)
{
    struct gguf_str text = content(m, open);
    TRY(llama3_header(t, ids, m->role, out, e));
    str_adds(b, "\n\n"); /* encoded together with the following text, as in the template */
    str_add(b, text.s, text.len);
    TRY(flush(t, b, 0, out, e));
    return open ? 0 : token_list_push(out, ids->eot, e);
}

static int llama3_render(const struct tokenizer *t, const struct chat_message *m, int n,
                         struct str *b, struct token_list *out, struct err *e)
{
    struct llama3 ids;
    TRY(llama3_find(t, &ids, e));
    TRY(token_list_push(out, ids.bos, e));
    for (int i = 0; i < n; i++) {
        bool open = i == n - 1 && is_role(&m[i], "assistant");
        TRY(llama3_message(t, &ids, &m[i], open, b, out, e));
        if (open)
            return 0;
    }
    TRY(llama3_header(t, &ids, "assistant", out, e));
    return tokenizer_encode(t, "\n\n", 2, 0, out, e);
}

/* The user's side of an exchange; the template trims system and user text together. */
static void llama2_user(struct str *b, const struct chat_message *user,
                        const struct chat_message *system)
{
    struct gguf_str text = content(user, false);
    str_adds(b, "[INST] ");
    if (system) {
        str_adds(b, "<<SYS>>\n");
        str_add(b, system->text, system->len);
        str_adds(b, "\n<</SYS>>\n\n");
        text = trim_right((struct gguf_str){user->text, user->len});
        if (text.len == 0)
            b->len = trim_right((struct gguf_str){b->s, b->len}).len;
    }
    str_add(b, text.s, text.len);
    str_adds(b, " [/INST]");
}

/* One exchange is one text: BOS "[INST] user [/INST] reply " EOS. */
static int llama2_render(const struct tokenizer *t, const struct chat_message *m, int n,
                         struct str *b, struct token_list *out, struct err *e)
{
    TRY(llama2_check(t, e));
    bool system = is_role(&m[0], "system");
    for (int i = system; i < n; i++) {
        bool user = is_role(&m[i], "user"), open = !user && i == n - 1;
        if (user) {
            TRY(token_list_push(out, tokenizer_bos(t), e));
            llama2_user(b, &m[i], system && i == 1 ? &m[0] : NULL);
            continue;
        }
        struct gguf_str text = content(&m[i], open);
        str_addc(b, ' ');
        str_add(b, text.s, text.len);
        if (open)
            break;
        str_addc(b, ' ');
        TRY(flush(t, b, 0, out, e));
        TRY(token_list_push(out, tokenizer_eos(t), e));
    }
    return flush(t, b, 0, out, e);
}

static int plain_render(const struct tokenizer *t, const struct chat_message *m, int n,
                        struct str *b, struct token_list *out, struct err *e)
{
    for (int i = 0; i < n; i++) {
        if (i)
            str_adds(b, "\n\n");
        str_add(b, m[i].text, m[i].len);
    }
    return flush(t, b, TOK_BOS, out, e);
}

int chat_render(enum chat_kind k, const struct tokenizer *t, const struct chat_message *m, int n,
                struct token_list *out, struct err *e)
{
    struct str b = STR_INIT;
    size_t before = out->n;
    TRY(check_roles(k, m, n, e));
    int rc = k == CHAT_LLAMA3   ? llama3_render(t, m, n, &b, out, e)
             : k == CHAT_LLAMA2 ? llama2_render(t, m, n, &b, out, e)
                                : plain_render(t, m, n, &b, out, e);
    if (rc < 0)
        out->n = before;
    str_free(&b);
    return rc;
}

/* ---- options of a reply --------------------------------------------------------------------- */

/* Renders the last message, which is open. Llama 3's header begins with a control token, so text
 * before it cannot change the tokens of this message. Other templates are one text and are rendered
 * whole. */
static int last_render(enum chat_kind k, const struct tokenizer *t, const struct chat_message *m,
                       int n, struct str *b, struct token_list *out, struct err *e)
{
    struct llama3 ids;
    if (k != CHAT_LLAMA3)
        return chat_render(k, t, m, n, out, e);
    TRY(llama3_find(t, &ids, e));
    return llama3_message(t, &ids, &m[n - 1], true, b, out, e);
}

/* Drops the first `keep` tokens of each of n_text lists in rest. */
static void rest_cut(struct token_list *rest, size_t first, size_t keep, int n_text, int *len)
{
    size_t from = first, to = first;
    for (int i = 0; i < n_text; i++) {
        size_t n = (size_t)len[i] - keep;
        memmove(rest->id + to, rest->id + from + keep, n * sizeof *rest->id);
        from += (size_t)len[i];
        to += n;
        len[i] = (int)n;
    }
    rest->n = to;
}

/* Number of tokens of the first list that equal those of the prompt after its first `at` tokens. */
static size_t common_tokens(const int32_t *id, size_t n, const struct token_list *prompt, size_t at)
{
    size_t k = 0;
    while (k < n && at + k < prompt->n && id[k] == prompt->id[at + k])
        k++;
    return k;
}

static int options_render(enum chat_kind k, const struct tokenizer *t, struct chat_message *m,
                          int n, const struct chat_option *o, int n_option, struct str *b,
                          struct token_list *prompt, struct token_list *rest, int *len,
                          struct err *e)
{
    struct chat_message *last = &m[n - 1];
    const struct chat_message open = *last;
    struct str text = STR_INIT;
    size_t first = rest->n, before = prompt->n, keep, at;
    int rc = 0;
    TRY(chat_render(k, t, m, n, prompt, e));
    TRY(last_render(k, t, m, n, b, rest, e));
    at = prompt->n - (rest->n - first); /* start of the last message, or of the whole text */
    keep = rest->n - first;
    rest->n = first;
    for (int i = 0; i < n_option && rc == 0; i++) {
        size_t from = rest->n, common;
        str_clear(&text);
        str_add(&text, open.text, open.len);
        str_add(&text, o[i].s, o[i].n);
        TRY_DONE(str_ok(&text, "an option", e));
        last->text = text.s;
        last->len = text.len;
        TRY_DONE(last_render(k, t, m, n, b, rest, e));
        len[i] = (int)(rest->n - from);
        common = common_tokens(rest->id + from, rest->n - from, prompt, at);
        if (len[i] < 1)
            rc = err_set(e, ERR_DATA, "option %d has no tokens", i);
        else if (common == (size_t)len[i])
            common--; /* at least one token of each option is scored */
        keep = common < keep ? common : keep;
    }
    if (rc == 0 && at + keep == before)
        rc = err_set(e, ERR_DATA,
                     "the options change the first token of the prompt: no token is left to score "
                     "them after");
    if (rc == 0) {
        prompt->n = at + keep;
        rest_cut(rest, first, keep, n_option, len);
    }
done:
    str_free(&text);
    return rc;
}

int chat_render_options(enum chat_kind k, const struct tokenizer *t, const struct chat_message *m,
                        int n, const struct chat_option *o, int n_option, struct token_list *prompt,
                        struct token_list *rest, int *len, struct err *e)
{
    size_t n_prompt = prompt->n, n_rest = rest->n;
    if (n < 1 || !is_role(&m[n - 1], "assistant"))
        FAIL(e, ERR_DATA, "options need an open message of the assistant, which they continue");
    struct chat_message *copy = mem_zalloc((size_t)n, sizeof *copy);
    if (!copy)
        return NOMEM(e, (size_t)n * sizeof *copy, "messages");
    memcpy(copy, m, (size_t)n * sizeof *copy);
    struct str b = STR_INIT;
    int rc = options_render(k, t, copy, n, o, n_option, &b, prompt, rest, len, e);
    if (rc < 0) {
        prompt->n = n_prompt;
        rest->n = n_rest;
    }
    str_free(&b);
    mem_free(copy);
    return rc;
}
