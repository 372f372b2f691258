#include "store.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "origin.h"

#define SMALL_MAX ((size_t)4 << 20) /* bytes of a manifest or of a ref */
#define LIST_MAX 20                 /* names in a message */
#define DEPTH_MAX 6                 /* folders below a store that are listed */
#define LAYER "application/vnd.ollama.image."
#define MODEL_LAYER LAYER "model"
#define ADAPTER_LAYER LAYER "adapter"
#define PROJECTOR_LAYER LAYER "projector"

#define FORM_OLLAMA "write ollama:NAME:TAG, such as ollama:llama3:70b"
#define FORM_HUB "write hf:ORG/REPO/FILE or hf:ORG/REPO@REVISION/FILE"

/* ---- names ----------------------------------------------------------------------------------- */

/* One word of a name: letters, digits, '.', '_', '-'; it becomes a folder, so it begins with no
 * '.'. */
static bool word_take(const char *s, size_t n, char *out, size_t cap)
{
    if (n < 1 || n >= cap || s[0] == '.')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("._-", s[i]))
            return false;
    memcpy(out, s, n);
    out[n] = 0;
    return true;
}

/* As word_take; a port may follow. */
static bool registry_take(const char *s, size_t n, char *out, size_t cap)
{
    const char *colon = memchr(s, ':', n);
    size_t host = colon ? (size_t)(colon - s) : n;
    if (n >= cap || !word_take(s, host, out, cap))
        return false;
    for (size_t i = host + 1; i < n; i++)
        if (!isdigit((unsigned char)s[i]))
            return false;
    memcpy(out, s, n);
    out[n] = 0;
    return host + 1 != n;
}

int store_parse_ollama(const char *name, struct store_ollama *out, struct err *e)
{
    struct store_ollama o = {.registry = STORE_REGISTRY, .space = "library", .tag = "latest"};
    const char *part[3], *at = name;
    size_t len[3];
    int n = 0;
    for (;; n++) {
        const char *slash = strchr(at, '/');
        if (n == 3)
            FAIL(e, ERR_USAGE, "'ollama:%s' has too many parts; " FORM_OLLAMA, name);
        part[n] = at;
        len[n] = slash ? (size_t)(slash - at) : strlen(at);
        if (!slash)
            break;
        at = slash + 1;
    }
    const char *colon = memchr(part[n], ':', len[n]);
    bool fine = !colon || word_take(colon + 1, strlen(colon + 1), o.tag, sizeof o.tag);
    if (colon)
        len[n] = (size_t)(colon - part[n]);
    fine = fine && word_take(part[n], len[n], o.name, sizeof o.name);
    if (n > 0)
        fine = fine && word_take(part[n - 1], len[n - 1], o.space, sizeof o.space);
    if (n > 1)
        fine = fine && registry_take(part[0], len[0], o.registry, sizeof o.registry);
    if (!fine)
        FAIL(e, ERR_USAGE, "'ollama:%s' is no name of a model; " FORM_OLLAMA, name);
    *out = o;
    return 0;
}

/* True for a relative path that stays in its folder. */
static bool path_inside(const char *s)
{
    while (*s) {
        size_t n = strcspn(s, "/");
        if (n == 0 || (s[0] == '.' && (n == 1 || (n == 2 && s[1] == '.'))))
            return false;
        s += n;
        if (*s == '/' && !*++s)
            return false;
    }
    return true;
}

/* A branch, tag or commit. A '/' in it is written as %2F, and becomes '/'. */
static bool revision_take(const char *s, size_t n, char *out, size_t cap)
{
    size_t used = 0;
    for (size_t at = 0;;) {
        size_t word = 0;
        while (at + word < n && s[at + word] != '%')
            word++;
        if (used >= cap || !word_take(s + at, word, out + used, cap - used))
            return false;
        used += word;
        at += word;
        if (at == n)
            return true;
        if (n - at < 3 || strncasecmp(s + at, "%2f", 3) != 0 || used + 1 >= cap)
            return false;
        out[used++] = '/';
        at += 3;
    }
}

void store_add_revision(struct str *out, const char *revision)
{
    for (; *revision; revision++)
        if (*revision == '/')
            str_adds(out, "%2F");
        else
            str_addc(out, *revision);
}

