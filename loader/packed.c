#include "packed_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "packed_sum.h"
#include "pool.h"
#include "sha256.h"

#define PACKED_TEXT ((uint64_t)64 << 20) /* the longest text that is believed */

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
    p->bytes = WEIGHTS_ALIGN; /* the head */
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

/* ---- the name -------------------------------------------------------------------------------- */

/* Beside the model the file has the model's name. In another folder the hash of the model's path is
 * added, because models of several folders may have one name. Links have the file of the model. */
static int packed_name(struct packed *p, const struct packed_options *o, const char *model,
                       struct err *e)
{
    struct str path = STR_INIT;
    char hex[65], *real = realpath(model, NULL);
    int rc = 0;
    if (!real)
        FAIL(e, ERR_IO, "cannot look at model %s: %s", model, strerror(errno));
    if (!strcmp(o->where, "true")) {
        str_addf(&path, "%s.%s.packed", real, o->ops->pack_order);
    } else {
        TRY_DONE(sha256_hex(real, strlen(real), hex, e));
        str_addf(&path, "%s/%s.%.16s.%s.packed", o->where, strrchr(real, '/') + 1, hex,
                 o->ops->pack_order);
    }
    TRY_DONE(str_ok(&path, "a path", e));
    p->path = str_take(&path);
done:
    mem_free(real);
    str_free(&path);
    return rc;
}

int packed_dir(const struct packed *p, struct str *dir, struct err *e)
{
    const char *slash = strrchr(p->path, '/');
    str_add(dir, slash ? p->path : ".", slash && slash > p->path ? (size_t)(slash - p->path) : 1);
    return str_ok(dir, "a path", e);
}

/* ---- opening --------------------------------------------------------------------------------- */

struct packed_check {
    const struct packed *p;
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
        if (sum_of(c->p->file.map + at, (size_t)n) != c->p->sum[i]) {
            uint64_t first = atomic_load(&c->damaged);
            while ((uint64_t)i < first &&
                   !atomic_compare_exchange_weak(&c->damaged, &first, (uint64_t)i)) {
            }
        }
    }
    topology_interleave(c->topology, false);
}

/* Compares all weights with p->sum. why: the reason when they differ. */
static int packed_check_weights(const struct packed *p, struct str *why, struct err *e)
{
    struct packed_check c = {.p = p, .damaged = UINT64_MAX};
    struct pool *pool;
    TRY(pool_open(p->workers, &pool, e));
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

/* Does the file hold what this model needs? Leaves its checksums in p->sum. why: the reason when
 * not. */
static int packed_check_table(struct packed *p, struct str *why, struct err *e)
{
    const struct gguf_bytes *b = &p->file;
    struct packed_foot f;
    unsigned char *table = NULL;
    int rc = 0;
    if (b->size < sizeof f)
        return str_adds(why, b->size ? "it has no end" : "it is empty"), 0;
    TRY(gguf_bytes_read(b, b->size - sizeof f, &f, sizeof f, e));
    if (memcmp(f.magic, PACKED_MAGIC, PACKED_KIND) != 0)
        return str_adds(why, "its end is missing or damaged"), 0;
    if (memcmp(f.magic, PACKED_MAGIC, sizeof f.magic) != 0)
        return str_adds(why, "another version of this program wrote it, in another layout"), 0;
    if (f.text_bytes > PACKED_TEXT || f.n_sum > PACKED_TEXT || f.bytes > b->size ||
        f.bytes + f.text_bytes + f.n_sum * sizeof(uint64_t) + sizeof f != b->size)
        return str_addf(why, "its %" PRIu64 " bytes are not the size that it notes", b->size), 0;
    const size_t n = (size_t)(f.text_bytes + f.n_sum * sizeof(uint64_t));
    table = mem_zalloc(n + 1, 1);
    p->sum = mem_zalloc((size_t)p->n_sum, sizeof *p->sum);
    if (!table || !p->sum)
        TRY_DONE(NOMEM(e, n + 1, "the table of packed weights"));
    TRY_DONE(gguf_bytes_read(b, f.bytes, table, n, e));
    if (sum_of(table, n) != f.sum)
        str_adds(why, "its table is damaged");
    else if (f.text_bytes != p->text.len || memcmp(table, p->text.s, p->text.len) != 0) {
        str_adds(why, "it was made from other weights: ");
        packed_differs((const char *)table, (size_t)f.text_bytes, p->text.s, p->text.len, why);
    } else if (f.bytes != p->bytes || f.n_sum != p->n_sum)
        str_addf(why, "it has %" PRIu64 " bytes of weights, this model has %" PRIu64, f.bytes,
                 p->bytes);
    else
        memcpy(p->sum, table + p->text.len, (size_t)p->n_sum * sizeof *p->sum);
done:
    mem_free(table);
    return rc;
}

void packed_check_owner(const struct gguf *g, uid_t owner, struct str *why)
{
    struct stat model;
    if (owner != geteuid() && owner != 0 &&
        (stat(gguf_path(g), &model) != 0 || owner != model.st_uid))
        str_addf(why, "it belongs to user %lu, who is neither you, nor root, nor the model's owner",
                 (unsigned long)owner);
}

enum packed_state {
    PACKED_ABSENT, /* there is no file of that name */
    PACKED_STALE,  /* packed weights of something else, damaged ones, or an empty file */
    PACKED_LEFT,   /* it stays as it is, and the program goes on without packed weights */
    PACKED_VALID,  /* mapped */
};

static const char *packed_kind(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "a file with other content";
    case S_IFDIR:
        return "a folder";
    case S_IFLNK:
        return "a symbolic link";
    case S_IFIFO:
        return "a FIFO";
    case S_IFSOCK:
        return "a socket";
    default:
        return "a device";
    }
}

