/*
 * str: a growing byte string. Invariants: s is NULL until the first append and NUL-terminated after
 * it; len does not count that NUL; bytes may include NUL. When memory runs out the string becomes
 * `failed`: later appends do nothing. The caller checks once at the end (str_ok).
 */
#ifndef MAS_STR_H
#define MAS_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct str {
    char *s;
    size_t len, cap;
    bool failed;
};

#define STR_INIT                                                                                   \
    {                                                                                              \
        .s = (char *)"", .len = 0, .cap = 0, .failed = false                                       \
    }

void str_free(struct str *b); /* back to STR_INIT */
void str_clear(struct str *b);
void str_add(struct str *b, const void *bytes, size_t n);
void str_adds(struct str *b, const char *s);
void str_addc(struct str *b, char c);
void str_addf(struct str *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends a JSON string literal with quotes. Control characters are escaped, invalid bytes become
 * U+FFFD. So the result is always valid JSON and valid UTF-8. */
void str_add_json(struct str *b, const char *s, size_t n);
/* A word of a command line for a POSIX shell, in quotes if it needs them. */
void str_add_word(struct str *b, const char *word);
/* Appends a JSON number of that many significant digits; null when v is infinite or NaN, which JSON
 * does not have. */
void str_add_number(struct str *b, double v, int digits);
char *str_take(struct str *b); /* moves ownership of the buffer (mem_free it); b is empty again */
/* ERR_NOMEM if any append failed */
int str_ok(const struct str *b, const char *what, struct err *e);

/* Decodes one UTF-8 character of s[0..n), n > 0. Returns its length in bytes (1..4) and writes
 * the code point. 0 when the bytes start no valid character: overlong, surrogate, > U+10FFFF,
 * cut off. */
int utf8_decode(const char *s, size_t n, uint32_t *cp);
/* Writes 1..4 bytes and returns their number. cp <= 0x10FFFF. */
int utf8_encode(uint32_t cp, char out[4]);
/* Length of the longest prefix of s that ends at a character's end. A byte that can never become
 * valid counts as a whole character. */
size_t utf8_complete(const char *s, size_t n);

/* Whole-string number readers: no spaces, no trailing bytes, range checked. false otherwise. */
bool str_to_i64(const char *s, int64_t lo, int64_t hi, int64_t *out);
bool str_to_f64(const char *s, double lo, double hi, double *out);
/* "22.5GiB", "512MB", "4096": bytes. KB/MB/GB are powers of 1000, KiB/MiB/GiB of 1024. */
bool str_to_bytes(const char *s, uint64_t *out);
/* Edit distance (insert, delete, replace, swap of neighbours = 1; optimal string alignment), for
 * "nearest known key". Strings up to 63 bytes. */
int str_distance(const char *a, const char *b);

#endif
