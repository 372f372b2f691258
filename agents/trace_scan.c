#include "trace_scan.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "mem.h"
#include "zio.h"

#define TRACE_CRC 20 /* length of `, "crc": "01234567"}` */

/* ---- lines ----------------------------------------------------------------------------------- */

void trace_end_line(struct str *s, size_t begin)
{
    if (!s->failed)
        str_addf(s, ", \"crc\": \"%08x\"}\n", (unsigned)zio_crc32(0, s->s + begin, s->len - begin));
}

static bool trace_line_ok(const char *s, size_t n)
{
    char want[TRACE_CRC + 1];
    if (n < TRACE_CRC)
        return false;
    snprintf(want, sizeof want, ", \"crc\": \"%08x\"}", (unsigned)zio_crc32(0, s, n - TRACE_CRC));
    return !memcmp(s + n - TRACE_CRC, want, TRACE_CRC);
}

/* The question's id in a line that begins {"call": "ID" or {"case": "ID"; false otherwise. */
static bool trace_line_id(const char *s, size_t n, char id[24], bool *is_case)
{
    if (n < 12 || (memcmp(s, "{\"call\": \"", 10) != 0 && memcmp(s, "{\"case\": \"", 10) != 0))
        return false;
    size_t k = 0;
    while (k < 23 && 10 + k < n && s[10 + k] != '"' && (unsigned char)s[10 + k] > ' ')
        k++;
    if (10 + k >= n || s[10 + k] != '"' || !k)
        return false;
    memcpy(id, s + 10, k);
    id[k] = 0;
    *is_case = s[3] == 'a' && s[4] == 's';
    return true;
}

/* ---- reading back ---------------------------------------------------------------------------- */

static void trace_damage(struct trace_scan *s, const char *id, const char *why)
{
    if (!s->damaged++) {
        s->first_bad = s->line;
        snprintf(s->bad_id, sizeof s->bad_id, "%.23s", id);
        snprintf(s->bad_why, sizeof s->bad_why, "%.150s", why);
    }
}

int trace_mark(unsigned char **has, size_t *n_has, int64_t index, bool *twice, struct err *e)
{
    if (index < 0 || index >= TRACE_INDEX)
        FAIL(e, ERR_DATA, "question number %lld, the limit is %lld", (long long)index,
             (long long)TRACE_INDEX);
    size_t at = (size_t)index, cap = *n_has;
    TRY(mem_grow(has, &cap, at + 1, 1, "finished questions", e));
    memset(*has + *n_has, 0, cap - *n_has);
    *n_has = cap;
    *twice = (*has)[at] != 0;
    (*has)[at] = 1;
    return 0;
}

/* Counts the call lines text[at, end) of a case by their roles. */
static int trace_scan_roles(struct trace_scan *s, const char *text, size_t at, size_t end,
                            struct err *why)
{
    while (at < end) {
        const char *nl = memchr(text + at, '\n', end - at);
        size_t n = nl ? (size_t)(nl - text) - at : end - at;
        TRY(roles_add(s->roles, text + at, n, why));
        at += n + 1;
    }
    return 0;
}

