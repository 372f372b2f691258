/*
 * medqa: reads multiple-choice questions. The content decides the form, plain or gzip:
 * - MedQA JSONL: {question, options, answer_idx, answer, meta_info, ..}
 * - the Hugging Face "-hf" form: {sent1, sent2, ending0.., label}
 * - a JSON array of either, or several arrays one after the other
 *
 * The file is untrusted. An unusable record is rejected, counted and named by its line. Nothing is
 * guessed, and nothing takes the record's place.
 *
 * Text. UTF-8; a byte order mark may stand before any record (`cat a b`). UTF-16 and UTF-32 are
 * refused by name. Lines end with LF, CR LF or CR. NUL in a needed text is refused by name and
 * never cuts the text.
 *
 * Needed fields are read strictly: question, options, answer_idx (or answer); sent1, endings,
 * label. Each may stand once. No other field rejects a record, whatever its value (null, NaN,
 * 1e400, long integers, text of any length, deep nesting, repeated keys): agents/jscan.h skips
 * them. The structure of the whole record is strict. A surplus comma, an unmatched bracket or text
 * after the record is an error.
 *
 * Options: 2 to 10, none blank: {"A": text, ..}, [text, ..] or [{"key": "A", "value": text}, ..].
 * Letters may be small and may have brackets, a dot or a colon. An option that is null does not
 * count; the letters of the others must have no gap.
 *
 * The key, by the first rule that applies:
 * 1. answer_idx is a letter: that option. A text in answer must be that option's, or the same
 *    letter.
 * 2. answer_idx is a number: files count from 0 or from 1, so answer must name the option and
 *    agree.
 * 3. no answer_idx: the only option whose text equals answer, or the option whose letter answer is.
 *
 * Texts of answer and options are compared without outer white space and quotation marks. label
 * counts from 0. meta_info is the step if it is text of 1 to 63 bytes without control characters;
 * otherwise the step is unknown.
 *
 * A question's id is the first 16 hex digits of the SHA-256 of its text, options and key. So
 * subsets, other orders and merged files give the same ids. An id in the record is not used,
 * because files of different origin use the same ids. A record with the id of an earlier one is a
 * duplicate: it is counted, named by its line, and not asked again.
 */
#ifndef MAS_MEDQA_H
#define MAS_MEDQA_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "mem.h"

#define MEDQA_OPTIONS 10                /* letters A to J */
#define MEDQA_STEP 63                   /* longest step, bytes */
#define MEDQA_TEXT ((size_t)256 << 10)  /* longest needed field as it stands in the file, bytes */
#define MEDQA_FILE ((size_t)512 << 20)  /* largest file after inflation, bytes */
#define MEDQA_RECORDS ((size_t)1 << 20) /* in one file */

struct medqa_question {
    char id[24];      /* "8f0a62b1c94d7e35", see above */
    int64_t index;    /* number of its record from 0; all records count, also rejected ones */
    const char *text; /* never empty; valid UTF-8 without NUL */
    const char *option[MEDQA_OPTIONS];
    int n_options;    /* 0 = an open question */
    int key;          /* index of the right option; -1 = not known */
    const char *step; /* "step1", "step2&3" or "" = not known */
};

enum medqa_kind {
    MEDQA_QUESTION,
    MEDQA_DUPLICATE, /* the same question as an earlier record */
    MEDQA_REJECTED,
};

struct medqa_record { /* one of the file */
    enum medqa_kind kind;
    int64_t line; /* from 1 */
    /* index into medqa.question; a duplicate has the index of the question that it repeats */
    size_t question;
    const char *why; /* rejected: the reason, at most 159 bytes */
};

struct medqa {
    struct medqa_question *question; /* (n), different from each other, in order of the file */
    size_t n, cap;
    struct medqa_record *record; /* (n_records) */
    size_t n_records, cap_records;
    size_t n_rejected, n_duplicates;
    char sha256[65]; /* of the bytes after inflation */
    struct arena arena;
};

/* ERR_NOINPUT, ERR_IO, ERR_DATA when the file is too large, is not UTF-8 or holds no usable
 * question, ERR_NOMEM. */
int medqa_read(const char *path, struct medqa *out, struct err *e);
/* As medqa_read, from memory; name is for messages. */
int medqa_parse(const char *text, size_t n, const char *name, struct medqa *out, struct err *e);
void medqa_free(struct medqa *m); /* accepts a zeroed one */

/* Questions among the first n_records records. */
size_t medqa_first(const struct medqa *m, size_t n_records);

/* One question from the command line; options "A. GERD||B. Acute MI" or NULL. Letters are checked
 * and removed. The strings live in m's arena. ERR_USAGE. */
int medqa_single(const char *text, const char *options, struct medqa *m, struct err *e);

#endif
