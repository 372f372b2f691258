#include "download.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "medqa.h"
#include "mem.h"
#include "origin.h"
#include "sha256.h"
#include "sources.h"
#include "store.h"
#include "zio.h"

#define URL_MAX 32 /* addresses of one file */
#define MANIFEST_MAX ((size_t)4 << 20)
#define MANIFEST_TYPE "application/vnd.docker.distribution.manifest.v2+json"
#define TOKEN_MAX ((size_t)8 << 10)
#define PARTS_MAX 99999

/* ---- tokens ---------------------------------------------------------------------------------- */

/* The first line of a file; "" when there is no such file. */
static int token_file(const char *path, struct str *out, struct err *e)
{
    struct str at = STR_INIT;
    struct stat st;
    int rc = sources_home(path, &at, e);
    if (rc == 0 && stat(at.s, &st) == 0)
        rc = zio_read(at.s, TOKEN_MAX, out, e);
    str_free(&at);
    out->len = strcspn(out->s, "\r\n");
    return rc;
}

/* *secret: of the token in the environment or in its file; NULL: it has none. */
static int token_read(const struct sources_token *t, struct sources *s, const char **secret,
                      struct err *e)
{
    struct str text = STR_INIT;
    const char *env = t->env ? getenv(t->env) : NULL;
    int rc = 0;
    *secret = NULL;
    if (env && *env)
        str_adds(&text, env);
    else if (t->file)
        rc = token_file(t->file, &text, e);
    for (size_t i = 0; rc == 0 && i < text.len; i++)
        if (!isgraph((unsigned char)text.s[i]))
            rc = err_set(e, ERR_CONFIG,
                         "the token for %s has a character that none may have: "
                         "it must be one word of ASCII",
                         t->at);
    if (rc == 0 && text.len) {
        *secret = arena_strndup(&s->words, text.s, text.len);
        rc = *secret ? 0 : NOMEM(e, text.len, "a token");
    }
    str_free(&text);
    return rc;
}

static int tokens_read(struct sources *s, struct pull_options *o, struct err *e)
{
    struct pull_token *token = arena_alloc(&s->words, s->n_token + 1, sizeof *token);
    if (!token)
        return NOMEM(e, (s->n_token + 1) * sizeof *token, "tokens");
    for (size_t i = 0; i < s->n_token; i++) {
        const char *secret;
        TRY(token_read(&s->token[i], s, &secret, e));
        if (secret)
            token[o->n_token++] = (struct pull_token){.at = s->token[i].at, .secret = secret};
    }
    o->token = token;
    return 0;
}

/* ---- addresses ------------------------------------------------------------------------------- */

struct target { /* one file to download */
    const char *url[URL_MAX];
    size_t n_url;
    const char *from[URL_MAX]; /* the addresses as a record has them (origin.h) */
    size_t n_from;
    const char *file; /* its name */
    const char *sha256;
    uint64_t bytes;
    int parts; /* of the model, as the address names them; 0: it names none */
    bool data;
};

struct job {
    struct sources s;
    struct pull_options pull;
    struct target t;
};

static int no_room(struct err *e)
{
    return NOMEM(e, 1024, "an address");
}

/* Adds an address, after those of its mirrors. */
static int add_url(struct job *j, const char *url, struct err *e)
{
    struct target *t = &j->t;
    for (size_t i = 0; i < j->s.n_mirror; i++) {
        const struct sources_mirror *m = &j->s.mirror[i];
        size_t n = strlen(m->of);
        for (size_t k = 0; !strncmp(url, m->of, n) && k < m->n_at && t->n_url < URL_MAX - 1; k++) {
            t->url[t->n_url] = arena_printf(&j->s.words, "%s%s", m->at[k], url + n);
            if (!t->url[t->n_url++])
                return no_room(e);
        }
    }
    if (t->n_url == URL_MAX)
        FAIL(e, ERR_CONFIG, "more than %d addresses for one file", URL_MAX);
    t->url[t->n_url++] = url;
    return 0;
}

