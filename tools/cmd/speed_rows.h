/*
 * speed_rows: the results of mas bench model as rows of a table (Markdown), of CSV and of JSON. CSV
 * and JSON have the same columns, from one list: the test, its speed, program, machine, model and
 * settings.
 *
 * - Columns of llama-bench keep its names: type_k and type_v are the number format of the KV cache,
 *   n_batch the most tokens of a step.
 * - isa, n_threads, kv_bytes, placement, split and devices are those that the engine chose.
 * - split is "" with one device. map_weights is false with packed_cache, which replaces it.
 * - Other settings stand as they were given: 0 or -1 may mean a choice of the program.
 * - max_draft and max_branches are 0 when nothing drafts.
 */
#ifndef MAS_SPEED_ROWS_H
#define MAS_SPEED_ROWS_H

#include "energy.h"
#include "engine.h"
#include "speed.h"
#include "stat.h"
#include "str.h"

struct speed_row {
    struct speed_test test;
    struct stat_summary s;     /* tokens/s */
    double width;              /* mean number of sequences of a step */
    struct energy_span energy; /* of all repeats */
    double tokens;             /* of all repeats */
};

struct speed_about { /* of all rows */
    const struct engine_info *in;
    const struct engine_options *opt; /* as given */
    int threads;
    const char *changed; /* other options that differ from their defaults, " --page-tokens 64" */
};

/* Appends a row. first: after the head of the table, which JSON has as "[". The caller ends JSON
 * with "]". */
void speed_row_md(const struct speed_about *a, const struct speed_row *r, bool first,
                  struct str *out);
void speed_row_csv(const struct speed_about *a, const struct speed_row *r, bool first,
                   struct str *out);
void speed_row_json(const struct speed_about *a, const struct speed_row *r, bool first,
                    struct str *out);
/* Appends the line after the table in Markdown: machine, settings, program,
 * time. */
void speed_about_md(const struct speed_about *a, struct str *out);

#endif
