#include "trace_diff.h"

#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "mem.h"

#define TRACE_DIFFS 8 /* differences named at most */

static void trace_diff_value(const json_t *v, char out[80])
{
    char *s = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    snprintf(out, 80, "%.72s", v ? (s ? s : "?") : "(absent)");
    mem_free(s);
}

/* Paths name things whose contents are compared by hash. */
static bool trace_is_path(const char *key)
{
    return !strcmp(key, "config.model") || !strcmp(key, "config.prompts_dir") ||
           !strcmp(key, "config.specialties");
}

/* Options that runs before wrote, or lacked, where no limit or temperature was set. */
static const json_t *trace_set(const char *key, const json_t *v)
{
    static const char tokens[] = "role_tokens.", heat[] = "agent_temperatures.";
    bool unset = (!strncmp(key, tokens, sizeof tokens - 1) && json_number_value(v) == 0) ||
                 (!strncmp(key, heat, sizeof heat - 1) && json_number_value(v) == -1);
    return unset ? NULL : v;
}

/* The option's value, or its default if it is absent. */
static const json_t *trace_option(const char *key, const json_t *v, const json_t *defaults)
{
    return trace_set(key, v ? v : json_object_get(defaults, key));
}

static int trace_diff(const json_t *was, const json_t *is, const char *key, int count,
                      struct str *out)
{
    char a[80], b[80];
    if ((!was && !is) || (was && is && json_equal(was, is)) || trace_is_path(key))
        return count;
    trace_diff_value(was, a);
    trace_diff_value(is, b);
    if (count < TRACE_DIFFS)
        str_addf(out, "%s%s was %s, is %s", count ? "; " : "", key, a, b);
    return count + 1;
}

/* All differences of two objects, one level of nesting deep. */
static int trace_compare(const json_t *was, const json_t *is, const char *prefix,
                         const json_t *defaults, int count, struct str *out)
{
    json_t *all[2] = {(json_t *)(uintptr_t)is, (json_t *)(uintptr_t)was};
    for (int side = 0; side < 2; side++) {
        const char *key;
        json_t *v;
        json_object_foreach(all[side], key, v)
        {
            char name[160];
            const json_t *x = json_object_get(was, key), *y = json_object_get(is, key);
            if (side == 1 && y) /* seen from the other side */
                continue;
            snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "." : "", key);
            if (json_is_object(x) && json_is_object(y) && !prefix[0]) {
                count = trace_compare(x, y, name, defaults, count, out);
                continue;
            }
            if (!strcmp(prefix, "config")) {
                x = trace_option(key, x, defaults);
                y = trace_option(key, y, defaults);
            }
            count = trace_diff(x, y, name, count, out);
        }
    }
    return count;
}

int trace_differences(const json_t *was, const char *now, const char *defaults, int *n,
                      struct str *out, struct err *e)
{
    json_t *is = NULL, *plain = NULL;
    int rc;
    TRY_DONE(jdoc_load(now, strlen(now), &is, e));
    if (defaults)
        TRY_DONE(jdoc_load(defaults, strlen(defaults), &plain, e));
    *n = trace_compare(was, is, "", plain, 0, out);
    if (*n > TRACE_DIFFS)
        str_addf(out, "; and %d more", *n - TRACE_DIFFS);
    rc = str_ok(out, "differences", e);
done:
    json_decref(is);
    json_decref(plain);
    return rc;
}
