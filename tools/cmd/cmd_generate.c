/* mas generate: continues a prompt and prints the text as it comes. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cmd.h"
#include "grammar.h"
#include "llm.h"
#include "log.h"
#include "mem.h"
#include "schema.h"
#include "text.h"
#include "think.h"
#include "tokenizer.h"
#include "zio.h"

#define TEXT_OF(x) #x
#define NUMBER_TEXT_OF(x) TEXT_OF(x)
/* clang-format off */
#define SCHEMA_HELP \
    "Schemas: every reply validates. Known keywords: $ref to a place of the same file (no " \
    "recursion), allOf, anyOf, oneOf (of forms that surely differ), type, enum, const; " \
    "properties, required, additionalProperties, minProperties, maxProperties; items, " \
    "prefixItems, minItems, maxItems, uniqueItems (items of an enum); minLength, maxLength, " \
    "pattern, format; minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf. " \
    "Annotations (title, description, default ..) are ignored, anything else is an " \
    "error that says what to write instead.\n\n" \
    "Properties come in the order of their declaration, undeclared ones never; without " \
    "required, every one is written. Without bounds a string has at most " \
    NUMBER_TEXT_OF(SCHEMA_DEFAULT_CHARS) " characters, an array " \
    NUMBER_TEXT_OF(SCHEMA_DEFAULT_ITEMS) " items, and a number lies within +-" \
    NUMBER_TEXT_OF(SCHEMA_DEFAULT_NUMBER) " with two digits after the point. {} allows text, " \
    "numbers, true, false, null, {} and lists of these. The whole reply cannot be a bare number."
/* clang-format on */

struct generate {
    struct cli_engine ce;
    const char *prompt, *file, *schema;
    struct cli_sampling draw;
    struct cli_rows draw_rows;
    bool json, chat, ignore_eos;
    /* while it runs */
    struct engine *en;
    const struct tokenizer *tok;
    const struct chat_thinking *thinking; /* of the chat; NULL = the model does not think */
    bool dim;                             /* the thinking is shown on a terminal */
    bool unseen;                          /* standard output takes no more */
    struct tokenizer_stream stream;
    struct str text; /* complete characters so far */
};

enum { OPT_JSON = 1, OPT_CHAT, OPT_SCHEMA, OPT_IGNORE_EOS };

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct generate *g = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = &g->ce;
        st->child_inputs[1] = &g->draw_rows;
        return 0;
    case 'p':
        g->prompt = arg;
        return 0;
    case 'f':
        g->file = arg;
        return 0;
    case OPT_JSON:
        g->json = true;
        return 0;
    case OPT_CHAT:
        g->chat = true;
        return 0;
    case OPT_SCHEMA:
        g->schema = arg;
        return 0;
    case OPT_IGNORE_EOS:
        g->ignore_eos = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(st, "unexpected argument '%s'; pass the prompt with -p", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"prompt", 'p', "TEXT", 0, "text to continue", 1},
    {"file", 'f', "FILE", 0,
     "read it from a file, '-' = standard input; its bytes are kept, line ends as well, but for "
     "a byte order mark of UTF-8",
     1},
    {"chat", OPT_CHAT, 0, 0,
     "the text is a user's message: use the model's chat template; a model's thinking goes to "
     "standard error, unless --quiet is given",
     1},
    {"schema", OPT_SCHEMA, "FILE", 0, "constrain the reply to this JSON Schema", 1},
    {"ignore-eos", OPT_IGNORE_EOS, 0, 0, "go on after the end-of-text token", 2},
    {"json", OPT_JSON, 0, 0, "print one JSON object with text, ids, log-probabilities, times", 3},
    {0}};

/* Before the reply: ends the shown thinking. A free reply begins with the bytes that the closing
 * token has after the closing text. */
static void end_thought(struct generate *g, const struct request *r)
{
    if (!r->n_think)
        return;
    if (!g->json && !g->ce.quiet)
        fputs(g->dim ? "\033[0m" : "", stderr);
    if (!r->grammar)
        think_text(r, g->tok, NULL, &g->text);
    size_t space = strspn(g->text.s, " \t\r\n");
    if (space) {
        memmove(g->text.s, g->text.s + space, g->text.len - space + 1);
        g->text.len -= space;
    }
    if (!g->json)
        fwrite(g->text.s, 1, g->text.len, stdout);
}

/* Writes a token of the thinking to standard error: standard output has the reply alone. */
static void show_thought(const struct generate *g, const struct request *r, int32_t id)
{
    const char *s;
    size_t n;
    if (g->json || g->ce.quiet)
        return;
    tokenizer_text(g->tok, id, &s, &n);
    if (r->n_think == 1)
        fprintf(stderr, "%s%s", g->dim ? "\033[2m" : "", g->thinking->open);
    fwrite(s, 1, n, stderr);
    fflush(stderr);
}

