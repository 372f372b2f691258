/* mas detokenize: prints the text of token ids, byte for byte. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "cmd.h"
#include "sources.h"
#include "tokenizer.h"

struct options {
    const char *model, *file, *pre;
    struct str ids; /* arguments, separated by spaces */
    bool special;
};

enum { OPT_SPECIAL = 1, OPT_PRE };

static const struct argp_option rows[] = {
    {"model", 'm', "MODEL", 0, "a GGUF file, also one without tensors, or demo", 0},
    {"file", 'f', "FILE", 0, "read the ids from FILE, - is standard input", 0},
    {"special", OPT_SPECIAL, NULL, 0, "show control tokens by their names", 0},
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
    case 'f':
        o->file = arg;
        return 0;
    case OPT_PRE:
        o->pre = arg;
        return 0;
    case OPT_SPECIAL:
        o->special = true;
        return 0;
    case ARGP_KEY_ARG:
        str_adds(&o->ids, arg);
        str_addc(&o->ids, ' ');
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char doc[] =
    "Prints the text of token ids, byte for byte and without a newline of its own. Control tokens "
    "give nothing unless --special.";

static const struct argp argp = {
    .options = rows, .parser = parse, .args_doc = "[ID...]", .doc = doc};

/* Reads numbers separated by white space; cuts up s. */
static int read_ids(char *s, size_t n, struct token_list *ids, struct err *e)
{
    static const char white[] = " \t\r\n";
    if (memchr(s, 0, n))
        FAIL(e, ERR_DATA, "the ids contain a NUL byte at %zu", strlen(s));
    for (char *word = s + strspn(s, white); *word;) {
        size_t len = strcspn(word, white);
        char *next = word + len + strspn(word + len, white);
        int64_t id;
        word[len] = 0;
        if (!str_to_i64(word, INT32_MIN, INT32_MAX, &id))
            FAIL(e, ERR_DATA, "id %zu, '%.40s', is no token id; ids are whole numbers from 0",
                 ids->n, word);
        TRY(token_list_push(ids, (int32_t)id, e));
        word = next;
    }
    return 0;
}

static int detokenize(struct options *o, struct str *text, struct err *e)
{
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    struct token_list ids = {0};
    int rc;
    if (o->file)
        TRY_DONE(cli_clean_text(NULL, o->file, &o->ids, e));
    TRY_DONE(str_ok(&o->ids, "the ids", e));
    TRY_DONE(o->ids.len ? read_ids(o->ids.s, o->ids.len, &ids, e) : 0);
    TRY_DONE(sources_gguf(o->model, &g, e));
    TRY_DONE(tokenizer_open(g, o->pre, &t, e));
    TRY_DONE(tokenizer_decode(t, ids.id, ids.n, o->special ? TOK_SPECIAL : 0, text, e));
done:
    token_list_free(&ids);
    tokenizer_close(t);
    gguf_close(g);
    return rc;
}

static int run(int argc, char **argv)
{
    struct options o = {.ids = STR_INIT};
    struct err e = {0};
    struct str text = STR_INIT;
    int rc = cli_parse(&argp, argc, argv, &o);
    if (rc >= 0) {
        str_free(&o.ids);
        return rc;
    }
    if (!o.model)
        rc = err_set(&e, ERR_USAGE, "no model; give one with -m MODEL");
    else if (o.file && o.ids.len)
        rc = err_set(&e, ERR_USAGE, "give the ids as arguments or by -f, not both");
    else if (!o.file && !o.ids.len)
        rc = err_set(&e, ERR_USAGE, "no ids; give them as arguments or by -f FILE");
    else
        rc = detokenize(&o, &text, &e);
    if (rc == 0)
        fwrite(text.s, 1, text.len, stdout);
    str_free(&o.ids);
    str_free(&text);
    return rc < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_detokenize = {
    "detokenize", "print the text of token ids",
    "mas detokenize -m llama3.gguf 9906 1917\n"
    "mas tokenize -m llama3.gguf -p \"Hello world\" | mas detokenize -m llama3.gguf -f -\n",
    run};
