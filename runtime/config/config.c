#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <yaml.h>

#include "check.h"
#include "embed.h"
#include "mem.h"
#include "text.h"
#include "zio.h"

#define CONFIG_FILE_MAX ((size_t)1 << 20) /* bytes; a config has a page or two */
#define CONFIG_NODES_MAX 2000             /* keys and values of one file */
#define CONFIG_BASES_MAX 8                /* files in one chain of _base */
#define CONFIG_PATH_MAX 4096

/* ---- YAML events, strictly ------------------------------------------------------------------- */

/* A document that is being read by libyaml. It refuses the faults that both readers below
 * refuse. */
struct doc {
    const char *name; /* for messages */
    int line;         /* of the current event, from 1 */
    int nodes;        /* scalars read so far */
    bool ended;       /* the first document of the file has ended */
};

#define DOC_FAIL(d, e, ...) return doc_fail(d, err_set((e), ERR_CONFIG, __VA_ARGS__), e)

static int doc_fail(const struct doc *d, int rc, struct err *e)
{
    return err_wrap(e, rc, "%s:%d", d->name, d->line);
}

static bool is_null(const yaml_event_t *ev)
{
    const char *s = (const char *)ev->data.scalar.value;
    return ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*s || !strcmp(s, "~") || !strcmp(s, "null"));
}

/* The anchor and the tag of an event, NULL if it has none. */
static void event_marks(const yaml_event_t *ev, const unsigned char **anchor,
                        const unsigned char **tag)
{
    *anchor = *tag = NULL;
    if (ev->type == YAML_SCALAR_EVENT) {
        *anchor = ev->data.scalar.anchor;
        *tag = ev->data.scalar.tag;
    } else if (ev->type == YAML_SEQUENCE_START_EVENT) {
        *anchor = ev->data.sequence_start.anchor;
        *tag = ev->data.sequence_start.tag;
    } else if (ev->type == YAML_MAPPING_START_EVENT) {
        *anchor = ev->data.mapping_start.anchor;
        *tag = ev->data.mapping_start.tag;
    }
}

static int doc_check(struct doc *d, const yaml_event_t *ev, struct err *e)
{
    const unsigned char *anchor, *tag;
    event_marks(ev, &anchor, &tag);
    if (anchor || ev->type == YAML_ALIAS_EVENT)
        DOC_FAIL(d, e, "anchors and aliases are not allowed; write the value out");
    if (tag)
        DOC_FAIL(d, e, "tag '%.*s' is not allowed; remove it", OPTION_DISPLAY, (const char *)tag);
    if (ev->type == YAML_SCALAR_EVENT) {
        if (memchr(ev->data.scalar.value, 0, ev->data.scalar.length))
            DOC_FAIL(d, e, "a NUL byte in '%.*s..'; remove it", OPTION_DISPLAY,
                     (const char *)ev->data.scalar.value);
        if (++d->nodes > CONFIG_NODES_MAX)
            DOC_FAIL(d, e, "more than %d keys and values; shorten the file", CONFIG_NODES_MAX);
    } else if (ev->type == YAML_DOCUMENT_START_EVENT) {
        if (d->ended)
            DOC_FAIL(d, e, "a second YAML document; one file is one document");
        if (ev->data.document_start.tag_directives.start !=
            ev->data.document_start.tag_directives.end)
            DOC_FAIL(d, e, "a %%TAG directive is not allowed; remove it");
    } else if (ev->type == YAML_DOCUMENT_END_EVENT) {
        d->ended = true;
    }
    return 0;
}

static int doc_problem(const struct doc *d, const yaml_parser_t *p, struct err *e)
{
    const char *what = p->problem ? p->problem : "unknown problem";
    if (p->error == YAML_MEMORY_ERROR)
        FAIL(e, ERR_NOMEM, "out of memory while reading %s", d->name);
    if (p->error == YAML_READER_ERROR)
        FAIL(e, ERR_CONFIG, "%s: not valid UTF-8 text at byte %zu: %s", d->name, p->problem_offset,
             what);
    FAIL(e, ERR_CONFIG, "%s:%zu: not valid YAML: %s", d->name, p->problem_mark.line + 1, what);
}

