/*
 * html: the parts of a page that shows untrusted text. Everything that a model or a file wrote goes
 * through html_text, or into a block (html_block) that no browser reads as markup.
 */
#ifndef MAS_HTML_H
#define MAS_HTML_H

#include "str.h"

/* Appends text, for the content of an element or a quoted attribute: & < > " ' are escaped. Bytes
 * that are no UTF-8, and control characters other than tab and line feed, become U+FFFD. */
void html_text(struct str *out, const char *s, size_t n);
void html_texts(struct str *out, const char *s); /* of a string */
/* Appends base64 with padding (RFC 4648, section 4). */
void html_base64(struct str *out, const void *bytes, size_t n);
/* Writes the hash of an inline script or style for a content security policy: 'sha256-..'. Its
 * text is s[0..n), between the tags. ERR_NOMEM. */
int html_hash(const char *s, size_t n, char out[64], struct err *e);
/* Appends a script element with that id that no browser runs: the text, gzip, base64. ERR_NOMEM. */
int html_block(struct str *out, const char *id, const struct str *text, struct err *e);

#endif