/* Keeps a text that may have failed, and frees it; NULL when memory is out. */
static const char *keep(struct job *j, struct str *text)
{
    const char *kept = text->failed ? NULL : arena_strndup(&j->s.words, text->s, text->len);
    str_free(text);
    return kept;
}

/* Position of "-00001-of-00002.gguf" at the end of a name; *n: parts. NULL: it has none. */
static const char *split_tail(const char *name, int *n)
{
    size_t len = strlen(name);
    int no, count, end = 0;
    const char *tail = len > 20 ? name + len - 20 : NULL;
    if (!tail || sscanf(tail, "-%5d-of-%5d.gguf%n", &no, &count, &end) != 2 || end != 20 ||
        no < 1 || count < no || count > PARTS_MAX)
        return NULL;
    *n = count;
    return tail;
}

/* Adds a full name for the record. */
static int add_from(struct job *j, struct str *text, struct err *e)
{
    const char *kept = keep(j, text);
    if (!kept)
        return no_room(e);
    if (j->t.n_from < URL_MAX)
        j->t.from[j->t.n_from++] = kept;
    return 0;
}

/* Appends a path to an address; other bytes than those of names become %XX. */
static void add_escaped(struct str *url, const char *path)
{
    for (; *path; path++)
        if (isalnum((unsigned char)*path) || strchr("-._~/", *path))
            str_addc(url, *path);
        else
            str_addf(url, "%%%02X", (unsigned char)*path);
}

static int add_hub(struct job *j, const char *name, struct err *e)
{
    struct store_hub h;
    struct str url = STR_INIT, file = STR_INIT, full = STR_INIT;
    TRY(store_parse_hub(name, &h, e));
    if (!*h.file) /* the search says how to name one, and which are here */
        return store_find_hub(name, &j->s.places, &file, e);
    if (strncmp(j->s.hf, "https://", 8) != 0 && strncmp(j->s.hf, "http://", 7) != 0)
        FAIL(e, ERR_CONFIG, "HF_ENDPOINT is '%s'; it takes an address: https://HOST", j->s.hf);
    str_addf(&url, "%s/%s/%s/resolve/", j->s.hf, h.org, h.repo);
    store_add_revision(&url, h.revision);
    str_addc(&url, '/');
    add_escaped(&url, h.file);
    (void)split_tail(h.file, &j->t.parts);
    const char *kept = keep(j, &url);
    if (!j->t.file) {
        (void)store_file_hub(&h, &file, NULL); /* keep sees a failure */
        j->t.file = keep(j, &file);
    }
    (void)store_full_hub(&h, &full, NULL);
    TRY(add_from(j, &full, e));
    return kept && j->t.file ? add_url(j, kept, e) : no_room(e);
}

/* https://HOST of a registry; the usual one is that of the list. */
static const char *registry_of(struct job *j, const struct store_ollama *o)
{
    if (!strcmp(o->registry, STORE_REGISTRY))
        return j->s.ollama;
    return arena_printf(&j->s.words, "https://%s", o->registry);
}

static int add_ollama(struct job *j, const char *name, struct err *e)
{
    struct store_ollama o;
    struct str json = STR_INIT, file = STR_INIT, full = STR_INIT;
    char hex[65];
    uint64_t bytes = 0;
    int rc = 0;
    TRY(store_parse_ollama(name, &o, e));
    const char *server = registry_of(j, &o);
    const char *url = server ? arena_printf(&j->s.words, "%s/v2/%s/%s/manifests/%s", server,
                                            o.space, o.name, o.tag)
                             : NULL;
    if (!url)
        return no_room(e);
    TRY_DONE(pull_text(url, MANIFEST_TYPE, &j->pull, MANIFEST_MAX, &json, e));
    TRY_DONE(store_manifest(json.s, json.len, url, hex, &bytes, e));
    if (j->t.sha256 && strcmp(j->t.sha256, hex) != 0)
        TRY_DONE(
            err_set(e, ERR_DATA, "ollama:%s has sha256 %s, must have %s", name, hex, j->t.sha256));
    url = arena_printf(&j->s.words, "%s/v2/%s/%s/blobs/sha256:%s", server, o.space, o.name, hex);
    j->t.sha256 = arena_strndup(&j->s.words, hex, 64);
    j->t.bytes = bytes;
    if (!j->t.file) {
        (void)store_file_ollama(&o, &file, NULL); /* keep sees a failure */
        j->t.file = keep(j, &file);
    }
    (void)store_full_ollama(&o, &full, NULL);
    TRY_DONE(add_from(j, &full, e));
    rc = url && j->t.sha256 && j->t.file ? add_url(j, url, e) : no_room(e);
done:
    str_free(&json);
    return rc;
}