/* Passes each event to on_event(reader, event). Every kind of line end of YAML is accepted. */
static int doc_read(struct doc *d, const char *text, size_t n,
                    int (*on_event)(void *reader, const yaml_event_t *ev, struct err *e),
                    void *reader, struct err *e)
{
    yaml_parser_t p;
    bool more = true;
    int rc = 0;
    TRY(text_check(text, n, d->name, ERR_CONFIG, e));
    size_t mark = text_mark(text, n);
    text += mark;
    n -= mark;
    if (!yaml_parser_initialize(&p))
        FAIL(e, ERR_NOMEM, "out of memory while reading %s", d->name);
    yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p, (const unsigned char *)text, n);
    while (more && rc == 0) {
        yaml_event_t ev;
        if (!yaml_parser_parse(&p, &ev)) {
            rc = doc_problem(d, &p, e);
            break;
        }
        d->line = (int)ev.start_mark.line + 1;
        more = ev.type != YAML_STREAM_END_EVENT;
        rc = doc_check(d, &ev, e);
        if (rc == 0)
            rc = on_event(reader, &ev, e);
        yaml_event_delete(&ev);
    }
    yaml_parser_delete(&p);
    return rc;
}

/* ---- a configuration as a flat list of entries ----------------------------------------------- */

struct entry {
    const char *key;   /* "kv.type", with a dot even if it was written nested */
    const char **item; /* (n) */
    int n;
    size_t cap;
    int line; /* of the key, from 1 */
    bool is_list;
    bool is_group; /* the key holds a mapping; its keys follow as entries of their own */
    bool quoted;
};

struct file {
    const char *name;                 /* for messages */
    const struct embed_file *builtin; /* NULL: a file on disk */
    const char *deep;                 /* the group whose keys may be nested deeper; NULL = none */
    dev_t dev;                        /* with ino: identity of the file, for cycles */
    ino_t ino;
    struct entry *entry; /* (n), in the order of the file */
    size_t n, cap;
};

/* The position of the reader: in the root mapping, in the mapping of `group`, or in a list. */
struct reader {
    struct doc doc;
    struct file *file;
    struct arena *arena;
    int depth; /* open mappings: 0 before the root, 1 in it, 2 or more in groups */
    bool in_list;
    const char *group[CONFIG_DEPTH + 1]; /* by depth; NULL in the root mapping */
    const char *key;                     /* waits for its value; NULL: a key comes next */
    int key_line;
};

static int reader_add(struct reader *r, struct entry **out, struct err *e)
{
    struct file *f = r->file;
    for (size_t i = 0; i < f->n; i++)
        if (!strcmp(f->entry[i].key, r->key)) {
            r->doc.line = r->key_line;
            DOC_FAIL(&r->doc, e, "duplicate key '%.*s', first on line %d; keep one", OPTION_DISPLAY,
                     r->key, f->entry[i].line);
        }
    TRY(mem_grow(&f->entry, &f->cap, f->n + 1, sizeof *f->entry, "configuration entries", e));
    f->entry[f->n] = (struct entry){.key = r->key, .line = r->key_line};
    *out = &f->entry[f->n++];
    r->key = NULL;
    return 0;
}

static int reader_item(struct reader *r, const char *text, size_t n, struct err *e)
{
    struct entry *en = &r->file->entry[r->file->n - 1];
    TRY(mem_grow(&en->item, &en->cap, (size_t)en->n + 1, sizeof *en->item, "a list", e));
    char *copy = arena_strndup(r->arena, text, n);
    if (!copy)
        return NOMEM(e, n, "a configuration value");
    en->item[en->n++] = copy;
    return 0;
}

static int reader_key(struct reader *r, const char *text, size_t n, struct err *e)
{
    if (n == 0 || n > 128)
        DOC_FAIL(&r->doc, e, "a key of %zu bytes is none of ours; keys have 1 to 63", n);
    const char *group = r->group[r->depth];
    r->key =
        group ? arena_printf(r->arena, "%s.%s", group, text) : arena_strndup(r->arena, text, n);
    r->key_line = r->doc.line;
    return r->key ? 0 : NOMEM(e, n, "a configuration key");
}

static int reader_scalar(struct reader *r, const yaml_event_t *ev, struct err *e)
{
    const char *text = (const char *)ev->data.scalar.value;
    size_t n = ev->data.scalar.length;
    if (!r->depth)
        DOC_FAIL(&r->doc, e, "expected 'key: value' lines, got '%.*s'", OPTION_DISPLAY, text);
    if (!r->in_list && !r->key)
        return reader_key(r, text, n, e);
    if (is_null(ev))
        DOC_FAIL(&r->doc, e, "'%s' has no value; write one or remove the key",
                 r->in_list ? r->file->entry[r->file->n - 1].key : r->key);
    if (!r->in_list) {
        struct entry *en;
        TRY(reader_add(r, &en, e));
        en->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    }
    return reader_item(r, text, n, e);
}

