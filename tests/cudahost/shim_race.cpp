/*
 * shim_race: the checker of the race build. gcc compiles the kernels with -fsanitize=thread, which
 * calls a hook at every load and store. The hooks are in this file; libtsan is not linked.
 *
 * Device and shared memory lie in one arena. Each byte has a state, its last writer and its last
 * reader.
 *
 *   finding                                            derived from
 *   uninitialised, out of bounds, cp.async in flight   the state
 *   host memory in a kernel, misaligned accesses       the address
 *   race inside a block                                vector clocks: accesses that a lane has seen
 *                                                      of its warp (__syncwarp), and a warp of its
 *                                                      block (barriers)
 *   race between blocks                                a grid barrier orders blocks, and so does a
 *                                                      release (__threadfence, then an atomic) with
 *                                                      an acquire (an atomic on the same word)
 *
 * Each launch is ordered after the previous one; tests of stream order run streams lazily. The
 * checker also counts, by source line, the 32-byte sectors of global requests and the bank
 * conflicts.
 */
#include "shim_rt.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <sys/mman.h>
#include <tuple>
#include <unistd.h>
#include <unordered_map>
#include <vector>

extern "C" char __executable_start, __data_start, _end;

namespace cushim
{

/* ---- the arena ------------------------------------------------------------------------------- */

static const size_t ARENA = (size_t)4 << 30, REDZONE = 256;

enum state : uint8_t { UNALLOCATED, UNINIT, FROM_HOST, WRITTEN, IN_FLIGHT };

struct stamp { /* one access */
    uint32_t pc;
    uint32_t launch, block, phase; /* phase: number of grid barriers before it */
    uint32_t warp_clock, lane_clock;
    uint16_t tid; /* linear, in the block */
    uint16_t atomic;
};

struct cell { /* last accesses of one byte; r only for shared memory */
    struct stamp w, r;
};

struct area {
    size_t at, bytes;       /* the caller's bytes */
    size_t whole, capacity; /* with redzones */
    bool shared;
};

static char *arena;
static uint8_t *state;
static struct cell *cells;
static uint32_t *readers; /* per byte of global memory: launch << 20 | block + 1, or | MANY */
static const uint32_t MANY = 0xfffff;
static size_t arena_top;
static std::map<size_t, struct area> areas;
static std::multimap<size_t, size_t> holes; /* capacity -> offset */

static void *reserve(size_t bytes)
{
    void *p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        perror("cushim: no address space for the race checker");
        abort();
    }
    return p;
}

static bool inside(const void *p)
{
    return arena && p >= arena && p < arena + ARENA;
}
static size_t offset(const void *p)
{
    return (size_t)(static_cast<const char *>(p) - arena);
}

void *race_alloc(size_t bytes, size_t align, bool shared_mem)
{
    if (!arena) {
        arena = static_cast<char *>(reserve(ARENA));
        state = static_cast<uint8_t *>(reserve(ARENA));
        cells = static_cast<struct cell *>(reserve(ARENA * sizeof(struct cell)));
        readers = static_cast<uint32_t *>(reserve(ARENA * sizeof(uint32_t)));
    }
    struct area a = {};
    a.capacity = (bytes + align + 2 * REDZONE + 255) / 256 * 256;
    auto hole = holes.lower_bound(a.capacity);
    if (hole != holes.end() && hole->first < a.capacity + 4096) {
        a.capacity = hole->first;
        a.whole = hole->second;
        holes.erase(hole);
    } else {
        a.whole = arena_top;
        if (arena_top + a.capacity > ARENA)
            return nullptr;
        arena_top += a.capacity;
    }
    a.at = (a.whole + REDZONE + align - 1) / align * align;
    a.bytes = bytes;
    a.shared = shared_mem;
    areas[a.at] = a;
    memset(state + a.whole, UNALLOCATED, a.capacity);
    race_fresh(arena + a.at, bytes);
    memset(arena + a.at, 0xff, bytes);
    return arena + a.at;
}

