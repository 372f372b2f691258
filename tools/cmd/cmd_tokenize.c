/* mas tokenize: prints the token ids of a text, separated by spaces, on one line. */
#include <stdio.h>

#include "cli.h"
#include "cmd.h"
#include "sources.h"
#include "tokenizer.h"

struct options {
    const char *model, *text, *file, *pre;
    bool special, bos, count;
};

enum { OPT_SPECIAL = 1, OPT_BOS, OPT_COUNT, OPT_PRE };

static const struct argp_option rows[] = {
    {"model", 'm', "MODEL", 0, "a GGUF file, also one without tensors, or demo", 0},
    {"prompt", 'p', "TEXT", 0, "the text", 0},
    {"file", 'f', "FILE", 0, "read it from FILE; without -p and -f from standard input", 0},
    {"special", OPT_SPECIAL, NULL, 0, "names of control tokens in the text become these tokens", 0},
    {"bos", OPT_BOS, NULL, 0, "begin with the BOS token if the model does so", 0},
    {"count", OPT_COUNT, NULL, 0, "print only the number of tokens", 0},
    {"pre", OPT_PRE, "NAME", 0, "pre-tokenizer of a byte-level vocabulary; default: the file's", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'm':
        o->model = arg;
        return 0;
    case 'p':
        o->text = arg;
        return 0;
    case 'f':
        o->file = arg;
        return 0;
    case OPT_PRE:
        o->pre = arg;
        return 0;
    case OPT_SPECIAL:
        o->special = true;
        return 0;
    case OPT_BOS:
        o->bos = true;
        return 0;
    case OPT_COUNT:
        o->count = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'; pass the text with -p", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char doc[] =
    "Prints the token ids of a text, separated by spaces, on one line. Every byte counts, also a "
    "byte order mark of UTF-8 and CR; a text with a mark of UTF-16 is refused. Without --special "
    "no text becomes a control token.";

static const struct argp argp = {.options = rows, .parser = parse, .doc = doc};

static int tokenize(const struct options *o, const char *text, size_t n, struct token_list *ids,
                    struct err *e)
{
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    unsigned flags = (o->special ? TOK_SPECIAL : 0) | (o->bos ? TOK_BOS : 0);
    int rc;
    TRY_DONE(sources_gguf(o->model, &g, e));
    TRY_DONE(tokenizer_open(g, o->pre, &t, e));
    TRY_DONE(tokenizer_encode(t, text, n, flags, ids, e));
done:
    tokenizer_close(t);
    gguf_close(g);
    return rc;
}

static int run(int argc, char **argv)
{
    struct options o = {0};
    struct err e = {0};
    struct str text = STR_INIT;
    struct token_list ids = {0};
    int rc = cli_parse(&argp, argc, argv, &o);
    if (rc >= 0)
        return rc;
    if (!o.model)
        TRY_DONE(err_set(&e, ERR_USAGE, "no model; give one with -m MODEL"));
    TRY_DONE(cli_bytes_text(o.text, o.text || o.file ? o.file : "-", &text, &e));
    TRY_DONE(tokenize(&o, text.s, text.len, &ids, &e));
    if (o.count)
        printf("%zu", ids.n);
    for (size_t i = 0; !o.count && i < ids.n; i++)
        printf(i ? " %d" : "%d", ids.id[i]);
    putchar('\n');
done:
    str_free(&text);
    token_list_free(&ids);
    return rc < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_tokenize = {"tokenize", "print the token ids of a text",
                                 "mas tokenize -m llama3.gguf -p \"What is the diagnosis?\"\n"
                                 "mas tokenize -m llama3.gguf -f question.txt --count\n"
                                 "mas tokenize -m llama3.gguf --special -p \"<|eot_id|>\"\n",
                                 run};