static int reader_list(struct reader *r, struct err *e)
{
    struct entry *en;
    if (!r->key || r->in_list)
        DOC_FAIL(&r->doc, e, "a list is not allowed here; only 'key: [a, b]' is");
    TRY(reader_add(r, &en, e));
    en->is_list = true;
    r->in_list = true;
    return 0;
}

/* Is the key the group itself, or one below it? group NULL: no. */
static bool in_group(const char *group, const char *key)
{
    size_t n = group ? strlen(group) : 0;
    return n && !strncmp(key, group, n) && (!key[n] || key[n] == '.');
}

static int reader_mapping(struct reader *r, struct err *e)
{
    struct entry *en;
    if (r->depth == 0) {
        r->depth = 1;
        return 0;
    }
    const char *group = r->key;
    const int most = group && in_group(r->file->deep, group) ? CONFIG_DEPTH : 2;
    if (!group || r->in_list || r->depth >= most)
        DOC_FAIL(&r->doc, e, "a mapping is not allowed here; keys are nested at most %d deep",
                 most);
    TRY(reader_add(r, &en, e));
    en->is_group = true;
    r->group[++r->depth] = group;
    return 0;
}

static int reader_event(void *reader, const yaml_event_t *ev, struct err *e)
{
    struct reader *r = reader;
    switch (ev->type) {
    case YAML_SCALAR_EVENT:
        return reader_scalar(r, ev, e);
    case YAML_SEQUENCE_START_EVENT:
        return reader_list(r, e);
    case YAML_SEQUENCE_END_EVENT:
        r->in_list = false;
        return 0;
    case YAML_MAPPING_START_EVENT:
        return reader_mapping(r, e);
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        return 0;
    default: /* start and end of stream and document */
        return 0;
    }
}

/* Reads text into f->entry. */
static int file_parse(struct file *f, const char *text, size_t n, struct arena *a, struct err *e)
{
    struct reader r = {.doc = {.name = f->name}, .file = f, .arena = a};
    TRY(doc_read(&r.doc, text, n, reader_event, &r, e));
    if (f->n == 0)
        FAIL(e, ERR_CONFIG, "%s: holds no key; write at least 'model: PATH' or '_base: NAME'",
             f->name);
    return 0;
}

static void file_free(struct file *f)
{
    for (size_t i = 0; i < f->n; i++)
        mem_free(f->entry[i].item);
    mem_free(f->entry);
}

/* ---- any document as JSON -------------------------------------------------------------------- */

#define JSON_DEPTH_MAX 8

struct json_key { /* a key that an open mapping has already had */
    const char *name;
    struct json_key *next;
};

struct json_level {
    bool is_list;
    bool has_key; /* mapping: its key is written, the value comes next */
    int n;        /* keys or items so far */
    struct json_key *keys;
};

struct json_writer {
    struct doc doc;
    struct str *out;
    struct arena arena;
    int depth;
    struct json_level level[JSON_DEPTH_MAX];
};

static int json_key(struct json_writer *w, struct json_level *at, const char *name, size_t n,
                    struct err *e)
{
    struct json_key *k = arena_alloc(&w->arena, 1, sizeof *k);
    char *copy = arena_strndup(&w->arena, name, n);
    if (!k || !copy)
        return NOMEM(e, n, "a key");
    for (const struct json_key *old = at->keys; old; old = old->next)
        if (!strcmp(old->name, name))
            DOC_FAIL(&w->doc, e, "duplicate key '%.*s'; keep one", OPTION_DISPLAY, name);
    *k = (struct json_key){copy, at->keys};
    at->keys = k;
    str_adds(w->out, at->n++ ? ", " : "");
    str_add_json(w->out, name, n);
    str_adds(w->out, ": ");
    at->has_key = true;
    return 0;
}

