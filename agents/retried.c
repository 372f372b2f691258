#include "retried.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "jdoc.h"
#include "mem.h"

#define RETRIED_SHOWN 3 /* reasons that the text names */

void retried_free(struct retried *r)
{
    json_decref(r->replaced);
    json_decref(r->files);
    json_decref(r->ids);
    json_decref(r->reasons);
    *r = (struct retried){.ids = NULL};
}

size_t retried_questions(const struct retried *r)
{
    return json_object_size(r->ids);
}

size_t retried_attempts(const struct retried *r)
{
    return json_object_size(r->replaced);
}

/* Sets the member, and makes the object if there is none yet. Takes the value. */
static int retried_set(json_t **object, const char *key, json_t *value, struct err *e)
{
    if (!*object)
        *object = json_object();
    if (!*object || json_object_set_new(*object, key, value) != 0)
        return NOMEM(e, strlen(key), "questions that are asked again");
    return 0;
}

static int retried_count(json_t **object, const char *key, struct err *e)
{
    const json_int_t n = json_integer_value(json_object_get(*object, key));
    return retried_set(object, key, json_integer(n + 1), e);
}

/* The reason with each number as N: "1.25 s" becomes "N s". */
static void retried_reason(const char *why, struct str *out)
{
    while (*why) {
        if (!isdigit((unsigned char)*why)) {
            str_addc(out, *why++);
            continue;
        }
        str_addc(out, 'N');
        while (isdigit((unsigned char)*why) || (*why == '.' && isdigit((unsigned char)why[1])))
            why++;
    }
}

int retried_add(struct retried *r, const char *id, const char *crc, const char *why, struct err *e)
{
    struct str key = STR_INIT, reason = STR_INIT;
    int rc;
    str_addf(&key, "%s/%.*s", id, RETRIED_CRC, crc);
    retried_reason(why, &reason);
    TRY_DONE(str_ok(&key, "an attempt", e));
    TRY_DONE(str_ok(&reason, "a reason", e));
    if (json_object_get(r->replaced, key.s))
        goto done;
    TRY_DONE(retried_set(&r->replaced, key.s, json_string(why), e));
    TRY_DONE(retried_count(&r->ids, id, e));
    TRY_DONE(retried_count(&r->reasons, reason.s, e));
done:
    str_free(&key);
    str_free(&reason);
    return rc;
}

int retried_keep(struct retried *r, const char *name, size_t bytes, const char *sha256,
                 struct err *e)
{
    json_t *of = json_object();
    if (!of || json_object_set_new(of, "bytes", json_integer((json_int_t)bytes)) != 0 ||
        json_object_set_new(of, "sha256", json_string(sha256)) != 0) {
        json_decref(of);
        return NOMEM(e, strlen(name), "names of former traces");
    }
    return retried_set(&r->files, name, of, e);
}

/* Adds an attempt by its key in "replaced". */
static int retried_take(struct retried *r, const char *key, const json_t *why, struct err *e)
{
    const char *slash = strrchr(key, '/');
    struct str id = STR_INIT;
    int rc;
    if (!slash || slash == key || strlen(slash + 1) != RETRIED_CRC || !json_is_string(why))
        FAIL(e, ERR_DATA, "retried: '%.60s' is no attempt, as ID/CRC: reason", key);
    str_add(&id, key, (size_t)(slash - key));
    TRY_DONE(str_ok(&id, "an attempt", e));
    TRY_DONE(retried_add(r, id.s, slash + 1, json_string_value(why), e));
done:
    str_free(&id);
    return rc;
}

static int retried_take_file(struct retried *r, const char *name, const json_t *of, struct err *e)
{
    const char *hash = NULL;
    json_int_t bytes = 0;
    if (!*name || *name == '.' || strchr(name, '/'))
        FAIL(e, ERR_DATA, "retried: '%.60s' is no name of a former trace", name);
    TRY(jdoc_string(of, "sha256", &hash, e));
    TRY(jdoc_int(of, "bytes", 0, INT64_MAX, &bytes, e));
    return retried_keep(r, name, (size_t)bytes, hash, e);
}

