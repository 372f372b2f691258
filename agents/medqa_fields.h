/*
 * medqa_fields: the fields of one record, and their strict reading. The forms of records
 * (medqa_record.h) are made of these parts. A field is found by name; it is judged only when a form
 * reads it.
 */
#ifndef MAS_MEDQA_FIELDS_H
#define MAS_MEDQA_FIELDS_H

#include "jdoc.h"
#include "jscan.h"
#include "medqa.h"

#define MEDQA_FIELDS(X)                                                                            \
    X(QUESTION, "question")                                                                        \
    X(OPTIONS, "options")                                                                          \
    X(ANSWER_IDX, "answer_idx")                                                                    \
    X(ANSWER, "answer")                                                                            \
    X(META, "meta_info")                                                                           \
    X(SENT1, "sent1")                                                                              \
    X(SENT2, "sent2")                                                                              \
    X(LABEL, "label")                                                                              \
    X(COP, "cop")                                                                                  \
    X(SUBJECT_NAME, "subject_name")                                                                \
    X(SUBJECT, "subject")                                                                          \
    X(CHOICES, "choices")                                                                          \
    X(INPUT, "input")                                                                              \
    X(TARGET, "target")                                                                            \
    X(UPPER_QUESTION, "QUESTION")                                                                  \
    X(UPPER_CONTEXTS, "CONTEXTS")                                                                  \
    X(CONTEXT, "context")                                                                          \
    X(FINAL_DECISION, "final_decision")                                                            \
    X(MEDICAL_TASK, "medical_task")                                                                \
    X(IMAGES, "images")                                                                            \
    X(OF, "of")

enum medqa_field_index {
#define X(name, text) FIELD_##name,
    MEDQA_FIELDS(X)
#undef X
        FIELD_NAMED,
    FIELD_ENDING = FIELD_NAMED,              /* ending0 and the others after it */
    FIELD_OP = FIELD_ENDING + MEDQA_OPTIONS, /* opa, opb, .. */
    FIELD_LETTER = FIELD_OP + MEDQA_OPTIONS, /* A, B, .. */
    FIELDS = FIELD_LETTER + MEDQA_OPTIONS,
};
const char *medqa_field_name(enum medqa_field_index i); /* one of those named above */

struct medqa_field { /* a value, as the file's bytes; n == 0: absent */
    const char *s;
    size_t n;
    bool twice;
};

struct medqa_scans { /* memory that records share: of the record, of its options, of one option */
    struct jscan record, options, option;
};
void medqa_scans_free(struct medqa_scans *s);

struct medqa_base;
struct medqa_fields {
    struct medqa_scans *scans;
    struct arena *arena;
    struct medqa_field f[FIELDS];
    struct medqa_base *base; /* of `cop`, for the whole file (medqa_record.h) */
    bool too_many;           /* an option beyond the last that there may be */
};

/* Finds the fields of the record s[0..n). ERR_DATA, ERR_NOMEM. */
int medqa_fields_find(struct medqa_fields *r, const char *s, size_t n, struct err *e);

bool medqa_blank(const char *s);
bool medqa_null(const struct medqa_field *f);  /* the word null */
bool medqa_there(const struct medqa_field *f); /* present and not null */
/* Bytes of s to show in a message: at most `most`, whole characters. */
int medqa_shown(const char *s, size_t most);

/* The value as a document, strictly. name is for messages. ERR_DATA, ERR_NOMEM. */
int medqa_load(const struct medqa_field *f, const char *name, json_t **out, struct err *e);
/* The value as a text in the arena, strictly. Errors as above. */
int medqa_text(const struct medqa_field *f, const char *name, struct arena *a, const char **out,
               struct err *e);
/* As medqa_text, for the text of a question: it may not be blank. */
int medqa_question_text(struct medqa_fields *r, enum medqa_field_index i, const char **out,
                        struct err *e);

/* "B", "b", "B.", "(B)", "B:": the letter's place in the alphabet; -1 = another text. */
int medqa_letter(const char *s, size_t n);
/* Equal without outer white space and quotation marks? */
bool medqa_same(const char *a, const char *b);

/* Sets option i. A null does nothing. ERR_DATA when it is blank or there already. */
int medqa_option(struct medqa_fields *r, struct medqa_question *q, int i,
                 const struct medqa_field *f, struct err *e);
/* The options of MEDQA_OPTIONS fields that follow each other, and their count. */
int medqa_options_row(struct medqa_fields *r, struct medqa_question *q,
                      enum medqa_field_index first, struct err *e);
/* The options of one field: an object by letters, or a list of texts or pairs; and their count. */
int medqa_options(struct medqa_fields *r, struct medqa_question *q, enum medqa_field_index i,
                  struct err *e);

struct medqa_index { /* the value of a key: a letter or a number */
    bool given;
    int letter;        /* -1 = a number */
    json_int_t number; /* -1 = a letter */
    char shown[32];
};
int medqa_index_read(const struct medqa_field *f, const char *name, struct medqa_index *out,
                     struct err *e);
/* The key is a letter, or a number that counts from 0. ERR_DATA when it names no option. */
int medqa_key_from_0(struct medqa_fields *r, struct medqa_question *q, enum medqa_field_index i,
                     struct err *e);
/* The key by answer_idx and answer, by the rules at the top of medqa.h. */
int medqa_key(const struct medqa_fields *r, struct medqa_question *q, struct err *e);

#endif
