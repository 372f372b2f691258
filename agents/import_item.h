/* import_item: one prediction as its file gives it, by the form of the file. */
#ifndef MAS_IMPORT_ITEM_H
#define MAS_IMPORT_ITEM_H

#include "import.h"

struct import_item {
    const char *id;        /* NULL = none */
    const char *predicted; /* "" = none; NULL = the highest of lp */
    const char *gold;      /* the key; NULL = not given */
    bool number;           /* predicted is a number of JSON */
    int gold_number;       /* counts from 0; -1 = not given */
    const char *filter;    /* of lm-eval; NULL = none */
    char doc[24];          /* id of the question in the file itself; "" = none */
    int64_t prompt_tokens; /* -1 = not given */
    int n_lp;              /* log-probabilities; 0 = none */
    double lp[MEDQA_OPTIONS];
    int n_p; /* probabilities; 0 = none */
    double p[MEDQA_OPTIONS];
    const char *status; /* of results.csv; NULL = none */
};

/* Takes one item; texts are valid during the call only. */
typedef int import_take(void *user, const struct import_item *it, int64_t line, struct err *e);

/* Passes the items in their order. *form: the name of the file's form. ERR_DATA with the line. */
int import_items(const char *text, size_t n, const char *name, import_take *take, void *user,
                 const char **form, struct err *e);

#endif
