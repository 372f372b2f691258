#include "chat.h"

#include <stdio.h>
#include <string.h>

#include "chat_defaults.h"
#include "chat_digest.h"
#include "chat_write.h"
#include "log.h"
#include "mem.h"
#include "tokenizer.h"

/* ---- the tables ------------------------------------------------------------------------------ */

static const struct chat_thinking think_switched = {false, "<think>\n", "</think>", "\n\n",
                                                    "<think>\n\n</think>\n\n"};
static const struct chat_thinking think_always = {true, "<think>\n", "</think>", "\n\n",
                                                  "<think>\n\n</think>\n\n"};

#define LLAMA3_MARKS "<|begin_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|>"
#define LLAMA3_HEAD(role) "<|start_header_id|>" role "<|end_header_id|>\n\n"
#define INST_MARKS "[INST] [/INST]"
#define MISTRAL_MARKS INST_MARKS " [SYSTEM_PROMPT] [/SYSTEM_PROMPT]"
#define CHATML_MARKS "<|im_start|> <|im_end|>"
#define CHATML_SYSTEM(text) "<|im_start|>system\n" text "<|im_end|>\n"
#define CHATML                                                                                     \
    .system = {"<|im_start|>system\n", "<|im_end|>\n"},                                            \
    .user = {"<|im_start|>user\n", "<|im_end|>\n"},                                                \
    .reply = {"<|im_start|>assistant\n", "<|im_end|>\n"}, .header = "<|im_start|>assistant\n"
#define GEMMA_MARKS "<start_of_turn> <end_of_turn>"
#define GEMMA                                                                                      \
    .user = {"<start_of_turn>user\n", "<end_of_turn>\n"},                                          \
    .reply = {"<start_of_turn>model\n", "<end_of_turn>\n"}, .header = "<start_of_turn>model\n",    \
    .alternate = true, .trim = true
#define PHI3_MARKS "<|user|> <|assistant|> <|end|>"
#define PHI3                                                                                       \
    .system = {"<|system|>\n", "<|end|>\n"}, .user = {"<|user|>\n", "<|end|>\n"},                  \
    .reply = {"<|assistant|>\n", "<|end|>\n"}, .header = "<|assistant|>\n"
#define PHI4_MARKS "<|im_start|> <|im_sep|> <|im_end|>"
#define DEEPSEEK_MARKS "<｜User｜> <｜Assistant｜> <｜end▁of▁sentence｜>"

static const struct chat_thinking think_closed = {false, "<think>\n", "</think>", "\n\n",
                                                  "<think>\n</think>"};

static const struct chat_family families[] = {
#define CHAT(name, renderer, thinking, date, needs, marks, ...)                                    \
    {                                                                                              \
        name,                                                                                      \
        chat_##renderer##_render,                                                                  \
        &(const struct chat_form){__VA_ARGS__},                                                    \
        thinking,                                                                                  \
        date,                                                                                      \
        needs,                                                                                     \
        marks},
#include "chats.def"
#undef CHAT
};
enum { FAMILIES = sizeof families / sizeof *families };

static const struct {
    const char *digest, *name;
} known[] = {
#define TEXT(digest, name) {digest, name},
#include "chat_texts.def"
#undef TEXT
};

static const struct chat_family *family_named(const char *name)
{
    for (size_t i = 0; i < FAMILIES; i++)
        if (!strcmp(families[i].name, name))
            return &families[i];
    return NULL;
}

/* *out = NULL: the text of the file is not in the table. */
static int family_of(const struct gguf *g, const struct chat_family **out, struct gguf_str *text,
                     struct err *e)
{
    char digest[CHAT_DIGEST_HEX + 1];
    *text = (struct gguf_str){"", 0};
    if (!gguf_find(g, CHAT_KEY)) {
        *out = family_named("plain");
        return 0;
    }
    *out = NULL;
    if (gguf_get_str(g, CHAT_KEY, text, e) < 0) {
        *text = (struct gguf_str){"(not a string)", 14};
        return 0;
    }
    TRY(chat_digest(*text, digest, e));
    for (size_t i = 0; i < sizeof known / sizeof *known && !*out; i++)
        if (!strcmp(known[i].digest, digest))
            *out = family_named(known[i].name);
    return 0;
}

