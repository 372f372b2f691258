/* Any bytes as a model's reply, also as one closed at its limit: parsed completely or an error. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void catalogue(struct catalog *c)
{
    static const char *const ids[] = {"pediatrics", "ent", "urology"};
    *c = (struct catalog){.n = 3, .n_generalist = 1};
    for (int i = 0; i < 3; i++)
        c->entry[i] = (struct catalog_entry){ids[i], ids[i], ids[i],
                                             i ? CATALOG_MEDICAL : CATALOG_GENERALIST};
}

static void read_all(const char *s, size_t size, size_t own)
{
    struct catalog cat;
    struct arena a = {.head = NULL};
    struct answer_plan p;
    struct answer_report r;
    struct answer_decision d;
    struct err e;
    catalogue(&cat);
    for (int full = 0; full < 2; full++)
        if (answer_plan(s, size, own, &cat, 2, full, &a, &p, &e) == 0 &&
            (p.n_selected + p.selected_twice != 2 || p.n_selected < 1 ||
             (p.n_selected == 2 && p.selected[0] == p.selected[1]) || !p.rationale))
            abort();
    if (answer_report(s, size, own, &cat, 1, &a, &r, &e) == 0 && (r.n_dx < 1 || !r.notes))
        abort();
    if (answer_decision(s, size, own, 4, &a, &d, &e) == 0 && (d.letter < 0 || d.letter > 3))
        abort();
    if (answer_reasoned(s, size, own, 0, &a, &d, &e) == 0 && (d.letter != -1 || !d.text[0]))
        abort();
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *s = (const char *)data;
    struct err e;
    int letter = -1;
    read_all(s, size, size);
    for (size_t i = 0; i < 8; i++) /* closed at different bytes */
        read_all(s, size, size * i / 8);
    if (answer_letter(s, size, 4, &letter, &e) == 0 && (letter < 0 || letter > 3))
        abort();
    return 0;
}
