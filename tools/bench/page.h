/* page: the common parts of the self-contained HTML pages: head, style, texts, drawings. */
#ifndef MAS_PAGE_H
#define MAS_PAGE_H

#include "str.h"

/* Everything up to the heading, which is the title. style: more rules of CSS. */
/* the first bytes of every page, up to its title */
#define PAGE_HEAD                                                                                  \
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta "                      \
    "name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>"

void page_open(struct str *out, const char *title, const char *style);
void page_close(struct str *out);
/* Text with the characters of HTML escaped. It may stand in an element or in a quoted attribute. */
void page_text(struct str *out, const char *s);
/* Begins a drawing of that many user units, which the caller ends with </svg>. */
void page_svg(struct str *out, int width, int height);
void page_label(struct str *out, double x, double y, const char *anchor, const char *text);

#endif