int chat_recognise(const struct gguf *g, const char **name, struct err *e)
{
    const struct chat_family *f;
    struct gguf_str text;
    TRY(family_of(g, &f, &text, e));
    *name = f ? f->name : CHAT_UNKNOWN;
    return 0;
}

/* ---- open ------------------------------------------------------------------------------------ */

/* Finds the tokens of the names in `list`. Returns the first name that is no token, len 0: none. */
static struct gguf_str find_marks(struct chat *c, const char *list)
{
    struct gguf_str lacks = {"", 0};
    for (size_t n; *list; list += n + (list[n] == ' ')) {
        n = strcspn(list, " ");
        int32_t id = tokenizer_find(c->t, list, n);
        if (id >= 0 && c->n_mark < CHAT_MARKS_MOST)
            c->mark[c->n_mark++] = (struct chat_mark){list, n, id};
        else if (!lacks.len)
            lacks = (struct gguf_str){list, n};
    }
    return lacks;
}

static void find_all_marks(struct chat *c)
{
    const struct chat_form *form = c->family->form;
    c->lacks = find_marks(c, c->family->needs);
    const struct gguf_str plain = find_marks(c, c->family->marks);
    if (plain.len && !c->lacks.len && !form->plain_marks)
        log_warn("%s: the vocabulary lacks %.*s of the chat template %s: the model reads it as "
                 "plain text; --chat-template NAME takes another",
                 c->path, (int)plain.len, plain.s, c->family->name);
}

static int take_date(struct chat *c, const char *date, struct err *e)
{
    size_t n = date ? strlen(date) : 0;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)date[i] < ' ' || date[i] == 0x7f)
            FAIL(e, ERR_USAGE, "chat.date has a control character at byte %zu; write one line", i);
    if (n > CHAT_DATE_MOST)
        FAIL(e, ERR_USAGE, "chat.date has %zu bytes, the limit is %d", n, CHAT_DATE_MOST);
    if (n && c->family && !c->family->date)
        log_warn("chat.date is unused: the chat template %s writes no date", c->family->name);
    if (n || (c->family && c->family->date))
        memcpy(c->date, n ? date : c->family->date, (n ? n : strlen(c->family->date)) + 1);
    return 0;
}

static int open_family(struct chat *c, const struct gguf *g, const struct chat_options *o,
                       struct err *e)
{
    struct gguf_str text;
    TRY(family_of(g, &c->family, &text, e));
    if (!c->family)
        snprintf(c->start, sizeof c->start, "%.*s%s", text.len > 80 ? 80 : (int)text.len, text.s,
                 text.len > 80 ? ".." : "");
    if (!o->name || !strcmp(o->name, "auto")) {
        c->bare = !gguf_find(g, CHAT_KEY);
        return 0;
    }
    c->family = family_named(o->name);
    if (!c->family)
        FAIL(e, ERR_USAGE, "chat.template is '%s'; it takes " CHAT_NAMES, o->name);
    return 0;
}

int chat_open(const struct gguf *g, const struct tokenizer *t, const struct chat_options *o,
              struct chat **out, struct err *e)
{
    struct chat *c = mem_zalloc(1, sizeof *c);
    int rc;
    if (!c)
        return NOMEM(e, sizeof *c, "a chat template");
    c->t = t;
    c->path = mem_strdup(gguf_path(g));
    if (!c->path)
        rc = NOMEM(e, strlen(gguf_path(g)) + 1, "the path of a model");
    else
        rc = open_family(c, g, o, e);
    if (rc == 0)
        rc = take_date(c, o->date, e);
    if (rc < 0) {
        chat_close(c);
        return rc;
    }
    if (c->family)
        find_all_marks(c);
    *out = c;
    return 0;
}

void chat_close(struct chat *c)
{
    if (!c)
        return;
    mem_free(c->path);
    mem_free(c);
}

