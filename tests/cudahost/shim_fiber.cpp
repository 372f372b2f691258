/*
 * shim_fiber: stacks and switching. A fiber runs fiber_main for ever: the body of one CUDA thread
 * after another. So a kernel that never waits needs one fiber, and a stack is set up once, not once
 * for each thread.
 */
#include "shim_rt.h"

#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>

#ifdef CUSHIM_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace cushim
{

#ifdef CUSHIM_ASAN
static const size_t STACK = 256 * 1024; /* redzones around every local */
#else
static const size_t STACK = 128 * 1024; /* a CUDA thread has 1 KiB of local memory by default */
#endif
static const size_t GUARD = 4096;

static struct fiber *fibers, *free_fibers; /* all fibers, and the parked ones */

static void fiber_entry(void)
{
#ifdef CUSHIM_ASAN
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
    if (!G.prev->stack) {
        G.prev->stack = static_cast<char *>(const_cast<void *>(bottom));
        G.prev->size = size;
    }
#endif
    fiber_main();
    abort(); /* fiber_main does not return */
}

/* Fills the stack of a fiber that has not run: the registers that cushim_switch pops, then
 * fiber_entry. */
static void fiber_prepare(struct fiber *f, unsigned spread)
{
    /* Stacks start in different cache sets: 1024 equal offsets would share one set. */
    uintptr_t top = reinterpret_cast<uintptr_t>(f->stack) + f->size - (spread & 31) * 192;
#if defined(__x86_64__)
    void **sp = reinterpret_cast<void **>(top);
    *--sp = nullptr; /* the return address of fiber_entry: ends backtraces, keeps rsp % 16 = 8 */
    *--sp = reinterpret_cast<void *>(fiber_entry);
    for (int i = 0; i < 6; i++)
        *--sp = nullptr;
#else
    void **sp = reinterpret_cast<void **>(top - 160);
    memset(sp, 0, 160);
    sp[1] = reinterpret_cast<void *>(fiber_entry); /* x30 */
#endif
    f->sp = sp;
    f->fake = nullptr;
}

static struct fiber *fiber_new(void)
{
    static unsigned made;
    struct fiber *f = static_cast<struct fiber *>(calloc(1, sizeof *f));
    void *m = mmap(nullptr, STACK + GUARD, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!f || m == MAP_FAILED || mprotect(m, GUARD, PROT_NONE)) {
        perror("cushim: no memory for a fiber's stack");
        abort();
    }
    f->stack = static_cast<char *>(m) + GUARD;
    f->size = STACK;
#ifdef CUSHIM_TSAN
    f->tsan = __tsan_create_fiber(0);
#endif
    fiber_prepare(f, made++);
    f->next = fibers;
    fibers = f;
    return f;
}

struct fiber *fiber_take(void)
{
    struct fiber *f = free_fibers;
    if (!f)
        return fiber_new();
    free_fibers = f->next_free;
    return f;
}

void fiber_give(struct fiber *f)
{
    f->next_free = free_fibers;
    free_fibers = f;
}

void fiber_abandon_all(void)
{
    free_fibers = nullptr;
    unsigned i = 0;
    for (struct fiber *f = fibers; f; f = f->next) {
#ifdef CUSHIM_ASAN
        __asan_unpoison_memory_region(f->stack, f->size);
#endif
        fiber_prepare(f, i++);
        fiber_give(f);
    }
}

} /* namespace cushim */