/* Before a value is written: writes the comma of a list, or uses up the key of a mapping. */
static int json_value(struct json_writer *w, struct err *e)
{
    struct json_level *at = w->depth ? &w->level[w->depth - 1] : NULL;
    if (at && !at->is_list && !at->has_key)
        DOC_FAIL(&w->doc, e, "a key must be plain text, not a list or mapping");
    if (at && at->is_list)
        str_adds(w->out, at->n++ ? ", " : "");
    if (at)
        at->has_key = false;
    return 0;
}

static int json_scalar(struct json_writer *w, const yaml_event_t *ev, struct err *e)
{
    const char *text = (const char *)ev->data.scalar.value;
    struct json_level *at = w->depth ? &w->level[w->depth - 1] : NULL;
    if (at && !at->is_list && !at->has_key)
        return json_key(w, at, text, ev->data.scalar.length, e);
    if (is_null(ev))
        DOC_FAIL(&w->doc, e, "a key or list item has no value; write one or remove it");
    TRY(json_value(w, e));
    str_add_json(w->out, text, ev->data.scalar.length);
    return 0;
}

static int json_open(struct json_writer *w, bool is_list, struct err *e)
{
    TRY(json_value(w, e));
    if (w->depth == JSON_DEPTH_MAX)
        DOC_FAIL(&w->doc, e, "nested more than %d deep", JSON_DEPTH_MAX);
    w->level[w->depth++] = (struct json_level){.is_list = is_list};
    str_addc(w->out, is_list ? '[' : '{');
    return 0;
}

static int json_event(void *writer, const yaml_event_t *ev, struct err *e)
{
    struct json_writer *w = writer;
    switch (ev->type) {
    case YAML_SCALAR_EVENT:
        return json_scalar(w, ev, e);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return json_open(w, ev->type == YAML_SEQUENCE_START_EVENT, e);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        str_addc(w->out, ev->type == YAML_SEQUENCE_END_EVENT ? ']' : '}');
        w->depth--;
        return 0;
    default:
        return 0;
    }
}

int config_yaml_to_json(const char *text, size_t n, const char *name, struct str *json,
                        struct err *e)
{
    struct str out = STR_INIT;
    struct json_writer w = {
        .doc = {.name = name}, .out = &out, .arena = {.limit = 16 * CONFIG_FILE_MAX}};
    int rc = 0;
    if (n > CONFIG_FILE_MAX)
        FAIL(e, ERR_CONFIG, "%s: %zu bytes; the limit is %zu", name, n, CONFIG_FILE_MAX);
    TRY_DONE(doc_read(&w.doc, text, n, json_event, &w, e));
    if (!out.len && !out.failed) {
        rc = err_set(e, ERR_CONFIG, "%s: holds no document", name);
        goto done;
    }
    TRY_DONE(str_ok(&out, name, e));
    size_t before = json->len;
    str_add(json, out.s, out.len);
    rc = str_ok(json, name, e);
    if (rc < 0 && json->cap)
        json->len = before;
done:
    str_free(&out);
    arena_free(&w.arena);
    return rc;
}

/* ---- finding files --------------------------------------------------------------------------- */

/* The built-in config of that name: configs/NAME.yaml. NULL for names that are paths. */
static const struct embed_file *builtin_find(const char *name)
{
    char path[128];
    if (strpbrk(name, "/.") || strlen(name) > 64)
        return NULL;
    snprintf(path, sizeof path, "configs/%s.yaml", name);
    return embed_find(path);
}

/* Finds the file `name`, which is written in the file `from` (NULL: on the command line). */
static int file_locate(struct file *f, const char *name, const struct file *from, struct arena *a,
                       struct err *e)
{
    struct stat st;
    const char *slash = from && !from->builtin && *name != '/' ? strrchr(from->name, '/') : NULL;
    if (strlen(name) > CONFIG_PATH_MAX)
        FAIL(e, ERR_NOINPUT, "cannot open a config file with a name of %zu bytes; the limit is %d",
             strlen(name), CONFIG_PATH_MAX);
    *f = (struct file){
        .name = slash ? arena_printf(a, "%.*s%s", (int)(slash - from->name + 1), from->name, name)
                      : arena_strndup(a, name, strlen(name))};
    if (!f->name)
        return NOMEM(e, strlen(name), "a path");
    if (from && from->builtin) { /* siblings of a built-in file are built in */
        const char *path = arena_printf(a, "configs/%s", name);
        if (!path)
            return NOMEM(e, strlen(name), "a path");
        if ((f->builtin = embed_find(path)))
            return 0;
    } else if (stat(f->name, &st) == 0 && !(S_ISDIR(st.st_mode) && builtin_find(name))) {
        f->dev = st.st_dev;
        f->ino = st.st_ino;
        return 0;
    }
    int why = errno;
    if ((f->builtin = builtin_find(name)))
        return 0;
    if (strpbrk(name, "/."))
        FAIL(e, ERR_NOINPUT,
             "cannot open config file '%s': %s; a built-in one is named without '/' "
             "and '.', as in -c demo",
             f->name, from && from->builtin ? "not built in" : strerror(why));
    FAIL(e, ERR_NOINPUT,
         "no config file '%s' here and none of that name is built in; give a path "
         "or a built-in name such as demo",
         name);
}