int store_parse_hub(const char *name, struct store_hub *out, struct err *e)
{
    struct store_hub h = {.revision = "main"};
    size_t org = strcspn(name, "/");
    const char *repo = name[org] ? name + org + 1 : "";
    size_t n = strcspn(repo, "/");
    const char *file = repo[n] ? repo + n + 1 : "";
    const char *at = memchr(repo, '@', n);
    bool fine = word_take(name, org, h.org, sizeof h.org) &&
                word_take(repo, at ? (size_t)(at - repo) : n, h.repo, sizeof h.repo) &&
                (!at || revision_take(at + 1, n - (size_t)(at - repo) - 1, h.revision,
                                      sizeof h.revision)) &&
                strlen(file) < sizeof h.file && path_inside(file);
    if (!fine)
        FAIL(e, ERR_USAGE, "'hf:%s' is no name of a file; " FORM_HUB, name);
    strcpy(h.file, file);
    *out = h;
    return 0;
}

int store_full_ollama(const struct store_ollama *o, struct str *out, struct err *e)
{
    str_addf(out, "ollama:%s/%s/%s:%s", o->registry, o->space, o->name, o->tag);
    return str_ok(out, "a name", e);
}

int store_full_hub(const struct store_hub *h, struct str *out, struct err *e)
{
    str_addf(out, "hf:%s/%s@", h->org, h->repo);
    store_add_revision(out, h->revision);
    str_addf(out, "/%s", h->file);
    return str_ok(out, "a name", e);
}

int store_file_ollama(const struct store_ollama *o, struct str *out, struct err *e)
{
    str_addf(out, "%s-%s.gguf", o->name, o->tag);
    return str_ok(out, "a name", e);
}

int store_file_hub(const struct store_hub *h, struct str *out, struct err *e)
{
    const char *slash = strrchr(h->file, '/');
    str_adds(out, slash ? slash + 1 : h->file);
    return str_ok(out, "a name", e);
}

/* ---- small files and folders ----------------------------------------------------------------- */

/* Reads a whole file. ERR_NOINPUT when there is none. */
static int read_small(const char *path, struct str *out, struct err *e)
{
    char buf[4096];
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        FAIL(e, ERR_NOINPUT, "cannot open %s: %s", path, strerror(errno));
    for (;;) {
        ssize_t k = read(fd, buf, sizeof buf);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            TRY_DONE(err_set(e, ERR_IO, "cannot read %s: %s", path, strerror(errno)));
        if (k <= 0)
            break;
        if (out->len + (size_t)k > SMALL_MAX)
            TRY_DONE(err_set(e, ERR_DATA, "%s has more than %zu bytes", path, SMALL_MAX));
        str_add(out, buf, (size_t)k);
    }
    rc = str_ok(out, "a small file", e);
done:
    close(fd);
    return rc;
}

struct list {
    struct str text; /* ", a, b" */
    int n;
};

/* A path of the store as the name that opens it, appended to out; false: it is none. */
typedef bool (*list_name)(const char *inside, struct str *out);

/* Lists the files below root/inside by name, sorted within a folder. depth bounds the recursion. */
static void list_below(const char *root, const char *inside, int depth, list_name name,
                       struct list *l)
{
    struct dirent **entry = NULL;
    struct str dir = STR_INIT, at = STR_INIT;
    str_addf(&dir, "%s/%s", root, inside);
    int n = dir.failed || l->n > LIST_MAX ? 0 : scandir(dir.s, &entry, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        struct stat st;
        str_clear(&dir);
        str_clear(&at);
        str_addf(&at, "%s%s%s", inside, *inside ? "/" : "", entry[i]->d_name);
        str_addf(&dir, "%s/%s", root, at.s);
        if (entry[i]->d_name[0] == '.' || dir.failed || at.failed || l->n > LIST_MAX ||
            stat(dir.s, &st) != 0)
            ;
        else if (S_ISDIR(st.st_mode) && depth > 1)
            list_below(root, at.s, depth - 1, name, l);
        else if (S_ISREG(st.st_mode) && l->n == LIST_MAX)
            str_adds(&l->text, ", .."), l->n++;
        else if (S_ISREG(st.st_mode)) {
            size_t before = l->text.len;
            str_adds(&l->text, l->n ? ", " : "");
            if (name(at.s, &l->text))
                l->n++;
            else
                l->text.len = before;
        }
        mem_free(entry[i]);
    }
    mem_free(entry);
    str_free(&dir);
    str_free(&at);
}

