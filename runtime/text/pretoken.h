/*
 * pretoken: cuts text into pieces; byte-level BPE merges inside a piece only. One pattern is
 * supported, that of Llama 3 (Meta's llama3 repository, llama/tokenizer.py):
 *
 *   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
 *   |\s*[\r\n]+|\s+(?!\S)|\s+
 *
 * A scanner implements it with the meaning of a backtracking regular expression: the first
 * alternative that matches wins, and quantifiers are greedy. Every character begins some
 * alternative, so the pieces cover the text. An invalid byte of UTF-8 counts as one character of no
 * class.
 */
#ifndef MAS_PRETOKEN_H
#define MAS_PRETOKEN_H

#include <stddef.h>

/* Length in bytes, 1..n, of the piece at the start of s[0..n); n > 0. A piece does not depend on
 * the text before it; the end of s is the end of the text. All pieces of a text together cost
 * O(n). */
size_t pretoken_llama3(const char *s, size_t n);

#endif