static int file_read(struct file *f, struct arena *a, struct err *e)
{
    struct str text = STR_INIT;
    if (f->builtin)
        return file_parse(f, f->builtin->data, f->builtin->size, a, e);
    int rc = zio_read(f->name, CONFIG_FILE_MAX, &text, e);
    if (rc == 0)
        rc = file_parse(f, text.s, text.len, a, e);
    str_free(&text);
    return rc;
}

static bool file_same(const struct file *a, const struct file *b)
{
    return a->builtin || b->builtin ? a->builtin == b->builtin
                                    : a->dev == b->dev && a->ino == b->ino;
}

/* The chain "a.yaml -> b.yaml -> a.yaml" for messages. */
static void chain_names(const struct file *chain, int n, const char *last, struct str *out)
{
    for (int i = 0; i < n; i++)
        str_addf(out, "%s -> ", chain[i].name);
    str_adds(out, last);
}

/* The value of _base, NULL when there is none. */
static int file_base(const struct file *f, const char **base, struct err *e)
{
    *base = NULL;
    for (size_t i = 0; i < f->n; i++) {
        const struct entry *en = &f->entry[i];
        if (strcmp(en->key, "_base"))
            continue;
        if (en->is_list || en->is_group || !*en->item[0])
            FAIL(e, ERR_CONFIG, "%s:%d: _base takes one file name", f->name, en->line);
        *base = en->item[0];
    }
    return 0;
}

/* Reads name and everything below it; chain[0] is name, chain[*n - 1] the lowest base. deep: the
 * group whose keys may be nested deeper. */
static int chain_read(struct file chain[CONFIG_BASES_MAX], int *n, const char *name,
                      const char *deep, struct arena *a, struct err *e)
{
    struct str path = STR_INIT;
    int rc = 0;
    while (name) {
        struct file f, *from = *n ? &chain[*n - 1] : NULL;
        rc = file_locate(&f, name, from, a, e);
        if (rc < 0 && from)
            err_wrap(e, rc, "%s: _base", from->name);
        TRY_DONE(rc);
        bool cycle = false;
        for (int i = 0; i < *n; i++)
            cycle |= file_same(&chain[i], &f);
        if (cycle || *n == CONFIG_BASES_MAX) {
            chain_names(chain, *n, f.name, &path);
            TRY_DONE(str_ok(&path, "a message", e));
            rc = cycle
                     ? err_set(e, ERR_CONFIG, "%s: _base leads back to itself: %s", chain[0].name,
                               path.s)
                     : err_set(e, ERR_CONFIG, "%s: more than %d files inherit from each other: %s",
                               chain[0].name, CONFIG_BASES_MAX, path.s);
            goto done;
        }
        struct file *top = &chain[(*n)++];
        *top = f;
        top->deep = deep;
        TRY_DONE(file_read(top, a, e));
        TRY_DONE(file_base(top, &name, e));
    }
done:
    str_free(&path);
    return rc;
}

/* ---- applying -------------------------------------------------------------------------------- */

static int unknown_key(const struct config *c, const char *key, struct err *e)
{
    struct str near = STR_INIT;
    if (config_is_group(c, key))
        FAIL(e, ERR_CONFIG, "'%s' is a group of keys and takes no value; set one of %s.*", key,
             key);
    config_nearest(c, key, &near);
    int rc = str_ok(&near, "a message", e);
    if (rc == 0 && near.len)
        rc = err_set(e, ERR_CONFIG, "unknown key '%.*s'; nearest is %s", OPTION_DISPLAY, key,
                     near.s);
    else if (rc == 0)
        rc = err_set(e, ERR_CONFIG, "unknown key '%.*s'; configs/llama3_70b.yaml lists all keys",
                     OPTION_DISPLAY, key);
    str_free(&near);
    return rc;
}

