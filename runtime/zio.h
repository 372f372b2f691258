/* zio: whole files in and out, plain or gzip (by content, not by name), with caps. zlib's only
 * home. */
#ifndef MAS_ZIO_H
#define MAS_ZIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

/* Reads path (plain or .gz, several members and zeros after the last one allowed) into out, which
 * gives up what it held. More than max_bytes after inflation is ERR_DATA naming the cap, a
 * truncated or corrupt member ERR_DATA with its byte offset. "-" = stdin. On failure out is as
 * it was. */
int zio_read(const char *path, size_t max_bytes, struct str *out, struct err *e);
/* As zio_read, but the bytes as they are: a gzip file stays one. */
int zio_read_raw(const char *path, size_t max_bytes, struct str *out, struct err *e);
/* As zio_read of a file. Of damaged gzip data out gets what comes before the damage, and *whole is
 * false. */
int zio_salvage(const char *path, size_t max_bytes, struct str *out, bool *whole, struct err *e);
/* One gzip member of data appended to out. */
int zio_gzip(const void *data, size_t n, struct str *out, struct err *e);
uint32_t zio_crc32(uint32_t crc, const void *data, size_t n); /* start with 0 */
/* Writes the whole buffer to fd: EINTR and short writes handled, ERR_IO names path and free
 * bytes. */
int zio_write_all(int fd, const char *path, const void *data, size_t n, struct err *e);

#endif
