/*
 * mem: every allocation of the program, checked sizes, arenas, and the counting layout.
 *
 * All functions call malloc, calloc or realloc. A test replaces these at link time (--wrap) to fail
 * the n-th call, so the program itself has no hook and no global. mem_* return NULL when memory is
 * out. The caller then reports ERR_NOMEM and the purpose of the memory (NOMEM).
 */
#ifndef MAS_MEM_H
#define MAS_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* The one place for arithmetic on untrusted sizes. false on overflow; *out is then unchanged. */
static inline bool size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}
static inline bool dim_mul(int64_t a, int64_t b, int64_t *out)
{
    return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, out);
}

static inline size_t size_align(size_t n, size_t align)
{
    return (n + align - 1) & ~(align - 1); /* align: a power of two; n + align must not wrap */
}

/* n * size bytes, zeroed; NULL on overflow or when memory is out. n or size 0 gives a unique
 * block. */
void *mem_zalloc(size_t n, size_t size);
/* Resizes to n * size bytes; on NULL the caller still owns the old block. */
void *mem_resize(void *p, size_t n, size_t size);
/* bytes with 64-byte alignment (cache line, AVX-512 register), not zeroed. Free with mem_free. */
void *mem_aligned(size_t bytes);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n); /* copies n bytes exactly (NULs too) and adds one NUL */
void mem_free(void *p);                     /* accepts NULL */

#define NOMEM(e, bytes, what)                                                                      \
    err_set((e), ERR_NOMEM, "out of memory: %zu bytes for %s", (size_t)(bytes), (what))

/* Makes room for at least `need` items in a growing array: *cap doubles. p and cap are written only
 * on success. */
int mem_grow(void *pp, size_t *cap, size_t need, size_t item, const char *what, struct err *e);

/*
 * arena: many small allocations with one lifetime. Memory comes in chunks and is freed all at once.
 * An allocation never moves. An arena belongs to one thread at a time.
 */
struct arena {
    struct arena_chunk *head;
    size_t used;  /* bytes handed out, alignment included */
    size_t limit; /* 0 = none; a request beyond it returns NULL like any other lack of memory */
};

void *arena_alloc(struct arena *a, size_t n, size_t size); /* zeroed, aligned to 16; NULL if out */
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_free(struct arena *a); /* frees everything; the arena is empty and usable again */

/*
 * layout: measure, then commit. The same code runs twice. With base == NULL, layout_take only adds
 * up sizes. With base set to one allocation of layout.size bytes, layout_take returns real
 * pointers. Every part starts on a 256-byte boundary, as CUDA's allocations do; cp.async needs 16.
 */
struct layout {
    unsigned char *base;
    size_t size;
};
void *layout_take(struct layout *l, size_t n, size_t size);

#endif