/* The name of an entry in the key of a map, NULL for other rows. */
static const char *entry_name(const struct option_row *r, const char *key)
{
    return option_is_map(r) ? key + strlen(r->key) + 1 : NULL;
}

/* Keeps a key of the configuration's group as text. */
static int group_add(struct config *c, const char *key, const struct option_value *v, struct err *e)
{
    key += strlen(c->group);
    if (*key++ != '.')
        FAIL(e, ERR_CONFIG, "%s is a group of keys and takes no value", c->group);
    TRY(mem_grow(&c->entry, &c->cap_entry, c->n_entry + 1, sizeof *c->entry,
                 "configuration entries", e));
    const char **item = arena_alloc(&c->words, (size_t)v->n + 1, sizeof *item);
    struct config_entry en = {.key = arena_strndup(&c->words, key, strlen(key)),
                              .item = item,
                              .n = v->n,
                              .is_list = v->is_list,
                              .origin = arena_strndup(&c->words, v->origin, strlen(v->origin))};
    bool whole = item && en.key && en.origin;
    for (int i = 0; whole && i < v->n; i++)
        whole = (item[i] = arena_strndup(&c->words, v->item[i], strlen(v->item[i]))) != NULL;
    if (!whole)
        return NOMEM(e, strlen(key), "a configuration value");
    for (size_t i = 0; i < c->n_entry; i++)
        c->entry[i].replaced |= !strcmp(c->entry[i].key, key);
    c->entry[c->n_entry++] = en;
    return 0;
}

static int entry_apply(struct config *c, const struct file *f, const struct entry *en,
                       struct err *e)
{
    char origin[CONFIG_PATH_MAX + 16];
    const void *at;
    const struct option_row *r = config_find(c, en->key, &at);
    const bool own = in_group(c->group, en->key);
    if (!strcmp(en->key, "_base") || (en->is_group && (own || config_is_group(c, en->key))))
        return 0;
    if (r && en->is_group)
        FAIL(e, ERR_CONFIG, "%s takes a value, not keys below it", en->key);
    if (!r && !own)
        return unknown_key(c, en->key, e);
    snprintf(origin, sizeof origin, "%s:%d", f->name, en->line);
    struct option_value v = {
        en->item, en->n, en->is_list, en->quoted, own ? NULL : entry_name(r, en->key), origin};
    if (own)
        return group_add(c, en->key, &v, e);
    return option_set(r, en->key, &v, (void *)(uintptr_t)at, &c->words, e);
}

static int file_apply(struct config *c, const struct file *f, struct err *e)
{
    for (size_t i = 0; i < f->n; i++) {
        int rc = entry_apply(c, f, &f->entry[i], e);
        if (rc < 0)
            return err_wrap(e, rc, "%s:%d", f->name, f->entry[i].line);
    }
    return 0;
}

/* Drops the entries after the first n. */
static void group_cut(struct config *c, size_t n)
{
    c->n_entry = n;
    for (size_t i = 0; i < n; i++) {
        c->entry[i].replaced = false;
        for (size_t k = i + 1; k < n; k++)
            c->entry[i].replaced |= !strcmp(c->entry[i].key, c->entry[k].key);
    }
}

int config_load(struct config *c, const char *path, struct err *e)
{
    struct arena a = {.limit = 16 * CONFIG_FILE_MAX};
    struct file chain[CONFIG_BASES_MAX];
    int n = 0, rc;
    void *before = mem_zalloc(1, c->bytes);
    if (!before)
        return NOMEM(e, c->bytes, "a configuration");
    const size_t entries = c->n_entry;
    memcpy(before, c->values, c->bytes); /* strings are never changed in place */
    TRY_DONE(chain_read(chain, &n, path, c->group, &a, e));
    for (int i = n - 1; i >= 0; i--)
        TRY_DONE(file_apply(c, &chain[i], e));
done:
    if (rc < 0) {
        memcpy(c->values, before, c->bytes);
        group_cut(c, entries);
    }
    mem_free(before);
    while (n > 0)
        file_free(&chain[--n]);
    arena_free(&a);
    return rc;
}

