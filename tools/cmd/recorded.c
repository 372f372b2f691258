#include "recorded.h"

#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "manifest.h"
#include "str.h"
#include "zio.h"

/* A JSON value in the form of --set: "0.3", "f16", "[a, b]". Lists hold no lists. */
static void recorded_scalar(const json_t *v, struct str *out)
{
    if (json_is_string(v)) {
        str_add(out, json_string_value(v), json_string_length(v));
        return;
    }
    char *s = json_dumps(v, JSON_ENCODE_ANY);
    out->failed |= !s;
    str_adds(out, s ? s : "");
    mem_free(s);
}

static void recorded_value(const json_t *v, struct str *out)
{
    const json_t *item;
    size_t i;
    if (!json_is_array(v)) {
        recorded_scalar(v, out);
        return;
    }
    str_addc(out, '[');
    json_array_foreach(v, i, item)
    {
        str_adds(out, i ? ", " : "");
        recorded_scalar(item, out);
    }
    str_addc(out, ']');
}

static int recorded_add(struct recorded *r, const char *key, const json_t *v, struct err *e)
{
    struct str s = STR_INIT;
    if (r->n_set == RECORDED_SETS)
        FAIL(e, ERR_DATA, "more than %d settings", RECORDED_SETS);
    str_addf(&s, "%s=", key);
    recorded_value(v, &s);
    int rc = str_ok(&s, "a setting", e);
    const char *copy = rc < 0 ? NULL : arena_strndup(&r->words, s.s, s.len);
    if (!rc && !copy)
        rc = NOMEM(e, s.len, "a setting");
    if (!rc)
        r->set[r->n_set++] = copy;
    str_free(&s);
    return rc;
}

static int recorded_parse(struct recorded *r, const char *dir, const struct str *text,
                          struct err *e)
{
    json_t *identity = NULL, *sessions = NULL, *about = NULL, *config = NULL, *v;
    const char *key;
    TRY(jdoc_load(text->s, text->len, &r->doc, e));
    TRY(manifest_format(r->doc, dir, e));
    TRY(jdoc_get(r->doc, "identity", JSON_OBJECT, &identity, e));
    TRY(jdoc_array(r->doc, "sessions", 1, 1000000, &sessions, e));
    TRY(jdoc_get(json_array_get(sessions, json_array_size(sessions) - 1), "about", JSON_OBJECT,
                 &about, e));
    if (!json_object_get(identity, "imported")) /* such a run had no settings */
        TRY(jdoc_get(identity, "config", JSON_OBJECT, &config, e));
    r->imported = !config;
    r->identity = identity;
    r->about = about;
    json_object_foreach(config, key, v) TRY(recorded_add(r, key, v, e));
    return 0;
}

int recorded_open(const char *dir, struct recorded *out, struct err *e)
{
    char path[1100];
    struct str text = STR_INIT;
    struct recorded r = {.n_set = 0};
    int rc;
    snprintf(path, sizeof path, "%s/run.json", dir);
    TRY_DONE(zio_read(path, MANIFEST_BYTES, &text, e));
    rc = recorded_parse(&r, dir, &text, e);
    if (rc == ERR_DATA)
        err_wrap(e, rc, "%s", path);
    TRY_DONE(rc);
    *out = r;
    r = (struct recorded){.n_set = 0};
done:
    str_free(&text);
    recorded_close(&r);
    return rc;
}

void recorded_close(struct recorded *r)
{
    json_decref(r->doc);
    arena_free(&r->words);
    *r = (struct recorded){.n_set = 0};
}

const char *recorded_text(const struct recorded *r, const char *key)
{
    const json_t *v = json_object_get(json_object_get(r->identity, "config"), key);
    v = v ? v : json_object_get(r->identity, key);
    v = v ? v : json_object_get(r->about, key);
    return json_is_string(v) ? json_string_value(v) : "";
}
