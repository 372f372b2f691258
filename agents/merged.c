#include "merged.h"

#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "shard.h"
#include "trace_parts.h"
#include "zio.h"

#define MERGED_BYTES ((size_t)1 << 16)

/* "" when there is none. */
static int merged_read(const struct folder *f, struct merged *out, struct err *e)
{
    struct str text = STR_INIT;
    json_t *doc = NULL;
    const char *study = "", *cases = "";
    char path[1100];
    int rc = 0;
    *out = (struct merged){.study = ""};
    if (!folder_has(f, MERGED_FILE))
        return 0;
    folder_path(f, MERGED_FILE, path);
    TRY_DONE(zio_read(path, MERGED_BYTES, &text, e));
    rc = jdoc_load(text.s, text.len, &doc, e);
    if (rc == 0)
        rc = jdoc_string(doc, "study", &study, e);
    if (rc == 0)
        rc = jdoc_string(doc, "cases", &cases, e);
    if (rc < 0)
        err_wrap(e, rc, "%s", path);
    TRY_DONE(rc);
    snprintf(out->study, sizeof out->study, "%s", study);
    snprintf(out->cases, sizeof out->cases, "%s", cases);
done:
    json_decref(doc);
    str_free(&text);
    return rc;
}

/* The file that makes the folder that of a run; NULL = it is none. */
static const char *merged_run(const struct folder *f, bool own)
{
    static const char *const names[] = {"run.json",     "grid.json",   "traces.jsonl.gz",
                                        "traces.jsonl", "results.csv", "summary.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (folder_has(f, names[i]))
            return names[i];
    if (trace_parts_any(f))
        return "traces-*.jsonl";
    return !own && folder_has(f, SHARD_FILE) ? SHARD_FILE : NULL;
}

int merged_check(const struct folder *f, const struct merged *want, bool own, bool *stale,
                 struct err *e)
{
    struct merged is;
    *stale = false;
    TRY(merged_read(f, &is, e));
    if (is.study[0] && strcmp(is.study, want->study) != 0)
        FAIL(e, ERR_CREATE, "%s holds the merge of another study; choose another folder by -o",
             f->dir);
    if (is.study[0]) {
        *stale = strcmp(is.cases, want->cases) != 0;
        return 0;
    }
    const char *file = merged_run(f, own);
    if (file && !own)
        FAIL(e, ERR_CREATE,
             "%s holds another run (%s), which was not merged from these shards; choose another "
             "folder by -o",
             f->dir, file);
    *stale = file != NULL;
    return 0;
}

int merged_write(const struct folder *f, const struct merged *m, struct err *e)
{
    char text[256];
    const int n =
        snprintf(text, sizeof text, "{\"study\": \"%s\", \"cases\": \"%s\"}\n", m->study, m->cases);
    return folder_save(f, MERGED_FILE, text, (size_t)n, e);
}
