/* clinical_doc: the parts of the OpenAPI document that no row of a table has: queries, and the
 * events of streams. */
#ifndef MAS_CLINICAL_DOC_H
#define MAS_CLINICAL_DOC_H

#include "str.h"

/* The description of an operation, NULL = none. */
const char *clinical_doc(const char *method, const char *path);
/* Appends the query parameters as items of a list, each after a comma unless it is the first. */
void clinical_doc_queries(const char *method, const char *path, struct str *out);

#endif