void race_free(void *p)
{
    auto it = areas.find(offset(p));
    memset(state + it->second.whole, UNALLOCATED, it->second.capacity);
    holes.insert({it->second.capacity, it->second.whole});
    areas.erase(it);
}

void race_fresh(void *p, size_t n)
{
    memset(state + offset(p), UNINIT, n);
    auto it = areas.find(offset(p));
    if (it != areas.end() && it->second.shared)
        memset(static_cast<void *>(cells + offset(p)), 0, n * sizeof *cells);
}

void race_host_wrote(const void *p, size_t n)
{
    if (inside(p))
        memset(state + offset(p), FROM_HOST, n);
}

void race_host_reads(const void *p, size_t n)
{
    for (size_t i = 0; inside(p) && i < n; i++)
        if (state[offset(p) + i] == UNINIT) {
            kernel_note("the host copies out %zu bytes, of which byte %zu was never written", n, i);
            return;
        }
}

void race_device_copied(void *dst, const void *src, size_t n)
{
    if (inside(dst) && inside(src))
        for (size_t i = 0; i < n; i++)
            state[offset(dst) + i] = state[offset(src) + i] == UNINIT ? UNINIT : FROM_HOST;
}

void race_async(void *p, unsigned n, bool start)
{
    memset(state + offset(p), start ? IN_FLIGHT : WRITTEN, n);
}

static const struct area *area_of(size_t o)
{
    auto it = areas.upper_bound(o);
    return it == areas.begin() ? nullptr : &(--it)->second;
}

/* ---- source lines ---------------------------------------------------------------------------- */

/* A source place is an offset into the program. For accesses that the shim makes it is an index of
 * named[]. */
static const uint32_t NAMED = 0x80000000u;
static std::vector<struct site> named;

static uint32_t place_of(struct site at)
{
    for (size_t i = 0; i < named.size(); i++)
        if (named[i].line == at.line && named[i].file == at.file)
            return NAMED | (uint32_t)i;
    named.push_back(at);
    return NAMED | (uint32_t)(named.size() - 1);
}

/* The innermost source line outside the shim, CUDA and helper headers; addr2line gives all inlined
 * lines. */
static std::string find_line(uint32_t pc)
{
    char cmd[160], line[1024];
    std::string first, best;
    snprintf(cmd, sizeof cmd, "addr2line -i -s -e /proc/%d/exe 0x%x 2>/dev/null", (int)getpid(),
             pc - 1);
    FILE *f = popen(cmd, "r");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, " \n")] = '\0'; /* without "(discriminator 3)" */
        if (first.empty())
            first = line;
        bool helper = !strncmp(line, "cushim", 6) || !strncmp(line, "cuda_", 5) ||
                      !strncmp(line, "vec.cuh", 7) || line[0] == '?';
        if (best.empty() && !helper)
            best = line;
    }
    if (f)
        pclose(f);
    if (first.empty()) {
        snprintf(line, sizeof line, "offset 0x%x", pc);
        first = line;
    }
    return best.empty() ? first : best;
}

static std::string where(uint32_t pc)
{
    static std::unordered_map<uint32_t, std::string> memo;
    if (pc & NAMED) {
        const struct site at = named[pc & ~NAMED];
        return std::string(file_name(at.file)) + ":" + std::to_string(at.line);
    }
    std::string &s = memo[pc];
    if (s.empty())
        s = find_line(pc);
    return s;
}

/* ---- accesses seen --------------------------------------------------------------------------- */

struct release { /* clocks of a thread at its fence */
    uint32_t block, warp;
    uint32_t warp_clock[MAX_WARPS], lane_clock[WARP];
};
typedef std::map<std::pair<uint32_t, uint32_t>, std::shared_ptr<const struct release>> release_set;

