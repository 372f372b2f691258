#include "sources.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config.h"
#include "embed.h"
#include "zio.h"

#define LIST "configs/sources.yaml"
#define LIST_MAX ((size_t)1 << 20)

/* A list while it is read. */
struct reading {
    struct sources *s;
    const char *name; /* of the file, for messages */
    struct err *e;
};

#define BAD(r, ...) return (err_set((r)->e, ERR_CONFIG, __VA_ARGS__), ERR_CONFIG)

static const char *keep(struct reading *r, const char *text)
{
    return arena_strndup(&r->s->words, text, strlen(text));
}

static void *room(struct reading *r, size_t n, size_t size)
{
    return arena_alloc(&r->s->words, n ? n : 1, size);
}

static int no_memory(struct reading *r)
{
    return NOMEM(r->e, 64, "the list of downloads");
}

/* Every key of an object must be among the known ones, which a space ends. */
static int keys_known(struct reading *r, const char *where, const json_t *o, const char *known)
{
    const char *key;
    json_t *value;
    if (!json_is_object(o))
        BAD(r, "%s: %s must be a mapping", r->name, where);
    json_object_foreach((json_t *)(uintptr_t)o, key, value)
    {
        size_t n = strlen(key);
        bool found = false;
        for (const char *at = known; *at && !found;) {
            size_t word = strcspn(at, " ");
            found = word == n && !strncmp(at, key, n);
            at += word + strspn(at + word, " ");
        }
        if (!found)
            BAD(r, "%s: %s has an unknown key '%s'; known: %s", r->name, where, key, known);
    }
    return 0;
}

/* A text; NULL when the key is absent and may be. */
static int text_of(struct reading *r, const char *where, const json_t *o, const char *key,
                   bool needed, const char **out)
{
    const json_t *v = json_object_get(o, key);
    const char *text = json_string_value(v);
    *out = NULL;
    if (!v && !needed)
        return 0;
    if (!v)
        BAD(r, "%s: %s: '%s' is missing", r->name, where, key);
    if (!text || !*text)
        BAD(r, "%s: %s: '%s' must be a text", r->name, where, key);
    *out = keep(r, text);
    return *out ? 0 : no_memory(r);
}

/* One text, or a list of texts. */
static int texts_of(struct reading *r, const char *where, const json_t *o, const char *key,
                    const char *const **out, size_t *n)
{
    const json_t *v = json_object_get(o, key), *one = v;
    size_t count = json_is_array(v) ? json_array_size(v) : 1;
    const char **text = room(r, count, sizeof *text);
    if (!v)
        BAD(r, "%s: %s: '%s' is missing", r->name, where, key);
    if (!text)
        return no_memory(r);
    for (size_t i = 0; i < count; i++) {
        if (json_is_array(v))
            one = json_array_get(v, i);
        if (!json_is_string(one) || !*json_string_value(one))
            BAD(r, "%s: %s: '%s' must be a text or a list of texts", r->name, where, key);
        text[i] = keep(r, json_string_value(one));
        if (!text[i])
            return no_memory(r);
    }
    if (!count)
        BAD(r, "%s: %s: '%s' must name at least one", r->name, where, key);
    *out = text;
    *n = count;
    return 0;
}

static int folders_of(struct reading *r, const json_t *root)
{
    const json_t *o = json_object_get(root, "folders");
    TRY(keys_known(r, "folders", o, "models data"));
    TRY(text_of(r, "folders", o, "models", true, &r->s->places.models));
    return text_of(r, "folders", o, "data", true, &r->s->data);
}

/* An address of a server: http or https, without a slash at its end. */
static int server_check(struct reading *r, const char *where, const char *s)
{
    bool web = !strncmp(s, "https://", 8) || !strncmp(s, "http://", 7);
    const char *host = web ? strchr(s, ':') + 3 : "";
    if (!*host || host[strcspn(host, "/?#@")])
        BAD(r, "%s: %s: '%s' must be https://HOST or http://HOST, with a port at most", r->name,
            where, s);
    return 0;
}

static int servers_of(struct reading *r, const json_t *root)
{
    const json_t *o = json_object_get(root, "servers");
    TRY(keys_known(r, "servers", o, "hf ollama"));
    TRY(text_of(r, "servers", o, "hf", true, &r->s->hf));
    TRY(text_of(r, "servers", o, "ollama", true, &r->s->ollama));
    TRY(server_check(r, "servers", r->s->hf));
    return server_check(r, "servers", r->s->ollama);
}

