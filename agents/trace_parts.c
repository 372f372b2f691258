#include "trace_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "zio.h"

void trace_part_name(int number, char out[32])
{
    snprintf(out, 32, "traces-%04d.jsonl", number);
}

/* The number of a part's name; 0 = another file. */
static int trace_part_number(const char *name)
{
    char digits[16] = "";
    int64_t k = 0;
    const size_t n = strlen(name);
    if (n < 14 || n > 26 || memcmp(name, "traces-", 7) != 0 || strcmp(name + n - 6, ".jsonl") != 0)
        return 0;
    memcpy(digits, name + 7, n - 13);
    return str_to_i64(digits, 1, INT32_MAX - 1, &k) ? (int)k : 0;
}

static int trace_parts_down(const void *a, const void *b)
{
    const int x = *(const int *)a, y = *(const int *)b;
    return (y > x) - (y < x);
}

int trace_parts_list(const struct folder *f, int **list, size_t *n, struct err *e)
{
    DIR *d = opendir(f->dir);
    int *of = NULL, rc = 0;
    size_t cap = 0, count = 0;
    if (!d)
        FAIL(e, ERR_IO, "cannot read the folder %s: %s", f->dir, strerror(errno));
    for (const struct dirent *i = readdir(d); i && rc == 0; i = readdir(d)) {
        const int k = trace_part_number(i->d_name);
        if (k)
            rc = mem_grow(&of, &cap, count + 1, sizeof *of, "parts of a trace", e);
        if (k && rc == 0)
            of[count++] = k;
    }
    closedir(d);
    if (rc < 0) {
        mem_free(of);
        return rc;
    }
    if (count)
        qsort(of, count, sizeof *of, trace_parts_down);
    *list = of;
    *n = count;
    return 0;
}

bool trace_parts_any(const struct folder *f)
{
    struct err unread;
    int *list = NULL;
    size_t n = 0;
    if (trace_parts_list(f, &list, &n, &unread) < 0)
        return false;
    mem_free(list);
    return n > 0;
}

/* One file. *gone: its holder has sealed the trace meanwhile. */
static int trace_parts_file(const struct folder *f, const char *name, struct trace_parts *p,
                            bool *gone, struct err *e)
{
    struct str text = STR_INIT;
    struct trace_scan s = {.results = p->results,
                           .has = p->has,
                           .n_has = p->n_has,
                           .kept = p->kept,
                           .once = true,
                           .retry = p->retry,
                           .retried = p->retried,
                           .roles = p->roles,
                           .asked = p->asked};
    char path[1100];
    bool whole = true;
    int rc;
    folder_path(f, name, path);
    rc = p->repair ? zio_salvage(path, TRACE_BYTES, &text, &whole, e)
                   : zio_read(path, TRACE_BYTES, &text, e);
    if (rc < 0 && access(path, F_OK) != 0) {
        *gone = true;
        rc = 0;
        goto done;
    }
    if (rc == ERR_DATA)
        err_wrap(e, rc, "mas eval --repair keeps the cases before the damage");
    TRY_DONE(rc);
    TRY_DONE(trace_scan(&s, text.s, text.len, e));
    p->failed += s.failed;
    p->unfinished += text.len - s.good_end;
    if (!whole && !s.damaged) {
        s.damaged = 1;
        s.first_bad = s.line + 1;
        snprintf(s.bad_why, sizeof s.bad_why, "it does not unpack to its end");
    }
    if (s.damaged && !p->bad.damaged) {
        p->bad = s;
        memcpy(p->bad_path, path, sizeof path);
        p->unfinished = 0;
    }
done:
    str_free(&text);
    return rc;
}

static void trace_parts_reset(struct trace_parts *p, size_t kept, size_t results)
{
    p->results->n = results;
    memset(*p->has, 0, *p->n_has);
    if (p->kept)
        p->kept->len = kept;
    if (p->roles)
        roles_free(p->roles);
    p->unfinished = p->failed = 0;
    p->bad = (struct trace_scan){.line = 0};
}

static int trace_parts_once(const struct folder *f, struct trace_parts *p, bool *gone,
                            struct err *e)
{
    char name[32];
    int *list = NULL, rc = 0;
    size_t n = 0;
    *gone = false;
    TRY(trace_parts_list(f, &list, &n, e));
    /* after the list: a holder that seals makes the sealed file before it removes the parts */
    if (folder_has(f, "traces.jsonl.gz"))
        TRY_DONE(trace_parts_file(f, "traces.jsonl.gz", p, gone, e));
    for (size_t i = 0; i < n && !*gone; i++) {
        trace_part_name(list[i], name);
        TRY_DONE(trace_parts_file(f, name, p, gone, e));
    }
    if (folder_has(f, "traces.jsonl") && !*gone) /* of a run that went on without a lease */
        TRY_DONE(trace_parts_file(f, "traces.jsonl", p, gone, e));
done:
    mem_free(list);
    return rc;
}

int trace_parts_scan(const struct folder *f, struct trace_parts *p, struct err *e)
{
    const size_t kept = p->kept ? p->kept->len : 0, results = p->results->n;
    for (int i = 0; i < TRACE_TRIES; i++) {
        bool gone = false;
        TRY(trace_parts_once(f, p, &gone, e));
        if (!gone)
            return 0;
        trace_parts_reset(p, kept, results);
    }
    FAIL(e, ERR_AGAIN, "%s: its files change while they are read; try again", f->dir);
}

int trace_parts_text(const struct folder *f, struct str *out, size_t *unfinished, struct err *e)
{
    struct results results = {0};
    unsigned char *has = NULL;
    size_t n_has = 0;
    struct trace_parts p = {.results = &results, .has = &has, .n_has = &n_has, .kept = out};
    int rc = trace_parts_scan(f, &p, e);
    if (rc == 0 && p.bad.damaged)
        rc = trace_refuse(&p.bad, p.bad_path, e);
    if (rc == 0)
        rc = str_ok(out, "a trace", e);
    *unfinished = p.unfinished;
    results_free(&results);
    mem_free(has);
    return rc;
}

int trace_parts_remove(const struct folder *f, int upto, struct err *e)
{
    char name[32], path[1100];
    int *list = NULL, rc = 0;
    size_t n = 0;
    TRY(trace_parts_list(f, &list, &n, e));
    for (size_t i = 0; i < n; i++) {
        trace_part_name(list[i], name);
        folder_path(f, name, path);
        if (list[i] <= upto && unlink(path) != 0 && errno != ENOENT)
            rc = err_set(e, ERR_IO, "cannot remove %s: %s", path, strerror(errno));
    }
    folder_path(f, "traces.jsonl", path);
    if (rc == 0 && unlink(path) != 0 && errno != ENOENT)
        rc = err_set(e, ERR_IO, "cannot remove %s: %s", path, strerror(errno));
    mem_free(list);
    return rc;
}
