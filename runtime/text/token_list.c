#include "token_list.h"

#include "mem.h"

void token_list_free(struct token_list *l)
{
    mem_free(l->id);
    *l = (struct token_list){0};
}

int token_list_push(struct token_list *l, int32_t id, struct err *e)
{
    if (l->n == l->cap)
        TRY(mem_grow(&l->id, &l->cap, l->n + 1, sizeof *l->id, "tokens", e));
    l->id[l->n++] = id;
    return 0;
}
