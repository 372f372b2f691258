/*
 * shim_smem: the shared memory of a block and the asynchronous copies into it.
 *
 *   | redzone | piece 0 | redzone | piece 1 | redzone | ..
 *
 * All bytes are 0xff (NaN, -1) when a block starts. A redzone with another byte at the end of the
 * block was overwritten. In the race build each piece comes from the checker's arena.
 */
#include "shim_rt.h"

#include <cstdio>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)0)
#endif

namespace cushim
{

static const size_t REDZONE = 128;
static const size_t STATIC_LIMIT = 48 * 1024; /* of static shared memory, on every architecture */
static const size_t ARENA = 227 * 1024 + 2 * MAX_PIECES * (2 * REDZONE);

size_t shared_optin(int sm)
{
    switch (sm) { /* CUDA programming guide, technical specifications per compute capability */
    case 75:
        return 64 * 1024;
    case 80:
    case 87:
        return 163 * 1024;
    case 86:
    case 89:
    case 120:
        return 99 * 1024;
    default: /* 90, 100 */
        return 227 * 1024;
    }
}

static void *piece_memory(struct shared *s, size_t bytes, size_t align)
{
#ifdef CUSHIM_RACE
    (void)s;
    return race_alloc(bytes, align, true);
#else
    if (!s->base) {
        s->base = static_cast<char *>(aligned_alloc(1024, (ARENA + 1023) / 1024 * 1024));
        if (!s->base) {
            perror("cushim: shared memory");
            abort();
        }
    }
    size_t at = (s->used + REDZONE + align - 1) / align * align, end = at + bytes + REDZONE;
    if (end > ARENA)
        kernel_fail("more than %d arrays of shared memory", MAX_PIECES);
    size_t fresh = s->used ? s->used + REDZONE : 0; /* two neighbours share one redzone */
    ASAN_UNPOISON_MEMORY_REGION(s->base + fresh, end - fresh);
    memset(s->base + fresh, 0xff, end - fresh);
    ASAN_POISON_MEMORY_REGION(s->base + fresh, end - fresh);
    ASAN_UNPOISON_MEMORY_REGION(s->base + at, bytes);
    s->used = end - REDZONE;
    return s->base + at;
#endif
}

static void check_limit(const struct shared *s)
{
    if (s->fixed_bytes > STATIC_LIMIT)
        kernel_fail("%zu bytes of static shared memory, more than %zu", s->fixed_bytes,
                    STATIC_LIMIT);
    if (s->fixed_bytes + G.call->smem > G.shared_limit)
        kernel_fail("%zu static + %zu dynamic bytes of shared memory, %zu allowed", s->fixed_bytes,
                    G.call->smem, G.shared_limit);
}

void *shared_static(const void *key, size_t bytes, size_t align, const char *name)
{
    struct shared *s = &current()->block->shared;
    for (unsigned i = 0; i < s->n_fixed; i++)
        if (s->fixed[i].key == key)
            return s->fixed[i].p;
    if (s->n_fixed == MAX_PIECES)
        kernel_fail("more than %d static arrays of shared memory", MAX_PIECES);
    s->fixed_bytes = (s->fixed_bytes + align - 1) / align * align + bytes;
    check_limit(s);
    char *p = static_cast<char *>(piece_memory(s, bytes, align));
    s->fixed[s->n_fixed++] = {key, name, p, bytes, 0};
    return p;
}

void *shared_piece(unsigned k, size_t bytes, size_t align)
{
    struct shared *s = &current()->block->shared;
    if (k < s->n_dynamic) {
        if (s->dynamic[k].bytes != bytes)
            kernel_fail("piece %u of dynamic shared memory: %zu bytes here, %zu in another thread",
                        k, bytes, s->dynamic[k].bytes);
        return s->dynamic[k].p;
    }
    if (k != s->n_dynamic || k == MAX_PIECES)
        kernel_fail("piece %u of dynamic shared memory is taken after %u others", k, s->n_dynamic);
    check_limit(s);
    size_t offset = (s->dynamic_bytes + align - 1) / align * align;
    if (offset + bytes > G.call->smem)
        kernel_fail("piece %u of dynamic shared memory ends at byte %zu, launched with %zu", k,
                    offset + bytes, G.call->smem);
    s->dynamic_bytes = offset + bytes;
    char *p = static_cast<char *>(piece_memory(s, bytes, align));
    s->dynamic[s->n_dynamic++] = {nullptr, "dynamic", p, bytes, offset};
    return p;
}

void shared_start(struct block *b)
{
    struct shared *s = &b->shared;
    for (unsigned i = 0; i < s->n_fixed + s->n_dynamic; i++) {
        const struct piece *p = i < s->n_fixed ? &s->fixed[i] : &s->dynamic[i - s->n_fixed];
        memset(p->p, 0xff, p->bytes);
        race_fresh(p->p, p->bytes);
    }
}

#if !defined(CUSHIM_RACE) && !defined(__SANITIZE_ADDRESS__)
static void check_redzone(const char *p, size_t n, const struct piece *near, const char *side)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != '\xff')
            return kernel_fail(
                "shared memory was written out of bounds: byte %zu %s the %zu bytes of %s",
                side[0] == 'b' ? n - i : i, side, near->bytes, near->name);
}
#endif

