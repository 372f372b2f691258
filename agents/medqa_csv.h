/* medqa_csv: CSV (RFC 4180) as records of a question file; medqa_file.h has the rules. */
#ifndef MAS_MEDQA_CSV_H
#define MAS_MEDQA_CSV_H

#include <stdbool.h>

#include "medqa_file.h"
#include "str.h"

#define MEDQA_CSV_CELLS 256 /* of one row */

struct medqa_csv { /* a walk over rows */
    const char *s;
    size_t n, at;
    int64_t line;                /* of s[at], from 1 */
    struct str cells;            /* the row's cells, one after the other, quotes removed */
    size_t end[MEDQA_CSV_CELLS]; /* (n_cells) ends in cells */
    int n_cells;
    int64_t row_line; /* line in which the row begins */
};

/* 1 = the next row that is not blank; 0 = the end. ERR_DATA with the line when a quote is not
 * closed, text follows a closing quote, or the row has too many cells; ERR_NOMEM. */
int medqa_csv_next(struct medqa_csv *c, struct err *e);
const char *medqa_csv_cell(const struct medqa_csv *c, int i, size_t *n);
bool medqa_csv_cell_is(const struct medqa_csv *c, int i, const char *text);
void medqa_csv_free(struct medqa_csv *c); /* accepts a zeroed one */

/* 1 = the text is CSV, 0 = another text. The first row of CSV names the text of a question among
 * others; or it is a question with its options and a letter. ERR_NOMEM. */
int medqa_csv_is(const char *s, size_t n, struct err *e);
/* The rows as records; line: of the first byte. */
int medqa_csv_walk(const char *s, size_t n, int64_t line, const char *name, medqa_file_take *take,
                   void *user, struct err *e);

#endif
