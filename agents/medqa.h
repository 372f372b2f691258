/*
 * medqa: reads multiple-choice questions, plain or gzip. DATASETS.md has the public sets.
 *
 * The content decides the container (medqa_file.h): JSON Lines, JSON arrays, an object of records
 * or of columns, CSV. The fields of each record decide its form, or the caller names the form:
 * - medqa       {question, options, answer_idx, answer, meta_info}; any other record, too
 * - medqa-hf    {sent1, sent2, ending0.., label}
 * - medmcqa     {question, opa.., cop, subject_name}; medmcqa-from-0, medmcqa-from-1
 * - pubmedqa    {QUESTION, CONTEXTS, final_decision}, {question, context: {contexts}, ..}
 * - mmlu        {question, choices, answer, subject}, {input, A.., target}, CSV without names
 * - medbullets  {question, opa.., answer_idx, answer}
 * - medxpertqa  {question, options, label, medical_task}
 *
 * The file is untrusted. An unusable record is rejected, counted and named by its line. Nothing is
 * guessed, and nothing takes the record's place.
 *
 * Text. UTF-8; a byte order mark may stand before any record (`cat a b`). UTF-16 and UTF-32 are
 * refused by name. Lines end with LF, CR LF or CR. NUL in a needed text is refused by name and
 * never cuts the text.
 *
 * The fields of the form are needed and are read strictly. Each may stand once. No other field
 * rejects a record, whatever its value (null, NaN, 1e400, long integers, text of any length, deep
 * nesting, repeated keys): agents/jscan.h skips them. The structure of the whole record is strict.
 * A surplus comma, an unmatched bracket or text after the record is an error.
 *
 * Options: 2 to 10, none blank: {"A": text, ..}, [text, ..] or [{"key": "A", "value": text}, ..].
 * Letters may be small and may have brackets, a dot or a colon. An option that is null does not
 * count; the letters of the others must have no gap.
 *
 * Text: pubmedqa puts the contexts, one a line, and an empty line before the question. medxpertqa
 * repeats the options after "Answer Choices:"; that end is cut off if it agrees with the options,
 * and rejects the record if not. A record of medxpertqa with images is rejected.
 *
 * The key of medqa and medbullets, by the first rule that applies:
 * 1. answer_idx is a letter: that option. A text in answer must be that option's, or the same
 *    letter.
 * 2. answer_idx is a number: files count from 0 or from 1, so answer must name the option and
 *    agree.
 * 3. no answer_idx: the only option whose text equals answer, or the option whose letter answer is.
 *
 * Texts of answer and options are compared without outer white space and quotation marks. Numbers
 * in label, and in answer and target of mmlu, count from 0. Numbers in cop count from 0 if a record
 * of the file has 0 or less, and from 1 if one has 4. If both or neither occurs, records with such
 * a number are rejected, unless the caller names medmcqa-from-0 or medmcqa-from-1.
 *
 * A text "of" of 16 hex digits is the id of the question that the record is a variant of. Any other
 * value of that key is not read.
 *
 * The group of a record is meta_info, subject_name, subject or medical_task. It must be a text of 1
 * to 63 bytes without control characters; otherwise it is unknown.
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
    const char *step; /* the group: "step1", "step2&3", "Anatomy", ..; "" = not known */
    const char *of;   /* id of the question that this is a variant of (vary.h); NULL = none */
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

#define MEDQA_SEVERAL "several"

struct medqa {
    struct medqa_question *question; /* (n), different from each other, in order of the file */
    size_t n, cap;
    struct medqa_record *record; /* (n_records) */
    size_t n_records, cap_records;
    size_t n_rejected, n_duplicates;
    char sha256[65];  /* of the bytes after inflation */
    const char *form; /* of its questions: a name as above, MEDQA_SEVERAL, or "" = none has one */
    struct arena arena;
};

/* ERR_NOINPUT, ERR_IO, ERR_DATA when the file is too large, is not UTF-8 or holds no usable
 * question, ERR_NOMEM. */
int medqa_read(const char *path, struct medqa *out, struct err *e);
/* As medqa_read, from memory. name is for messages, and gives the subject of CSV without names. */
int medqa_parse(const char *text, size_t n, const char *name, struct medqa *out, struct err *e);
/* As the two above, all records in this form; NULL or "" = each in its own. ERR_USAGE names the
 * forms that exist. */
int medqa_read_as(const char *path, const char *form, struct medqa *out, struct err *e);
int medqa_parse_as(const char *text, size_t n, const char *name, const char *form,
                   struct medqa *out, struct err *e);
/* The name of form i, from 0; NULL = there are no more. about: a line for people. */
const char *medqa_form_name(int i, const char **about);
void medqa_free(struct medqa *m); /* accepts a zeroed one */

/* Questions among the first n_records records. */
size_t medqa_first(const struct medqa *m, size_t n_records);

/* One question from the command line; options "A. GERD||B. Acute MI" or NULL. Letters are checked
 * and removed. The strings live in m's arena. ERR_USAGE. */
int medqa_single(const char *text, const char *options, struct medqa *m, struct err *e);

#endif