void shared_end(struct block *b)
{
#if !defined(CUSHIM_RACE) && !defined(__SANITIZE_ADDRESS__)
    const struct shared *s = &b->shared;
    for (unsigned i = 0; i < s->n_fixed + s->n_dynamic; i++) {
        const struct piece *p = i < s->n_fixed ? &s->fixed[i] : &s->dynamic[i - s->n_fixed];
        check_redzone(p->p + p->bytes, REDZONE, p, "after");
        check_redzone(p->p - REDZONE, REDZONE, p, "before");
    }
#else
    (void)b;
#endif
}

void shared_free(struct block *b)
{
    struct shared *s = &b->shared;
#ifdef CUSHIM_RACE
    for (unsigned i = 0; i < s->n_fixed; i++)
        race_free(s->fixed[i].p);
    for (unsigned i = 0; i < s->n_dynamic; i++)
        race_free(s->dynamic[i].p);
#endif
    char *base = s->base;
    ASAN_UNPOISON_MEMORY_REGION(base, base ? ARENA : 0);
    if (base && G.call->cooperative) {
        free(base);
        base = nullptr;
    }
    *s = {};
    s->base = base; /* ordinary launches reuse the memory of one block */
}

bool shared_holds(const struct block *b, const void *p, size_t n)
{
    const struct shared *s = &b->shared;
    const char *c = static_cast<const char *>(p);
    for (unsigned i = 0; i < s->n_fixed + s->n_dynamic; i++) {
        const struct piece *q = i < s->n_fixed ? &s->fixed[i] : &s->dynamic[i - s->n_fixed];
        if (c >= q->p && c + n <= q->p + q->bytes)
            return true;
    }
    return false;
}

/* ---- cp.async: the destination is NaN from the issue to the wait that covers its group ------- */

void cp_async(void *dst, const void *src, unsigned bytes, struct site at)
{
    struct thread *t = current();
    if (((uintptr_t)dst | (uintptr_t)src) & 15)
        kernel_fail("cp.async at %s:%d: misaligned, %p <- %p", file_name(at.file), at.line, dst,
                    src);
    if (!shared_holds(t->block, dst, 16))
        kernel_fail("cp.async at %s:%d: destination %p is not inside shared memory",
                    file_name(at.file), at.line, dst);
    if (bytes && shared_holds(t->block, src, bytes))
        kernel_fail("cp.async at %s:%d: the source is in shared memory", file_name(at.file),
                    at.line);
    if (t->n_copy == t->cap_copy) {
        t->cap_copy = t->cap_copy ? 2 * t->cap_copy : 16;
        t->copy = static_cast<struct async_copy *>(realloc(t->copy, t->cap_copy * sizeof *t->copy));
        if (!t->copy) {
            perror("cushim: cp.async");
            abort();
        }
    }
    race_note(dst, 16, true, at);
    race_shape(dst, 16, true, at);
    if (bytes)
        race_shape(src, bytes, false, at);
    memset(dst, 0xff, 16);
    race_async(dst, 16, true);
    t->copy[t->n_copy++] = {dst, src, bytes, t->group, at};
}

void cp_commit(void)
{
    current()->group++;
}

void cp_wait(unsigned groups_left)
{
    struct thread *t = current();
    unsigned keep = 0;
    for (unsigned i = 0; i < t->n_copy; i++) {
        const struct async_copy c = t->copy[i];
        if (c.group + groups_left >= t->group) { /* not committed, or of the last groups */
            t->copy[keep++] = c;
            continue;
        }
        race_async(c.dst, 16, false);
        if (c.bytes)
            race_note(c.src, c.bytes, false, c.at);
        memcpy(c.dst, c.src, c.bytes);
        memset(static_cast<char *>(c.dst) + c.bytes, 0, 16 - c.bytes);
        race_note(c.dst, 16, true, c.at);
        proxy_dirty();
    }
    t->n_copy = keep;
}

void copies_end(struct thread *t)
{
    if (!t->n_copy) {
        t->group = 0;
        return;
    }
    const struct site at = t->copy[0].at;
    kernel_fail("a thread returns with a cp.async in flight, issued at %s:%d", file_name(at.file),
                at.line);
}

} /* namespace cushim */