/* On the engine thread; nothing else touches g until the request is done. */
static void on_token(struct request *r, int32_t id, float lp)
{
    struct generate *g = ((struct cli_job *)r)->user;
    (void)lp;
    if (r->n_think == r->n_out) {
        show_thought(g, r, id);
        return;
    }
    if (r->n_out == r->n_think + 1)
        end_thought(g, r);
    size_t before = g->text.len;
    tokenizer_stream_push(g->tok, &g->stream, id, &g->text);
    if (!g->json) {
        fwrite(g->text.s + before, 1, g->text.len - before, stdout);
        if (cli_flush(NULL) < 0 && !g->unseen) { /* nobody sees the rest; said at the end */
            g->unseen = true;
            engine_cancel(g->en, r);
        }
    }
}

static void print_json(const struct generate *g, const struct request *r)
{
    struct str s = STR_INIT;
    str_adds(&s, "{\"text\": ");
    str_add_json(&s, g->text.s, g->text.len);
    if (g->thinking) {
        struct str thought = STR_INIT;
        think_text(r, g->tok, &thought, NULL);
        str_adds(&s, ", \"thinking\": ");
        str_add_json(&s, thought.s, thought.len);
        str_addf(&s, ", \"thought\": \"%s\", \"think_tokens\": %d",
                 r->think.max ? thought_name(r->thought) : "empty", r->n_think);
        s.failed = s.failed || thought.failed;
        str_free(&thought);
    }
    str_addf(&s,
             ", \"finish\": \"%s\", \"prompt_tokens\": %d, \"cached_tokens\": %d, \"passes\": %d, "
             "\"drafted\": %d, "
             "\"accepted\": %d, \"tokens\": [",
             finish_name(r->finish), r->n_prompt, r->n_cached, r->n_pass, r->n_drafted,
             r->n_accepted);
    for (int i = r->n_think; i < r->n_out; i++)
        str_addf(&s, "%s%d", i > r->n_think ? ", " : "", r->out[i]);
    str_adds(&s, "], \"logprobs\": [");
    for (int i = r->n_think; i < r->n_out; i++)
        if (isnan(r->out_lp[i]))
            str_addf(&s, "%snull", i > r->n_think ? ", " : "");
        else
            str_addf(&s, "%s%.6g", i > r->n_think ? ", " : "", (double)r->out_lp[i]);
    str_addf(&s, "], \"first_seconds\": %.6f, \"total_seconds\": %.6f}\n",
             r->t_first_ns ? (double)(r->t_first_ns - r->t_submit_ns) / 1e9 : 0.0,
             (double)(r->t_done_ns - r->t_submit_ns) / 1e9);
    fwrite(s.s, 1, s.len, stdout);
    str_free(&s);
}

/* Tokens that the model may think; 0 = none. */
static int budget(const struct generate *g)
{
    return g->draw.think >= 0 ? g->draw.think : g->thinking ? LLM_THINK_DEFAULT : 0;
}

static int encode_prompt(struct generate *g, struct engine *en, const struct str *text,
                         struct token_list *out, struct err *e)
{
    if (!g->chat)
        return tokenizer_encode(g->tok, text->s, text->len, TOK_BOS, out, e);
    struct chat_message m = {"user", text->s, text->len};
    if (chat_bare(engine_info(en)->chat))
        log_warn("%s: " CHAT_BARE_TEXT, engine_info(en)->path);
    enum chat_think start = budget(g) ? CHAT_THINK_OPEN : CHAT_THINK_NONE;
    return chat_render(engine_info(en)->chat, &m, 1, start, out, e);
}

static int run_request(struct generate *g, struct engine *en, const struct token_list *prompt,
                       const struct grammar *grammar, struct err *e)
{
    int rc = 0;
    struct token_list added = {0};
    struct cli_job j = {.user = g};
    struct request *r = &j.r;
    *r = (struct request){.id = 1,
                          .seed = (uint64_t)g->draw.seed,
                          .prompt = prompt->id,
                          .n_prompt = (int)prompt->n,
                          .max_new = g->draw.max_output_tokens,
                          .temperature = (float)g->draw.temperature,
                          .top_p = (float)g->draw.top_p,
                          .min_p = (float)g->draw.min_p,
                          .top_k = g->draw.top_k,
                          .ignore_eos = g->ignore_eos,
                          .grammar = grammar,
                          .on_token = on_token};
    if (budget(g))
        TRY_DONE(think_of_chat(engine_info(en)->chat, g->tok, budget(g), &added, &r->think, e));
    size_t most = (size_t)request_most(r);
    r->out = mem_zalloc(most, sizeof *r->out);
    r->out_lp = mem_zalloc(most, sizeof *r->out_lp);
    if (!r->out || !r->out_lp) {
        rc = NOMEM(e, most * sizeof *r->out, "reply");
        goto done;
    }
    TRY_DONE(cli_run(en, &j, e));
    size_t before = g->text.len;
    tokenizer_stream_end(&g->stream, &g->text);
    TRY_DONE(str_ok(&g->text, "reply", e));
    if (g->json)
        print_json(g, r);
    else
        printf("%s\n", g->text.s + before);
done:
    token_list_free(&added);
    mem_free(r->out);
    mem_free(r->out_lp);
    return rc;
}