static int mirrors_of(struct reading *r, const json_t *root)
{
    const json_t *list = json_object_get(root, "mirrors");
    size_t n = json_array_size(list);
    if (list && !json_is_array(list))
        BAD(r, "%s: mirrors must be a list", r->name);
    r->s->mirror = room(r, n, sizeof *r->s->mirror);
    if (!r->s->mirror)
        return no_memory(r);
    for (size_t i = 0; i < n; i++) {
        struct sources_mirror *m = &r->s->mirror[i];
        TRY(keys_known(r, "mirrors", json_array_get(list, i), "of at"));
        TRY(text_of(r, "mirrors", json_array_get(list, i), "of", true, &m->of));
        TRY(texts_of(r, "mirrors", json_array_get(list, i), "at", &m->at, &m->n_at));
    }
    r->s->n_mirror = n;
    return 0;
}

static int tokens_of(struct reading *r, const json_t *root)
{
    const json_t *list = json_object_get(root, "tokens");
    size_t n = json_array_size(list);
    if (list && !json_is_array(list))
        BAD(r, "%s: tokens must be a list", r->name);
    r->s->token = room(r, n, sizeof *r->s->token);
    if (!r->s->token)
        return no_memory(r);
    for (size_t i = 0; i < n; i++) {
        struct sources_token *t = &r->s->token[i];
        TRY(keys_known(r, "tokens", json_array_get(list, i), "at env file"));
        TRY(text_of(r, "tokens", json_array_get(list, i), "at", true, &t->at));
        TRY(text_of(r, "tokens", json_array_get(list, i), "env", false, &t->env));
        TRY(text_of(r, "tokens", json_array_get(list, i), "file", false, &t->file));
        TRY(server_check(r, "tokens", t->at));
    }
    r->s->n_token = n;
    return 0;
}

static int entry_check(struct reading *r, const struct sources_entry *n, const char *bytes)
{
    int64_t size = 0;
    if (n->name[strcspn(n->name, "/:")] || !strcmp(n->name, "demo"))
        BAD(r, "%s: '%s' is no name: it has a '/' or ':', or is demo", r->name, n->name);
    if (n->file[0] == '.' || n->file[strcspn(n->file, "/")] || !*n->file)
        BAD(r, "%s: %s: '%s' is no name of a file; give one with 'file'", r->name, n->name,
            n->file);
    if (bytes && !str_to_i64(bytes, 1, INT64_MAX, &size))
        BAD(r, "%s: %s: bytes is '%s'; it takes a whole number from 1", r->name, n->name, bytes);
    return 0;
}

static int entry_of(struct reading *r, const char *name, const json_t *o, struct sources_entry *n)
{
    const char *bytes;
    int64_t size = 0;
    TRY(keys_known(r, name, o, "about get file sha256 bytes"));
    n->name = keep(r, name);
    if (!n->name)
        return no_memory(r);
    TRY(texts_of(r, name, o, "get", &n->get, &n->n_get));
    TRY(text_of(r, name, o, "about", false, &n->about));
    TRY(text_of(r, name, o, "file", false, &n->file));
    TRY(text_of(r, name, o, "sha256", false, &n->sha256));
    TRY(text_of(r, name, o, "bytes", false, &bytes));
    if (!n->file)
        n->file = strrchr(n->get[0], '/') ? strrchr(n->get[0], '/') + 1 : "";
    TRY(entry_check(r, n, bytes));
    if (n->sha256) {
        struct err why = {.code = 0};
        int rc = sources_digest(r->s, n->sha256, &n->sha256, "sha256", &why);
        if (rc < 0)
            return err_set(r->e, rc == ERR_USAGE ? ERR_CONFIG : rc, "%s: %s: %s", r->name, n->name,
                           why.msg);
    }
    if (bytes)
        (void)str_to_i64(bytes, 1, INT64_MAX, &size); /* entry_check has seen it */
    n->bytes = (uint64_t)size;
    return 0;
}

