/*
 * medqa: reads multiple-choice questions. Understood by content, plain or gzip:
 *   - MedQA JSONL: {question, options {A..}, answer_idx, answer, meta_info, ..}, 4 or 5 options
 *   - the Hugging Face "-hf" form: {sent1, sent2, ending0.., label}
 *   - a JSON array of either
 * The file is untrusted. A record that cannot be used is rejected, counted and named by its line;
 * nothing is guessed and nothing is put in its place.
 */
#ifndef MAS_MEDQA_H
#define MAS_MEDQA_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "mem.h"

#define MEDQA_OPTIONS 8         /* letters A to H; data sets have 4 or 5, `mas run -o` may have others */
#define MEDQA_RECORD ((size_t)256 << 10) /* longest record, bytes */
#define MEDQA_FILE ((size_t)512 << 20)   /* largest file after inflation, bytes */
#define MEDQA_REJECTS_KEPT 20

struct medqa_question {
    char id[24];      /* "0042-1a2b3c4d": record number from 0, CRC-32 of the text and its options */
    int64_t index;    /* record number, rejected ones counted too */
    const char *text; /* never empty; valid UTF-8 without NUL */
    const char *option[MEDQA_OPTIONS];
    int n_options; /* 0 = an open question */
    int key;       /* index of the right option; -1 = not known */
    const char *step; /* "step1", "step2&3" or "" */
};

struct medqa_reject {
    int64_t line; /* from 1 */
    char why[160];
};

struct medqa {
    struct medqa_question *question;
    size_t n, cap;
    struct medqa_reject reject[MEDQA_REJECTS_KEPT];
    size_t n_rejected; /* may exceed what is kept */
    int64_t records;
    char sha256[65]; /* of the bytes after inflation */
    struct arena arena;
};

/* ERR_NOINPUT, ERR_IO, ERR_DATA when the file is too large or holds no usable question, ERR_NOMEM. */
int medqa_read(const char *path, struct medqa *out, struct err *e);
/* The same from memory; name is for messages. */
int medqa_parse(const char *text, size_t n, const char *name, struct medqa *out, struct err *e);
void medqa_free(struct medqa *m); /* accepts a zeroed one */

/* One question from the command line; options "A. GERD||B. Acute MI" or NULL. Letters are checked and
 * cut off. The strings live in m's arena. ERR_USAGE. */
int medqa_single(const char *text, const char *options, struct medqa *m, struct err *e);

#endif
