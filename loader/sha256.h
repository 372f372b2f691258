/* sha256: the hash of files and prompts in a trace. */
#ifndef MAS_SHA256_H
#define MAS_SHA256_H

#include <stddef.h>

#include "err.h"

/* Writes 64 lower-case hex digits and a NUL (FIPS 180-4). ERR_NOMEM only. */
int sha256_hex(const void *data, size_t n, char hex[65], struct err *e);

/* The hash of bytes that arrive in pieces. */
struct sha256;
int sha256_open(struct sha256 **out, struct err *e);
int sha256_add(struct sha256 *h, const void *data, size_t n, struct err *e);
int sha256_finish(struct sha256 *h, char hex[65], struct err *e); /* once, after the last piece */
void sha256_close(struct sha256 *h);                              /* accepts NULL */

#endif