static int entries_of(struct reading *r, const json_t *root)
{
    json_t *models = json_object_get(root, "models"), *data = json_object_get(root, "data"), *o;
    struct sources *s = r->s;
    const char *name;
    if (!json_is_object(models) || !json_is_object(data))
        BAD(r, "%s: models and data must be mappings of names", r->name);
    size_t n = json_object_size(models), all = n + json_object_size(data);
    struct source_known *known = room(r, n, sizeof *known);
    s->entry = room(r, all, sizeof *s->entry);
    if (!known || !s->entry)
        return no_memory(r);
    json_object_foreach(models, name, o)
    {
        struct sources_entry *one = &s->entry[s->n_entry];
        TRY(entry_of(r, name, o, one));
        known[s->n_entry++] = (struct source_known){.name = one->name, .file = one->file};
    }
    s->n_model = s->n_entry;
    json_object_foreach(data, name, o)
    {
        if (sources_find(s, name))
            BAD(r, "%s: '%s' is a model and data, too", r->name, name);
        TRY(entry_of(r, name, o, &s->entry[s->n_entry]));
        s->entry[s->n_entry++].data = true;
    }
    s->places.known = known;
    s->places.n_known = s->n_model;
    return 0;
}

static int list_of(struct reading *r, const json_t *root)
{
    TRY(keys_known(r, "the list", root, "folders servers mirrors tokens models data"));
    TRY(folders_of(r, root));
    TRY(servers_of(r, root));
    TRY(mirrors_of(r, root));
    TRY(tokens_of(r, root));
    return entries_of(r, root);
}

/* HF_ENDPOINT names another server of hf: names, as in Hugging Face's own programs. */
static int endpoint_of(struct sources *s, struct err *e)
{
    const char *value = getenv("HF_ENDPOINT");
    size_t n = value ? strlen(value) : 0;
    while (n && value[n - 1] == '/')
        n--;
    if (!n)
        return 0;
    s->hf = arena_strndup(&s->words, value, n);
    return s->hf ? 0 : NOMEM(e, n, "HF_ENDPOINT");
}

/* ---- folders --------------------------------------------------------------------------------- */

/* $variable/tail, or the default when the variable is not set. */
static const char *folder(struct sources *s, const char *variable, const char *tail)
{
    const char *value = getenv(variable);
    return value && *value ? arena_printf(&s->words, "%s%s", value, tail) : NULL;
}

static void find_folders(struct sources *s)
{
    static const char *const hub[][2] = {{"HF_HUB_CACHE", ""},
                                         {"HUGGINGFACE_HUB_CACHE", ""},
                                         {"HF_HOME", "/hub"},
                                         {"XDG_CACHE_HOME", "/huggingface/hub"},
                                         {"HOME", "/.cache/huggingface/hub"}};
    struct source_places *p = &s->places;
    size_t n = 0;
    for (size_t i = 0; i < sizeof hub / sizeof hub[0] && !p->hub; i++)
        p->hub = folder(s, hub[i][0], hub[i][1]);
    p->ollama[n] = folder(s, "OLLAMA_MODELS", "");
    if (p->ollama[n])
        return;
    p->ollama[n] = folder(s, "HOME", "/.ollama/models");
    n += p->ollama[n] != NULL;
    p->ollama[n] = "/usr/share/ollama/.ollama/models";
}

int sources_home(const char *path, struct str *out, struct err *e)
{
    const char *home = getenv("HOME");
    if (path[0] == '~' && path[1] == '/' && home)
        str_addf(out, "%s%s", home, path + 1);
    else
        str_adds(out, path);
    return str_ok(out, "a path", e);
}

/* ---- the list -------------------------------------------------------------------------------- */

static int read_list(const char *file, struct str *json, struct err *e)
{
    struct str text = STR_INIT;
    int rc = 0;
    if (!file) {
        const struct embed_file *in = embed_find(LIST);
        if (!in)
            FAIL(e, ERR_BUG, "there is no " LIST " in the program");
        return config_yaml_to_json(in->data, in->size, LIST, json, e);
    }
    rc = zio_read(file, LIST_MAX, &text, e);
    if (rc == 0)
        rc = config_yaml_to_json(text.s, text.len, file, json, e);
    str_free(&text);
    return rc;
}