/* The list with a NUL, or the words for an empty one. */
static const char *list_text(struct list *l, const char *empty)
{
    if (!l->n || l->text.failed)
        return empty;
    l->text.s[l->text.len] = 0;
    return l->text.s;
}

/* ---- downloads ------------------------------------------------------------------------------- */

struct download {
    struct str path;  /* of the download of that name; "" = none */
    struct str other; /* a file of the same name, whose record does not name it; "" = none */
};

static int find_download(const char *models, const struct str *file, const struct str *full,
                         struct download *out, struct err *e)
{
    struct str at = STR_INIT;
    struct stat st;
    char sha256[65];
    bool found = false;
    int rc = 0;
    if (!models || !file->len)
        return 0;
    str_addf(&at, "%s/%s", models, file->s);
    TRY_DONE(str_ok(&at, "a path", e));
    if (stat(at.s, &st) != 0 || !S_ISREG(st.st_mode))
        goto done;
    TRY_DONE(origin_find(at.s, full->s, &found, sha256, e));
    struct str *to = found ? &out->path : &out->other;
    str_adds(to, at.s);
    rc = str_ok(to, "a path", e);
done:
    str_free(&at);
    return rc;
}

static void download_free(struct download *d)
{
    str_free(&d->path);
    str_free(&d->other);
}

/* The stores have no such model (rc, *e): takes the download, or adds to the message. */
static int else_download(int rc, const struct download *d, struct str *path, struct err *e)
{
    if (d->path.len) {
        str_adds(path, d->path.s);
        return str_ok(path, "a path", e);
    }
    if (d->other.len) {
        struct err why = *e;
        err_set(e, rc,
                "%.700s; %.200s is no download of that name, as far as a record says: give its "
                "path to use it",
                why.msg, d->other.s);
    }
    return rc;
}

/* ---- Ollama ---------------------------------------------------------------------------------- */

