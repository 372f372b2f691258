/*
 * shim_sched: runs a grid. A thread runs until it synchronises. Then the next runnable lane of its
 * warp runs, or the next warp, in the chosen order. Only this file chooses the next thread.
 */
#include "shim_rt.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

namespace cushim
{

struct thread_id *cur;
dim3 launch_block, launch_grid;
struct machine G;

static const unsigned MAX_SPINS = 1000000; /* rounds in which threads only spin */

/* ---- findings -------------------------------------------------------------------------------- */

const char *file_name(const char *path)
{
    const char *s = strrchr(path, '/');
    return s ? s + 1 : path;
}

static void record(const char *fmt, va_list ap)
{
    char m[4096];
    int n = snprintf(m, sizeof m, "cushim: kernel %s: ", G.call ? G.call->name : "(none)");
    n += vsnprintf(m + n, sizeof m - (size_t)n, fmt, ap);
    if (cur && n < (int)sizeof m)
        snprintf(m + n, sizeof m - (size_t)n, " [block (%u,%u,%u) thread (%u,%u,%u)]", cur->bid->x,
                 cur->bid->y, cur->bid->z, cur->tid.x, cur->tid.y, cur->tid.z);
    if (G.findings.size() < 64 * 1024)
        G.findings += std::string(m) + "\n";
    G.sticky = true;
    if (!G.quiet)
        fprintf(stderr, "%s\n", m);
    if (G.abort_on_finding)
        abort();
}

void kernel_note(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    record(fmt, ap);
    va_end(ap);
}

void kernel_fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    record(fmt, ap);
    va_end(ap);
    G.failed = true;
    if (cur) {
        struct fiber *self = current()->fiber;
        cur = nullptr;
        fiber_switch(self, &G.main);
    }
}

void kernel_trap(const char *what, struct site at)
{
    kernel_fail("%s at %s:%d", what, file_name(at.file), at.line);
    abort();
}

/* ---- the next thread ------------------------------------------------------------------------- */

static unsigned rnd(void)
{
    G.rng ^= G.rng << 13;
    G.rng ^= G.rng >> 7;
    G.rng ^= G.rng << 17;
    return (unsigned)(G.rng >> 11);
}

static unsigned pick_bit(unsigned m)
{
    if (G.order == CUSHIM_FORWARD)
        return (unsigned)__builtin_ctz(m);
    if (G.order == CUSHIM_REVERSE)
        return 31 - (unsigned)__builtin_clz(m);
    for (unsigned n = rnd() % (unsigned)__builtin_popcount(m); n; n--)
        m &= m - 1;
    return (unsigned)__builtin_ctz(m);
}

static struct thread *pick_warp(struct block *b)
{
    unsigned ready = 0;
    for (unsigned i = 0; i < b->n_warp; i++)
        ready |= (unsigned)(b->warp[i].run != 0) << i;
    if (!ready)
        return nullptr;
    struct warp *w = &b->warp[pick_bit(ready)];
    return w->t + pick_bit(w->run);
}

/* The next thread of warp w, or of another warp if w has none; in random order, of any warp. */
static inline struct thread *pick(struct block *b, struct warp *w)
{
    if (w->run && G.order == CUSHIM_FORWARD)
        return w->t + __builtin_ctz(w->run);
    if (w->run && G.order == CUSHIM_REVERSE)
        return w->t + (31 - __builtin_clz(w->run));
    return pick_warp(b);
}

/* The fiber that continues t. */
static inline struct fiber *resume(struct thread *t)
{
    if (!t->fiber)
        t->fiber = fiber_take();
    cur = t;
    return t->fiber;
}

/* Runs the next thread. The current thread has recorded the operation it waits for, or may run
 * again at once. Returns when it is picked again. */
static inline __attribute__((always_inline)) void reschedule(void)
{
    struct thread *me = current();
    struct thread *next = G.failed ? nullptr : pick(me->block, me->warp);
    if (next == me)
        return;
    struct fiber *to = &G.main;
    if (next)
        to = resume(next);
    else
        cur = nullptr;
    fiber_switch(me->fiber, to);
}

