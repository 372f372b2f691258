#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "config.h"

int64_t config_int(const struct config *c, const char *key)
{
    const void *at = NULL;
    const struct option_row *r = config_find(c, key, &at);
    int64_t large;
    int small;
    CHECK_MSG(r && (r->type == OPTION_INT || r->type == OPTION_POWER), key);
    if (r->size == sizeof large) {
        memcpy(&large, (const char *)at + r->offset, sizeof large);
        return large;
    }
    CHECK(r->size == sizeof small);
    memcpy(&small, (const char *)at + r->offset, sizeof small);
    return small;
}

/* One entry of a map as JSON, or its default. */
static void map_value(const struct option_row *r, const void *at, const char *name, struct str *out)
{
    const struct option_map *m = (const void *)((const char *)at + r->offset);
    double unset = 0;
    CHECK(str_to_f64(r->otherwise, -1e9, 1e9, &unset));
    const struct option_row one = {.type = OPTION_FLOAT, .size = sizeof(double)};
    double v = option_map_get(m, name, unset);
    if (r->type == OPTION_MAP_OF_INT)
        str_addf(out, "%.0f", v);
    else
        option_json(&one, &v, out);
}

void config_value(const struct config *c, const char *key, struct str *out)
{
    const void *at;
    const struct option_row *r = config_find(c, key, &at);
    CHECK_MSG(r, key);
    if (option_is_map(r))
        map_value(r, at, key + strlen(r->key) + 1, out);
    else
        option_text(r, at, out);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_entry(const struct option_row *r, const void *at, const char *name,
                       const char **comma, struct str *out)
{
    str_addf(out, "%s\"%s.%s\": ", *comma, r->key, name);
    map_value(r, at, name, out);
    *comma = ", ";
}

/* The entries that are set: an unset one is as if the map did not know its name. */
static void json_map(const struct option_row *r, const void *at, const char **comma,
                     struct str *out)
{
    const struct option_map *m = (const void *)((const char *)at + r->offset);
    for (int i = 0; i < m->n; i++)
        json_entry(r, at, m->item[i].name, comma, out);
}

void config_json(const struct config *c, bool only_results, struct str *out)
{
    const char *comma = "";
    str_addc(out, '{');
    for (int s = 0; s < c->n; s++)
        for (int i = 0; i < c->set[s]->n; i++) {
            const struct option_row *r = &c->set[s]->row[i];
            const void *at = (const char *)c->values + c->offset[s];
            if (only_results && !(r->marks & OPTION_RESULT))
                continue;
            if (option_is_map(r)) {
                json_map(r, at, &comma, out);
                continue;
            }
            str_addf(out, "%s\"%s\": ", comma, r->key);
            option_json(r, at, out);
            comma = ", ";
        }
    str_addc(out, '}');
}

int config_json_defaults(const struct config *c, struct str *out, struct err *e)
{
    struct config plain;
    TRY(config_init(&plain, c->set, c->n, e));
    config_json(&plain, false, out);
    config_free(&plain);
    return str_ok(out, "default settings", e);
}

/* ---- the reference --------------------------------------------------------------------------- */

static void reference_doc(const struct option_row *r, const char *indent, struct str *out)
{
    str_addf(out, "%s# %s\n%s# Takes ", indent, r->doc, indent);
    option_rule(r, out);
    str_adds(out, option_is_map(r) ? ", for each role.\n" : ".\n");
}

static void reference_row(const struct option_set *set, const struct option_row *r,
                          const struct option_row *before, struct str *out)
{
    const char *dot = strchr(r->key, '.'), *indent = dot ? "  " : "";
    size_t group = dot ? (size_t)(dot - r->key) + 1 : 0;
    if (!group || !before || strncmp(r->key, before->key, group)) {
        str_addc(out, '\n');
        if (group)
            str_addf(out, "%.*s:\n", (int)group - 1, r->key);
    }
    reference_doc(r, indent, out);
    if (option_is_map(r)) {
        str_addf(out, "%s:\n", r->key);
        for (int i = 0; set->name && set->name(r, i); i++)
            str_addf(out, "  %s: %s\n", set->name(r, i), r->otherwise);
        return;
    }
    const char *text = r->type == OPTION_LIST ? "[]" : *r->otherwise ? r->otherwise : "\"\"";
    str_addf(out, "%s%s: %s\n", indent, r->key + group, text);
}

void config_reference(const struct config *c, struct str *out)
{
    const struct option_row *before = NULL;
    str_adds(
        out,
        "# Every key of a configuration with its default.\n"
        "# '_base: other.yaml' reads another file first; --set key=value has the last word.\n");
    for (int s = 0; s < c->n; s++)
        for (int i = 0; i < c->set[s]->n; i++) {
            reference_row(c->set[s], &c->set[s]->row[i], before, out);
            before = &c->set[s]->row[i];
        }
}
