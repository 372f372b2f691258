#include "variants.h"

#include "cli.h"
#include "zio.h"

enum { OPT_PERMUTE = 0x3000, OPT_NONE, OPT_PARAPHRASES };

static const struct argp_option options[] = {
    {"permute", OPT_PERMUTE, "cyclic", 0,
     "each question in all cyclic orders of its options; mas export --orders shows what the order "
     "changes",
     30},
    {"none-of-the-above", OPT_NONE, 0, 0,
     "the right option becomes \"" VARY_NONE_TEXT "\"; nothing else changes", 30},
    {"paraphrases", OPT_PARAPHRASES, "FILE", 0,
     "each question, and then in other words from this file: JSON Lines of {id, question}, where "
     "id is the trace_id of results.csv; mas export --orders shows what the words change",
     30},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct variants *v = st->input;
    switch (key) {
    case OPT_PERMUTE:
        return cli_word(st, "--permute", arg, "cyclic", &v->permute);
    case OPT_NONE:
        v->none = true;
        return 0;
    case OPT_PARAPHRASES:
        v->file = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp variants_argp = {options, parse, 0, 0, 0, 0, 0};
const char variants_names[] = "--permute cyclic, --none-of-the-above and --paraphrases";

bool variants_given(const struct variants *v)
{
    return v->permute || v->none || v->file;
}

static void variants_say(const struct variants *v)
{
    const struct vary_count *n = &v->count;
    char text[96];
    vary_say(v->kind, n, text);
    fprintf(stderr, "variants: %s\n", text);
    if (v->kind == VARY_PARAPHRASES && n->alone)
        fprintf(stderr, "%zu questions have no paraphrase and stay alone\n", n->alone);
    if (n->unused)
        fprintf(stderr, "%zu paraphrases are of other questions and are left out\n", n->unused);
}

int variants_take(struct variants *v, struct medqa *m, size_t asked, struct str *describe,
                  struct err *e)
{
    const struct vary_count none = {.questions = 0};
    if (!variants_given(v))
        return 0;
    if ((v->permute != NULL) + v->none + (v->file != NULL) > 1)
        FAIL(e, ERR_USAGE, "give one of %s", variants_names);
    v->kind = v->none ? VARY_NONE : v->file ? VARY_PARAPHRASES : VARY_CYCLIC;
    v->count = none;
    if (v->file)
        TRY(zio_read(v->file, MEDQA_FILE, &v->text, e));
    const struct vary vary = {
        .kind = v->kind, .text = v->text.s, .name = v->file, .n = v->text.len};
    TRY(vary_take(&vary, m, asked, &v->count, describe, e));
    variants_say(v);
    return 0;
}

const struct str *variants_text(const struct variants *v)
{
    return v->kind == VARY_PARAPHRASES ? &v->text : NULL;
}

void variants_free(struct variants *v)
{
    str_free(&v->text);
}
