#include "vary.h"

#include <string.h>

static void vary_text(struct str *out, const char *key, const char *s)
{
    str_addf(out, "\"%s\": ", key);
    str_add_json(out, s, strlen(s));
}

/* The question with option first at A, the next ones after it. */
static void vary_one(const struct medqa_question *q, int first, enum vary_kind kind,
                     struct str *out)
{
    const int n = q->n_options;
    str_addc(out, '{');
    vary_text(out, "question", q->text);
    str_adds(out, ", \"options\": {");
    for (int place = 0; place < n; place++) {
        const int i = (first + place) % n;
        const char letter[2] = {(char)('A' + place), 0};
        str_adds(out, place ? ", " : "");
        vary_text(out, letter, kind == VARY_NONE && i == q->key ? VARY_NONE_TEXT : q->option[i]);
    }
    str_addf(out, "}, \"answer_idx\": \"%c\", ", 'A' + (q->key - first + n) % n);
    vary_text(out, "meta_info", q->step);
    str_addf(out, ", \"of\": \"%s\"}\n", q->id);
}

void vary_write(const struct medqa *m, enum vary_kind kind, struct str *out)
{
    for (size_t k = 0; k < m->n; k++) {
        const struct medqa_question *q = &m->question[k];
        for (int first = 0; first < (kind == VARY_CYCLIC ? q->n_options : 1); first++)
            vary_one(q, first, kind, out);
    }
}