bool chat_bare(const struct chat *c)
{
    return c->bare;
}

const char *chat_name(const struct chat *c)
{
    return c->family ? c->family->name : CHAT_UNKNOWN;
}

const struct chat_thinking *chat_thinking(const struct chat *c)
{
    return c->family ? c->family->thinking : NULL;
}

int chat_check(const struct chat *c, struct err *e)
{
    if (!c->family)
        FAIL(e, ERR_DATA,
             "%s: the chat template is of no known text: '%s'; choose one with --chat-template "
             "(chat.template): " CHAT_NAMES,
             c->path, c->start);
    if (c->lacks.len)
        FAIL(e, ERR_DATA,
             "the chat template %s needs the control token %.*s, which the vocabulary lacks",
             c->family->name, (int)c->lacks.len, c->lacks.s);
    return 0;
}

/* ---- rendering ------------------------------------------------------------------------------- */

static int check_messages(const struct chat *c, const struct chat_message *m, int n,
                          enum chat_think think, struct err *e)
{
    TRY(chat_check(c, e));
    if (think == CHAT_THINK_OPEN && !c->family->thinking)
        FAIL(e, ERR_USAGE, "models of the chat template %s do not think", c->family->name);
    if (n < 1)
        FAIL(e, ERR_DATA, "a chat of %d messages, needs at least one", n);
    for (int i = 0; i < n; i++)
        if (!chat_is(&m[i], "user") && !chat_is(&m[i], "system") && !chat_is(&m[i], "assistant"))
            FAIL(e, ERR_DATA, "message %d has the role '%s'; known are system, user, assistant", i,
                 m[i].role);
    return 0;
}

static int render(struct chat_run *r, struct err *e)
{
    TRY(check_messages(r->c, r->m, r->n, r->think, e));
    r->open = chat_is(&r->m[r->n - 1], "assistant");
    r->text = (struct str)STR_INIT;
    r->e = e;
    int rc = r->c->family->render(r, e);
    if (rc == 0)
        rc = chat_end(r);
    str_free(&r->text);
    return rc;
}

int chat_render(const struct chat *c, const struct chat_message *m, int n, enum chat_think think,
                struct token_list *out, struct err *e)
{
    size_t before = out->n;
    struct chat_run r = {.c = c, .m = m, .n = n, .think = think, .out = out, .base = before};
    int rc = render(&r, e);
    if (rc < 0)
        out->n = before;
    return rc;
}

int chat_text(const struct chat *c, const struct chat_message *m, int n, enum chat_think think,
              struct str *out, struct err *e)
{
    size_t before = out->len;
    struct chat_run r = {.c = c, .m = m, .n = n, .think = think, .whole = out};
    int rc = render(&r, e);
    if (rc < 0)
        out->len = before;
    return rc;
}

/* ---- options of a reply --------------------------------------------------------------------- */