/* A case line with its calls before it. Damage is noted; only lack of memory is an error. */
static int trace_scan_case(struct trace_scan *s, const char *text, size_t at, size_t end,
                           const char *id, struct err *e)
{
    struct err why = {.code = 0};
    bool twice = false;
    size_t had = s->results->n;
    int rc = result_read(s->results, text + at, end - at - 1, &why);
    if (!rc && s->results->r[had].calls != s->group_calls)
        rc = err_set(&why, ERR_DATA, "%d calls before the case, which says %d", s->group_calls,
                     s->results->r[had].calls);
    const bool failed = !rc && (size_t)s->results->r[had].index < s->retry &&
                        s->results->r[had].state == CONSULT_FAILED;
    if (!rc && !failed)
        rc = trace_mark(s->has, s->n_has, s->results->r[had].index, &twice, &why);
    const bool again = failed || (!rc && twice && s->once);
    s->failed += failed;
    if (failed && s->retried) /* the checksum ends the line: "01234567"}, then its newline */
        rc =
            retried_add(s->retried, id, text + end - 3 - RETRIED_CRC, s->results->r[had].why, &why);
    if (!rc && twice && !again)
        rc = err_set(&why, ERR_DATA, "the question was finished before");
    if (!rc && !again && s->roles && (size_t)s->results->r[had].index < s->asked)
        rc = trace_scan_roles(s, text, s->group_at, at, &why);
    if (rc == ERR_NOMEM)
        FAIL(e, rc, "%s", why.msg);
    if (rc < 0) {
        s->results->n = had;
        trace_damage(s, id, why.msg);
    } else {
        if (again)
            s->results->n = had;
        if (s->kept && !again)
            str_add(s->kept, text + s->group_at, end - s->group_at);
        s->good_end = end;
    }
    s->group[0] = 0;
    s->group_at = end;
    s->group_calls = 0;
    return 0;
}

/* One newline-terminated line text[at, end). */
static int trace_scan_line(struct trace_scan *s, const char *text, size_t at, size_t end,
                           struct err *e)
{
    char id[24] = "";
    bool is_case = false, known = trace_line_id(text + at, end - at - 1, id, &is_case);
    if (!trace_line_ok(text + at, end - at - 1) || !known) {
        trace_damage(s, known ? id : s->group, "its checksum is wrong");
        s->group[0] = 0;
        s->group_at = end;
        s->group_calls = 0;
        return 0;
    }
    if (s->group[0] && strcmp(s->group, id) != 0) {
        trace_damage(s, s->group, "calls without their case");
        s->group_calls = 0;
        s->group_at = at;
    }
    memcpy(s->group, id, sizeof id);
    if (is_case)
        return trace_scan_case(s, text, at, end, id, e);
    s->group_calls++;
    return 0;
}

int trace_scan(struct trace_scan *s, const char *text, size_t n, struct err *e)
{
    for (size_t at = 0; at < n;) {
        const char *nl = memchr(text + at, '\n', n - at);
        if (!nl)
            break;
        size_t end = (size_t)(nl - text) + 1;
        s->line++;
        TRY(trace_scan_line(s, text, at, end, e));
        at = end;
    }
    return 0;
}

int trace_refuse(const struct trace_scan *s, const char *path, struct err *e)
{
    FAIL(e, ERR_DATA,
         "%s:%lld: damaged%s%s: %s; mas eval --repair drops that case and asks it again", path,
         (long long)s->first_bad, s->bad_id[0] ? " at question " : "", s->bad_id, s->bad_why);
}

int trace_plain(const struct folder *f, bool *plain, struct err *e)
{
    char path[1100];
    struct str sealed = STR_INIT;
    struct stat st;
    bool whole;
    folder_path(f, "traces.jsonl", path);
    if (stat(path, &st) != 0 || !folder_has(f, "traces.jsonl.gz")) {
        *plain = folder_has(f, "traces.jsonl");
        return 0;
    }
    folder_path(f, "traces.jsonl.gz", path);
    int rc = zio_salvage(path, TRACE_BYTES, &sealed, &whole, e);
    if (rc == 0)
        *plain = !whole || (size_t)st.st_size >= sealed.len;
    str_free(&sealed);
    return rc;
}

int trace_text(const struct folder *f, char path[1100], struct str *out, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < TRACE_TRIES; i++) {
        bool plain;
        rc = trace_plain(f, &plain, e);
        folder_path(f, rc == 0 && plain ? "traces.jsonl" : "traces.jsonl.gz", path);
        if (rc == 0)
            rc = zio_read(path, TRACE_BYTES, out, e);
        if (rc != ERR_NOINPUT) /* else it was there and has gone, or never was */
            return rc;
        if (!folder_has(f, "traces.jsonl") && !folder_has(f, "traces.jsonl.gz")) {
            *path = '\0';
            return 0;
        }
    }
    return rc;
}