int retried_read(const json_t *run, struct retried *out, struct err *e)
{
    struct retried r = {.ids = NULL};
    json_t *of = NULL, *replaced = NULL, *files = NULL, *v;
    const char *key;
    int rc = 0;
    *out = r;
    if (!json_object_get(run, "retried"))
        return 0;
    TRY_DONE(jdoc_get(run, "retried", JSON_OBJECT, &of, e));
    TRY_DONE(jdoc_get(of, "replaced", JSON_OBJECT, &replaced, e));
    TRY_DONE(jdoc_get(of, "files", JSON_OBJECT, &files, e));
    json_object_foreach(replaced, key, v)
    {
        TRY_DONE(retried_take(&r, key, v, e));
    }
    json_object_foreach(files, key, v)
    {
        TRY_DONE(retried_take_file(&r, key, v, e));
    }
    *out = r;
    r = (struct retried){.ids = NULL};
done:
    retried_free(&r);
    return rc;
}

int retried_join(struct retried *r, const struct retried *more, const char *end, struct err *e)
{
    json_t *v;
    const char *key;
    int rc = 0;
    json_object_foreach(more->replaced, key, v)
    {
        TRY(retried_take(r, key, v, e));
    }
    json_object_foreach(more->files, key, v)
    {
        struct str name = STR_INIT;
        str_addf(&name, "%s%s%s", key, *end ? "." : "", end);
        rc = str_ok(&name, "the name of a former trace", e);
        if (rc == 0)
            rc = retried_take_file(r, name.s, v, e);
        str_free(&name);
        TRY(rc);
    }
    return rc;
}

int retried_choose(const struct retried *r, const json_t *ids, struct retried *out, struct err *e)
{
    struct retried some = {.ids = NULL};
    json_t *v;
    const char *key;
    *out = some;
    json_object_foreach(r->replaced, key, v)
    {
        const size_t n = strlen(key) - RETRIED_CRC - 1;
        const int rc = json_object_getn(ids, key, n) ? retried_take(&some, key, v, e) : 0;
        if (rc < 0)
            retried_free(&some);
        TRY(rc);
    }
    *out = some;
    return 0;
}

/* ---- texts ----------------------------------------------------------------------------------- */

static void retried_put(struct str *out, const char *key, const json_t *object)
{
    char *s = object ? json_dumps(object, 0) : NULL;
    out->failed |= object && !s;
    str_addf(out, ", \"%s\": ", key);
    str_adds(out, s ? s : "{}");
    free(s);
}

void retried_json(const struct retried *r, bool whole, struct str *out)
{
    const char *key;
    json_t *v;
    bool first = true;
    str_addf(out, "{\"questions\": %zu, \"attempts\": %zu, \"reasons\": [", retried_questions(r),
             retried_attempts(r));
    json_object_foreach(r->reasons, key, v)
    {
        str_adds(out, first ? "{\"why\": " : ", {\"why\": ");
        str_add_json(out, key, strlen(key));
        str_addf(out, ", \"attempts\": %lld}", (long long)json_integer_value(v));
        first = false;
    }
    str_addc(out, ']');
    if (whole) {
        retried_put(out, "replaced", r->replaced);
        retried_put(out, "files", r->files);
    }
    str_addc(out, '}');
}

/* The most frequent reason of those after `before` in the order of frequency, then of age. NULL:
 * there is none. */
static const char *retried_next(const struct retried *r, const char *before)
{
    const json_int_t most = before ? json_integer_value(json_object_get(r->reasons, before)) : 0;
    const char *key, *best = NULL;
    json_int_t top = 0;
    json_t *v;
    bool passed = false;
    json_object_foreach(r->reasons, key, v)
    {
        const json_int_t n = json_integer_value(v);
        const bool after = !before || n < most || (n == most && passed);
        passed = passed || (before && !strcmp(key, before));
        if (after && n > top) {
            top = n;
            best = key;
        }
    }
    return best;
}

void retried_why(const struct retried *r, struct str *out)
{
    const size_t reasons = json_object_size(r->reasons);
    const char *why = NULL;
    for (int i = 0; i < RETRIED_SHOWN && (why = retried_next(r, why)) != NULL; i++)
        str_addf(out, "%s %lld %.160s", i ? ";" : "",
                 (long long)json_integer_value(json_object_get(r->reasons, why)), why);
    if (reasons > RETRIED_SHOWN)
        str_addf(out, "; and %zu more reasons", reasons - RETRIED_SHOWN);
}

void retried_text(const struct retried *r, struct str *out)
{
    const size_t questions = retried_questions(r), attempts = retried_attempts(r);
    if (!attempts)
        return;
    str_addf(out, "%zu question%s; %zu failed attempt%s replaced:", questions,
             questions == 1 ? "" : "s", attempts, attempts == 1 ? " was" : "s were");
    retried_why(r, out);
}