static bool hex64(const char *s)
{
    return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

/* The one layer that is a model. */
static int manifest_layer(const json_t *root, const char *path, const char **digest,
                          uint64_t *bytes, struct err *e)
{
    const json_t *layers = json_object_get(root, "layers"), *one;
    size_t i, n = 0;
    bool projector = false;
    json_array_foreach(layers, i, one)
    {
        const char *type = json_string_value(json_object_get(one, "mediaType"));
        const char *text = json_string_value(json_object_get(one, "digest"));
        json_int_t size = json_integer_value(json_object_get(one, "size"));
        if (type && !strcmp(type, ADAPTER_LAYER))
            FAIL(e, ERR_DATA,
                 "%s: the model has an adapter (LoRA), which is not supported: merge it into the "
                 "base model and take that GGUF file",
                 path);
        projector = projector || (type && !strcmp(type, PROJECTOR_LAYER));
        if (!type || strcmp(type, MODEL_LAYER) != 0)
            continue;
        if (!text || strncmp(text, "sha256:", 7) != 0 || !hex64(text + 7) || size < 1)
            FAIL(e, ERR_DATA, "%s: the layer of the model has no sha256 digest and size", path);
        *digest = text + 7;
        *bytes = (uint64_t)size;
        n++;
    }
    if (n != 1)
        FAIL(e, ERR_DATA, "%s names %zu model files, must be 1", path, n);
    if (projector)
        log_warn("%s: the model has a projector for images, which is not used: only text is read",
                 path);
    return 0;
}

int store_manifest(const char *json, size_t n, const char *path, char hex[65], uint64_t *bytes,
                   struct err *e)
{
    json_error_t why;
    const char *digest = NULL;
    json_t *root = json_loadb(json, n, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        FAIL(e, ERR_DATA, "%s is no manifest: line %d: %s", path, why.line, why.text);
    int rc = manifest_layer(root, path, &digest, bytes, e);
    if (rc == 0)
        memcpy(hex, digest, 65);
    json_decref(root);
    return rc;
}

/* REGISTRY/NAMESPACE/NAME/TAG as a user writes it. */
static bool name_ollama(const char *inside, struct str *out)
{
    const char *tag = strrchr(inside, '/');
    static const char usual[] = STORE_REGISTRY "/library/", host[] = STORE_REGISTRY "/";
    if (!tag)
        return false;
    if (!strncmp(inside, usual, sizeof usual - 1))
        inside += sizeof usual - 1;
    else if (!strncmp(inside, host, sizeof host - 1))
        inside += sizeof host - 1;
    if (inside >= tag)
        return false;
    str_addf(out, "ollama:%.*s:%s", (int)(tag - inside), inside, tag + 1);
    return true;
}

static int ollama_absent(const char *name, const struct source_places *p, struct err *e)
{
    struct list l = {.text = STR_INIT};
    struct str dirs = STR_INIT, root = STR_INIT;
    for (size_t i = 0; i < 3 && p->ollama[i]; i++) {
        str_addf(&dirs, "%s%s", i ? " and " : "", p->ollama[i]);
        str_clear(&root);
        str_addf(&root, "%s/manifests", p->ollama[i]);
        list_below(root.s, "", DEPTH_MAX, name_ollama, &l);
    }
    err_set(e, ERR_NOINPUT,
            "there is no model ollama:%s in %s; there: %s; 'ollama pull' or 'mas pull ollama:%s' "
            "brings it",
            name, dirs.len ? dirs.s : "any folder: none is known", list_text(&l, "none"), name);
    str_free(&l.text);
    str_free(&dirs);
    str_free(&root);
    return ERR_NOINPUT;
}

/* The blob of a digest must have the size that the manifest names. */
static int ollama_blob(const char *dir, const char hex[65], uint64_t bytes, struct str *path,
                       struct err *e)
{
    struct stat st;
    static const char *const form[] = {"%s/blobs/sha256-%s", "%s/blobs/sha256:%s"}; /* new, old */
    struct str at = STR_INIT;
    int rc = 0;
    for (int i = 0; i < 2; i++) {
        str_clear(&at);
        str_addf(&at, i ? form[1] : form[0], dir, hex);
        TRY_DONE(str_ok(&at, "a path", e));
        if (stat(at.s, &st) != 0)
            continue;
        if ((uint64_t)st.st_size != bytes)
            TRY_DONE(err_set(e, ERR_DATA,
                             "%s has %" PRIu64 " bytes, its manifest says %" PRIu64
                             ": download incomplete",
                             at.s, (uint64_t)st.st_size, bytes));
        str_adds(path, at.s);
        TRY_DONE(str_ok(path, "a path", e));
        goto done;
    }
    rc = err_set(e, ERR_NOINPUT, "the file of the model is missing: there is no %s/blobs/sha256-%s",
                 dir, hex);
done:
    str_free(&at);
    return rc;
}

/* Looks in one store; *found: it has the manifest. */
static int ollama_in(const char *dir, const struct store_ollama *o, bool *found, struct str *path,
                     struct err *e)
{
    struct str at = STR_INIT, json = STR_INIT;
    struct stat st;
    char hex[65];
    uint64_t bytes;
    int rc = 0;
    str_addf(&at, "%s/manifests/%s/%s/%s/%s", dir, o->registry, o->space, o->name, o->tag);
    TRY_DONE(str_ok(&at, "a path", e));
    *found = stat(at.s, &st) == 0 && S_ISREG(st.st_mode);
    if (!*found)
        goto done;
    TRY_DONE(read_small(at.s, &json, e));
    TRY_DONE(store_manifest(json.s, json.len, at.s, hex, &bytes, e));
    TRY_DONE(ollama_blob(dir, hex, bytes, path, e));
done:
    str_free(&at);
    str_free(&json);
    return rc;
}

int store_find_ollama(const char *name, const struct source_places *p, struct str *path,
                      struct err *e)
{
    struct download d = {STR_INIT, STR_INIT};
    struct str file = STR_INIT, full = STR_INIT;
    struct err own;
    struct store_ollama o;
    int rc = 0;
    e = e ? e : &own;
    TRY(store_parse_ollama(name, &o, e));
    for (size_t i = 0; i < 3 && p->ollama[i]; i++) {
        bool found;
        rc = ollama_in(p->ollama[i], &o, &found, path, e);
        if (rc < 0)
            return err_wrap(e, rc, "ollama:%s", name);
        if (found)
            return 0;
    }
    TRY_DONE(store_file_ollama(&o, &file, e));
    TRY_DONE(store_full_ollama(&o, &full, e));
    TRY_DONE(find_download(p->models, &file, &full, &d, e));
    rc = d.path.len ? ERR_NOINPUT : ollama_absent(name, p, e);
    rc = else_download(rc, &d, path, e);
done:
    download_free(&d);
    str_free(&file);
    str_free(&full);
    return rc;
}

/* ---- Hugging Face ---------------------------------------------------------------------------- */

static bool name_gguf(const char *inside, struct str *out)
{
    size_t n = strlen(inside);
    if (n < 5 || strcmp(inside + n - 5, ".gguf") != 0)
        return false;
    str_adds(out, inside);
    return true;
}

/* models--ORG--REPO/snapshots/COMMIT/FILE as a user writes it. */
static bool name_hub(const char *inside, struct str *out)
{
    struct str ignored = STR_INIT;
    bool gguf = !strncmp(inside, "models--", 8) && name_gguf(inside, &ignored);
    str_free(&ignored);
    if (!gguf)
        return false;
    const char *org = inside + 8, *repo = strstr(org, "--"),
               *snapshots = strstr(org, "/snapshots/");
    const char *file = snapshots ? strchr(snapshots + 11, '/') : NULL;
    if (!repo || !file || repo > snapshots)
        return false;
    str_addf(out, "hf:%.*s/%.*s%s", (int)(repo - org), org, (int)(snapshots - repo) - 2, repo + 2,
             file);
    return true;
}

/* ERR_NOINPUT: `lacks` is absent; lists the files below root. form NULL: no list is wanted.
 * has_file: the name could be downloaded. */
static int hub_absent(const char *name, bool has_file, const char *lacks, const char *root,
                      list_name form, struct err *e)
{
    if (!form)
        FAIL(e, ERR_NOINPUT, "%s in %s", lacks, root);
    struct list l = {.text = STR_INIT};
    list_below(root, "", DEPTH_MAX, form, &l);
    struct str advice = STR_INIT;
    if (has_file)
        str_addf(&advice, "'mas pull hf:%s' downloads a file", name);
    else
        str_adds(&advice, FORM_HUB);
    err_set(e, ERR_NOINPUT, "%s in %s; there: %s; %s", lacks, root, list_text(&l, "no .gguf file"),
            advice.failed ? FORM_HUB : advice.s);
    str_free(&advice);
    str_free(&l.text);
    return ERR_NOINPUT;
}

static bool name_any(const char *inside, struct str *out)
{
    str_adds(out, inside);
    return true;
}

/* ERR_NOINPUT names the branches, tags and commits that are there. */
static int revision_absent(const char *dir, const char *revision, struct list *commits,
                           struct err *e)
{
    struct list refs = {.text = STR_INIT};
    struct str at = STR_INIT;
    str_addf(&at, "%s/refs", dir);
    if (!at.failed)
        list_below(at.s, "", DEPTH_MAX, name_any, &refs);
    err_set(e, ERR_NOINPUT,
            "there is no revision '%s' in %s; branches and tags there: %s; commits: %s; write a "
            "'/' in a branch as %%2F",
            revision, dir, list_text(&refs, "none"), list_text(commits, "none"));
    str_free(&refs.text);
    str_free(&at);
    return ERR_NOINPUT;
}

/* A commit whose files are here, by its name or the first 7 digits or more of it. */
static int hub_snapshot(const char *dir, const char *revision, struct str *out, struct err *e)
{
    size_t len = strlen(revision), hits = 0;
    bool digits = len >= 7 && strspn(revision, "0123456789abcdef") == len;
    struct list l = {.text = STR_INIT};
    struct dirent **entry = NULL;
    struct str at = STR_INIT;
    int rc = 0, n = 0;
    str_addf(&at, "%s/snapshots", dir);
    TRY_DONE(str_ok(&at, "a path", e));
    n = scandir(at.s, &entry, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        const char *name = entry[i]->d_name;
        if (name[0] == '.')
            continue;
        if (l.n++ < LIST_MAX)
            str_addf(&l.text, "%s%s", l.text.len ? ", " : "", name);
        if (!strcmp(name, revision) || (digits && !strncmp(name, revision, len))) {
            hits = strcmp(name, revision) ? hits + 1 : 1;
            str_clear(out);
            str_adds(out, name);
            if (name[len] == 0)
                break;
        }
    }
    if (!hits)
        rc = revision_absent(dir, revision, &l, e);
    else if (hits > 1)
        rc = err_set(e, ERR_NOINPUT, "'%s' begins %zu commits in %s: %s; give more digits",
                     revision, hits, at.s, list_text(&l, "none"));
    else
        rc = str_ok(out, "a commit", e);
done:
    for (int i = 0; i < n; i++)
        mem_free(entry[i]);
    mem_free(entry);
    str_free(&l.text);
    str_free(&at);
    return rc;
}

/* The commit of a revision: the one that refs/REVISION names, or else REVISION itself. */
static int hub_commit(const char *dir, const struct store_hub *h, struct str *out, struct err *e)
{
    struct str at = STR_INIT, text = STR_INIT;
    struct stat st;
    int rc = 0;
    str_addf(&at, "%s/refs/%s", dir, h->revision);
    TRY_DONE(str_ok(&at, "a path", e));
    if (stat(at.s, &st) != 0 || !S_ISREG(st.st_mode)) {
        rc = hub_snapshot(dir, h->revision, out, e);
        goto done;
    }
    TRY_DONE(read_small(at.s, &text, e));
    size_t n = strspn(text.s, "0123456789abcdefABCDEF");
    if (n < 7 || text.s[n + strspn(text.s + n, "\r\n \t")])
        TRY_DONE(err_set(e, ERR_DATA, "%s holds no commit", at.s));
    str_add(out, text.s, n);
    rc = str_ok(out, "a commit", e);
done:
    str_free(&at);
    str_free(&text);
    return rc;
}

/* brief: the caller has another file, so an error needs no list. */
static int hub_file(const char *name, const struct store_hub *h, const char *hub, bool brief,
                    struct str *path, struct err *e)
{
    struct str dir = STR_INIT, commit = STR_INIT, at = STR_INIT;
    struct stat st;
    int rc = 0;
    str_addf(&dir, "%s/models--%s--%s", hub, h->org, h->repo);
    TRY_DONE(str_ok(&dir, "a path", e));
    if (stat(dir.s, &st) != 0)
        TRY_DONE(
            hub_absent(name, *h->file, "there is no such model", hub, brief ? NULL : name_hub, e));
    TRY_DONE(hub_commit(dir.s, h, &commit, e));
    str_addf(&dir, "/snapshots/%s", commit.s);
    str_addf(&at, "%s/%s", dir.s, h->file);
    TRY_DONE(str_ok(&dir, "a path", e));
    TRY_DONE(str_ok(&at, "a path", e));
    if (!*h->file)
        TRY_DONE(
            hub_absent(name, *h->file, "no file is named", dir.s, brief ? NULL : name_gguf, e));
    if (stat(at.s, &st) != 0)
        TRY_DONE(hub_absent(name, *h->file, "there is no such file", dir.s,
                            brief ? NULL : name_gguf, e));
    str_adds(path, at.s);
    rc = str_ok(path, "a path", e);
done:
    str_free(&dir);
    str_free(&commit);
    str_free(&at);
    return rc;
}

int store_find_hub(const char *name, const struct source_places *p, struct str *path, struct err *e)
{
    struct download d = {STR_INIT, STR_INIT};
    struct str file = STR_INIT, full = STR_INIT;
    struct err own;
    struct store_hub h;
    int rc = 0;
    e = e ? e : &own;
    TRY(store_parse_hub(name, &h, e));
    TRY_DONE(store_file_hub(&h, &file, e));
    TRY_DONE(store_full_hub(&h, &full, e));
    TRY_DONE(find_download(p->models, &file, &full, &d, e));
    rc = p->hub ? hub_file(name, &h, p->hub, d.path.len > 0, path, e)
                : err_set(e, ERR_NOINPUT, "no folder of a Hugging Face cache is known");
    if (rc == ERR_NOINPUT)
        rc = else_download(rc, &d, path, e);
    if (rc < 0)
        err_wrap(e, rc, "hf:%s", name);
done:
    download_free(&d);
    str_free(&file);
    str_free(&full);
    return rc;
}