static void packed_leave(mode_t mode, struct str *why)
{
    str_addf(why,
             "it is %s, not a file of packed weights, and stays as it is; remove it with %s or set "
             "--packed-cache to another folder",
             packed_kind(mode), S_ISDIR(mode) ? "rm -r" : "rm");
}

/* Is the open file one of packed weights, whatever its version? An empty one may become one. */
static int packed_is_packed(const struct gguf_bytes *b, bool *is, struct err *e)
{
    const size_t magic_at[] = {b->size, sizeof(struct packed_foot)}; /* before the end */
    *is = b->size == 0;
    for (int i = 0; i < 2 && !*is; i++) {
        char magic[PACKED_KIND];
        if (magic_at[i] < sizeof magic || magic_at[i] > b->size)
            continue;
        TRY(gguf_bytes_read(b, b->size - magic_at[i], magic, sizeof magic, e));
        *is = !memcmp(magic, PACKED_MAGIC, sizeof magic);
    }
    return 0;
}

/* Opens the file of that name into p->file. STALE: it is to be checked. Nothing but a regular file
 * is opened, and no link is followed. */
static int packed_look(struct packed *p, enum packed_state *state, struct str *why, struct err *e)
{
    struct stat st;
    struct err local;
    bool is = false;
    *state = PACKED_LEFT;
    if (lstat(p->path, &st) != 0) {
        if (errno == ENOENT)
            *state = PACKED_ABSENT;
        else
            str_addf(why, "it cannot be looked at: %s", strerror(errno));
        return 0;
    }
    if (!S_ISREG(st.st_mode))
        return packed_leave(st.st_mode, why), 0;
    /* O_NONBLOCK: another program may put a FIFO there meanwhile */
    const int fd = open(p->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        str_addf(why, "it cannot be opened: %s; remove it or set --packed-cache to another folder",
                 strerror(errno));
        if (fd >= 0)
            close(fd);
        return 0;
    }
    p->file = (struct gguf_bytes){.path = mem_strdup(p->path),
                                  .fd = fd,
                                  .size = (uint64_t)st.st_size,
                                  .dev = st.st_dev,
                                  .ino = st.st_ino,
                                  .mtime = st.st_mtim};
    p->ctime = st.st_ctim;
    if (!p->file.path)
        return NOMEM(e, strlen(p->path), "a path");
    if (S_ISREG(st.st_mode) && packed_is_packed(&p->file, &is, &local) < 0)
        return str_addf(why, "it cannot be read: %s", local.msg), 0;
    if (!is)
        return packed_leave(st.st_mode, why), 0;
    *state = PACKED_STALE;
    p->old = (struct packed_old){true, st.st_dev, st.st_ino};
    packed_check_owner(p->g, st.st_uid, why);
    return 0;
}

/* Maps the file that packed_look has opened, and checks it. */
static int packed_check(struct packed *p, enum packed_state *state, struct str *why, struct err *e)
{
    struct err local;
    int rc = packed_check_table(p, why, &local);
    if (rc < 0 && rc != ERR_NOMEM) {
        str_adds(why, "it cannot be read");
        return 0;
    }
    if (rc == 0 && !why->len) {
        *state = PACKED_LEFT; /* another file would not be mapped either */
        if (gguf_bytes_map(&p->file, NULL, &local) < 0)
            return str_adds(why, local.msg), 0;
        /* a wish: pages of 2 MiB, as a copy in memory has (ops.h: alloc) */
        (void)madvise((void *)(uintptr_t)p->file.map, (size_t)p->bytes, MADV_HUGEPAGE);
        rc = packed_check_weights(p, why, &local);
        if (rc == 0)
            *state = why->len ? PACKED_STALE : PACKED_VALID;
        else if (rc != ERR_NOMEM)
            return str_adds(why, local.msg), 0;
    }
    return rc < 0 ? err_set(e, rc, "%s", local.msg) : 0;
}

static void packed_unmap(struct packed *p)
{
    gguf_bytes_close(&p->file);
    mem_free(p->sum);
    p->sum = NULL;
}

/* Opens, maps and checks the file. Unless it is valid, why has the reason, or nothing when there is
 * no file. */
static int packed_map(struct packed *p, enum packed_state *state, struct str *why, struct err *e)
{
    str_clear(why);
    p->old.there = false;
    int rc = packed_look(p, state, why, e);
    if (rc == 0 && *state == PACKED_STALE && !why->len)
        rc = packed_check(p, state, why, e);
    if (rc == 0)
        rc = str_ok(why, "a reason", e);
    if (rc < 0 || *state != PACKED_VALID)
        packed_unmap(p);
    return rc;
}

