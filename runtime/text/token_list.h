/* token_list: a growing list of token ids. A zeroed one is empty. */
#ifndef MAS_TOKEN_LIST_H
#define MAS_TOKEN_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct token_list {
    int32_t *id; /* (n) */
    size_t n, cap;
};
void token_list_free(struct token_list *l); /* leaves an empty list */
/* Appends id. On ERR_NOMEM the list is unchanged. */
int token_list_push(struct token_list *l, int32_t id, struct err *e);

#endif