static bool active;
static uint32_t launch_id, grid_phase;
static std::map<const void *, release_set> released; /* by address of the atomic's word */
static std::map<uint32_t, release_set> acquired;     /* by block */
/* block, thread */
static std::map<std::pair<uint32_t, uint32_t>, std::shared_ptr<const struct release>> fenced;
static std::set<std::string> reported;

void race_launch(const struct kernel_call *)
{
    launch_id = (launch_id + 1) & 0xfff;
    if (!launch_id) { /* ids start again: old readers must not look recent */
        launch_id = 1;
        if (arena)
            madvise(readers, ARENA * sizeof *readers, MADV_DONTNEED);
        if (arena)
            madvise(cells, ARENA * sizeof *cells, MADV_DONTNEED);
    }
    grid_phase = 0;
    released.clear();
    acquired.clear();
    fenced.clear();
    reported.clear();
    active = true;
}

void race_launch_end(void)
{
    active = false;
}

void race_block(struct block *b)
{
    for (unsigned i = 0; i < b->n_warp; i++) {
        struct warp *w = &b->warp[i];
        memset(w->clock, 0, sizeof w->clock);
        memset(w->lane_clock, 0, sizeof w->lane_clock);
        w->clock[i] = 1;
        for (unsigned l = 0; l < WARP; l++)
            w->lane_clock[l][l] = 1;
    }
}

/* The lanes have met: each sees all that any of them had seen, and begins a new count. */
static void join_lanes(struct warp *w, unsigned lanes)
{
    uint32_t most[WARP] = {};
    for (unsigned m = lanes; m; m &= m - 1) {
        const uint32_t *c = w->lane_clock[__builtin_ctz(m)];
        for (unsigned k = 0; k < WARP; k++)
            most[k] = std::max(most[k], c[k]);
    }
    for (unsigned m = lanes; m; m &= m - 1) {
        unsigned l = (unsigned)__builtin_ctz(m);
        memcpy(w->lane_clock[l], most, sizeof most);
        w->lane_clock[l][l]++;
    }
}

static void shapes_flush(struct warp *w);

void race_warp_order(struct warp *w, unsigned lanes, bool memory)
{
    if (memory)
        join_lanes(w, lanes);
    shapes_flush(w);
}

void race_barrier(struct block *b, unsigned warps)
{
    uint32_t most[MAX_WARPS] = {};
    for (unsigned i = 0; i < b->n_warp; i++)
        for (unsigned k = 0; (warps >> i & 1) && k < b->n_warp; k++)
            most[k] = std::max(most[k], b->warp[i].clock[k]);
    for (unsigned i = 0; i < b->n_warp; i++) {
        if (!(warps >> i & 1))
            continue;
        struct warp *w = &b->warp[i];
        memcpy(w->clock, most, sizeof most);
        w->clock[i]++;
        join_lanes(w, w->lanes);
        shapes_flush(w);
    }
}

void race_grid_barrier(void)
{
    grid_phase++;
}

void race_fence(void)
{
    struct thread *t = current();
    struct warp *w = t->warp;
    auto r = std::make_shared<struct release>();
    r->block = t->block->lin;
    r->warp = w->index;
    memcpy(r->warp_clock, w->clock, sizeof r->warp_clock);
    memcpy(r->lane_clock, w->lane_clock[t->lane], sizeof r->lane_clock);
    w->lane_clock[t->lane][t->lane]++; /* later writes of the lane are not part of the release */
    fenced[{t->block->lin, t->lin}] = r;
}

static bool covers(const struct release *r, const struct stamp *s)
{
    unsigned warp = s->tid / WARP;
    return warp == r->warp ? r->lane_clock[s->tid % WARP] >= s->lane_clock
                           : r->warp_clock[warp] >= s->warp_clock;
}

