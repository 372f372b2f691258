/* grid_export: writes the results of an experiment for mas export. It writes the rows of all cells
 * as one table, the figures as JSON, or the tables for a person. */
#ifndef MAS_GRID_EXPORT_H
#define MAS_GRID_EXPORT_H

#include "err.h"

struct grid_export {
    const char *dir;           /* holds grid.json */
    const char *csv, *summary; /* "-" = standard output; both NULL: the tables on standard output */
    const char *baseline; /* folder of the cell that the others are compared with; NULL = first */
    double price_kwh;     /* NaN = as each run says */
};
/* ERR_ITEMS: some cells have no folder that can be read; the others are written. */
int grid_export(const struct grid_export *o, struct err *e);

#endif
