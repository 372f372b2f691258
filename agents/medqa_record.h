/* medqa_record: one record of a question file, by the rules at the top of medqa.h. */
#ifndef MAS_MEDQA_RECORD_H
#define MAS_MEDQA_RECORD_H

#include "jscan.h"
#include "medqa.h"

struct medqa_scans { /* memory that records share: of the record, of its options, of one option */
    struct jscan record, options, option;
};
void medqa_scans_free(struct medqa_scans *s);

/* Reads s[0..n) into q, all but its id and index; texts go to the arena. ERR_DATA with the reason,
 * ERR_NOMEM. */
int medqa_record_read(struct medqa_scans *scans, struct arena *arena, const char *s, size_t n,
                      struct medqa_question *q, struct err *e);
/* Sets q->id from the content. ERR_NOMEM. */
int medqa_record_id(struct medqa_question *q, struct err *e);

bool medqa_blank(const char *s);

#endif
