/*
 * medqa_record: one record of a question file, by the rules at the top of medqa.h. A form is a row
 * of a table: its name, the fields that tell it, its reader, the field of its group.
 */
#ifndef MAS_MEDQA_RECORD_H
#define MAS_MEDQA_RECORD_H

#include "medqa_fields.h"

/* The number that `cop` of MedMCQA counts from. Only the whole file can tell. */
struct medqa_base {
    int from;        /* 0, 1; MEDQA_BASE_OPEN or MEDQA_BASE_BOTH */
    bool zero, four; /* a record has a number of 0 or less; of 4 or more */
};
#define MEDQA_BASE_OPEN (-1) /* no record has told yet */
#define MEDQA_BASE_BOTH (-2) /* records contradict each other */

struct medqa_form {
    const char *name, *about;
    bool (*is)(const struct medqa_fields *r); /* NULL: only by name */
    int (*read)(struct medqa_fields *r, struct medqa_question *q, struct err *e);
    int group; /* field of the group (step, subject); -1 = none */
    int base;  /* of `cop` */
};

struct medqa_reading { /* state of a file */
    struct medqa_scans scans;
    const struct medqa_form *form; /* of all records; NULL = each record tells */
    struct medqa_base base;
};

/* All forms; the last is that of a record which no other row recognises. */
extern const struct medqa_form medqa_form_rows[];
extern const int medqa_form_count;

/* Reads s[0..n) into q, all but its id and index; texts go to the arena. form: the row that read
 * it. ERR_DATA with the reason, ERR_NOMEM. */
int medqa_record_read(struct medqa_reading *rd, struct arena *arena, const char *s, size_t n,
                      struct medqa_question *q, const struct medqa_form **form, struct err *e);
/* Sets q->id from the content. ERR_NOMEM. */
int medqa_record_id(struct medqa_question *q, struct err *e);

/* The readers of medqa_forms.c. */
bool medqa_is_medmcqa(const struct medqa_fields *r);
bool medqa_is_pubmedqa(const struct medqa_fields *r);
bool medqa_is_mmlu(const struct medqa_fields *r);
bool medqa_is_medbullets(const struct medqa_fields *r);
bool medqa_is_medxpertqa(const struct medqa_fields *r);
int medqa_read_medmcqa(struct medqa_fields *r, struct medqa_question *q, struct err *e);
int medqa_read_pubmedqa(struct medqa_fields *r, struct medqa_question *q, struct err *e);
int medqa_read_mmlu(struct medqa_fields *r, struct medqa_question *q, struct err *e);
int medqa_read_medbullets(struct medqa_fields *r, struct medqa_question *q, struct err *e);
int medqa_read_medxpertqa(struct medqa_fields *r, struct medqa_question *q, struct err *e);

#endif