/* ---- barriers -------------------------------------------------------------------------------- */

static void barrier_release(struct block *b, int id)
{
    struct barrier *r = &b->barrier[id];
    int n_pred = (int)r->n_pred;
    unsigned warps = 0;
    for (unsigned i = 0; i < b->n_warp; i++) {
        struct warp *w = &b->warp[i];
        for (unsigned m = w->bar; m; m &= m - 1) {
            unsigned lane = (unsigned)__builtin_ctz(m);
            struct thread *t = w->t + lane;
            if (t->barrier != id)
                continue;
            t->barrier_result = n_pred;
            w->bar &= ~(1u << lane);
            w->run |= 1u << lane;
            warps |= 1u << i;
        }
    }
    *r = {};
    race_barrier(b, warps);
}

/* After an arrival or a return: releases barrier id if it is complete. */
static void barrier_check(struct block *b, int id)
{
    struct barrier *r = &b->barrier[id];
    if (!r->arrived)
        return;
    unsigned wanted = r->n_thread ? (unsigned)r->n_thread : b->live;
    if (r->arrived < wanted)
        return;
    const struct site at = r->first->op.at;
    if (r->arrived > wanted)
        return kernel_fail("barrier %d: %u threads arrived, %u expected (%s:%d)", id, r->arrived,
                           wanted, file_name(at.file), at.line);
    if (!r->n_thread && b->live != b->n_thread && G.strict_exit)
        return kernel_fail("%u threads returned before the barrier at %s:%d", b->n_thread - b->live,
                           file_name(at.file), at.line);
    barrier_release(b, id);
}

int block_barrier(int id, int n_thread, int pred, struct site at)
{
    struct thread *t = current();
    struct warp *w = t->warp;
    if (id < 0 || id >= MAX_BARRIERS || n_thread < 0 || n_thread % WARP)
        kernel_fail("barrier %d of %d threads at %s:%d: ids are 0 to 15, counts multiples of 32",
                    id, n_thread, file_name(at.file), at.line);
    struct barrier *r = &t->block->barrier[id];
    t->op.at = at;
    t->barrier = id;
    w->run &= ~(1u << t->lane);
    w->bar |= 1u << t->lane;
    if (!r->arrived) {
        r->first = t;
        r->n_thread = n_thread;
    }
    const struct site other = r->first->op.at;
    if (other.line != at.line || (other.file != at.file && strcmp(other.file, at.file) != 0))
        kernel_fail("divergent barrier %d: thread %u waits at %s:%d, thread %u at %s:%d", id,
                    r->first->lin, file_name(other.file), other.line, t->lin, file_name(at.file),
                    at.line);
    if (r->n_thread != n_thread)
        kernel_fail("barrier %d at %s:%d: thread counts %d and %d", id, file_name(at.file), at.line,
                    r->n_thread, n_thread);
    r->arrived++;
    r->n_pred += pred != 0;
    barrier_check(t->block, id);
    reschedule();
    return t->barrier_result;
}

void grid_barrier(struct site at)
{
    struct thread *t = current();
    if (!G.call->cooperative)
        kernel_fail("grid barrier at %s:%d in a launch that is not cooperative", file_name(at.file),
                    at.line);
    t->op.at = at;
    t->warp->run &= ~(1u << t->lane);
    t->warp->grid |= 1u << t->lane;
    reschedule();
}

void spin_yield(void)
{
    struct thread *t = current();
    t->warp->run &= ~(1u << t->lane);
    t->warp->spin |= 1u << t->lane;
    reschedule();
}

void fence(void)
{
    race_fence();
}

/* ---- warp collectives ------------------------------------------------------------------------ */

