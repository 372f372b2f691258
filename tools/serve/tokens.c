/* GET /tokenizer_info; POST /tokenize, /detokenize, /apply-template. */
#include <string.h>

#include "chat.h"
#include "mem.h"
#include "openai.h"
#include "status.h"
#include "task.h"
#include "tokenizer.h"

struct tokenize_args {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "tokenize.def"
#undef X
};
static const struct field_row tokenize_rows[] = {
#define X(...) FIELD_ROW(struct tokenize_args, __VA_ARGS__)
#include "tokenize.def"
#undef X
};
const struct field_set tokenize_fields = {"TokenizeRequest", tokenize_rows,
                                          sizeof tokenize_rows / sizeof tokenize_rows[0],
                                          sizeof(struct tokenize_args)};

struct detokenize_args {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "detokenize.def"
#undef X
};
static const struct field_row detokenize_rows[] = {
#define X(...) FIELD_ROW(struct detokenize_args, __VA_ARGS__)
#include "detokenize.def"
#undef X
};
const struct field_set detokenize_fields = {"DetokenizeRequest", detokenize_rows,
                                            sizeof detokenize_rows / sizeof detokenize_rows[0],
                                            sizeof(struct detokenize_args)};

struct apply_template_args {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "apply_template.def"
#undef X
};
static const struct field_row apply_template_rows[] = {
#define X(...) FIELD_ROW(struct apply_template_args, __VA_ARGS__)
#include "apply_template.def"
#undef X
};
const struct field_set apply_template_fields = {
    "ApplyTemplateRequest", apply_template_rows,
    sizeof apply_template_rows / sizeof apply_template_rows[0], sizeof(struct apply_template_args)};

/* ---- GET /tokenizer_info --------------------------------------------------------------------- */

static void info_ready(struct task *t)
{
    const struct tokenizer *tok = t->m->tok;
    struct str out = STR_INIT;
    struct gguf *g = NULL;
    struct err e = {0};
    int64_t pad = -1, unk = -1;
    if (status_gguf(t->s, t->wait.index, &g, &e) < 0) {
        task_fail_err(t, NULL, &e);
        return;
    }
    int64_t last = tokenizer_n_vocab(tok) - 1;
    (void)gguf_get_int_or(g, "tokenizer.ggml.padding_token_id", 0, last, -1, &pad, NULL);
    (void)gguf_get_int_or(g, "tokenizer.ggml.unknown_token_id", 0, last, -1, &unk, NULL);
    str_adds(&out, "{\"model\": ");
    str_add_json(&out, t->m->name, strlen(t->m->name));
    const struct {
        const char *name;
        int32_t id;
    } special[] = {{"bos", tokenizer_bos(tok)},
                   {"eos", tokenizer_eos(tok)},
                   {"eot", tokenizer_eot(tok)},
                   {"pad", (int32_t)pad},
                   {"unk", (int32_t)unk}};
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
        str_addf(&out, ", \"%s_token\": ", special[i].name);
        status_token(tok, special[i].id, &out);
        str_addf(&out, ", \"%s_token_id\": ", special[i].name);
        if (special[i].id >= 0)
            str_addf(&out, "%d", special[i].id);
        else
            str_adds(&out, "null");
    }
    str_addf(&out, ", \"vocab_size\": %d, \"model_max_length\": %d, \"chat_template_name\": ",
             tokenizer_n_vocab(tok), t->m->info->n_ctx);
    str_add_json(&out, chat_name(t->m->info->chat), strlen(chat_name(t->m->info->chat)));
    str_adds(&out, ", \"chat_template\": ");
    status_template(g, &out);
    str_adds(&out, "}\n");
    gguf_close(g);
    task_reply(t, &out);
}

void tokenizer_info_get(struct call *c)
{
    task_start(c, http_query(c->http, "model"), 0, -1, info_ready, NULL);
}

/* ---- POST /tokenize, /detokenize ------------------------------------------------------------- */