/* True when access s is ordered before every later access of the current thread. */
static bool ordered(const struct stamp *s, struct thread *t)
{
    if (s->launch != launch_id || s->phase < grid_phase)
        return true;
    if (s->block != t->block->lin) {
        for (auto &r : acquired[t->block->lin])
            if (r.first.first == s->block && covers(r.second.get(), s))
                return true;
        return false;
    }
    if (s->tid == t->lin)
        return true;
    if (s->tid / WARP == t->warp->index)
        return t->warp->lane_clock[t->lane][s->tid % WARP] >= s->lane_clock;
    return t->warp->clock[s->tid / WARP] >= s->warp_clock;
}

/* ---- access shapes: what a warp's lanes ask for together ------------------------------------- */

struct shape {
    uint64_t requests, units, ideal; /* units: sectors or wavefronts */
    unsigned size;
    bool shared, write;
};
struct request {
    uint64_t key; /* line, direction, space */
    uint32_t nth; /* number of this lane's access at this place since the lanes last met */
    uint8_t lane, size;
    uint64_t addr;
};
static bool want_shapes;
/* by kernel, place and kind of access: the lines of places are looked up when shapes are printed */
static std::map<std::tuple<const char *, uint32_t, std::string>, struct shape> shapes;
static std::map<std::string, struct cushim_kernel> kernels; /* by kernel_call.full */
static std::vector<struct request> requests[MAX_WARPS];
static std::unordered_map<uint64_t, uint32_t> counts[MAX_WARPS];

static void shapes_note(const void *p, unsigned n, bool write, bool shared, uint32_t pc,
                        struct thread *t)
{
    unsigned w = t->warp->index;
    uint64_t key = (uint64_t)pc << 2 | (uint64_t)write << 1 | (uint64_t)shared;
    uint32_t nth = counts[w][key << 5 | t->lane]++;
    requests[w].push_back({key, nth, (uint8_t)t->lane, (uint8_t)n, (uint64_t)offset(p)});
}

static void shape_global(struct shape *s, const struct request *r, size_t n)
{
    std::set<uint64_t> sectors, bytes;
    for (size_t i = 0; i < n; i++) {
        bytes.insert(r[i].addr);
        for (uint64_t x = r[i].addr / 32; x <= (r[i].addr + r[i].size - 1) / 32; x++)
            sectors.insert(x);
    }
    s->units += sectors.size();
    s->ideal += (bytes.size() * r[0].size + 31) / 32;
}

/* A wavefront serves 128 bytes: 32 lanes of up to 4 bytes, 16 of 8, 8 of 16. In a wavefront each
 * bank gives one 4-byte word. */
static void shape_shared(struct shape *s, const struct request *r, size_t n)
{
    unsigned per = r[0].size <= 4 ? 32 : r[0].size == 8 ? 16 : 8;
    for (unsigned first = 0; first < WARP; first += per) {
        std::map<uint64_t, std::set<uint64_t>> banks;
        size_t most = 0;
        for (size_t i = 0; i < n; i++)
            for (unsigned x = 0; r[i].lane / per == first / per && x < (r[i].size + 3u) / 4; x++)
                banks[(r[i].addr / 4 + x) % 32].insert(r[i].addr / 4 + x);
        for (auto &b : banks)
            most = std::max(most, b.second.size());
        s->units += most;
        s->ideal += most > 0;
    }
}

static void shapes_flush(struct warp *w)
{
    std::vector<struct request> &v = requests[w->index];
    if (v.empty())
        return;
    std::stable_sort(v.begin(), v.end(), [](const struct request &a, const struct request &b) {
        return a.key != b.key ? a.key < b.key : a.nth < b.nth;
    });
    for (size_t i = 0, j; i < v.size(); i = j) {
        for (j = i; j < v.size() && v[j].key == v[i].key && v[j].nth == v[i].nth;)
            j++;
        bool shared = v[i].key & 1, write = v[i].key >> 1 & 1;
        char tail[32];
        snprintf(tail, sizeof tail, " %s%u", write ? "st" : "ld", v[i].size * 8);
        struct shape *s = &shapes[{G.call->name, (uint32_t)(v[i].key >> 2), tail}];
        s->shared = shared;
        s->write = write;
        s->size = v[i].size;
        const struct shape before = *s;
        s->requests++;
        if (shared)
            shape_shared(s, &v[i], j - i);
        else
            shape_global(s, &v[i], j - i);
        struct cushim_kernel *k = &kernels[G.call->full];
        struct cushim_traffic *t = shared ? &k->shared : write ? &k->store : &k->load;
        t->requests++;
        t->units += s->units - before.units;
        t->ideal += s->ideal - before.ideal;
    }
    v.clear();
    counts[w->index].clear();
}

