/* text_format: the string formats of JSON Schema that can be obeyed, as regular expressions. */
#ifndef MAS_TEXT_FORMAT_H
#define MAS_TEXT_FORMAT_H

/* The expression of a format: a text that fits it as a whole is of that format; not every text of
 * the format fits (text_format.c says which do). NULL = no such format. */
const char *text_format(const char *name);
/* All known names with ", " between them. */
const char *text_format_names(void);

#endif
