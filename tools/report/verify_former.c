/* The former traces of a run whose failed questions were asked again. */
#include <string.h>

#include "jdoc.h"
#include "mem.h"
#include "trace_scan.h"
#include "verify_part.h"
#include "zio.h"

/* Adds the failed cases of a former trace. Its damage is no finding: one that was repaired is
 * damaged. */
static int former_attempts(const char *path, struct retried *found, struct err *e)
{
    struct results results = {.n = 0};
    struct str text = STR_INIT;
    unsigned char *has = NULL;
    size_t n_has = 0;
    bool whole;
    struct trace_scan s = {
        .results = &results, .has = &has, .n_has = &n_has, .retry = SIZE_MAX, .retried = found};
    int rc = zio_salvage(path, TRACE_BYTES, &text, &whole, e);
    if (rc == 0)
        rc = trace_scan(&s, text.s, text.len, e);
    results_free(&results);
    mem_free(has);
    str_free(&text);
    return rc;
}

/* One former trace by its name. *bad counts what differs. */
static int former_file(struct verify_check *c, const char *name, const json_t *of,
                       struct retried *found, int *bad, struct err *e)
{
    const struct verify_listed f = {.name = name,
                                    .by = "run.json",
                                    .sha256 = json_string_value(json_object_get(of, "sha256")),
                                    .bytes = json_integer_value(json_object_get(of, "bytes"))};
    char path[1200];
    TRY(verify_file(c, &f, bad, e));
    return verify_at_hand(c, name, path) ? former_attempts(path, found, e) : 0;
}

int verify_former(struct verify_check *c, struct err *e)
{
    const struct retried *r = &c->run.retried;
    struct retried found = {.ids = NULL};
    struct err why = {.code = 0};
    size_t missing = 0;
    int bad = 0;
    const char *key;
    json_t *v;
    int rc = 0;
    if (!retried_attempts(r))
        return 0;
    json_object_foreach(r->files, key, v)
    {
        if (rc == 0)
            rc = former_file(c, key, v, &found, &bad, &why);
    }
    json_object_foreach(r->replaced, key, v)
    {
        if (json_equal(json_object_get(found.replaced, key), v) || missing++ >= VERIFY_SHOWN)
            continue;
        verify_say(c, DIFFERS, "replaced attempt %.60s: no former trace has it", key);
    }
    if (missing > VERIFY_SHOWN)
        verify_say(c, DIFFERS, "%zu more replaced attempts", missing - VERIFY_SHOWN);
    if (rc == 0 && !bad && !missing)
        verify_say(c, SAME, "%zu former traces with the %zu replaced attempts of %zu questions",
                   json_object_size(r->files), retried_attempts(r), retried_questions(r));
    retried_free(&found);
    return rc ? verify_found(c, rc, &why, "former traces", e) : 0;
}