/* ---- the check ------------------------------------------------------------------------------- */

static void report(const char *what, size_t o, unsigned n, bool write, uint32_t pc,
                   const struct stamp *other)
{
    std::string here = where(pc), there = other ? where(other->pc) : "";
    if (reported.size() >= 20 || !reported.insert(what + here + there).second)
        return;
    const struct area *a = area_of(o);
    char tail[300] = "";
    if (other)
        snprintf(tail, sizeof tail, "; the other access: block %u thread %u at %s", other->block,
                 other->tid, there.c_str());
    kernel_note("%s: %s of %u bytes at %s, %s memory, byte %zd of %zu%s", what,
                write ? "write" : "read", n, here.c_str(), a && a->shared ? "shared" : "global",
                a ? (ptrdiff_t)(o - a->at) : -1, a ? a->bytes : 0, tail);
}

static bool within(const void *p, const void *begin, size_t n)
{
    return p >= begin && p < static_cast<const char *>(begin) + n;
}

/* Checks an access outside the arena. A kernel may touch its own stack, its parameters, constants,
 * and the variables of threadIdx and the like. */
static void check_outside(const void *p, bool write, uint32_t pc, struct thread *t)
{
    if (within(p, t->fiber->stack, t->fiber->size) || within(p, G.call->args, G.call->args_bytes) ||
        within(p, t->block->thread, t->block->n_thread * sizeof *t) ||
        within(p, t->block, sizeof *t->block) || within(p, &cur, sizeof cur) ||
        within(p, &launch_block, sizeof(dim3)) || within(p, &launch_grid, sizeof(dim3)) ||
        (!write && p >= &__executable_start && p < &__data_start))
        return;
    std::string here = where(pc);
    if (reported.size() < 20 && reported.insert("host" + here).second)
        kernel_note("%s %p is %s at %s", p < (void *)4096 ? "the null pointer" : "host memory", p,
                    write ? "written" : "read", here.c_str());
    if (p < (void *)4096)
        kernel_fail("it cannot go on");
}

/* Checks a write of global memory against reads by other blocks. */
static void check_readers(size_t o, unsigned n, uint32_t pc, struct thread *t)
{
    uint32_t r = readers[o];
    if (r >> 20 != launch_id || (r & MANY) == t->block->lin + 1)
        return;
    for (auto &a : acquired[t->block->lin])
        if (a.first.first + 1 == (r & MANY))
            return;
    if (grid_phase == 0 && acquired[t->block->lin].empty())
        report("write of what another block reads", o, n, true, pc, nullptr);
}