static void tokenize_ready(struct task *t)
{
    const struct tokenize_args *a = t->c->args;
    const char *text = a->prompt ? a->prompt : a->content;
    bool bos = a->prompt ? a->add_special_tokens : a->add_special;
    struct token_list ids = {0};
    struct str out = STR_INIT;
    struct err e = {0};
    unsigned flags = (bos ? TOK_BOS : 0) | (a->parse_special ? TOK_SPECIAL : 0);
    if (tokenizer_encode(t->m->tok, text, strlen(text), flags, &ids, &e) < 0) {
        token_list_free(&ids);
        task_fail_err(t, a->prompt ? "prompt" : "content", &e);
        return;
    }
    str_adds(&out, "{\"tokens\": [");
    for (size_t i = 0; i < ids.n; i++)
        str_addf(&out, "%s%d", i ? ", " : "", ids.id[i]);
    str_addf(&out, "], \"count\": %zu, \"max_model_len\": %d}\n", ids.n, t->m->info->n_ctx);
    token_list_free(&ids);
    task_reply(t, &out);
}

void tokenize_post(struct call *c)
{
    const struct tokenize_args *a = c->args;
    if (!a->prompt == !a->content)
        call_fail(c, 400, "prompt", "give 'prompt' or 'content', %s",
                  a->prompt ? "not both" : "one of them is needed");
    else
        task_start(c, a->model, 0, -1, tokenize_ready, NULL);
}

static int read_ids(const json_t *list, int32_t n_vocab, struct token_list *out, struct err *e)
{
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)(uintptr_t)list, i, v)
    {
        json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id >= n_vocab) {
            char text[32] = "";
            size_t n = json_dumpb(v, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_COMPACT);
            text[n < sizeof text ? n : sizeof text - 1] = 0;
            FAIL(e, ERR_DATA, "item %zu of 'tokens' is %s, expected a token from 0 to %d", i + 1,
                 text, n_vocab - 1);
        }
        TRY(token_list_push(out, (int32_t)id, e));
    }
    return 0;
}

static void detokenize_ready(struct task *t)
{
    const struct detokenize_args *a = t->c->args;
    struct token_list ids = {0};
    struct str out = STR_INIT, text = STR_INIT;
    struct err e = {0};
    int rc = read_ids(a->tokens, tokenizer_n_vocab(t->m->tok), &ids, &e);
    if (rc == 0)
        rc = tokenizer_decode(t->m->tok, ids.id, ids.n, TOK_SPECIAL, &text, &e);
    if (rc == 0) {
        str_adds(&out, "{\"prompt\": ");
        str_add_json(&out, text.s, text.len);
        str_adds(&out, ", \"content\": ");
        str_add_json(&out, text.s, text.len);
        str_adds(&out, "}\n");
        task_reply(t, &out);
    } else {
        task_fail_err(t, "tokens", &e);
    }
    token_list_free(&ids);
    str_free(&text);
}

void detokenize_post(struct call *c)
{
    const struct detokenize_args *a = c->args;
    task_start(c, a->model, 0, -1, detokenize_ready, NULL);
}

/* ---- POST /apply-template -------------------------------------------------------------------- */

static void apply_ready(struct task *t)
{
    const struct apply_template_args *a = t->c->args;
    struct openai_messages m = {0};
    struct str out = STR_INIT, text = STR_INIT;
    struct err e = {0};
    int rc = openai_messages_read(a->messages, &m, &e);
    if (rc == 0)
        rc = chat_text(t->m->info->chat, m.m, m.n, CHAT_THINK_DEFAULT, &text, &e);
    if (rc == 0) {
        str_adds(&out, "{\"prompt\": ");
        str_add_json(&out, text.s, text.len);
        str_adds(&out, "}\n");
        task_reply(t, &out);
    } else {
        task_fail_err(t, "messages", &e);
    }
    openai_messages_free(&m);
    str_free(&text);
}

void apply_template_post(struct call *c)
{
    const struct apply_template_args *a = c->args;
    task_start(c, a->model, 0, -1, apply_ready, NULL);
}