/* Splits "[a, b]" or "a,b" in place; returns the number of items, at most OPTION_LIST_MAX + 1. */
static int split_list(char *text, const char *item[OPTION_LIST_MAX + 1])
{
    int n = 0;
    size_t len = strlen(text);
    if (len >= 2 && *text == '[' && text[len - 1] == ']') {
        text[len - 1] = 0;
        text++;
    }
    text += strspn(text, " ");
    while (*text && n <= OPTION_LIST_MAX) {
        char *end = text + strcspn(text, ","), *stop = end;
        bool last = !*end;
        while (stop > text && stop[-1] == ' ')
            stop--;
        item[n++] = text;
        text = last ? end : end + 1 + strspn(end + 1, " ");
        *stop = 0;
    }
    return n;
}

static int assign(struct config *c, const char *key, char *value, const char *origin, struct err *e)
{
    const char *item[OPTION_LIST_MAX + 1] = {value};
    const void *at;
    const struct option_row *r = config_find(c, key, &at);
    const bool own = in_group(c->group, key);
    if (!strcmp(key, "_base"))
        FAIL(e, ERR_CONFIG, "_base is a key of files; write it in the file that -c names");
    if (!r && !own)
        return unknown_key(c, key, e);
    struct option_value v = {item, 1, false, false, own ? NULL : entry_name(r, key), origin};
    if (own ? *value == '[' : r->type == OPTION_LIST) {
        v.n = split_list(value, item);
        v.is_list = true;
    }
    if (own && v.n > OPTION_LIST_MAX)
        FAIL(e, ERR_CONFIG, "more than %d values; write a file", OPTION_LIST_MAX);
    if (own)
        return group_add(c, key, &v, e);
    return option_set(r, key, &v, (void *)(uintptr_t)at, &c->words, e);
}

int config_set(struct config *c, const char *assignment, struct err *e)
{
    const char *eq = strchr(assignment, '=');
    if (!eq || eq == assignment)
        FAIL(e, ERR_CONFIG, "--set '%.*s' is no assignment; write --set key=value", OPTION_DISPLAY,
             assignment);
    char *copy = mem_strdup(assignment);
    if (!copy)
        return NOMEM(e, strlen(assignment) + 1, "a setting");
    copy[eq - assignment] = 0;
    int rc = assign(c, copy, copy + (eq - assignment) + 1, "--set", e);
    if (rc < 0)
        err_wrap(e, rc, "--set %.*s", OPTION_DISPLAY, assignment);
    mem_free(copy);
    return rc;
}

int config_assign(struct config *c, const char *key, const char *value, const char *origin,
                  struct err *e)
{
    char *copy = mem_strdup(value);
    if (!copy)
        return NOMEM(e, strlen(value) + 1, "a setting");
    int rc = assign(c, key, copy, origin, e);
    if (rc < 0)
        err_wrap(e, rc, "%s", origin);
    mem_free(copy);
    return rc;
}

int config_init(struct config *c, const struct option_set *const *sets, int n, struct err *e)
{
    CHECK(n <= CONFIG_SETS_MAX);
    *c = (struct config){.n = n, .words.limit = 64 * CONFIG_FILE_MAX};
    for (int i = 0; i < n; i++) {
        c->set[i] = sets[i];
        c->offset[i] = c->bytes;
        c->bytes += (sets[i]->size + 15) / 16 * 16;
    }
    c->values = mem_zalloc(1, c->bytes);
    if (!c->values)
        return NOMEM(e, c->bytes, "a configuration");
    for (int i = 0; i < n; i++)
        option_defaults(sets[i], (char *)c->values + c->offset[i]);
    return 0;
}

int config_copy(const struct config *from, struct config *out, struct err *e)
{
    TRY(config_init(out, from->set, from->n, e));
    memcpy(out->values, from->values, from->bytes); /* texts stay in the arena of `from` */
    return 0;
}

void config_free(struct config *c)
{
    mem_free(c->values);
    mem_free(c->entry);
    arena_free(&c->words);
    c->values = NULL;
    c->entry = NULL;
    c->n_entry = c->cap_entry = 0;
    c->n = 0;
}

const void *config_of(const struct config *c, const struct option_set *set)
{
    int i = 0;
    while (i < c->n && c->set[i] != set)
        i++;
    CHECK_MSG(i < c->n, "the configuration has no such table");
    return (const char *)c->values + c->offset[i];
}

int config_check(const struct config *c, struct err *e)
{
    for (int i = 0; i < c->n; i++)
        if (c->set[i]->check)
            TRY(c->set[i]->check(c, e));
    return 0;
}
