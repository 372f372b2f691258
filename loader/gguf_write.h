/*
 * gguf_write: writes a GGUF v3 file in one pass: metadata, tensor table, then the data in the order
 * of the table. Nothing is read back and no offset is visited twice, so the output may be a pipe.
 * The file appears under its name only when complete (outfile.h).
 */
#ifndef MAS_GGUF_WRITE_H
#define MAS_GGUF_WRITE_H

#include "gguf.h"

struct gguf_writer;

int gguf_writer_open(const char *path, struct gguf_writer **out, struct err *e);
/* Opens a file whose data is zeros that take no room on the disk; gguf_put_data is not allowed.
 * ERR_USAGE for a pipe or a device. */
int gguf_writer_open_hollow(const char *path, struct gguf_writer **out, struct err *e);
void gguf_writer_abandon(struct gguf_writer *w);         /* closes without a result; accepts NULL */
bool gguf_writer_is_stdout(const struct gguf_writer *w); /* as outfile_is_stdout */

int gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v, struct err *e);
int gguf_put_f32(struct gguf_writer *w, const char *key, float v, struct err *e);
int gguf_put_bool(struct gguf_writer *w, const char *key, bool v, struct err *e);
int gguf_put_str(struct gguf_writer *w, const char *key, const char *s, size_t len, struct err *e);
/* An array of strings, and an array of fixed-size elements. The payload is little endian and has
 * count x element size bytes. */
int gguf_put_strings(struct gguf_writer *w, const char *key, const struct gguf_str *v, size_t count,
                     struct err *e);
int gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_type elem, const void *payload,
                   size_t count, struct err *e);
/* copies a key of another file unchanged */
int gguf_put_kv(struct gguf_writer *w, const struct gguf_kv *kv, struct err *e);

/* Declares a tensor (dim slowest first). All tensors are declared before the first
 * gguf_put_data. */
int gguf_put_tensor(struct gguf_writer *w, const char *name, enum fmt fmt, int n_dim,
                    const int64_t *dim, struct err *e);
/* Appends data of the current tensor, in table order. A call may have any size; padding is added
 * automatically. */
int gguf_put_data(struct gguf_writer *w, const void *data, size_t bytes, struct err *e);
/* Checks that every tensor is complete, gives the file its name, and frees w (also on failure). */
int gguf_writer_finish(struct gguf_writer *w, struct err *e);

#endif
