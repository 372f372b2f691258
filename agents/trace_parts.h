/*
 * trace_parts: the trace of a folder that is written under a lease (lease.h). Each holder appends
 * to a file of its own, so that the late write of a former holder damages nothing.
 *
 *   traces-0001.jsonl  traces-0002.jsonl  ..  by number of the lease
 *   traces.jsonl.gz                           all of them, once every question is finished
 *   traces.jsonl                              of a former run without a lease; read last
 *
 * A reader takes each case once, from the first file that has it: the sealed one, then the others
 * from the highest number down. So a late write changes no case that a later holder wrote. A file
 * can end in an unfinished case, which is left out. Only the holder of its number may change it.
 */
#ifndef MAS_TRACE_PARTS_H
#define MAS_TRACE_PARTS_H

#include "trace_scan.h"

void trace_part_name(int number, char out[32]);
/* The numbers of the parts in the folder, from the highest down; *n 0 = none. The caller frees
 * *list (mem_free). ERR_IO, ERR_NOMEM. */
int trace_parts_list(const struct folder *f, int **list, size_t *n, struct err *e);
/* Has the folder parts? False also when it cannot be read. */
bool trace_parts_any(const struct folder *f);

struct trace_parts {
    /* (as in trace_scan) results and marks of the cases; kept takes their lines, NULL = none */
    struct results *results;
    unsigned char **has;
    size_t *n_has;
    struct str *kept;
    struct roles *roles;
    size_t asked;
    bool repair; /* of a file that does not unpack, the cases before the damage are taken */
    /* as in trace_scan */
    size_t retry, failed;
    struct retried *retried;
    size_t unfinished; /* bytes of unfinished cases that were left out */
    /* the first damage; line 0 = none */
    struct trace_scan bad;
    char bad_path[1100];
};
/* Reads the sealed file and all parts. Damage is noted. ERR_IO, ERR_DATA (the sealed file does not
 * unpack), ERR_NOMEM. */
int trace_parts_scan(const struct folder *f, struct trace_parts *p, struct err *e);
/* Appends the lines of all cases, each once. *unfinished: bytes left out. Damage is ERR_DATA. */
int trace_parts_text(const struct folder *f, struct str *out, size_t *unfinished, struct err *e);
/* Removes the parts up to a number, and traces.jsonl. ERR_IO. */
int trace_parts_remove(const struct folder *f, int upto, struct err *e);

#endif
