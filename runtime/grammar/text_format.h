/* text_format: the supported string formats of JSON Schema, as regular expressions. */
#ifndef MAS_TEXT_FORMAT_H
#define MAS_TEXT_FORMAT_H

/* The expression of a format: every text that fits it as a whole is of that format. Some texts of
 * the format do not fit; text_format.c lists the accepted forms. NULL = unknown format. */
const char *text_format(const char *name);
/* Names of all supported formats, joined by ", ". */
const char *text_format_names(void);

#endif
