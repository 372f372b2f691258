/* sha256: the hash that names files and prompts in a trace. */
#ifndef MAS_SHA256_H
#define MAS_SHA256_H

#include <stddef.h>

#include "err.h"

/* 64 lower-case hex digits and a NUL (FIPS 180-4). ERR_NOMEM only. */
int sha256_hex(const void *data, size_t n, char hex[65], struct err *e);

#endif
