/*
 * chat_digest: the hash of a Jinja chat template by which it is recognised.
 *
 * The template is read as Jinja reads it, never executed, and written in one canonical form. The
 * hash is that of the canonical form. Two texts of one form render every chat alike. These
 * differences vanish:
 *   - line ends (CRLF, CR), a newline at the end of the text, comments {# #};
 *   - white space that Jinja removes: at "-" of a tag, after a block tag (trim_blocks), and before
 *     one at the start of a line (lstrip_blocks), as transformers sets them;
 *   - white space between the words of a tag; quotes and escapes of a string;
 *   - the name of the variable in `for m in messages`, if it is only a variable;
 *   - m['role'] and m.role; a tag that only prints strings, and its text without a tag;
 *   - branches of an `if` that need tools or contents that are no text: there are none.
 * All other characters count.
 */
#ifndef MAS_CHAT_DIGEST_H
#define MAS_CHAT_DIGEST_H

#include "gguf.h"
#include "str.h"

enum { CHAT_DIGEST_HEX = 16 };

/* Writes the first 16 hex digits of the SHA-256 of the canonical form. ERR_NOMEM. */
int chat_digest(struct gguf_str text, char hex[CHAT_DIGEST_HEX + 1], struct err *e);
/* Appends the canonical form, for tests. */
int chat_canonical(struct gguf_str text, struct str *out, struct err *e);

#endif
