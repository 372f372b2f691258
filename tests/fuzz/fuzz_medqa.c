/* Any bytes as a data set: questions or an error. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "medqa.h"
#include "records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int good)
{
    if (!good)
        abort();
}

static void whole(const struct medqa *m)
{
    require(m->n && m->n + m->n_rejected + m->n_duplicates == m->n_records);
    for (size_t i = 0; i < m->n; i++) {
        const struct medqa_question *q = &m->question[i];
        require(q->text[0] && q->key >= 0 && q->key < q->n_options &&
                q->n_options <= MEDQA_OPTIONS);
        require(strlen(q->id) == 16 && strlen(q->step) <= MEDQA_STEP);
        for (int j = 0; j < q->n_options; j++)
            require(q->option[j] && q->option[j][0]);
        require(m->record[q->index].kind == MEDQA_QUESTION && m->record[q->index].question == i);
    }
    for (size_t i = 0; i < m->n_records; i++) {
        const struct medqa_record *r = &m->record[i];
        require(r->line >= 1 && (i == 0 || r->line >= m->record[i - 1].line));
        require(r->kind == MEDQA_REJECTED ? r->why && r->why[0] : r->question < m->n);
        require(r->kind != MEDQA_DUPLICATE || (size_t)m->question[r->question].index < i);
    }
}

/* The copy of the file in a run's folder reads back. */
static void kept(const struct medqa *m)
{
    struct str s = STR_INIT;
    struct records rs = {.n = 0};
    struct err e;
    records_write(m, &s);
    require(!s.failed && records_read(s.s, s.len, &rs, &e) == 0 && rs.n == m->n_records);
    for (size_t i = 0; i < rs.n; i++) {
        require(rs.r[i].kind == m->record[i].kind && rs.r[i].line == m->record[i].line);
        require(rs.r[i].kind == MEDQA_REJECTED ||
                (size_t)m->question[m->record[i].question].index == rs.r[i].of);
    }
    records_free(&rs);
    str_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct medqa m = {.n = 0};
    struct err e;
    if (medqa_parse((const char *)data, size, "fuzz", &m, &e) == 0) {
        whole(&m);
        kept(&m);
    }
    medqa_free(&m);
    return 0;
}
