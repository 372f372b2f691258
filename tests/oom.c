#include "oom.h"

#include <stdatomic.h>
#include <stddef.h>

#include "test.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

static atomic_long oom_seen, oom_target;
static atomic_bool oom_sticky;

static bool oom_now(void)
{
    long seen = atomic_fetch_add(&oom_seen, 1) + 1, target = atomic_load(&oom_target);
    return target && (seen == target || (seen > target && atomic_load(&oom_sticky)));
}

void *__wrap_malloc(size_t n)
{
    return oom_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return oom_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return oom_now() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return oom_now() ? NULL : __real_aligned_alloc(align, n);
}

void oom_at(long n, bool from_then_on)
{
    atomic_store(&oom_seen, 0);
    atomic_store(&oom_sticky, from_then_on);
    atomic_store(&oom_target, n);
}

long oom_count(void)
{
    return atomic_load(&oom_seen);
}

long oom_loop(int (*body)(void *arg), void *arg, bool from_then_on)
{
    for (long n = 1;; n++) {
        oom_at(n, from_then_on);
        int rc = body(arg);
        long seen = oom_count();
        oom_at(0, false);
        if (seen < n) { /* nothing failed in this run */
            assert_int_equal(rc, 0);
            return n - 1;
        }
        if (rc != ERR_NOMEM)
            fail_msg("allocation %ld failed, but the call returned %d", n, rc);
    }
}
