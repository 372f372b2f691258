/* nsight_parts: the functions that the readers of nsys's and of ncu's files share. */
#ifndef MAS_NSIGHT_PARTS_H
#define MAS_NSIGHT_PARTS_H

#include "csv.h"
#include "nsight.h"

/* A file being read. */
struct nsight_file {
    struct nsight *x;
    struct csv csv;
    struct csv_line head; /* of the report at hand: names of its columns */
    struct arena lines;   /* freed after each report */
    const char *name, *report;
};

enum nsight_unit { UNIT_NONE, UNIT_TIME, UNIT_BYTES, UNIT_RATE, UNIT_PERCENT };

/* The unit's kind, and its size in ns, bytes or bytes/s. false: an unknown unit. "" is
 * UNIT_NONE. */
bool nsight_unit(const char *text, size_t n, enum nsight_unit *kind, double *scale);

/* The column that is called `names`, alternatives between '|', without a unit in brackets; -1 if
 * there is none. */
int nsight_column(const struct csv_line *head, const char *names);
/* As above; ERR_DATA naming the first alternative if there is none. */
int nsight_need(const struct nsight_file *f, const char *names, int *out, struct err *e);

/* A number, perhaps with commas between thousands. NAN for "", "n/a" and "nan". ERR_DATA with line
 * and column for anything else, for a negative number and an infinite one. */
int nsight_number(const struct nsight_file *f, const struct csv_line *l, int column, double *out,
                  struct err *e);

/* The next line of the report, as many columns as its head; 1, or 0 at the report's end. */
int nsight_line(struct nsight_file *f, struct csv_line *out, struct err *e);

/* A copy in the result's arena. NULL is passed through. */
int nsight_text(struct nsight_file *f, const char *s, const char **out, struct err *e);
/* Adds a row, whose texts are copied. */
int nsight_add(struct nsight_file *f, const struct nsight_row *r, struct err *e);
/* Fills op, kernel and instance from a kernel's name; `op` from a range stays. false: the kernel is
 * not of this program, and op is not known. k holds the texts. */
struct kernel_name;
bool nsight_kernel(const char *function, struct kernel_name *k, struct nsight_row *r);

enum { NSIGHT_LAUNCH = 144 };
/* "132x1x1 of 128x1x1" from "(132, 1, 1)" and "(128, 1, 1)", or from "132    1    1". false: not
 * three numbers each. */
bool nsight_launch(const char *grid, const char *block, char out[NSIGHT_LAUNCH]);

/* The report after its head, f->head: all lines. */
int nsight_ncu(struct nsight_file *f, struct err *e);

#endif
