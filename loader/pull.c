#include "pull.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "escape.h"
#include "exchange.h"
#include "mem.h"
#include "outfile.h"
#include "sha256.h"

#define PIECE ((size_t)1 << 20)
#define WAIT_MAX_MS 30000
#define TEXT EXCHANGE_TEXT

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool stopped(const struct pull_options *o)
{
    return o->stopped && o->stopped(o->user);
}

/* Waits after failure number n in a row; 0: one that brought new bytes. wait_s: the server asks for
 * that. ERR_CANCEL: stopped. */
static int back_off(const struct pull_options *o, int n, int wait_s, struct err *e)
{
    int64_t ms = n ? o->backoff_ms : o->backoff_ms / 4;
    for (int i = 1; i < n && ms < WAIT_MAX_MS; i++)
        ms *= 2;
    ms = ms < WAIT_MAX_MS ? ms : WAIT_MAX_MS;
    int64_t end = now_ms() + (ms > wait_s * 1000 ? ms : wait_s * 1000);
    while (now_ms() < end) {
        if (stopped(o))
            FAIL(e, ERR_CANCEL, "interrupted");
        nanosleep(&(struct timespec){.tv_nsec = 20 * 1000000}, NULL);
    }
    return 0;
}

/* The same for a request that brings no file; says so. */
static int back_off_said(const struct pull_options *o, int n, const struct exchange *x,
                         struct err *e)
{
    const struct pull_progress g = {.phase = PULL_WAIT, .why = e->msg};
    if (o->progress)
        o->progress(&g, o->user);
    return back_off(o, n, x->wait_s, e);
}

/* ---- a small document ------------------------------------------------------------------------ */

struct text {
    struct str *out;
    size_t max;
};

static int put_text(struct exchange *x, const char *data, size_t n, struct err *e)
{
    struct text *t = x->user;
    if (x->head.encoded)
        FAIL(e, ERR_DATA, "%s: the server sends a compressed document", x->shown);
    if (n > t->max - t->out->len)
        FAIL(e, ERR_DATA, "%s: the document is larger than %zu bytes", x->shown, t->max);
    str_add(t->out, data, n);
    return str_ok(t->out, "a document", e);
}

int pull_text(const char *url, const char *accept, const struct pull_options *o, size_t max,
              struct str *out, struct err *e)
{
    struct str own = STR_INIT;
    struct text t = {.out = &own, .max = max};
    struct exchange x;
    struct err mine = {.code = 0};
    int rc = 0;
    e = e ? e : &mine;
    TRY_DONE(exchange_open(&x, o, e));
    x.put = put_text;
    x.user = &t;
    for (int n = 1;; n++) {
        bool again;
        str_clear(&own);
        rc = exchange_run(&x, url, accept, NULL, 0, &again, e);
        if (rc == 0 || !again || n == o->tries)
            break;
        TRY_DONE(back_off_said(o, n, &x, e));
    }
    if (rc == 0) {
        str_add(out, own.s, own.len);
        rc = str_ok(out, "a document", e);
    }
done:
    str_free(&own);
    exchange_close(&x);
    return rc;
}

/* ---- the version of a file ------------------------------------------------------------------- */

struct memo {           /* the version to which the bytes of NAME.part belong */
    char from[200];     /* its address, as exchange_show writes it */
    char version[TEXT]; /* strong ETag, or date; "" = none */
    char sha256[65];    /* "" = not known */
    uint64_t total;     /* 0 = not known */
};

