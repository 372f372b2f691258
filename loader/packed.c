#include "packed_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "packed_sum.h"
#include "pool.h"
#include "sha256.h"

#define PACKED_TEXT ((uint64_t)64 << 20) /* the longest text that is believed */
#define PACKED_SAMPLE ((size_t)4096)     /* bytes at both ends of a tensor */
#define PACKED_WAIT_NS 100000000

/* ---- the weights of the model ---------------------------------------------------------------- */

static int tensor_order(const void *a, const void *b)
{
    const struct packed_tensor *x = a, *y = b;
    return (x->file_at > y->file_at) - (x->file_at < y->file_at);
}

static int packed_add(struct packed *p, const struct weights *w, int slot, int layer,
                      struct ops *ops, struct err *e)
{
    const struct tensor *t = weights_get(w, slot, layer);
    struct packed_tensor *x = &p->tensor[p->n];
    if (!t->data)
        return 0;
    if (!gguf_offset(w->file, t->data, &x->file_at))
        FAIL(e, ERR_BUG, "packed weights: slot %d lies outside the model file", slot);
    x->t = t;
    x->bytes = tensor_bytes(t);
    /* a table that is only gathered from is not packed */
    x->packs = w->part[slot] != PART_EMBED && ops->packs(ops, t);
    p->n++;
    return 0;
}

/* A shared tensor stays once in the list, packed if one of its uses asks for that. */
static void packed_merge(struct packed *p)
{
    size_t n = 0;
    if (p->n)
        qsort(p->tensor, p->n, sizeof *p->tensor, tensor_order);
    for (size_t i = 0; i < p->n; i++) {
        if (n && p->tensor[n - 1].file_at == p->tensor[i].file_at) {
            p->tensor[n - 1].packs |= p->tensor[i].packs;
            continue;
        }
        p->tensor[n] = p->tensor[i];
        p->tensor[n++].at = p->bytes;
        p->bytes += (p->tensor[i].bytes + WEIGHTS_ALIGN - 1) & ~(WEIGHTS_ALIGN - 1);
    }
    p->n = n;
    p->n_sum = (p->bytes + PACKED_BLOCK - 1) / PACKED_BLOCK;
}

static int packed_list(struct packed *p, const struct weights *w, struct ops *ops, struct err *e)
{
    const size_t most = (size_t)(w->n_layer ? w->n_layer : 1) * (size_t)w->n_slot;
    p->tensor = mem_zalloc(most, sizeof *p->tensor);
    if (!p->tensor)
        return NOMEM(e, most * sizeof *p->tensor, "the list of packed weights");
    for (int s = 0; s < w->n_slot; s++)
        for (int l = 0; l < (w->per_layer[s] ? w->n_layer : 1); l++)
            TRY(packed_add(p, w, s, l, ops, e));
    packed_merge(p);
    return 0;
}

/* A hash of the first and the last bytes of each tensor: two models of one shape differ there. */
static int packed_sample(const struct packed *p, const struct gguf *g, char hex[65], struct err *e)
{
    unsigned char some[PACKED_SAMPLE];
    struct sha256 *h;
    int rc = 0;
    TRY(sha256_open(&h, e));
    for (size_t i = 0; i < p->n; i++) {
        const struct packed_tensor *t = &p->tensor[i];
        const size_t n = t->bytes < sizeof some ? (size_t)t->bytes : sizeof some;
        TRY_DONE(gguf_read(g, t->file_at, some, n, e));
        TRY_DONE(sha256_add(h, some, n, e));
        TRY_DONE(gguf_read(g, t->file_at + t->bytes - n, some, n, e));
        TRY_DONE(sha256_add(h, some, n, e));
    }
    rc = sha256_finish(h, hex, e);
done:
    sha256_close(h);
    return rc;
}

