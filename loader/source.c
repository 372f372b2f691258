#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "embed.h"
#include "mem.h"
#include "sha256.h"
#include "store.h"

enum { SNIFF = 512 }; /* first bytes, enough to recognise a kind of file */

#define HASH_PIECE ((size_t)4 << 20)
#define FORMS                                                                                      \
    "give the path of a .gguf file, 'demo' for the model in the program, ollama:NAME:TAG, "        \
    "hf:ORG/REPO/FILE, or a name that 'mas pull' lists"

/* ---- the kind of a file without GGUF --------------------------------------------------------- */

struct head {                   /* the first bytes of a file */
    unsigned char b[SNIFF + 1]; /* with a NUL after the last byte */
    size_t n;
};

static bool begins(const struct head *h, const char *magic, size_t n)
{
    return h->n >= n && memcmp(h->b, magic, n) == 0;
}

/* True when the file begins with text in any case, after a byte order mark and white space. */
static bool begins_text(const struct head *h, const char *text)
{
    size_t at = begins(h, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (at < h->n && strchr(" \t\r\n", h->b[at]) && h->b[at])
        at++;
    return strncasecmp((const char *)h->b + at, text, strlen(text)) == 0;
}

/* 8 bytes of header length, then JSON (huggingface.co/docs/safetensors). */
static bool is_safetensors(const struct head *h)
{
    uint64_t n;
    if (h->n < 9)
        return false;
    memcpy(&n, h->b, sizeof n);
    return n > 1 && n < (uint64_t)100 << 20 && h->b[8] == '{';
}

/* The kind of the file as the end of a sentence, "it is ..."; NULL: unknown. */
static const char *source_sniff(const struct head *h)
{
    if (h->n == 0)
        return "it is empty: download incomplete";
    if (begins_text(h, "<!doctype html") || begins_text(h, "<html") || begins_text(h, "<?xml"))
        return "it is a web page, not a model: the download needs another address or a login";
    if (begins_text(h, "version https://git-lfs"))
        return "it is a git-lfs pointer, not the model itself: run 'git lfs pull' there";
    if (begins(h, "PK\3\4", 4) || begins(h, "\x80\x02", 2))
        return "it is a PyTorch checkpoint: convert it to GGUF first";
    if (begins(h, "lmgg", 4) || begins(h, "fmgg", 4) || begins(h, "tjgg", 4) ||
        begins(h, "algg", 4))
        return "it is a GGML file from before GGUF: take a GGUF file of this model";
    if (begins(h, "FUGG", 4))
        return "it is a big-endian GGUF file: take the little-endian one";
    if (begins(h, "\x1f\x8b", 2) ||
        begins(h,
               "\xfd"
               "7zXZ",
               5) ||
        begins(h, "BZh", 3) || begins(h, "\x28\xb5\x2f\xfd", 4))
        return "it is compressed: unpack it first";
    if (is_safetensors(h))
        return "it is a safetensors file: convert it to GGUF first";
    if (begins_text(h, "{") || begins_text(h, "["))
        return "it is a JSON file, not a model";
    return NULL;
}

/* Reads the first bytes. *kind: why the file is no GGUF; NULL: the GGUF reader decides. */
static int source_look(const char *path, const char **kind, struct err *e)
{
    struct head h = {.n = 0};
    struct stat st;
    *kind = NULL;
    if (stat(path, &st) != 0)
        FAIL(e, ERR_NOINPUT, "cannot open model '%s': %s; " FORMS, path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        FAIL(e, ERR_NOINPUT, "cannot open model '%s': it is a directory; " FORMS, path);
    if (!S_ISREG(st.st_mode))
        FAIL(e, ERR_NOINPUT, "cannot open model '%s': it is no regular file; " FORMS, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        FAIL(e, ERR_NOINPUT, "cannot open model '%s': %s", path, strerror(errno));
    ssize_t n = pread(fd, h.b, SNIFF, 0);
    int error = errno;
    close(fd);
    if (n < 0)
        FAIL(e, ERR_IO, "cannot read model '%s': %s", path, strerror(error));
    h.n = (size_t)n;
    if (!begins(&h, "GGUF", 4))
        *kind = source_sniff(&h);
    return 0;
}

/* ---- open ------------------------------------------------------------------------------------ */

static int source_demo(struct gguf **out, struct err *e)
{
    return gguf_open_memory(embed_demo, embed_demo_size, "demo", out, e);
}

int source_check(const char *path, struct err *e)
{
    const char *kind;
    struct gguf *g;
    TRY(source_look(path, &kind, e));
    if (kind)
        FAIL(e, ERR_DATA, "%s is no model: %s", path, kind);
    TRY(gguf_open(path, &g, e));
    gguf_close(g);
    return 0;
}

int source_open(const char *name, struct gguf **out, struct err *e)
{
    const char *kind;
    if (!strcmp(name, "demo"))
        return source_demo(out, e);
    TRY(source_look(name, &kind, e));
    if (kind)
        FAIL(e, ERR_DATA, "cannot use model '%s': %s", name, kind);
    return gguf_open_model(name, out, e);
}

/* ---- names ----------------------------------------------------------------------------------- */

const char *source_nearest(const char *name, const struct source_known *known, size_t n)
{
    const char *best = NULL;
    int least = 4;
    for (size_t i = 0; strlen(name) < 64 && i < n; i++) {
        int d = strlen(known[i].name) < 64 ? str_distance(name, known[i].name) : least;
        if (d < least) {
            least = d;
            best = known[i].name;
        }
    }
    return best;
}

/* A name of the list: the file that a download of it writes. */
static int source_download(const struct source_known *k, const char *folder, struct str *path,
                           struct err *e)
{
    struct stat st;
    size_t before = path->len;
    str_addf(path, "%s/%s", folder, k->file);
    TRY(str_ok(path, "a path", e));
    if (stat(path->s + before, &st) != 0)
        FAIL(e, ERR_NOINPUT, "model '%s' is not here: there is no %s; 'mas pull %s' downloads it",
             k->name, path->s + before, k->name);
    return 0;
}

/* A path without a file, if it is the place of a download: names the command. */
static int source_hint(const char *name, const struct source_places *p, struct err *e)
{
    const char *slash = strrchr(name, '/'), *file = slash ? slash + 1 : name;
    for (size_t i = 0; i < p->n_known; i++)
        if (!strcmp(p->known[i].file, file))
            FAIL(e, ERR_NOINPUT,
                 "cannot open model '%s': there is no such file; 'mas pull %s' downloads it", name,
                 p->known[i].name);
    const char *near = strchr(name, '/') ? NULL : source_nearest(name, p->known, p->n_known);
    if (near)
        FAIL(e, ERR_NOINPUT, "cannot open model '%s': there is no such file; did you mean '%s'?",
             name, near);
    return 0;
}

int source_find(const char *name, const struct source_places *p, struct str *path, struct err *e)
{
    static const struct source_places none = {.hub = NULL};
    struct stat st;
    p = p ? p : &none;
    if (!strncmp(name, "ollama:", 7))
        return store_find_ollama(name + 7, p, path, e);
    if (!strncmp(name, "hf:", 3))
        return store_find_hub(name + 3, p, path, e);
    if (strcmp(name, "demo") != 0 && stat(name, &st) != 0 && errno == ENOENT) {
        for (size_t i = 0; i < p->n_known; i++)
            if (!strcmp(name, p->known[i].name))
                return source_download(&p->known[i], p->models, path, e);
        TRY(source_hint(name, p, e));
    }
    str_adds(path, name);
    return str_ok(path, "a path", e);
}

int source_open_from(const char *name, const struct source_places *p, struct gguf **out,
                     struct err *e)
{
    struct str path = STR_INIT;
    int rc = source_find(name, p, &path, e);
    if (rc == 0) {
        rc = source_open(path.s, out, e);
        if (rc < 0 && strcmp(path.s, name) != 0)
            err_wrap(e, rc, "%s", name);
    }
    str_free(&path);
    return rc;
}

/* ---- identity -------------------------------------------------------------------------------- */

struct hashing {
    struct sha256 *h;
    unsigned char *buf; /* (HASH_PIECE) */
    uint64_t done, total;
    void (*progress)(uint64_t, uint64_t, void *);
    void *user;
};

static int hash_part(const struct gguf *g, struct gguf_part part, struct hashing *s, struct err *e)
{
    for (uint64_t at = 0; at < part.bytes; at += HASH_PIECE) {
        size_t n = part.bytes - at < HASH_PIECE ? (size_t)(part.bytes - at) : HASH_PIECE;
        TRY(gguf_read(g, part.at + at, s->buf, n, e));
        TRY(sha256_add(s->h, s->buf, n, e));
        s->done += n;
        if (s->progress)
            s->progress(s->done, s->total, s->user);
    }
    return 0;
}

int source_sha256(const struct gguf *g, void (*progress)(uint64_t, uint64_t, void *), void *user,
                  char hex[65], struct err *e)
{
    struct hashing s = {.total = gguf_file_bytes(g), .progress = progress, .user = user};
    char text[65];
    int rc = 0;
    s.buf = mem_aligned(HASH_PIECE);
    if (!s.buf)
        TRY_DONE(NOMEM(e, HASH_PIECE, "reading a model"));
    TRY_DONE(sha256_open(&s.h, e));
    for (size_t i = 0; i < gguf_n_parts(g); i++)
        TRY_DONE(hash_part(g, gguf_part(g, i), &s, e));
    TRY_DONE(sha256_finish(s.h, text, e));
    TRY_DONE(gguf_check_unchanged(g, e)); /* the hash must be of one version of the file */
    memcpy(hex, text, sizeof text);
done:
    sha256_close(s.h);
    mem_free(s.buf);
    return rc;
}