static bool hex64(const char *s)
{
    return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

static int memo_save(const struct memo *m, const char *path, struct err *e)
{
    struct str s = STR_INIT;
    str_adds(&s, "{\"from\": ");
    str_add_json(&s, m->from, strlen(m->from));
    str_adds(&s, ", \"version\": ");
    str_add_json(&s, m->version, strlen(m->version));
    str_addf(&s, ", \"sha256\": \"%s\", \"total\": %" PRIu64 "}\n", m->sha256, m->total);
    int rc = str_ok(&s, "the state of a download", e);
    if (rc == 0)
        rc = outfile_save(path, s.s, s.len, e);
    str_free(&s);
    return rc;
}

static bool memo_text(const json_t *root, const char *key, char *out, size_t cap)
{
    const char *text = json_string_value(json_object_get(root, key));
    if (!text || strlen(text) >= cap)
        return false;
    strcpy(out, text);
    return true;
}

/* False when there is none that can be used. */
static bool memo_load(struct memo *out, const char *path)
{
    json_t *root = json_load_file(path, 0, NULL);
    struct memo m = {.total = 0};
    json_int_t total = json_integer_value(json_object_get(root, "total"));
    bool fine = memo_text(root, "from", m.from, sizeof m.from) &&
                memo_text(root, "version", m.version, sizeof m.version) &&
                memo_text(root, "sha256", m.sha256, sizeof m.sha256) && total >= 0 &&
                (!*m.sha256 || hex64(m.sha256));
    m.total = (uint64_t)total;
    json_decref(root);
    if (fine)
        *out = m;
    return fine;
}

/* The version for If-Range: an ETag that is not weak, or the date. */
static void memo_version(struct memo *m, const struct exchange_head *h)
{
    const char *v = h->etag[0] == '"' ? h->etag : h->modified;
    snprintf(m->version, sizeof m->version, "%s", v);
}

/* ---- a file ---------------------------------------------------------------------------------- */

struct pull {
    const struct pull_file *f;
    const struct pull_options *o;
    struct outfile *file;
    struct sha256 *hash; /* of all bytes in NAME.part */
    struct memo memo;
    struct str memo_path;
    bool began;    /* the body of this attempt has begun */
    bool older;    /* NAME.part has bytes of earlier attempts */
    bool anew;     /* the attempt ended because the next must begin at byte 0 */
    bool local;    /* the failure is not the server's */
    uint64_t best; /* most bytes that NAME.part has had */
    uint64_t received;
};

static void show(const struct pull *p, enum pull_phase phase, uint64_t done, const char *why)
{
    if (!p->o->progress)
        return;
    const struct pull_progress g = {.phase = phase,
                                    .done = done,
                                    .total = p->memo.total ? p->memo.total : p->f->bytes,
                                    .received = p->received,
                                    .why = why};
    p->o->progress(&g, p->o->user);
}

/* The digest that the file must have; NULL when it is not known. */
static const char *sha_of(const struct pull *p)
{
    return p->f->sha256 ? p->f->sha256 : *p->memo.sha256 ? p->memo.sha256 : NULL;
}

/* Drops all bytes. */
static int pull_anew(struct pull *p, struct err *e)
{
    sha256_close(p->hash);
    p->hash = NULL;
    p->older = false;
    TRY(sha256_open(&p->hash, e));
    return outfile_cut(p->file, 0, e);
}

/* Hashes the bytes that are there. */
static int reread(struct pull *p, struct err *e)
{
    uint64_t all = outfile_written(p->file);
    unsigned char *buf = mem_aligned(PIECE);
    int rc = 0;
    if (!buf)
        return NOMEM(e, PIECE, "reading a file");
    for (uint64_t at = 0; at < all && rc == 0; at += PIECE) {
        size_t n = all - at < PIECE ? (size_t)(all - at) : PIECE;
        rc = outfile_reread(p->file, at, buf, n, e);
        if (rc == 0)
            rc = sha256_add(p->hash, buf, n, e);
        show(p, PULL_REREAD, at + n, NULL);
        if (rc == 0 && stopped(p->o))
            rc = err_set(e, ERR_CANCEL, "interrupted");
    }
    mem_free(buf);
    return rc;
}

/* Takes over the bytes of an earlier call, if they may belong to the wanted file. */
static int pull_begin(struct pull *p, struct err *e)
{
    const struct pull_file *f = p->f;
    uint64_t have = outfile_written(p->file);
    struct memo m;
    bool fits =
        have && memo_load(&m, p->memo_path.s) && (!f->bytes || !m.total || f->bytes == m.total) &&
        (!f->sha256 || !*m.sha256 || !strcmp(f->sha256, m.sha256)) && (!m.total || have <= m.total);
    if (!fits)
        return pull_anew(p, e);
    p->memo = m;
    p->older = true;
    p->best = have;
    TRY(sha256_open(&p->hash, e));
    return reread(p, e);
}

/* "bytes 5-9/10"; *total 0 for "*". */
static bool range_parse(const char *s, uint64_t *first, uint64_t *last, uint64_t *total)
{
    unsigned long long a, b, t = 0;
    int end = 0;
    if (sscanf(s, "bytes %19llu-%19llu/%n", &a, &b, &end) != 2 || !end || b < a)
        return false;
    if (strcmp(s + end, "*") != 0) {
        int rest = 0;
        if (sscanf(s + end, "%19llu%n", &t, &rest) != 1 || s[end + rest] || t <= b)
            return false;
    }
    *first = a;
    *last = b;
    *total = t;
    return true;
}

/* The answer is another version than the bytes of NAME.part: the attempt ends, the next begins at
 * byte 0. */
static int other_version(struct pull *p, const struct exchange *x, struct err *e)
{
    p->anew = true;
    FAIL(e, ERR_AGAIN, "%s: the file has changed on the server", x->shown);
}

/* The answer continues NAME.part: checks that its bytes are the next ones of the same version. */
static int check_part(struct pull *p, const struct exchange *x, struct memo *m, struct err *e)
{
    uint64_t have = outfile_written(p->file), first, last, total;
    if (!range_parse(x->head.range, &first, &last, &total))
        FAIL(e, ERR_DATA, "%s: the server sends a part of the file and does not say which",
             x->shown);
    if (first != have)
        FAIL(e, ERR_DATA,
             "%s: the server sends the part from byte %" PRIu64 " on, asked for was %" PRIu64,
             x->shown, first, have);
    if (x->head.has_length && x->head.length > last - first + 1)
        FAIL(e, ERR_DATA, "%s: the server sends more bytes than the part has", x->shown);
    if (total && p->memo.total && total != p->memo.total)
        return other_version(p, x, e);
    if (*m->version && *p->memo.version && strcmp(m->version, p->memo.version) != 0 && !sha_of(p))
        return other_version(p, x, e);
    if (*m->sha256 && *p->memo.sha256 && strcmp(m->sha256, p->memo.sha256) != 0)
        return other_version(p, x, e);
    m->total = total ? total : p->memo.total;
    if (!*m->sha256)
        strcpy(m->sha256, p->memo.sha256);
    return 0;
}

/* The server must have the file that is wanted. */
static int check_wanted(const struct pull *p, const struct exchange *x, struct memo *m,
                        struct err *e)
{
    uint64_t want = p->f->bytes ? p->f->bytes : x->linked_bytes;
    if (want && m->total && want != m->total)
        FAIL(e, ERR_DATA, "%s: the server's file has %" PRIu64 " bytes, must have %" PRIu64,
             x->shown, m->total, want);
    if (p->f->sha256 && *m->sha256 && strcmp(p->f->sha256, m->sha256) != 0)
        FAIL(e, ERR_DATA, "%s: the server's file has sha256 %s, must have %s", x->shown, m->sha256,
             p->f->sha256);
    m->total = m->total ? m->total : want;
    return 0;
}

/* The body begins: decides whether it continues the bytes that are there. */
static int body_begin(struct pull *p, const struct exchange *x, struct err *e)
{
    struct memo m = {.total = x->head.has_length ? x->head.length : 0};
    if (x->head.encoded)
        FAIL(e, ERR_DATA, "%s: the server sends the file compressed, which was not asked for",
             x->shown);
    memcpy(m.from, x->shown, sizeof m.from);
    strcpy(m.sha256, x->linked);
    memo_version(&m, &x->head);
    if (x->status == 206)
        TRY(check_part(p, x, &m, e));
    TRY(check_wanted(p, x, &m, e));
    if (!m.total && !exchange_ends(x) && !p->f->sha256 && !*m.sha256)
        FAIL(e, ERR_DATA,
             "%s: the server tells no length, so a broken transfer cannot be told from a whole one",
             x->shown);
    if (x->status == 200 && outfile_written(p->file))
        TRY(pull_anew(p, e));
    p->memo = m;
    p->began = true;
    p->local = true;
    if (m.total)
        TRY(outfile_expect(p->file, m.total, e));
    TRY(memo_save(&m, p->memo_path.s, e));
    p->local = false;
    return 0;
}

/* The first bytes of a model are known: a web page ends the download. */
static int check_magic(struct pull *p, const struct exchange *x, struct err *e)
{
    char head[24], shown[ESCAPE_NAME];
    uint64_t have = outfile_written(p->file);
    size_t n = have < sizeof head ? (size_t)have : sizeof head;
    TRY(outfile_reread(p->file, 0, head, n, e));
    if (!memcmp(head, "GGUF", 4))
        return 0;
    TRY(pull_anew(p, e));
    FAIL(e, ERR_DATA, "%s: the server sends no GGUF file: it begins with '%s'", x->shown,
         escape_name(shown, head, n));
}

static int put_file(struct exchange *x, const char *data, size_t n, struct err *e)
{
    struct pull *p = x->user;
    if (!p->began)
        TRY(body_begin(p, x, e));
    uint64_t before = outfile_written(p->file);
    if (p->memo.total && n > p->memo.total - before)
        FAIL(e, ERR_DATA, "%s: the server sends more than the %" PRIu64 " bytes of the file",
             x->shown, p->memo.total);
    p->local = true;
    TRY(outfile_put(p->file, data, n, e));
    TRY(sha256_add(p->hash, data, n, e));
    p->local = false;
    p->received += n;
    if (p->f->gguf && before < 4 && before + n >= 4)
        TRY(check_magic(p, x, e));
    show(p, PULL_TRANSFER, before + n, NULL);
    return 0;
}

/* 416: NAME.part has all bytes, or more than the file has now. */
static int beyond_end(struct pull *p, const struct exchange *x, bool *again, struct err *e)
{
    char want[64];
    snprintf(want, sizeof want, "bytes */%" PRIu64, outfile_written(p->file));
    if (!strcmp(x->head.range, want) && p->memo.total == outfile_written(p->file))
        return 0;
    *again = p->anew = true;
    FAIL(e, ERR_AGAIN, "%s: the server has no bytes after the %" PRIu64 " that are here", x->shown,
         outfile_written(p->file));
}

/* One attempt at one address. 0: NAME.part has all bytes. */
static int attempt(struct pull *p, struct exchange *x, const char *url, bool *again, struct err *e)
{
    char from[200];
    exchange_show(url, from, sizeof from);
    *again = false;
    p->began = p->anew = p->local = false;
    if (outfile_written(p->file) && !sha_of(p) &&
        (!*p->memo.version || strcmp(p->memo.from, from) != 0))
        TRY(pull_anew(p, e)); /* nothing can tell whether these bytes belong to that file */
    uint64_t have = outfile_written(p->file);
    p->older = have > 0;
    show(p, PULL_CONNECT, have, NULL);
    int rc = exchange_run(x, url, NULL, sha_of(p) ? NULL : p->memo.version, have, again, e);
    if (rc == 0 && x->status == 416)
        return beyond_end(p, x, again, e);
    if (rc == 0 && !p->began)
        rc = body_begin(p, x, e); /* an empty body */
    if (rc < 0) {
        *again = *again || p->anew;
        return rc;
    }
    have = outfile_written(p->file);
    if (p->memo.total && have < p->memo.total) {
        *again = true;
        FAIL(e, ERR_AGAIN, "%s: the server ends after %" PRIu64 " of %" PRIu64 " bytes", x->shown,
             have, p->memo.total);
    }
    return 0;
}

/* Attempts at one address until all bytes are here. */
static int pull_from(struct pull *p, struct exchange *x, const char *url, struct err *e)
{
    for (int failed = 1;; failed++) {
        bool again;
        int rc = attempt(p, x, url, &again, e);
        if (rc == 0 || !again)
            return rc;
        if (outfile_written(p->file) > p->best) {
            p->best = outfile_written(p->file);
            failed = 0;
        }
        if (p->anew)
            TRY(pull_anew(p, e));
        if (failed >= p->o->tries)
            return rc;
        show(p, PULL_WAIT, outfile_written(p->file), e->msg);
        TRY(back_off(p->o, failed, x->wait_s, e));
    }
}

static int check_length(const struct pull *p, struct err *e)
{
    uint64_t have = outfile_written(p->file), want = p->f->bytes ? p->f->bytes : p->memo.total;
    if (want && have != want)
        FAIL(e, ERR_DATA, "%s has %" PRIu64 " bytes, must have %" PRIu64, p->f->path, have, want);
    return 0;
}

static int check_digest(struct pull *p, char hex[65], struct err *e)
{
    TRY(sha256_finish(p->hash, hex, e));
    if (sha_of(p) && strcmp(hex, sha_of(p)) != 0)
        FAIL(e, ERR_DATA,
             "%s has sha256 %s, must have %s: it was damaged on its way, or is another file",
             p->memo.from, hex, sha_of(p));
    return 0;
}

/* All bytes from one address, with the right digest. If bytes of earlier attempts spoil the digest,
 * once more from byte 0. */
static int pull_whole(struct pull *p, struct exchange *x, const char *url, char hex[65],
                      struct err *e)
{
    for (int round = 0;; round++) {
        TRY(pull_from(p, x, url, e));
        bool older = p->older;
        int rc = check_length(p, e);
        if (rc == 0)
            rc = check_digest(p, hex, e);
        if (rc == 0)
            return 0;
        if (rc != ERR_DATA)
            p->local = true;
        struct err why;
        TRY(pull_anew(p, &why));
        p->memo = (struct memo){.total = 0};
        p->best = 0;
        if (!older || round == 1 || p->local)
            return rc;
        show(p, PULL_WAIT, 0, e->msg);
    }
}

/* Tries the addresses. A failure of this machine ends that. */
static int pull_any(struct pull *p, struct exchange *x, char hex[65], struct err *e)
{
    int rc = ERR_USAGE;
    for (size_t i = 0; i < p->f->n_url; i++) {
        rc = pull_whole(p, x, p->f->url[i], hex, e);
        if (rc == 0 || p->local || rc == ERR_CANCEL || rc == ERR_NOMEM || rc == ERR_BUG)
            return rc;
        if (i + 1 < p->f->n_url)
            show(p, PULL_WAIT, outfile_written(p->file), e->msg);
    }
    if (p->f->n_url > 1)
        return err_wrap(e, rc, "%zu addresses failed, the last one so", p->f->n_url);
    return rc;
}

/* The file takes its name. */
static int pull_end(struct pull *p, struct err *e)
{
    struct outfile *file = p->file;
    if (p->f->check) {
        int rc = p->f->check(outfile_part(file), p->f->user, e);
        if (rc < 0) {
            outfile_discard(file);
            p->file = NULL;
            unlink(p->memo_path.s);
            return rc;
        }
    }
    p->file = NULL; /* commit frees it in every case */
    TRY(outfile_commit(file, e));
    unlink(p->memo_path.s);
    return 0;
}

/* A failure keeps the bytes for the next call, or leaves nothing. */
static int pull_stop(struct pull *p, int rc, struct err *e)
{
    uint64_t have = outfile_written(p->file);
    struct err why = *e;
    if (!have) {
        outfile_discard(p->file);
        unlink(p->memo_path.s);
    } else {
        err_set(e, rc,
                "%.700s; %" PRIu64 " bytes are kept in %.200s, the same command continues there",
                why.msg, have, outfile_part(p->file));
        outfile_abandon(p->file);
    }
    p->file = NULL;
    return rc;
}

int pull_file(const struct pull_file *f, const struct pull_options *o, struct pull_result *out,
              struct err *e)
{
    struct pull p = {.f = f, .o = o, .memo_path = STR_INIT};
    struct exchange x = {.curl = NULL};
    struct err own = {.code = 0};
    char hex[65];
    int rc = 0;
    e = e ? e : &own;
    TRY_DONE(outfile_open(f->path, OUTFILE_RESUMES, &p.file, e));
    str_addf(&p.memo_path, "%s.json", outfile_part(p.file));
    TRY_DONE(str_ok(&p.memo_path, "a path", e));
    TRY_DONE(exchange_open(&x, o, e));
    x.put = put_file;
    x.user = &p;
    TRY_DONE(pull_begin(&p, e));
    TRY_DONE(pull_any(&p, &x, hex, e));
    uint64_t bytes = outfile_written(p.file);
    TRY_DONE(pull_end(&p, e));
    *out =
        (struct pull_result){.bytes = bytes, .received = p.received, .proven = sha_of(&p) != NULL};
    memcpy(out->sha256, hex, sizeof hex);
done:
    if (rc < 0 && p.file)
        rc = pull_stop(&p, rc, e);
    exchange_close(&x);
    sha256_close(p.hash);
    str_free(&p.memo_path);
    return rc;
}

/* ---- a file that is here --------------------------------------------------------------------- */

struct answer {      /* of the servers, about a file */
    char sha256[65]; /* "" = not told */
    uint64_t bytes;  /* 0 = not told */
    char from[200];  /* the address that told the digest, or else the length */
    bool began;      /* the body has begun: the head is complete */
};

static void answer_keep(struct answer *a, const struct exchange *x)
{
    uint64_t bytes = x->linked_bytes ? x->linked_bytes : x->head.has_length ? x->head.length : 0;
    if (!*x->linked && (a->bytes || !bytes))
        return;
    memcpy(a->from, x->shown, sizeof a->from);
    strcpy(a->sha256, x->linked);
    a->bytes = bytes;
}

/* Ends the request at the first byte of the file: the head says enough. */
static int put_nothing(struct exchange *x, const char *data, size_t n, struct err *e)
{
    struct answer *a = x->user;
    (void)data, (void)n;
    a->began = true;
    FAIL(e, ERR_CANCEL, "%s: the head is enough", x->shown);
}

/* Asks one address. */
static int ask_one(struct exchange *x, const char *url, const struct pull_options *o,
                   struct answer *a, struct err *e)
{
    for (int n = 1;; n++) {
        bool again;
        a->began = false;
        int rc = exchange_run(x, url, NULL, NULL, 0, &again, e);
        if (rc == 0 || a->began) {
            answer_keep(a, x);
            return 0;
        }
        if (!again || n >= o->tries)
            return rc;
        TRY(back_off_said(o, n, x, e));
    }
}

/* Asks the addresses, until one tells a digest. */
static int ask(const struct pull_file *f, const struct pull_options *o, struct answer *a,
               struct err *e)
{
    struct exchange x = {.curl = NULL};
    struct err why = {.code = 0}, own = {.code = 0};
    int rc = 0;
    TRY_DONE(exchange_open(&x, o, e));
    x.put = put_nothing;
    x.user = a;
    for (size_t i = 0; i < f->n_url && !*a->sha256; i++) {
        int one = ask_one(&x, f->url[i], o, a, &own);
        if (one == ERR_CANCEL || one == ERR_NOMEM || one == ERR_BUG)
            TRY_DONE(err_set(e, one, "%s", own.msg));
        if (one < 0)
            why = own;
    }
    if (!*a->sha256 && !a->bytes && why.code)
        TRY_DONE(err_set(e, why.code, "%s", why.msg));
    if (!*a->sha256 && !a->bytes)
        TRY_DONE(err_set(e, ERR_DATA, "no server tells the length or the digest of the file"));
done:
    exchange_close(&x);
    return rc;
}

/* Hashes an open file of `all` bytes. */
static int hash_file(int fd, const struct pull_file *f, const struct pull_options *o, uint64_t all,
                     char hex[65], struct err *e)
{
    unsigned char *buf = mem_aligned(PIECE);
    struct sha256 *hash = NULL;
    uint64_t at = 0;
    int rc = 0;
    if (!buf)
        TRY_DONE(NOMEM(e, PIECE, "reading a file"));
    TRY_DONE(sha256_open(&hash, e));
    for (;;) {
        ssize_t k = read(fd, buf, PIECE);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            TRY_DONE(err_set(e, ERR_IO, "cannot read %s: %s", f->path, strerror(errno)));
        if (k == 0)
            break;
        TRY_DONE(sha256_add(hash, buf, (size_t)k, e));
        at += (uint64_t)k;
        const struct pull_progress g = {.phase = PULL_REREAD, .done = at, .total = all};
        if (o->progress)
            o->progress(&g, o->user);
        if (stopped(o))
            TRY_DONE(err_set(e, ERR_CANCEL, "interrupted"));
    }
    rc = sha256_finish(hash, hex, e);
done:
    sha256_close(hash);
    mem_free(buf);
    return rc;
}

int pull_compare(const struct pull_file *f, const struct pull_options *o, struct pull_result *out,
                 struct err *e)
{
    struct answer a = {.bytes = 0};
    struct stat st;
    char hex[65];
    int rc = 0, fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0)
        TRY_DONE(err_set(e, ERR_IO, "cannot read %s: %s", f->path, strerror(errno)));
    if (f->check)
        TRY_DONE(f->check(f->path, f->user, e));
    if (!f->sha256)
        TRY_DONE(ask(f, o, &a, e));
    const char *want = f->sha256 ? f->sha256 : a.sha256;
    uint64_t bytes = f->bytes ? f->bytes : a.bytes;
    const char *from = *a.from ? a.from : "the file of that name";
    if (bytes && (uint64_t)st.st_size != bytes)
        TRY_DONE(err_set(e, ERR_DATA, "%s has %" PRIu64 " bytes, %s has %" PRIu64, f->path,
                         (uint64_t)st.st_size, from, bytes));
    TRY_DONE(hash_file(fd, f, o, (uint64_t)st.st_size, hex, e));
    if (*want && strcmp(hex, want) != 0)
        TRY_DONE(err_set(e, ERR_DATA, "%s has sha256 %s, must have %s%s%s", f->path, hex, want,
                         *a.from ? " as " : "", a.from));
    *out = (struct pull_result){.bytes = (uint64_t)st.st_size, .proven = *want != 0};
    memcpy(out->sha256, hex, sizeof hex);
done:
    if (fd >= 0)
        close(fd);
    return rc;
}