/* The bytes of the prompt, unchanged except for the removed mark of UTF-8 at the beginning. */
static int read_prompt(const struct generate *g, struct str *out, struct err *e)
{
    TRY(cli_text(g->prompt, g->file, out, e));
    const char *name = cli_text_name(g->file), *wide = text_wide(out->s, out->len, false);
    size_t mark = text_mark(out->s, out->len);
    if (wide)
        FAIL(e, ERR_DATA,
             "%s is %s text, which no model reads; convert it, as with iconv -f %s -t UTF-8", name,
             wide, wide);
    if (mark) {
        memmove(out->s, out->s + mark, out->len - mark + 1);
        out->len -= mark;
    }
    return 0;
}

static int generate(struct generate *g, struct err *e)
{
    int rc = 0;
    struct str text = STR_INIT, schema = STR_INIT;
    struct engine *en = NULL;
    struct token_list prompt = {0};
    struct grammar *grammar = NULL;
    if (g->draw.think > 0 && !g->chat)
        TRY_DONE(err_set(e, ERR_USAGE, "--think %d needs --chat: a plain text has no thinking",
                         g->draw.think));
    TRY_DONE(read_prompt(g, &text, e));
    if (g->schema) {
        TRY_DONE(zio_read(g->schema, (size_t)1 << 20, &schema, e));
        TRY_DONE(grammar_compile(schema.s, schema.len, g->schema, &grammar, e));
    }
    TRY_DONE(cli_engine_open(&g->ce, &en, e));
    g->en = en;
    g->tok = engine_tokenizer(en);
    g->thinking = g->chat ? chat_thinking(engine_info(en)->chat) : NULL;
    g->dim = isatty(STDERR_FILENO);
    if (g->draw.think > 0 && !g->thinking)
        TRY_DONE(err_set(e, ERR_USAGE,
                         "--think %d: models of chat template %s do not think; set it to 0 or -1",
                         g->draw.think, chat_name(engine_info(en)->chat)));
    TRY_DONE(encode_prompt(g, en, &text, &prompt, e));
    const bool echo = !g->json && !g->chat && !g->schema;
    if (echo) {
        fwrite(text.s, 1, text.len, stdout);
        fflush(stdout);
    }
    g->stream.started = !g->chat && text.len > 0; /* the reply continues the prompt's text */
    rc = run_request(g, en, &prompt, grammar, e);
    if (rc < 0 && echo && text.len > 0) {
        fputc('\n', stdout); /* the error begins a line of its own */
        fflush(stdout);
    }
done:
    cli_engine_close(&g->ce, en);
    grammar_free(grammar);
    token_list_free(&prompt);
    str_free(&schema);
    str_free(&text);
    str_free(&g->text);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct cli_row greedy[] = {{.flag = "tokens", .otherwise = "128"},
                                            {.flag = "temp", .otherwise = "0"}};
    struct generate g = {.text = STR_INIT};
    const struct argp_child children[] = {
        {&g.ce.rows.argp, 0, "Model and machine:", 10}, {&g.draw_rows.argp, 0, NULL, 2}, {0}};
    const struct argp argp = {
        options,  parse,
        NULL,     "Continues a text with a model and prints it as it comes.\v" SCHEMA_HELP,
        children, NULL,
        NULL};
    cli_engine_init(&g.ce, NULL, 0);
    g.ce.opt.n_seq = 1;
    cli_rows_all(&g.draw_rows, &cli_sampling_set, greedy, 2, 2, &g.draw);
    int done = cli_parse(&argp, argc, argv, &g);
    if (done >= 0)
        return done;
    struct err e = {0};
    return generate(&g, &e) < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_generate = {
    "generate", "continue a text",
    "mas generate -m model.gguf -p 'Once upon a time' -n 60\n"
    "mas generate -m model.gguf --chat -p 'What is a STEMI?' --temp 0.7 --seed 1\n"
    "mas generate -m model.gguf --chat -f question.txt --schema answer.json --json\n",
    run};