int sources_digest(struct sources *s, const char *text, const char **out, const char *of,
                   struct err *e)
{
    size_t n = strlen(text);
    if (n != 64 || strspn(text, "0123456789abcdefABCDEF") != 64)
        FAIL(e, ERR_USAGE, "%s is '%s'; it takes 64 hex digits", of, text);
    char *kept = arena_strndup(&s->words, text, n);
    if (!kept)
        return NOMEM(e, n, "a digest");
    for (char *p = kept; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    *out = kept;
    return 0;
}

/* Adds the sections that the list lacks, from the list in the program. */
static int add_sections(json_t *root, struct err *e)
{
    struct str json = STR_INIT;
    json_t *own = NULL;
    int rc = 0;
    if (!json_is_object(root))
        return 0; /* list_of refuses it */
    TRY_DONE(read_list(NULL, &json, e));
    own = json_loadb(json.s, json.len, 0, NULL);
    if (!own || json_object_update_missing(root, own) != 0)
        rc = NOMEM(e, json.len, "the list of downloads");
done:
    json_decref(own);
    str_free(&json);
    return rc;
}

int sources_open(const char *file, struct sources *out, struct err *e)
{
    struct sources s = {.data = NULL};
    struct str json = STR_INIT;
    json_t *root = NULL;
    int rc = 0;
    if (!file)
        file = getenv("MAS_SOURCES");
    if (file && !*file)
        file = NULL;
    TRY_DONE(read_list(file, &json, e));
    root = json_loadb(json.s, json.len, 0, NULL);
    if (!root)
        TRY_DONE(NOMEM(e, json.len, "the list of downloads"));
    if (file)
        TRY_DONE(add_sections(root, e));
    struct reading r = {.s = &s, .name = file ? file : LIST, .e = e};
    TRY_DONE(list_of(&r, root));
    TRY_DONE(endpoint_of(&s, e));
    find_folders(&s);
    *out = s;
done:
    if (rc < 0)
        sources_close(&s);
    json_decref(root);
    str_free(&json);
    return rc;
}

void sources_close(struct sources *s)
{
    arena_free(&s->words);
    *s = (struct sources){.data = NULL};
}

const struct sources_entry *sources_find(const struct sources *s, const char *name)
{
    for (size_t i = 0; i < s->n_entry; i++)
        if (!strcmp(s->entry[i].name, name))
            return &s->entry[i];
    return NULL;
}

/* ---- names ----------------------------------------------------------------------------------- */

int sources_model(const char *name, struct str *path, struct err *e)
{
    struct sources s = {.data = NULL};
    int rc = sources_open(NULL, &s, e);
    if (rc == 0)
        rc = source_find(name, &s.places, path, e);
    sources_close(&s);
    return rc;
}

int sources_gguf(const char *name, struct gguf **out, struct err *e)
{
    struct sources s = {.data = NULL};
    int rc = sources_open(NULL, &s, e);
    if (rc == 0)
        rc = source_open_from(name, &s.places, out, e);
    sources_close(&s);
    return rc;
}

/* A name of the list's data, its file in the folder. */
static int data_of(const struct sources *s, const char *name, struct str *path, struct err *e)
{
    const struct sources_entry *n = sources_find(s, name);
    struct stat st;
    if (!n || !n->data) {
        struct source_known all[1] = {{.name = NULL}};
        for (size_t i = s->n_model; i < s->n_entry; i++) {
            all[0].name = s->entry[i].name;
            if (source_nearest(name, all, 1))
                FAIL(e, ERR_NOINPUT, "cannot open '%s': there is no such file; did you mean '%s'?",
                     name, all[0].name);
        }
        str_adds(path, name);
        return str_ok(path, "a path", e);
    }
    str_addf(path, "%s/%s", s->data, n->file);
    TRY(str_ok(path, "a path", e));
    if (stat(path->s, &st) != 0)
        FAIL(e, ERR_NOINPUT,
             "the questions '%s' are not here: there is no %s; 'mas pull %s' "
             "downloads them",
             name, path->s, name);
    return 0;
}

int sources_data(const char *name, struct str *path, struct err *e)
{
    struct sources s = {.data = NULL};
    struct stat st;
    if (stat(name, &st) == 0 || strchr(name, '/')) {
        str_adds(path, name);
        return str_ok(path, "a path", e);
    }
    int rc = sources_open(NULL, &s, e);
    if (rc == 0)
        rc = data_of(&s, name, path, e);
    sources_close(&s);
    return rc;
}
