/*
 * records: the data file of a run, record by record, as records.jsonl in the run's folder keeps it.
 * So every report has the whole file as its denominator without needing the file. Rejected records,
 * duplicates and questions not run yet are in it.
 */
#ifndef MAS_RECORDS_H
#define MAS_RECORDS_H

#include "medqa.h"
#include "str.h"

struct records_row {
    enum medqa_kind kind;
    int64_t line;         /* of the data file, from 1 */
    size_t of;            /* row with the result: its own, or the row that it repeats */
    char id[24];          /* "" = rejected */
    int key;              /* -1 = none */
    const char *question; /* its beginning, "" = rejected */
    const char *step;     /* "" = not known */
    const char *origin;   /* id of the question that it is a variant of (vary.h); NULL = none */
    const char *why;      /* rejected: the reason; "" otherwise */
};

struct records {
    struct records_row *r; /* (n), by record number */
    size_t n, cap;
    struct arena arena;
};
void records_free(struct records *rs); /* accepts a zeroed one */

/* Appends one line a record. */
void records_write(const struct medqa *m, struct str *out);
/* Appends a JSON object: counts, and the lines of the first rejected and repeated records. sha256:
 * of the text of records_write. */
void records_describe(const struct medqa *m, const char *sha256, struct str *out);
/* Reads the text of records_write. ERR_DATA with the line, ERR_NOMEM. */
int records_read(const char *text, size_t n, struct records *out, struct err *e);

#endif