static void check(const void *p, unsigned n, bool write, bool atomic, bool aligned, uint32_t pc,
                  bool shape = true)
{
    if (!active || !cur)
        return;
    struct thread *t = current();
    if (!inside(p))
        return check_outside(p, write, pc, t);
    size_t o = offset(p);
    const struct area *a = area_of(o);
    bool shared = a && a->shared;
    if (aligned && n <= 16 && (o & (n - 1)))
        report("misaligned access", o, n, write, pc, nullptr);
    if (want_shapes && shape)
        shapes_note(p, n, write, shared, pc, t);
    const struct stamp now = {pc,
                              launch_id,
                              t->block->lin,
                              grid_phase,
                              t->warp->clock[t->warp->index],
                              t->warp->lane_clock[t->lane][t->lane],
                              (uint16_t)t->lin,
                              (uint16_t)atomic};
    for (size_t i = o; i < o + n; i++) {
        struct cell *c = &cells[i];
        if (state[i] == UNALLOCATED) {
            report("out of bounds", i, n, write, pc, nullptr);
            kernel_fail("an access out of bounds");
        }
        if (state[i] == UNINIT && (!write || atomic)) {
            report("uninitialised", i, n, write, pc, nullptr);
            state[i] = FROM_HOST; /* one finding is enough */
        }
        if (state[i] == IN_FLIGHT) {
            report("cp.async in flight", i, n, write, pc, &c->w);
            return;
        }
        if (state[i] == WRITTEN && !(atomic && c->w.atomic) && !ordered(&c->w, t)) {
            report(c->w.block != now.block ? (write ? "write-write race between blocks"
                                                    : "read of another block's write")
                   : write                 ? "write-write race"
                                           : "read-after-write race",
                   i, n, write, pc, &c->w);
            return;
        }
        if (write) {
            if (shared && c->r.launch && !ordered(&c->r, t)) {
                report("write-after-read race", i, n, write, pc, &c->r);
                c->r.launch = 0;
                return;
            }
            if (!shared && !atomic)
                check_readers(i, n, pc, t);
            c->w = now;
            state[i] = WRITTEN;
        } else if (shared) {
            /* A cell keeps one reader, the one that is hardest to be ordered after: of another
             * warp, and not ordered yet. */
            bool keep = c->r.launch && c->r.tid / WARP != t->warp->index && !ordered(&c->r, t);
            if (!keep)
                c->r = now;
        } else {
            uint32_t me = launch_id << 20 | (now.block + 1 < MANY ? now.block + 1 : MANY);
            readers[i] =
                readers[i] >> 20 == launch_id && readers[i] != me ? launch_id << 20 | MANY : me;
        }
    }
}

void note_atomic(const void *p, unsigned n, const void *pc)
{
    check(p, n, true, true, true, (uint32_t)(static_cast<const char *>(pc) - &__executable_start));
    if (!active || !cur || !inside(p))
        return;
    struct thread *t = current();
    const struct area *a = area_of(offset(p));
    if (a && a->shared)
        return;
    release_set &word = released[p], &mine = acquired[t->block->lin];
    mine.insert(word.begin(), word.end());
    auto f = fenced.find({t->block->lin, t->lin});
    if (f != fenced.end()) {
        word[f->first] = f->second;
        word.insert(mine.begin(), mine.end());
    }
}

void race_note(const void *p, unsigned n, bool write, struct site at)
{
    check(p, n, write, false, true, place_of(at), false);
}

void race_shape(const void *p, unsigned n, bool write, struct site at)
{
    if (!active || !cur || !want_shapes || !inside(p))
        return;
    const struct area *a = area_of(offset(p));
    shapes_note(p, n, write, a && a->shared, place_of(at), current());
}

} /* namespace cushim */

/* ---- calls by gcc --------------------------------------------------------------------------- */

#define PC ((uint32_t)(static_cast<char *>(__builtin_return_address(0)) - &__executable_start))
#define HOOKS(n)                                                                                   \
    void __tsan_read##n(void *p)                                                                   \
    {                                                                                              \
        cushim::check(p, n, false, false, true, PC);                                               \
    }                                                                                              \
    void __tsan_write##n(void *p)                                                                  \
    {                                                                                              \
        cushim::check(p, n, true, false, true, PC);                                                \
    }                                                                                              \
    void __tsan_unaligned_read##n(void *p)                                                         \
    {                                                                                              \
        cushim::check(p, n, false, false, false, PC);                                              \
    }                                                                                              \
    void __tsan_unaligned_write##n(void *p)                                                        \
    {                                                                                              \
        cushim::check(p, n, true, false, false, PC);                                               \
    }                                                                                              \
    void __tsan_volatile_read##n(void *p)                                                          \
    {                                                                                              \
        cushim::check(p, n, false, false, true, PC);                                               \
    }                                                                                              \
    void __tsan_volatile_write##n(void *p)                                                         \
    {                                                                                              \
        cushim::check(p, n, true, false, true, PC);                                                \
    }

