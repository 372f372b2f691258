/* The result of an earlier merge whose failed questions were asked again there. */
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "merge_part.h"
#include "merged.h"
#include "trace.h"

void merge_kept_free(struct merge_kept *k)
{
    if (k->sessions.s)
        str_free(&k->sessions);
    retried_free(&k->retried);
    *k = (struct merge_kept){.again = 0};
}

/* Takes the attempts that no shard has; *ids: their questions. */
static int merge_kept_again(struct merge_kept *k, const struct retried *shards, json_t *ids,
                            struct err *e)
{
    const char *key;
    json_t *v;
    json_object_foreach(k->retried.replaced, key, v)
    {
        if (json_object_get(shards->replaced, key))
            continue;
        k->again++;
        const size_t n = strlen(key) - RETRIED_CRC - 1;
        if (json_object_setn_new(ids, key, n, json_true()) != 0)
            return NOMEM(e, n, "questions that were asked again");
    }
    return 0;
}

int merge_kept_read(const struct merge *m, const struct merge_cell *c, const char *dir,
                    const bool *failed, struct merge_kept *out, struct err *e)
{
    struct merge_kept k = {.sessions = STR_INIT};
    struct trace_run run = {.asked = 0};
    struct folder f = {.lock = -1};
    json_t *ids = json_object();
    const char *s = NULL;
    size_t n = 0;
    int rc = ids ? 0 : NOMEM(e, sizeof k, "a result");
    *out = (struct merge_kept){.again = 0};
    snprintf(f.dir, sizeof f.dir, "%.1000s", dir);
    TRY_DONE(rc);
    if (!folder_has(&f, MERGED_FILE) || !folder_has(&f, "run.json"))
        goto done;
    rc = trace_read(dir, &run, e);
    if (rc == ERR_NOMEM || rc == ERR_IO)
        goto done;
    if (rc < 0) { /* damaged: the caller opens the trace, or moves it away */
        rc = 0;
        goto done;
    }
    k.retried = run.retried;
    run.retried = (struct retried){.ids = NULL};
    TRY_DONE(merge_kept_again(&k, &c->retried, ids, e));
    for (size_t i = 0; i < run.results.n; i++) {
        const struct result *r = &run.results.r[i];
        const bool bad = r->state == CONSULT_FAILED;
        k.better += !bad && (size_t)r->index < m->records.n && failed[r->index] &&
                    json_object_get(ids, r->id) != NULL;
    }
    k.left = m->questions > run.results.n ? m->questions - run.results.n : 0;
    TRY_DONE(merge_member(run.json.s, run.json.len, "sessions", &s, &n, e));
    if (n < 2)
        TRY_DONE(err_set(e, ERR_DATA, "%s/run.json: 'sessions' is no array", dir));
    str_add(&k.sessions, s + 1, n - 2);
    TRY_DONE(str_ok(&k.sessions, "sessions", e));
    *out = k;
    k = (struct merge_kept){.sessions = STR_INIT};
done:
    merge_kept_free(&k);
    trace_run_free(&run);
    json_decref(ids);
    return rc;
}

int merge_kept_refuse(const struct merge *m, const struct merge_kept *k, const char *dir,
                      bool stale, struct err *e)
{
    struct str command = STR_INIT;
    int rc = 0;
    if (!stale && k->again && k->left) {
        merge_command_in(m, "mas eval", m->out.dir, &command);
        TRY_DONE(str_ok(&command, "a command", e));
        rc = err_set(e, ERR_AGAIN,
                     "%s: failed questions were asked again after the merge, and %zu of %zu "
                     "questions are not finished; a merge would put the failures of the shards in "
                     "their place; end the retry by '%.600s', or merge into another folder by -o",
                     dir, k->left, m->questions, command.s);
    } else if (stale && k->better) {
        char begin[64];
        snprintf(begin, sizeof begin, "mas eval --retry-failed --%s I/N", "shard");
        merge_command_in(m, begin, m->folder.dir, &command);
        TRY_DONE(str_ok(&command, "a command", e));
        rc = err_set(e, ERR_CREATE,
                     "%s: %zu questions that failed in the shards were asked again after the merge "
                     "and have answers here; the shards have changed since, and a merge would "
                     "replace these answers by failures; ask them again in their shards by "
                     "'%.600s', or merge into another folder by -o",
                     dir, k->better, command.s);
    }
done:
    str_free(&command);
    return rc;
}
