#include "medqa_ids.h"

#include <stdlib.h>
#include <string.h>

struct medqa_id {
    char id[24];
    size_t question;
};

static int medqa_ids_order(const void *a, const void *b)
{
    return strcmp(((const struct medqa_id *)a)->id, ((const struct medqa_id *)b)->id);
}

int medqa_ids_open(const struct medqa *m, struct medqa_ids *out, struct err *e)
{
    struct medqa_id *id = mem_zalloc(m->n, sizeof *id);
    if (!id)
        return NOMEM(e, m->n * sizeof *id, "ids of questions");
    for (size_t i = 0; i < m->n; i++) {
        id[i].question = i;
        memcpy(id[i].id, m->question[i].id, sizeof id[i].id);
    }
    qsort(id, m->n, sizeof *id, medqa_ids_order);
    *out = (struct medqa_ids){.id = id, .n = m->n};
    return 0;
}

int64_t medqa_ids_find(const struct medqa_ids *ids, const char *id)
{
    struct medqa_id key;
    if (strlen(id) >= sizeof key.id)
        return -1;
    memcpy(key.id, id, strlen(id) + 1);
    const struct medqa_id *at = bsearch(&key, ids->id, ids->n, sizeof key, medqa_ids_order);
    return at ? (int64_t)at->question : -1;
}

void medqa_ids_free(struct medqa_ids *ids)
{
    mem_free(ids->id);
    *ids = (struct medqa_ids){.n = 0};
}