static bool same_site(struct site a, struct site b)
{
    return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

/* Finishes the collective of lane t if all lanes of its mask have arrived. */
static void collective_check(struct warp *w, struct thread *t)
{
    const struct lane_op op = t->op;
    unsigned part = op.mask & w->lanes & ~w->exited;
    if ((w->wait & part) != part)
        return;
    if (w->mixed)
        for (unsigned m = part; m; m &= m - 1) {
            unsigned lane = (unsigned)__builtin_ctz(m);
            const struct lane_op *o = &w->t[lane].op;
            if (o->kind != op.kind || o->tag != op.tag || o->mask != op.mask)
                return; /* the deadlock report lists the waiting lanes */
            if (op.kind != SYNCWARP && !same_site(o->at, op.at))
                return kernel_fail("divergent %s: lane %u at %s:%d, lane %u at %s:%d",
                                   collective_name(op.kind), t->lane, file_name(op.at.file),
                                   op.at.line, lane, file_name(o->at.file), o->at.line);
        }
    if (op.kind >= LDMATRIX && part != 0xffffffffu)
        return kernel_fail("%s at %s:%d by an incomplete warp (live lanes %08x)",
                           collective_name(op.kind), file_name(op.at.file), op.at.line, part);
    collective_compute(w, &op, part);
    w->wait &= ~part;
    w->run |= part;
    if (!w->wait)
        w->mixed = false;
    race_warp_order(w, part, op.kind == SYNCWARP);
}

uint64_t warp_collective(enum collective kind, unsigned tag, unsigned mask, uint64_t v,
                         unsigned src, struct site at)
{
    struct thread *t = current();
    struct warp *w = t->warp;
    unsigned lane = t->lane, bit = 1u << lane;
    if (!(mask & bit))
        kernel_fail("%s at %s:%d: the calling lane %u is not in its mask %08x",
                    collective_name(kind), file_name(at.file), at.line, lane, mask);
    if (w->wait) {
        const struct lane_op *o = &w->t[__builtin_ctz(w->wait)].op;
        w->mixed |= o->kind != kind || o->tag != tag || o->mask != mask || o->at.line != at.line ||
                    o->at.file != at.file;
    }
    t->op = {kind, tag, mask, at};
    w->v[lane] = v;
    w->src[lane] = (uint8_t)src;
    w->run &= ~bit;
    w->wait |= bit;
    if (!(w->run & mask))
        collective_check(w, t);
    reschedule();
    return w->v[lane];
}

/* ---- threads --------------------------------------------------------------------------------- */

/* The current thread has returned from the kernel: threads that waited for it may run. */
static void thread_exit(struct thread *t)
{
    struct warp *w = t->warp;
    struct block *b = t->block;
    copies_end(t);
    products_end(t);
    w->run &= ~(1u << t->lane);
    w->exited |= 1u << t->lane;
    b->live--;
    G.stats.threads++;
    if (w->exited == w->lanes)
        race_warp_order(w, 0, false);
    for (unsigned m = w->wait; m; m &= m - 1) {
        unsigned lane = (unsigned)__builtin_ctz(m);
        if (w->wait >> lane & 1)
            collective_check(w, w->t + lane);
    }
    barrier_check(b, 0);
    t->fiber = nullptr;
}

void fiber_main(void)
{
    for (;;) {
        struct thread *t = current();
        G.call->run(G.call->args);
        struct fiber *self = t->fiber;
        thread_exit(t);
        struct thread *next = pick(t->block, t->warp);
        if (next && !next->fiber) { /* a thread that has not started runs here, without a switch */
            next->fiber = self;
            cur = next;
            continue;
        }
        fiber_give(self);
        struct fiber *to = &G.main;
        if (next)
            to = resume(next);
        else
            cur = nullptr;
        fiber_switch(self, to);
    }
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static uint3 coordinates(uint64_t i, dim3 n)
{
    return uint3{(unsigned)(i % n.x), (unsigned)(i / n.x % n.y), (unsigned)(i / n.x / n.y)};
}

/* Sets the fields that are equal in all blocks. */
static void block_layout(struct block *b)
{
    unsigned n = launch_block.x * launch_block.y * launch_block.z;
    b->n_thread = n;
    b->n_warp = (n + WARP - 1) / WARP;
    for (unsigned i = 0; i < n; i++) {
        struct thread *t = &b->thread[i];
        t->tid = coordinates(i, launch_block);
        t->lane = i % WARP;
        t->lin = i;
        t->bid = &b->bid;
        t->block = b;
        t->warp = &b->warp[i / WARP];
        t->fiber = nullptr;
        t->n_copy = t->group = 0;
        t->n_product = t->product_group = 0;
        t->unfenced = t->products_fenced = false;
    }
    for (unsigned i = 0; i < b->n_warp; i++) {
        unsigned left = n - i * WARP, lanes = left < WARP ? left : (unsigned)WARP;
        b->warp[i].index = i;
        b->warp[i].t = &b->thread[i * WARP];
        b->warp[i].lanes = lanes == WARP ? 0xffffffffu : (1u << lanes) - 1;
    }
    memset(b->barrier, 0, sizeof b->barrier);
}

static void block_start(struct block *b, uint64_t lin)
{
    b->lin = (unsigned)lin;
    b->bid = coordinates(lin, launch_grid);
    b->live = b->n_thread;
    b->spins = 0;
    b->started = true;
    for (unsigned i = 0; i < b->n_warp; i++) {
        struct warp *w = &b->warp[i];
        w->run = w->lanes;
        w->wait = w->bar = w->grid = w->spin = w->exited = 0;
        w->mixed = false;
        w->products = 0;
    }
    G.stats.blocks++;
    shared_start(b);
    race_block(b);
}

static void report_deadlock(const struct block *b)
{
    std::string s = "deadlock, no thread of the block can go on:";
    for (unsigned i = 0; i < b->n_warp && s.size() < 3000; i++) {
        const struct warp *w = &b->warp[i];
        unsigned left = w->lanes;
        while (left) { /* one line for the lanes that wait at the same place */
            char what[2][300];
            unsigned lanes = 0;
            for (unsigned m = left; m; m &= m - 1) {
                unsigned lane = (unsigned)__builtin_ctz(m);
                const struct thread *t = w->t + lane;
                const struct site at = t->op.at;
                char *out = what[lanes != 0];
                if (w->exited >> lane & 1)
                    snprintf(out, sizeof what[0], "returned");
                else if (w->spin >> lane & 1)
                    snprintf(out, sizeof what[0], "spinning");
                else if (w->bar >> lane & 1)
                    snprintf(out, sizeof what[0], "at barrier %d %s:%d", t->barrier,
                             file_name(at.file), at.line);
                else if (w->grid >> lane & 1)
                    snprintf(out, sizeof what[0], "at the grid barrier %s:%d", file_name(at.file),
                             at.line);
                else
                    snprintf(out, sizeof what[0], "at %s %s:%d mask %08x",
                             collective_name(t->op.kind), file_name(at.file), at.line, t->op.mask);
                if (!lanes || !strcmp(what[0], what[1]))
                    lanes |= 1u << lane;
            }
            char line[400];
            snprintf(line, sizeof line, "\n  warp %u lanes %08x %s", i, lanes, what[0]);
            s += line;
            left &= ~lanes;
        }
    }
    kernel_fail("block (%u,%u,%u): %s", b->bid.x, b->bid.y, b->bid.z, s.c_str());
}

/* Runs the block's threads until none is runnable. True: some have run. */
static bool block_run(struct block *b)
{
    struct thread *t = pick_warp(b);
    if (!t)
        return false;
    G.block = b;
    fiber_switch(&G.main, resume(t));
    return true;
}

/* Makes spinning threads runnable again. True: there are some. */
static bool block_unspin(struct block *b)
{
    bool any = false;
    for (unsigned i = 0; i < b->n_warp; i++) {
        any |= b->warp[i].spin != 0;
        b->warp[i].run |= b->warp[i].spin;
        b->warp[i].spin = 0;
    }
    return any;
}

static bool spins_too_long(struct block *b)
{
    if (++b->spins < MAX_SPINS)
        return false;
    kernel_fail("block (%u,%u,%u): spins without end%s", b->bid.x, b->bid.y, b->bid.z,
                G.call->cooperative
                    ? ""
                    : "; blocks run one after another unless launched with LAUNCH_COOP");
    return true;
}

/* ---- grids ----------------------------------------------------------------------------------- */

/* Runs the blocks one after another. */
static void run_blocks(uint64_t n_block)
{
    static struct thread threads[MAX_THREADS];
    static struct block one;
    uint64_t mul = 1, add = 0;
    if (G.order == CUSHIM_RANDOM) {
        for (mul = 2654435761u; std::gcd(mul, n_block) != 1; mul += 2)
            ;
        add = rnd();
    }
    one.thread = threads;
    block_layout(&one);
    for (uint64_t i = 0; i < n_block && !G.failed; i++) {
        block_start(&one, G.order == CUSHIM_FORWARD   ? i
                          : G.order == CUSHIM_REVERSE ? n_block - 1 - i
                                                      : (i * mul + add) % n_block);
        while (!G.failed) {
            if (block_run(&one))
                continue;
            if (!one.live)
                break;
            if (block_unspin(&one)) {
                if (spins_too_long(&one))
                    break;
                continue;
            }
            report_deadlock(&one);
        }
        if (!G.failed) {
            products_block_end(&one);
            shared_end(&one);
        }
    }
    shared_free(&one);
}

/* Releases the grid barrier: all threads that have not returned are there. */
static void release_grid(std::vector<struct block> &blocks)
{
    for (struct block &b : blocks) {
        for (unsigned i = 0; i < b.n_warp; i++) {
            b.warp[i].run |= b.warp[i].grid;
            b.warp[i].grid = 0;
        }
        race_barrier(&b, b.n_warp == 32 ? 0xffffffffu : (1u << b.n_warp) - 1);
    }
    race_grid_barrier();
}

/* Runs the blocks of a cooperative launch together. */
static void run_together(uint64_t n_block, unsigned n_thread)
{
    std::vector<struct block> blocks(n_block);
    std::vector<struct thread> threads(n_block * n_thread);
    for (uint64_t i = 0; i < n_block; i++) {
        blocks[i].thread = &threads[i * n_thread];
        block_layout(&blocks[i]);
    }
    for (bool done = false; !done && !G.failed;) {
        bool progress = false;
        unsigned live = 0, waiting = 0;
        for (uint64_t k = 0; k < n_block && !G.failed; k++) {
            uint64_t i = G.order == CUSHIM_REVERSE ? n_block - 1 - k : k;
            struct block *b = &blocks[i];
            if (!b->started)
                block_start(b, i);
            while (!G.failed && block_run(b))
                progress = true;
            for (unsigned j = 0; j < b->n_warp; j++)
                waiting += (unsigned)__builtin_popcount(b->warp[j].grid);
            live += b->live;
            if (!b->live || G.failed)
                continue;
            if (block_unspin(b))
                progress = !spins_too_long(b) || progress;
        }
        done = live == 0;
        if (G.failed || done)
            break;
        if (waiting == live)
            release_grid(blocks);
        else if (!progress)
            for (struct block &b : blocks)
                if (b.live) {
                    report_deadlock(&b);
                    break;
                }
    }
    for (struct block &b : blocks) {
        if (!G.failed) {
            products_block_end(&b);
            shared_end(&b);
        }
        shared_free(&b);
    }
    for (struct thread &t : threads)
        free(t.copy);
}

void run_grid(const struct kernel_call *call, size_t shared_limit)
{
    G.call = call;
    G.shared_limit = shared_limit;
    G.failed = false;
    G.main = {};
    G.rng = G.seed * 0x9e3779b97f4a7c15u + 1;
    launch_block = call->block;
    launch_grid = call->grid;
    cur = nullptr;
    G.stats.launches++;
    race_launch(call);
    uint64_t n_block = (uint64_t)call->grid.x * call->grid.y * call->grid.z;
    if (call->cooperative)
        run_together(n_block, call->block.x * call->block.y * call->block.z);
    else
        run_blocks(n_block);
    race_launch_end();
    cur = nullptr;
    memory_check();
    G.call = nullptr;
    if (G.failed)
        fiber_abandon_all();
}

} /* namespace cushim */