static void check_range(const void *p, size_t n, bool write, uint32_t pc)
{
    const char *c = static_cast<const char *>(p);
    for (size_t i = 0; i < n; i += 8)
        cushim::check(c + i, (unsigned)(n - i < 8 ? n - i : 8), write, false, false, pc);
}

extern "C" {
void __tsan_init(void)
{
}
void __tsan_func_entry(void *)
{
}
void __tsan_func_exit(void)
{
}
void __tsan_vptr_update(void **, void *)
{
}
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void *p, unsigned long n)
{
    check_range(p, n, false, PC);
}
void __tsan_write_range(void *p, unsigned long n)
{
    check_range(p, n, true, PC);
}

/* memcpy and the like, which the kernels' objects call by these names. */
void *cushim_memcpy(void *dst, const void *src, size_t n)
{
    check_range(src, n, false, PC);
    check_range(dst, n, true, PC);
    return memcpy(dst, src, n);
}
void *cushim_memmove(void *dst, const void *src, size_t n)
{
    check_range(src, n, false, PC);
    check_range(dst, n, true, PC);
    return memmove(dst, src, n);
}
void *cushim_memset(void *dst, int byte, size_t n)
{
    check_range(dst, n, true, PC);
    return memset(dst, byte, n);
}

int cushim_shapes(int on)
{
    cushim::want_shapes = on != 0;
    cushim::shapes.clear();
    cushim::kernels.clear();
    return 0;
}

/* "const char* .. [with auto K = space::kernel<FMT_Q4_K, 4>]" -> "kernel<FMT_Q4_K,4>" */
static std::string kernel_of(const std::string &full)
{
    std::string name = full.substr(full.find(" = ") + 3), out;
    name.resize(name.rfind(']'));
    for (size_t i = 0, word = 0; i < name.size(); i++) {
        if (name.compare(i, 2, "::") == 0) {
            out.resize(word);
            i++;
        } else if (name[i] != ' ') {
            out += name[i];
            word = isalnum((unsigned char)name[i]) || name[i] == '_' ? word : out.size();
        }
    }
    return out;
}

int cushim_kernels(void (*each)(const struct cushim_kernel *k, void *arg), void *arg)
{
    std::map<std::string, struct cushim_kernel> named;
    for (auto &k : cushim::kernels)
        named[kernel_of(k.first)] = k.second;
    for (auto &k : named) {
        k.second.name = k.first.c_str();
        each(&k.second, arg);
    }
    return 0;
}

int cushim_print_shapes(int fd)
{
    std::map<std::string, struct cushim::shape> lines;
    for (auto &s : cushim::shapes) {
        const std::string kernel = std::get<0>(s.first), line = cushim::where(std::get<1>(s.first));
        struct cushim::shape &to = lines[kernel + " " + line + std::get<2>(s.first)];
        const struct cushim::shape before = to;
        to = s.second;
        to.requests += before.requests;
        to.units += before.units;
        to.ideal += before.ideal;
    }
    for (auto &s : lines) {
        const struct cushim::shape &x = s.second;
        dprintf(fd, "%-60s %-6s %9llu requests %6.2f %s (ideal %.2f)%s\n", s.first.c_str(),
                x.shared ? "shared" : "global", (unsigned long long)x.requests,
                (double)x.units / (double)x.requests, x.shared ? "wavefronts" : "sectors",
                (double)x.ideal / (double)x.requests,
                (double)x.units > 1.3 * (double)x.ideal ? "  <--" : "");
    }
    return 0;
}
}
