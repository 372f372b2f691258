/*
 * origin: the record of a download. It stands beside the file, as FOLDER/.NAME.from, and says which
 * addresses the file answers to, and its length and sha256:
 *
 *   sha256 HEX
 *   bytes N
 *   from ADDRESS     one line for each: hf:ORG/REPO@REVISION/FILE, ollama:REGISTRY/SPACE/NAME:TAG,
 *                    web:HEX (sha256 of an address of the web, which may hold secrets)
 *
 * Invariant: a record of another length than the file's does not count.
 */
#ifndef MAS_ORIGIN_H
#define MAS_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "str.h"

/* Writes the record of the file at path, which has these n addresses. */
int origin_save(const char *path, const char sha256[65], const char *const *from, size_t n,
                struct err *e);
/* Removes the record, if there is one: the file at path is another one now. */
int origin_drop(const char *path, struct err *e);
/* *found: the record of the file at path names the address; sha256 is then the one of the record.
 * No record, or a damaged one, is none. ERR_NOMEM only. */
int origin_find(const char *path, const char *from, bool *found, char sha256[65], struct err *e);

#endif
