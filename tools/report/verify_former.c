/* The former traces of a run whose failed questions were asked again. */
#include <dirent.h>
#include <errno.h>
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

/* Adds the failed cases of the present trace: an attempt in it was not replaced. */
static int former_present(const struct verify_check *c, struct retried *found, struct err *e)
{
    static const char *const names[] = {"traces.jsonl", "traces.jsonl.gz"};
    char path[1200];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (verify_at_hand(c, names[i], path))
            TRY(former_attempts(path, found, e));
    return 0;
}

/* A former trace that run.json does not name. It is no finding if each failed attempt in it is
 * named, or is in the present trace: a retry was killed at its begin. *bad counts findings. */
static int former_unnamed(struct verify_check *c, const char *name, int *bad, struct err *e)
{
    struct retried in = {.ids = NULL}, present = {.ids = NULL};
    char path[1200];
    const char *key;
    json_t *v;
    size_t lost = 0;
    int rc;
    (void)verify_at_hand(c, name, path);
    TRY_DONE(former_attempts(path, &in, e));
    TRY_DONE(former_present(c, &present, e));
    json_object_foreach(in.replaced, key, v)
    {
        lost += !json_object_get(c->run.retried.replaced, key) &&
                !json_object_get(present.replaced, key);
    }
    if (lost) {
        verify_say(c, DIFFERS,
                   "%.80s: run.json does not name it, and %zu of its failed attempts are in no "
                   "other file",
                   name, lost);
        (*bad)++;
    }
done:
    retried_free(&in);
    retried_free(&present);
    return rc;
}

/* Looks for former traces that run.json does not name. */
static int former_others(struct verify_check *c, int *bad, struct err *e)
{
    DIR *d = opendir(c->o->dir);
    struct dirent *f;
    int rc = 0;
    if (!d)
        FAIL(e, ERR_IO, "cannot list %s: %s", c->o->dir, strerror(errno));
    while (rc == 0 && (f = readdir(d)) != NULL)
        if (!strncmp(f->d_name, "traces", 6) && strstr(f->d_name, ".old") &&
            !json_object_get(c->run.retried.files, f->d_name))
            rc = former_unnamed(c, f->d_name, bad, e);
    closedir(d);
    return rc;
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
    int rc = former_others(c, &bad, &why);
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
    if (rc == 0 && !bad && !missing && retried_attempts(r))
        verify_say(c, SAME, "%zu former traces with the %zu replaced attempts of %zu questions",
                   json_object_size(r->files), retried_attempts(r), retried_questions(r));
    retried_free(&found);
    return rc ? verify_found(c, rc, &why, "former traces", e) : 0;
}
