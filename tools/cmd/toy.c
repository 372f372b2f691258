#include "toy.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "embed.h"

#define WORD_MAX 64 /* bytes; longer ones are unknown */

bool toy_is(const char *model)
{
    static const char name[] = "mas toy clinic";
    return !strncmp(model, name, sizeof name - 1);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_letter(char c)
{
    c = lower(c);
    return (c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80;
}

/* -1, 0, 1: the line at s comes before the word, is the word, comes after it. */
static int line_order(const char *s, const char *word, size_t n)
{
    size_t len = strcspn(s, "\n");
    int order = memcmp(s, word, len < n ? len : n);
    return order ? order : len < n ? -1 : len > n;
}

/* The lines are sorted by their bytes; those of the head begin with '#', which no word does and
 * which comes first. */
static bool is_known(const struct embed_file *list, const char *word, size_t n)
{
    size_t lo = 0, hi = list->size; /* beginnings of lines */
    while (lo < hi) {
        size_t at = lo + (hi - lo) / 2;
        while (at > lo && list->data[at - 1] != '\n')
            at--;
        int order = line_order(list->data + at, word, n);
        if (order == 0)
            return true;
        if (order > 0)
            hi = at;
        else
            lo = at + strcspn(list->data + at, "\n") + 1;
    }
    return false;
}

static void count(const struct embed_file *list, const char *s, struct toy_words *w)
{
    while (*s) {
        char word[WORD_MAX];
        size_t n = 0;
        for (; is_letter(s[n]); n++)
            if (n < WORD_MAX)
                word[n] = lower(s[n]);
        if (n > 1) {
            w->all++;
            w->unknown += n > WORD_MAX || !is_known(list, word, n);
        }
        s += n ? n : 1;
    }
}

struct toy_words toy_count(const struct medqa_question *q)
{
    struct toy_words w = {0};
    const struct embed_file *list = embed_find("configs/demo/words.txt");
    CHECK(list);
    count(list, q->text, &w);
    for (int i = 0; i < q->n_options; i++)
        count(list, q->option[i], &w);
    return w;
}

bool toy_foreign(const struct toy_words *w)
{
    return !w->all || (int64_t)w->unknown * 100 > (int64_t)w->all * TOY_UNKNOWN;
}

bool toy_says(const char *model, const struct medqa_question *q, char out[TOY_TEXT])
{
    *out = 0;
    struct toy_words w = toy_count(q);
    if (!toy_is(model) || !toy_foreign(&w))
        return false;
    if (!w.all)
        snprintf(out, TOY_TEXT,
                 "this case holds no word that the toy model could know: the answer is noise");
    else
        snprintf(out, TOY_TEXT,
                 "the toy model does not know %d of this case's %d words (%.0f %%, limit %d %%): "
                 "the answer is "
                 "noise",
                 w.unknown, w.all, 100.0 * w.unknown / w.all, TOY_UNKNOWN);
    return true;
}

bool toy_says_all(const char *model, const struct medqa_question *q, size_t n, char out[TOY_TEXT])
{
    size_t foreign = 0;
    *out = 0;
    for (size_t i = 0; i < n && toy_is(model); i++) {
        struct toy_words w = toy_count(&q[i]);
        foreign += toy_foreign(&w);
    }
    if (foreign)
        snprintf(out, TOY_TEXT,
                 "the toy model does not know more than %d %% of the words of %zu of the %zu "
                 "questions: its "
                 "answers to them are noise",
                 TOY_UNKNOWN, foreign, n);
    return foreign > 0;
}