/* ---- making ---------------------------------------------------------------------------------- */

static void packed_without(const char *path, const char *why)
{
    log_warn("no packed weights: %s: %s; loading without them", path, why);
}

/* Writes the file and maps it. Unless it is valid afterwards, a warning has said why. */
static int packed_renew(struct packed *p, const struct packed_options *o, enum packed_state *state,
                        struct str *why, struct err *e)
{
    const int64_t t0 = clock_ns();
    bool refused;
    int rc = packed_write(p, o, &refused, e);
    if (rc < 0 && rc != ERR_NOMEM && refused) {
        log_warn("no packed weights: %s; loading without them, set --packed-cache to another "
                 "folder or leave it out",
                 e->msg);
        *state = PACKED_LEFT;
        return 0;
    }
    if (rc == 0)
        rc = packed_map(p, state, why, e);
    if (rc == 0 && *state != PACKED_VALID)
        log_warn("no packed weights: %s was just written, but %s; loading without them", p->path,
                 why->len ? why->s : "it is gone");
    if (rc == 0 && *state == PACKED_VALID)
        log_info("%s: %" PRIu64 " bytes of packed weights written in %.1f s", p->path, p->file.size,
                 (double)(clock_ns() - t0) * 1e-9);
    return rc;
}

/* Writes the file and maps it, unless another process does so first. */
static int packed_make(struct packed *p, const struct packed_options *o, enum packed_state *state,
                       struct str *why, struct err *e)
{
    int lock, rc = packed_lock(p, &lock, e);
    if (rc == 0)
        rc = packed_map(p, state, why, e);
    if (rc == 0 && (*state == PACKED_ABSENT || *state == PACKED_STALE)) {
        if (*state == PACKED_STALE)
            log_warn("%s: %s; writing it again", p->path, why->s);
        rc = packed_renew(p, o, state, why, e);
    } else if (rc == 0 && *state == PACKED_LEFT) {
        packed_without(p->path, why->s);
    }
    if (lock >= 0)
        close(lock);
    return rc;
}

/* Opens a valid file, or makes one. */
static int packed_get(struct packed *p, const struct packed_options *o, bool *valid, struct err *e)
{
    enum packed_state state = PACKED_ABSENT;
    struct str why = STR_INIT;
    const int64_t t0 = clock_ns();
    int rc = packed_map(p, &state, &why, e);
    if (rc == 0 && state == PACKED_VALID)
        log_info("%s: %" PRIu64 " bytes of packed weights mapped and checked in %.2f s", p->path,
                 p->file.size, (double)(clock_ns() - t0) * 1e-9);
    else if (rc == 0 && state == PACKED_LEFT)
        packed_without(p->path, why.s);
    else if (rc == 0)
        rc = packed_make(p, o, &state, &why, e);
    *valid = rc == 0 && state == PACKED_VALID;
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
    const struct gguf *g = o->w->file;
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
    p->g = g;
    p->file.fd = -1;
    p->text = (struct str)STR_INIT;
    p->workers = o->ops->workers ? o->ops->workers(o->ops, NULL, 0) : 1;
    TRY_DONE(packed_name(p, o, gguf_path(g), e));
    TRY_DONE(packed_list(p, o->w, o->ops, e));
    TRY_DONE(packed_text(p, g, o->ops->pack_order, e));
    TRY_DONE(packed_get(p, o, &valid, e));
    if (valid) {
        *out = p;
        p = NULL;
    }
done:
    packed_close(p);
    return rc;
}

void packed_close(struct packed *p)
{
    if (!p)
        return;
    packed_unmap(p);
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

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

int packed_unchanged(struct packed *p, struct err *e)
{
    struct str why = STR_INIT;
    struct stat st;
    if (fstat(p->file.fd, &st) != 0)
        FAIL(e, ERR_IO, "cannot look at %s: %s", p->path, strerror(errno));
    if ((uint64_t)st.st_size != p->file.size)
        FAIL(e, ERR_IO,
             "packed weights changed while they were in use: %s has %" PRIu64 " bytes, it had "
             "%" PRIu64 "; start again",
             p->path, (uint64_t)st.st_size, p->file.size);
    if (same_time(st.st_mtim, p->file.mtime) && same_time(st.st_ctim, p->ctime))
        return 0;
    int rc = packed_check_weights(p, &why, e);
    if (rc == 0)
        rc = str_ok(&why, "a reason", e);
    if (rc == 0 && why.len)
        rc =
            err_set(e, ERR_IO, "packed weights changed while they were in use: %s: %s; start again",
                    p->path, why.s);
    str_free(&why);
    if (rc < 0)
        return rc;
    if (!p->touched)
        log_warn("the times of %s changed while it is in use; its weights are the same", p->path);
    p->touched = true;
    p->file.mtime = st.st_mtim; /* of before the check: a later change is seen at the next call */
    p->ctime = st.st_ctim;
    return 0;
}

const char *packed_path(const struct packed *p)
{
    return p->path;
}
