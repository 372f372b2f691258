/* agreement: how far the reports of a case name the same first diagnosis. */
#ifndef MAS_AGREEMENT_H
#define MAS_AGREEMENT_H

#include "consult.h"
#include "synonyms.h"

/* Sets agreement, agreement_class, synonyms and choices of the consult from n reports. A report's
 * choice is the option that names its first diagnosis (synonyms_class). A diagnosis that no option
 * names, or more than one, is no choice. ERR_NOMEM. */
int agreement_reports(struct consult *c, const struct synonyms *t, const struct answer_report *r,
                      int n, struct err *e);

#endif
