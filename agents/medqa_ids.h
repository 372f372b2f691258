/* medqa_ids: finds questions of a data file by their ids. */
#ifndef MAS_MEDQA_IDS_H
#define MAS_MEDQA_IDS_H

#include "medqa.h"

struct medqa_ids {
    struct medqa_id *id; /* (n) sorted */
    size_t n;
};
int medqa_ids_open(const struct medqa *m, struct medqa_ids *out, struct err *e); /* ERR_NOMEM */
void medqa_ids_free(struct medqa_ids *ids); /* accepts a zeroed one */
/* Index into medqa.question, or -1. */
int64_t medqa_ids_find(const struct medqa_ids *ids, const char *id);

#endif