static int hex_value(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The name of a file in an address, %XX decoded. It may have any byte: place_of checks it. */
static const char *web_name(struct job *j, const char *s, size_t n)
{
    struct str name = STR_INIT;
    for (size_t i = 0; i < n; i++) {
        int high = s[i] == '%' && n - i > 2 ? hex_value(s[i + 1]) : -1;
        int low = high >= 0 ? hex_value(s[i + 2]) : -1;
        if (low < 0) {
            str_addc(&name, s[i]);
            continue;
        }
        /* a NUL would end the name: it stays a character that no name may have */
        str_addc(&name, high || low ? (char)(high * 16 + low) : '\n');
        i += 2;
    }
    return keep(j, &name);
}

static int add_web(struct job *j, const char *url, struct err *e)
{
    const char *path = strstr(url, "://") + 3;
    size_t end = strcspn(path, "?#");
    const char *slash = NULL;
    struct str full = STR_INIT;
    char hex[65];
    for (const char *p = path; p < path + end; p++)
        slash = *p == '/' ? p : slash;
    if (slash && slash + 1 < path + end) {
        const char *file = web_name(j, slash + 1, (size_t)(path + end - slash) - 1);
        if (!file)
            return no_room(e);
        (void)split_tail(file, &j->t.parts);
        j->t.file = j->t.file ? j->t.file : file;
    }
    TRY(sha256_hex(url, strlen(url), hex, e));
    str_addf(&full, "web:%s", hex);
    TRY(add_from(j, &full, e));
    return add_url(j, url, e);
}

static bool is_web(const char *name)
{
    return !strncmp(name, "https://", 8) || !strncmp(name, "http://", 7);
}

static int add_address(struct job *j, const char *get, struct err *e)
{
    if (!strncmp(get, "hf:", 3))
        return add_hub(j, get + 3, e);
    if (!strncmp(get, "ollama:", 7))
        return add_ollama(j, get + 7, e);
    if (is_web(get))
        return add_web(j, get, e);
    FAIL(e, ERR_CONFIG, "'%s' is no address; give https://.., hf:ORG/REPO/FILE or ollama:NAME:TAG",
         get);
}

static int unknown_name(const struct sources *s, const char *name, struct err *e)
{
    struct source_known all[128];
    size_t n = 0;
    for (size_t i = 0; i < s->n_entry && n < 128; i++)
        all[n++] = (struct source_known){s->entry[i].name, s->entry[i].file};
    const char *near = source_nearest(name, all, n);
    FAIL(e, ERR_USAGE,
         "'%s' is no name of the list%s%s%s; 'mas pull' shows the list, and https://.., "
         "hf:ORG/REPO/FILE and ollama:NAME:TAG need none",
         name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int find_target(struct job *j, const struct download_options *o, struct err *e)
{
    const struct sources_entry *n = sources_find(&j->s, o->name);
    if (!n) {
        if (strncmp(o->name, "hf:", 3) != 0 && strncmp(o->name, "ollama:", 7) != 0 &&
            !is_web(o->name))
            return unknown_name(&j->s, o->name, e);
        return add_address(j, o->name, e);
    }
    j->t.file = n->file;
    j->t.bytes = n->bytes;
    j->t.data = n->data;
    if (!j->t.sha256)
        j->t.sha256 = n->sha256;
    for (size_t i = 0; i < n->n_get; i++)
        TRY(add_address(j, n->get[i], e));
    return 0;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* Makes the folders of a path, as far as they are absent. */
static int make_folders(const char *dir, struct err *e)
{
    struct str at = STR_INIT;
    struct stat st;
    int rc = 0;
    for (const char *p = dir; rc == 0; p++) {
        if (*p != '/' && *p)
            continue;
        str_clear(&at);
        str_add(&at, dir, (size_t)(p - dir));
        rc = str_ok(&at, "a path", e);
        if (rc == 0 && at.len && stat(at.s, &st) != 0 && mkdir(at.s, 0777) != 0 && errno != EEXIST)
            rc = err_set(e, ERR_CREATE, "cannot create the folder %s: %s", at.s, strerror(errno));
        if (!*p)
            break;
    }
    str_free(&at);
    return rc;
}

static bool ends(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

/* A name may not lead to another folder, hide the file or draw on a terminal. */
static bool name_is_safe(const char *name)
{
    for (const char *p = name; *p; p++)
        if (iscntrl((unsigned char)*p) || *p == '/')
            return false;
    return *name && *name != '.';
}

/* The path that the file gets; makes its folder. */
static int place_of(struct job *j, const struct download_options *o, struct str *path,
                    struct err *e)
{
    const char *file = j->t.file;
    if (o->out) {
        str_adds(path, o->out);
        return str_ok(path, "a path", e);
    }
    if (!file || !name_is_safe(file) || (!j->t.data && !ends(file, ".gguf")))
        FAIL(e, ERR_USAGE, "'%s' names no .gguf file; give the file's name with -o FILE", o->name);
    const char *folder = j->t.data ? j->s.data : j->s.places.models;
    TRY(make_folders(folder, e));
    str_addf(path, "%s/%s", folder, file);
    return str_ok(path, "a path", e);
}

static int check_model(const char *path, void *user, struct err *e)
{
    (void)user;
    return source_check(path, e);
}

static int check_questions(const char *path, void *user, struct err *e)
{
    struct medqa m;
    (void)user;
    TRY(medqa_read(path, &m, e));
    size_t n = m.n;
    medqa_free(&m);
    if (!n)
        FAIL(e, ERR_DATA, "%s has no question", path);
    return 0;
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Downloads in their usual place have a record, other files none. It serves a later call, so a
 * failure is said and does no harm to the download. */
static void record(const struct job *j, const char *path, const char sha256[65],
                   const struct download_options *o)
{
    struct err e = {.code = 0};
    int rc = o->out ? origin_drop(path, &e) : origin_save(path, sha256, j->t.from, j->t.n_from, &e);
    if (rc < 0)
        fprintf(stderr, "note: the record of where %s comes from is not right: %s\n", path, e.msg);
}

/* The file is here already: it must be the one that was asked for. A record of its download gives
 * the digest; without one the servers are asked. */
static int keep_file(struct job *j, struct pull_file *f, const struct download_options *o,
                     struct err *e)
{
    struct err why = {.code = 0};
    struct pull_result r;
    bool recorded = false;
    char sha256[65];
    for (size_t i = 0; !o->out && !recorded && i < j->t.n_from; i++)
        TRY(origin_find(f->path, j->t.from[i], &recorded, sha256, e));
    if (recorded && !f->sha256)
        f->sha256 = sha256;
    int rc = pull_compare(f, &j->pull, &r, &why);
    if (rc == ERR_DATA)
        FAIL(e, rc,
             "%s is here already, but may be another file: %.700s; replace it with --force, or "
             "give another name with -o",
             f->path, why.msg);
    if (rc < 0)
        FAIL(e, rc, "%s is here already, but cannot be compared with the one asked for: %.700s",
             f->path, why.msg);
    if (o->end)
        o->end(f->path, &r, true, o->user);
    if (!recorded && !o->out)
        record(j, f->path, r.sha256, o);
    return 0;
}

static int fetch(struct job *j, const char *path, const struct download_options *o, struct err *e)
{
    struct pull_file f = {.url = j->t.url,
                          .n_url = j->t.n_url,
                          .path = path,
                          .sha256 = j->t.sha256,
                          .bytes = j->t.bytes,
                          .gguf = !j->t.data && ends(j->t.file ? j->t.file : path, ".gguf")};
    struct pull_result r;
    f.check = f.gguf ? check_model : j->t.data ? check_questions : NULL;
    if (o->begin)
        o->begin(&f, o->user);
    if (!o->force && is_file(path))
        return keep_file(j, &f, o, e);
    TRY(pull_file(&f, &j->pull, &r, e));
    if (o->end)
        o->end(path, &r, false, o->user);
    record(j, path, r.sha256, o);
    return 0;
}

/* ---- models in several files ----------------------------------------------------------------- */

/* The name with another number of its part; NULL when memory is out. */
static const char *split_name(struct job *j, const char *name, int no, int n)
{
    int all;
    const char *tail = split_tail(name, &all);
    if (!tail || all != n)
        return name;
    return arena_printf(&j->s.words, "%.*s-%05d-of-%05d.gguf", (int)(tail - name), name, no, n);
}

/* The address with another number of its part, which a query may follow; NULL as of split_name. */
static const char *split_url(struct job *j, const char *url, int no, int n)
{
    size_t len = strcspn(url, "?#");
    const char *path = arena_strndup(&j->s.words, url, len);
    path = path ? split_name(j, path, no, n) : NULL;
    return path && url[len] ? arena_printf(&j->s.words, "%s%s", path, url + len) : path;
}

/* The name for the record of a part. An address of the web is one hash: the number follows it. */
static const char *part_from(struct job *j, const char *from, int no, int n)
{
    return strncmp(from, "web:", 4) ? split_name(j, from, no, n)
                                    : arena_printf(&j->s.words, "%s-%d", from, no);
}

/* Downloads every part. A digest and a size on the list are those of one file. */
static int fetch_parts(struct job *j, const char *path, int n, const struct download_options *o,
                       struct err *e)
{
    const struct target first = j->t;
    if (first.sha256)
        FAIL(e, ERR_USAGE, "%s is one of %d parts; a digest can only be given for one file", path,
             n);
    for (int no = 1; no <= n; no++) {
        const char *at = split_name(j, path, no, n);
        j->t.file = split_name(j, first.file, no, n);
        for (size_t i = 0; i < first.n_url; i++) {
            j->t.url[i] = split_url(j, first.url[i], no, n);
            if (!j->t.url[i])
                return no_room(e);
        }
        for (size_t i = 0; i < first.n_from; i++) {
            j->t.from[i] = part_from(j, first.from[i], no, n);
            if (!j->t.from[i])
                return no_room(e);
        }
        if (!at || !j->t.file)
            return no_room(e);
        TRY(fetch(j, at, o, e));
    }
    return 0;
}

/* ---- one download ---------------------------------------------------------------------------- */

static int download_run(struct job *j, const struct download_options *o, struct str *path,
                        struct err *e)
{
    int n = 0;
    if (o->sha256)
        TRY(sources_digest(&j->s, o->sha256, &j->t.sha256, "--sha256", e));
    TRY(tokens_read(&j->s, &j->pull, e));
    TRY(find_target(j, o, e));
    TRY(place_of(j, o, path, e));
    if (j->t.parts > 1 && (!split_tail(path->s, &n) || n != j->t.parts))
        FAIL(e, ERR_USAGE,
             "cannot write %s: the address is one of %d parts of a model, and each "
             "needs its own name; %s a name that ends in -00001-of-%05d.gguf",
             path->s, j->t.parts, o->out ? "leave out -o, or give" : "give -o", j->t.parts);
    return j->t.parts > 1 ? fetch_parts(j, path->s, j->t.parts, o, e) : fetch(j, path->s, o, e);
}

int download(const struct download_options *o, struct str *path, struct err *e)
{
    struct job j = {.pull = o->pull};
    int rc = sources_open(o->list, &j.s, e);
    if (rc == 0)
        rc = download_run(&j, o, path, e);
    sources_close(&j.s);
    return rc;
}