static int packed_text(struct packed *p, const struct gguf *g, const char *order, struct err *e)
{
    char hex[65];
    str_addf(&p->text, "order %s\n", order);
    for (size_t i = 0; i < gguf_n_parts(g); i++) {
        const struct gguf_part part = gguf_part(g, i);
        struct stat st;
        if (stat(part.path, &st) != 0)
            FAIL(e, ERR_IO, "cannot look at model file %s: %s", part.path, strerror(errno));
        str_addf(&p->text, "part %zu bytes %" PRIu64 " changed %" PRId64 ".%09ld\n", i + 1,
                 part.bytes, (int64_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    }
    TRY(packed_sample(p, g, hex, e));
    TRY(gguf_check_unchanged(g, e)); /* sizes, times and samples are of the opened files */
    str_addf(&p->text, "samples %s\n", hex);
    for (size_t i = 0; i < p->n; i++) {
        const struct packed_tensor *t = &p->tensor[i];
        str_addf(&p->text, "tensor %" PRIu64 " %" PRIu64 " %s %s\n", t->file_at, t->bytes,
                 fmt_info(t->t->fmt)->name, t->packs ? "packed" : "plain");
    }
    return str_ok(&p->text, "the text of packed weights", e);
}

/* ---- the name -------------------------------------------------------------------------------- */

/* Beside the model the file has the model's name. In another folder the hash of the model's path is
 * added, because models of several folders may have one name. */
static int packed_name(struct packed *p, const struct packed_options *o, const char *model,
                       struct err *e)
{
    struct str path = STR_INIT;
    char hex[65];
    const char *slash = strrchr(model, '/'), *base = slash ? slash + 1 : model;
    char *real = NULL;
    int rc = 0;
    if (!strcmp(o->where, "true")) {
        str_addf(&path, "%s.%s.packed", model, o->ops->pack_order);
    } else {
        real = realpath(model, NULL);
        if (!real)
            TRY_DONE(err_set(e, ERR_IO, "cannot look at model %s: %s", model, strerror(errno)));
        TRY_DONE(sha256_hex(real, strlen(real), hex, e));
        str_addf(&path, "%s/%s.%.16s.%s.packed", o->where, base, hex, o->ops->pack_order);
    }
    TRY_DONE(str_ok(&path, "a path", e));
    p->path = str_take(&path);
done:
    mem_free(real);
    str_free(&path);
    return rc;
}

/* ---- opening --------------------------------------------------------------------------------- */

struct packed_check {
    const struct packed *p;
    const uint64_t *sum; /* (n_sum) */
    const struct topology *topology;
    atomic_bool unreadable;
    _Atomic uint64_t damaged; /* the first damaged block that was found; UINT64_MAX = none */
};

/* Brings blocks into memory and checks them. The threads of a pool. Nothing is asked for ahead: the
 * system would then read pages of 4 KiB, and a fault in this mapping reads 2 MiB in one page. */
static void packed_check_blocks(void *arg, int64_t begin, int64_t end, int worker)
{
    struct packed_check *c = arg;
    (void)worker;
    topology_interleave(c->topology, true); /* each step reads all nodes' memory at once */
    for (int64_t i = begin; i < end; i++) {
        const uint64_t at = (uint64_t)i * PACKED_BLOCK;
        const uint64_t n = c->p->bytes - at < PACKED_BLOCK ? c->p->bytes - at : PACKED_BLOCK;
        struct err why;
        if (gguf_bytes_populate(&c->p->file, at, n, &why) < 0) {
            atomic_store(&c->unreadable, true);
            break;
        }
        if (sum_of(c->p->file.map + at, (size_t)n) != c->sum[i]) {
            uint64_t first = atomic_load(&c->damaged);
            while ((uint64_t)i < first &&
                   !atomic_compare_exchange_weak(&c->damaged, &first, (uint64_t)i)) {
            }
        }
    }
    topology_interleave(c->topology, false);
}

/* Checks all weights with as many threads as the backend has. */
static int packed_check_weights(const struct packed *p, struct ops *ops, const uint64_t *sum,
                                struct str *why, struct err *e)
{
    struct packed_check c = {.p = p, .sum = sum, .damaged = UINT64_MAX};
    struct pool *pool;
    TRY(pool_open(ops->workers ? ops->workers(ops, NULL, 0) : 1, &pool, e));
    c.topology = pool_topology(pool);
    pool_run(pool, (int64_t)p->n_sum, packed_check_blocks, &c);
    pool_close(pool);
    if (atomic_load(&c.unreadable))
        str_adds(why, "it cannot be read");
    else if (atomic_load(&c.damaged) != UINT64_MAX)
        str_addf(why, "the weights from byte %" PRIu64 " on are damaged",
                 atomic_load(&c.damaged) * PACKED_BLOCK);
    return 0;
}

/* Says the first line in which the text of a file differs from the one of this model. */
static void packed_differs(const struct packed *p, const char *text, size_t n, struct str *why)
{
    size_t line = 0, i = 0;
    for (; i < n && i < p->text.len && text[i] == p->text.s[i]; i++)
        line = text[i] == '\n' ? i + 1 : line;
    str_addf(why, "it was made from other weights: it has '%.*s', this model has '%.*s'",
             (int)strcspn(text + line, "\n"), text + line, (int)strcspn(p->text.s + line, "\n"),
             p->text.s + line);
}

/* Does the file hold what this model needs? Leaves its checksums in table. why: the reason when
 * not. */
static int packed_check_table(struct packed *p, unsigned char **table, struct str *why,
                              struct err *e)
{
    struct gguf_bytes *b = &p->file;
    struct packed_foot f;
    if (b->size < sizeof f)
        return str_adds(why, "it has no end"), 0;
    TRY(gguf_bytes_read(b, b->size - sizeof f, &f, sizeof f, e));
    if (memcmp(f.magic, PACKED_MAGIC, sizeof f.magic) != 0)
        return str_adds(why, "its end is missing, or it is no file of packed weights"), 0;
    const uint64_t sums = p->n_sum * sizeof(uint64_t);
    if (f.text_bytes > PACKED_TEXT || f.n_sum > PACKED_TEXT || f.bytes > b->size ||
        f.bytes + f.text_bytes + f.n_sum * sizeof(uint64_t) + sizeof f != b->size)
        return str_addf(why, "its %" PRIu64 " bytes are not the size that it notes", b->size), 0;
    const size_t n = (size_t)(f.text_bytes + f.n_sum * sizeof(uint64_t));
    *table = mem_zalloc(n + 1, 1);
    if (!*table)
        return NOMEM(e, n + 1, "the table of packed weights");
    TRY(gguf_bytes_read(b, f.bytes, *table, n, e));
    if (sum_of(*table, n) != f.sum)
        return str_adds(why, "its table is damaged"), 0;
    if (f.text_bytes != p->text.len || memcmp(*table, p->text.s, p->text.len) != 0)
        packed_differs(p, (const char *)*table, (size_t)f.text_bytes, why);
    else if (f.bytes != p->bytes || n != f.text_bytes + sums)
        str_addf(why, "it has %" PRIu64 " bytes of weights, this model has %" PRIu64, f.bytes,
                 p->bytes);
    return 0;
}

/* May the file's owner decide what this user computes with? */
static void packed_check_owner(const struct packed *p, const struct gguf *g, struct str *why)
{
    struct stat st, model;
    if (fstat(p->file.fd, &st) != 0 || stat(gguf_path(g), &model) != 0)
        str_addf(why, "it cannot be looked at: %s", strerror(errno));
    else if (st.st_uid != geteuid() && st.st_uid != 0 && st.st_uid != model.st_uid)
        str_addf(why, "it belongs to user %lu, who is neither you, nor root, nor the model's owner",
                 (unsigned long)st.st_uid);
}

/* Maps and checks the file. *valid: it may be used. Otherwise why has the reason, or nothing when
 * there is no file. */
static int packed_map(struct packed *p, const struct packed_options *o, bool *valid,
                      struct str *why, struct err *e)
{
    unsigned char *table = NULL;
    struct err local;
    uint64_t *sum = NULL;
    int rc = 0;
    *valid = false;
    if (access(p->path, F_OK) != 0)
        return 0;
    rc = gguf_bytes_open(p->path, &p->file, &local);
    if (rc < 0) {
        p->file.fd = -1;
        str_addf(why, "%s", local.msg);
        return rc == ERR_NOMEM ? err_set(e, rc, "%s", local.msg) : str_ok(why, "a reason", e);
    }
    packed_check_owner(p, o->w->file, why);
    if (!why->len)
        TRY_DONE(packed_check_table(p, &table, why, e));
    if (!why->len)
        TRY_DONE(gguf_bytes_map(&p->file, NULL, e));
    if (!why->len) /* a wish: pages of 2 MiB, as a copy in memory has (ops.h: alloc) */
        (void)madvise((void *)(uintptr_t)p->file.map, (size_t)p->bytes, MADV_HUGEPAGE);
    if (!why->len) {
        sum = mem_zalloc(p->n_sum, sizeof *sum);
        if (!sum)
            TRY_DONE(NOMEM(e, p->n_sum * sizeof *sum, "checksums"));
        memcpy(sum, table + p->text.len, p->n_sum * sizeof *sum);
        TRY_DONE(packed_check_weights(p, o->ops, sum, why, e));
    }
    TRY_DONE(str_ok(why, "a reason", e));
    *valid = !why->len;
done:
    mem_free(sum);
    mem_free(table);
    if (!*valid)
        gguf_bytes_close(&p->file);
    return rc;
}

/* ---- several processes ----------------------------------------------------------------------- */

int packed_dir(const struct packed *p, struct str *dir, struct err *e)
{
    const char *slash = strrchr(p->path, '/');
    str_add(dir, slash ? p->path : ".", slash && slash > p->path ? (size_t)(slash - p->path) : 1);
    return str_ok(dir, "a path", e);
}

/* Locks the folder of the file, so that one process writes it. *lock -1: this system cannot. */
static int packed_lock(const struct packed *p, int *lock, struct err *e)
{
    const struct timespec pause = {.tv_nsec = PACKED_WAIT_NS};
    struct str dir = STR_INIT;
    int fd = -1, rc = packed_dir(p, &dir, e);
    bool waits = false;
    if (rc == 0)
        fd = open(dir.s, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            close(fd);
            fd = -1;
            break;
        }
        if (!waits)
            log_info("%s: waits for the process that writes it", p->path);
        waits = true;
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
    str_free(&dir);
    *lock = fd;
    return rc;
}

/* Writes the file and maps it. *valid false: a warning has said why there is none. */
static int packed_renew(struct packed *p, const struct packed_options *o, bool *valid,
                        struct err *e)
{
    struct str why = STR_INIT;
    const int64_t t0 = clock_ns();
    bool refused;
    int rc = packed_write(p, o, &refused, e);
    if (rc < 0 && rc != ERR_NOMEM && refused) {
        log_warn("no packed weights: %s; loading without them, set --packed-cache to another "
                 "folder or leave it out",
                 e->msg);
        return 0;
    }
    if (rc == 0)
        rc = packed_map(p, o, valid, &why, e);
    if (rc == 0 && !*valid)
        rc = err_set(e, ERR_IO, "%s was just written, but %s", p->path,
                     why.len ? why.s : "it is gone");
    if (rc == 0)
        log_info("%s: written in %.1f s", p->path, (double)(clock_ns() - t0) * 1e-9);
    str_free(&why);
    return rc;
}

/* Writes the file and maps it, unless another process does so first. */
static int packed_make(struct packed *p, const struct packed_options *o, bool *valid, struct err *e)
{
    struct str why = STR_INIT;
    int lock, rc = packed_lock(p, &lock, e);
    if (rc == 0)
        rc = packed_map(p, o, valid, &why, e);
    if (rc == 0 && !*valid) {
        if (why.len)
            log_warn("%s: %s; writing it again", p->path, why.s);
        rc = packed_renew(p, o, valid, e);
    }
    if (lock >= 0)
        close(lock);
    str_free(&why);
    return rc;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Why can there be no packed weights? NULL: there can. */
static const char *packed_obstacle(const struct packed_options *o)
{
    if (!o->ops->dev->is_host)
        return "the weights lie in the memory of a device";
    if (o->ops->dev->hollow)
        return "this device computes nothing";
    if (!o->ops->pack_order)
        return "this backend and instruction set read weights in the order of the model file";
    if (access(gguf_path(o->w->file), F_OK) != 0)
        return "the model lies in memory, not in a file";
    return NULL;
}

static int packed_folder(const char *where, struct err *e)
{
    struct stat st;
    if (strcmp(where, "true") != 0 && (stat(where, &st) != 0 || !S_ISDIR(st.st_mode)))
        FAIL(e, ERR_USAGE,
             "cannot keep packed weights in '%s': it is no folder; create it, or take "
             "--packed-cache true, beside the model",
             where);
    return 0;
}

int packed_open(const struct packed_options *o, struct packed **out, struct err *e)
{
    struct str why = STR_INIT;
    bool valid = false;
    int rc = 0;
    *out = NULL;
    if (!o->where || !*o->where || !strcmp(o->where, "false"))
        return 0;
    TRY(packed_folder(o->where, e));
    const char *obstacle = packed_obstacle(o);
    if (obstacle) {
        log_warn("--packed-cache has no effect: %s", obstacle);
        return 0;
    }
    struct packed *p = mem_zalloc(1, sizeof *p);
    if (!p)
        return NOMEM(e, sizeof *p, "packed weights");
    p->file.fd = -1;
    p->text = (struct str)STR_INIT;
    const int64_t t0 = clock_ns();
    TRY_DONE(packed_name(p, o, gguf_path(o->w->file), e));
    TRY_DONE(packed_list(p, o->w, o->ops, e));
    TRY_DONE(packed_text(p, o->w->file, o->ops->pack_order, e));
    TRY_DONE(packed_map(p, o, &valid, &why, e));
    if (valid)
        log_info("%s: %" PRIu64 " MiB mapped and checked in %.2f s", p->path, p->bytes >> 20,
                 (double)(clock_ns() - t0) * 1e-9);
    else
        TRY_DONE(packed_make(p, o, &valid, e));
    if (valid) {
        *out = p;
        p = NULL;
    }
done:
    str_free(&why);
    packed_close(p);
    return rc;
}

void packed_close(struct packed *p)
{
    if (!p)
        return;
    gguf_bytes_close(&p->file);
    mem_free(p->tensor);
    mem_free(p->path);
    str_free(&p->text);
    mem_free(p);
}

const void *packed_find(const struct packed *p, uint64_t file_at, bool *packs)
{
    const struct packed_tensor key = {.file_at = file_at};
    const struct packed_tensor *t = bsearch(&key, p->tensor, p->n, sizeof *p->tensor, tensor_order);
    if (!t)
        return NULL;
    *packs = t->packs;
    return p->file.map + t->at;
}

int packed_unchanged(const struct packed *p, struct err *e)
{
    struct stat st;
    if (fstat(p->file.fd, &st) != 0)
        FAIL(e, ERR_IO, "cannot look at %s: %s", p->path, strerror(errno));
    if ((uint64_t)st.st_size != p->file.size || st.st_mtim.tv_sec != p->file.mtime.tv_sec ||
        st.st_mtim.tv_nsec != p->file.mtime.tv_nsec)
        FAIL(e, ERR_IO, "packed weights changed while they were in use: %s; start again", p->path);
    return 0;
}

const char *packed_path(const struct packed *p)
{
    return p->path;
}