/* Renders the tokens from the last control token on. Text before it cannot change them. */
static int tail_render(const struct chat *c, const struct chat_message *m, int n,
                       enum chat_think think, struct token_list *out, struct err *e)
{
    struct chat_run r = {
        .c = c, .m = m, .n = n, .think = think, .out = out, .tail = true, .base = out->n};
    return render(&r, e);
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

/* The tokens of rest from `from` on are those of option i: *len. Lowers *keep to the number of
 * first ones that the prompt has too, after its first `at` tokens. */
static int option_common(const struct token_list *rest, size_t from,
                         const struct token_list *prompt, size_t at, int i, int *len, size_t *keep,
                         struct err *e)
{
    size_t n = rest->n - from, common = common_tokens(rest->id + from, n, prompt, at);
    if (n < 1)
        FAIL(e, ERR_DATA, "option %d has no tokens", i);
    if (common == n)
        common--; /* at least one token of each option is scored */
    *len = (int)n;
    *keep = common < *keep ? common : *keep;
    return 0;
}

/* Leaves `n` tokens of the prompt, which began at `before`, and the tokens of each option after
 * them. */
static int options_cut(struct token_list *prompt, size_t before, size_t n, struct token_list *rest,
                       size_t first, size_t keep, int n_option, int *len, struct err *e)
{
    if (n == before)
        FAIL(e, ERR_DATA,
             "the options change the first token of the prompt: no token is left to score them "
             "after");
    prompt->n = n;
    rest_cut(rest, first, keep, n_option, len);
    return 0;
}

static int options_render(const struct chat *c, struct chat_message *m, int n,
                          enum chat_think think, const struct chat_option *o, int n_option,
                          struct token_list *prompt, struct token_list *rest, int *len,
                          struct err *e)
{
    struct chat_message *last = &m[n - 1];
    const struct chat_message open = *last;
    struct str text = STR_INIT;
    size_t first = rest->n, before = prompt->n, keep, at;
    int rc = 0;
    TRY(chat_render(c, m, n, think, prompt, e));
    TRY(tail_render(c, m, n, think, rest, e));
    at = prompt->n - (rest->n - first); /* start of the last message, or of the whole text */
    keep = rest->n - first;
    rest->n = first;
    for (int i = 0; i < n_option && rc == 0; i++) {
        size_t from = rest->n;
        str_clear(&text);
        str_add(&text, open.text, open.len);
        str_add(&text, o[i].s, o[i].n);
        TRY_DONE(str_ok(&text, "an option", e));
        last->text = text.s;
        last->len = text.len;
        TRY_DONE(tail_render(c, m, n, think, rest, e));
        rc = option_common(rest, from, prompt, at, i, &len[i], &keep, e);
    }
    if (rc == 0)
        rc = options_cut(prompt, before, at + keep, rest, first, keep, n_option, len, e);
done:
    str_free(&text);
    return rc;
}

int chat_render_options(const struct chat *c, const struct chat_message *m, int n,
                        enum chat_think think, const struct chat_option *o, int n_option,
                        struct token_list *prompt, struct token_list *rest, int *len, struct err *e)
{
    size_t n_prompt = prompt->n, n_rest = rest->n;
    if (n < 1 || !chat_is(&m[n - 1], "assistant"))
        FAIL(e, ERR_DATA, "options need an open message of the assistant, which they continue");
    struct chat_message *copy = mem_zalloc((size_t)n, sizeof *copy);
    if (!copy)
        return NOMEM(e, (size_t)n * sizeof *copy, "messages");
    memcpy(copy, m, (size_t)n * sizeof *copy);
    int rc = options_render(c, copy, n, think, o, n_option, prompt, rest, len, e);
    if (rc < 0) {
        prompt->n = n_prompt;
        rest->n = n_rest;
    }
    mem_free(copy);
    return rc;
}

static int raw_options(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                       const struct chat_option *o, int n_option, struct token_list *prompt,
                       struct token_list *rest, int *len, struct err *e)
{
    struct str whole = STR_INIT;
    size_t first = rest->n, before = prompt->n, keep;
    int rc = 0;
    TRY(tokenizer_encode(t, text, n, flags, prompt, e));
    keep = prompt->n - before;
    for (int i = 0; i < n_option && rc == 0; i++) {
        size_t from = rest->n;
        str_clear(&whole);
        str_add(&whole, text, n);
        str_add(&whole, o[i].s, o[i].n);
        TRY_DONE(str_ok(&whole, "an option", e));
        TRY_DONE(tokenizer_encode(t, whole.s, whole.len, flags, rest, e));
        rc = option_common(rest, from, prompt, before, i, &len[i], &keep, e);
    }
    if (rc == 0)
        rc = options_cut(prompt, before, before + keep, rest, first, keep, n_option, len, e);
done:
    str_free(&whole);
    return rc;
}

int chat_raw_options(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                     const struct chat_option *o, int n_option, struct token_list *prompt,
                     struct token_list *rest, int *len, struct err *e)
{
    size_t n_prompt = prompt->n, n_rest = rest->n;
    int rc = raw_options(t, text, n, flags, o, n_option, prompt, rest, len, e);
    if (rc < 0) {
        prompt->n = n_prompt;
        rest->n = n_rest;
    }
    return rc;
}
