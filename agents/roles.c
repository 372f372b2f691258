#include "roles.h"

#include <string.h>

#include "jdoc.h"
#include "jscan.h"

/* THINK is there only if the model thinks; it stands before NEW. */
enum { ROLE, FINISH, PARSED, PROMPT, CACHED, NEW, THINK, KEYS };
static const char *const keys[KEYS] = {"role",     "finish", "parsed", "n_prompt",
                                       "n_cached", "n_new",  "n_think"};

/* The values of the keys, which stand before the line's long texts. */
static int roles_scan(struct jscan *j, const char *line, size_t n, struct jscan_item out[KEYS],
                      struct err *e)
{
    struct jscan_item it = {.key = NULL};
    int more = 1, missing = THINK;
    jscan_set(j, line, n);
    TRY(jscan_open(j, '{', e));
    while (missing && (more = jscan_next(j, &it, e)) > 0)
        for (int k = 0; k < KEYS; k++)
            if (jscan_key(&it, keys[k]) && !out[k].n) {
                out[k] = it;
                missing -= k != THINK;
            }
    if (more < 0)
        return more;
    for (int k = 0; k < THINK; k++)
        if (!out[k].n)
            FAIL(e, ERR_DATA, "key '%s' of a call is missing", keys[k]);
    return 0;
}

static int roles_count(const struct jscan_item *it, int64_t *sum, struct err *e)
{
    json_t *v = NULL;
    TRY(jdoc_value(it->value, it->n, &v, e));
    json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;
    json_decref(v);
    if (n < 0 || n > INT32_MAX)
        FAIL(e, ERR_DATA, "key '%.*s' of a call is no number of tokens", (int)it->key_len, it->key);
    *sum += n;
    return 0;
}

static int roles_row(struct roles *rs, const char *name, struct roles_row **out, struct err *e)
{
    for (size_t i = 0; i < rs->n; i++)
        if (!strcmp(rs->r[i].name, name)) {
            *out = &rs->r[i];
            return 0;
        }
    TRY(mem_grow(&rs->r, &rs->cap, rs->n + 1, sizeof *rs->r, "roles", e));
    const char *copy = arena_strndup(&rs->arena, name, strlen(name));
    if (!copy)
        return NOMEM(e, strlen(name) + 1, "roles");
    *out = &rs->r[rs->n++];
    **out = (struct roles_row){.name = copy};
    return 0;
}

/* The row of a name, in JSON's escapes. */
static int roles_named(struct roles *rs, const struct jscan_item *it, struct roles_row **out,
                       struct err *e)
{
    json_t *v = NULL;
    TRY(jdoc_value(it->value, it->n, &v, e));
    const char *name = json_string_value(v);
    int rc = name ? roles_row(rs, name, out, e)
                  : err_set(e, ERR_DATA, "key 'role' of a call is no string");
    json_decref(v);
    return rc;
}

static bool roles_is(const struct jscan_item *it, const char *text)
{
    return it->n == strlen(text) && !memcmp(it->value, text, it->n);
}

int roles_add(struct roles *rs, const char *line, size_t n, struct err *e)
{
    struct jscan j = {.n = 0};
    struct jscan_item it[KEYS] = {{.n = 0}};
    struct roles_row *row = NULL, add = {.name = NULL};
    int rc;
    TRY_DONE(roles_scan(&j, line, n, it, e));
    TRY_DONE(roles_count(&it[PROMPT], &add.prompt_tokens, e));
    TRY_DONE(roles_count(&it[CACHED], &add.cached_tokens, e));
    TRY_DONE(roles_count(&it[NEW], &add.new_tokens, e));
    if (it[THINK].n)
        TRY_DONE(roles_count(&it[THINK], &add.think_tokens, e));
    TRY_DONE(roles_named(rs, &it[ROLE], &row, e));
    row->calls++;
    row->unparsed += !roles_is(&it[PARSED], "true");
    row->cut += roles_is(&it[FINISH], "\"cut\"");
    row->closed += roles_is(&it[FINISH], "\"closed\"");
    row->prompt_tokens += add.prompt_tokens;
    row->cached_tokens += add.cached_tokens;
    row->new_tokens += add.new_tokens;
    row->think_tokens += add.think_tokens;
done:
    jscan_free(&j);
    return rc;
}

void roles_free(struct roles *rs)
{
    mem_free(rs->r);
    arena_free(&rs->arena);
    *rs = (struct roles){.n = 0};
}
