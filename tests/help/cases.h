/*
 * cases: questions through a strategy and a scripted llm, for tests that look at finished cases.
 */
#ifndef MAS_CASES_H
#define MAS_CASES_H

#include "script.h"

typedef void (*cases_look)(const struct consult *c, const struct result *r);

/* Runs all questions of m; each case is shown to see before it is freed (NULL = to nothing). */
void cases_run(struct bench *b, const struct medqa *m, cases_look see);
/* n questions under these settings and this mood (NULL = good replies), with shuffled options. */
void cases(const char *const *sets, const struct script *mood, int n, cases_look see);
/* One question through a function that answers all calls. */
void cases_scripted(const char *const *sets, llm_script_fn fn, void *user, cases_look see);

struct cases_got { /* of the last case that got_look saw */
    enum consult_state state;
    int predicted, calls;
    double p[4];
    bool has_p;
    /* facts: as a JSON object; justification: of the page */
    char why[200], facts[400], notes[600], justification[64];
};
extern struct cases_got got;
/* Keeps the case in got. Checks that pages have no empty texts and facts are JSON. */
void got_look(const struct consult *c, const struct result *r);

/* The letter of a call's reply in the file's order; -1 = none. */
int cases_letter(const struct consult *c, const struct consult_call *k);
/* The call of this role and index; NULL = none. */
const struct consult_call *cases_call(const struct consult *c, const char *role, int index);
/* The n calls of a role from index `first` on share all of their prompts but the last paragraph. */
void cases_share_beginning(const struct consult *c, const char *role, int first, int n);

#endif
