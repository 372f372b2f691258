#include "event_file.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { FLUSH = 1 << 16 };

static void add_text(struct str *b, const char *s)
{
    str_add_json(b, s, strlen(s));
}

/* Microseconds, exact to the nanosecond. */
static void add_us(struct str *b, int64_t ns)
{
    str_addf(b, "%" PRId64 ".%03d", ns / 1000, (int)(ns % 1000));
}

static int flush(struct events *t, size_t most, struct err *e)
{
    TRY(str_ok(&t->buf, "a trace", e));
    if (t->buf.len > most) {
        TRY(outfile_put(t->out, t->buf.s, t->buf.len, e));
        str_clear(&t->buf);
    }
    return 0;
}

void events_open(struct events *t, struct outfile *out, int64_t origin)
{
    *t = (struct events){.out = out, .buf = STR_INIT, .origin = origin};
    str_adds(&t->buf, "{\"traceEvents\":[");
}

/* ---- an event -------------------------------------------------------------------------------- */

static void begin(struct events *t, const char *ph, int pid, int tid)
{
    str_addf(&t->buf, "%s\n{\"ph\":\"%s\",\"pid\":%d", t->any ? "," : "", ph, pid);
    if (tid != EVENTS_NO_THREAD)
        str_addf(&t->buf, ",\"tid\":%d", tid);
    t->any = true;
    t->args = false;
}

static void add_names(struct events *t, const char *cat, const char *name)
{
    if (cat) {
        str_adds(&t->buf, ",\"cat\":");
        add_text(&t->buf, cat);
    }
    str_adds(&t->buf, ",\"name\":");
    add_text(&t->buf, name);
}

void events_at(struct events *t, const char *ph, int pid, int tid, int64_t ns, const char *cat,
               const char *name)
{
    begin(t, ph, pid, tid);
    str_adds(&t->buf, ",\"ts\":");
    add_us(&t->buf, ns - t->origin);
    add_names(t, cat, name);
}

void events_duration(struct events *t, int64_t ns)
{
    str_adds(&t->buf, ",\"dur\":");
    add_us(&t->buf, ns);
}

void events_id(struct events *t, uint64_t id)
{
    str_addf(&t->buf, ",\"id\":%" PRIu64, id);
}

void events_member(struct events *t, const char *s)
{
    str_addf(&t->buf, ",%s", s);
}

static void add_key(struct events *t, const char *key)
{
    str_adds(&t->buf, t->args ? "," : ",\"args\":{");
    add_text(&t->buf, key);
    str_addc(&t->buf, ':');
    t->args = true;
}

void events_arg_text(struct events *t, const char *key, const char *text)
{
    if (!*text)
        return;
    add_key(t, key);
    add_text(&t->buf, text);
}

void events_arg_count(struct events *t, const char *key, int64_t n)
{
    add_key(t, key);
    str_addf(&t->buf, "%" PRId64, n);
}

void events_arg_value(struct events *t, const char *key, double v)
{
    if (!(v > 0) || !isfinite(v))
        return;
    add_key(t, key);
    str_addf(&t->buf, "%.9g", v);
}

int events_end(struct events *t, struct err *e)
{
    str_adds(&t->buf, t->args ? "}}" : "}");
    return flush(t, FLUSH, e);
}

/* ---- whole events ---------------------------------------------------------------------------- */

int events_name(struct events *t, const char *what, int pid, int tid, const char *name,
                struct err *e)
{
    begin(t, "M", pid, tid);
    add_names(t, NULL, what);
    add_key(t, "name");
    add_text(&t->buf, name);
    return events_end(t, e);
}

int events_sort(struct events *t, const char *what, int pid, int tid, int place, struct err *e)
{
    begin(t, "M", pid, tid);
    add_names(t, NULL, what);
    events_arg_count(t, "sort_index", place);
    return events_end(t, e);
}

int events_counter(struct events *t, int pid, const char *name, const char *series, int64_t ns,
                   double value, struct err *e)
{
    events_at(t, "C", pid, EVENTS_NO_THREAD, ns, NULL, name);
    add_key(t, series);
    str_addf(&t->buf, "%.6g", isfinite(value) ? value : 0);
    return events_end(t, e);
}

/* ---- the end --------------------------------------------------------------------------------- */

void events_other(struct events *t)
{
    str_adds(&t->buf, "\n],\n\"displayTimeUnit\":\"ns\",\n\"otherData\":{");
    t->any = false;
}

static void other_key(struct events *t, const char *key)
{
    str_adds(&t->buf, t->any ? "," : "");
    add_text(&t->buf, key);
    str_addc(&t->buf, ':');
    t->any = true;
}

void events_other_text(struct events *t, const char *key, const char *text)
{
    other_key(t, key);
    add_text(&t->buf, text);
}

void events_other_json(struct events *t, const char *key, const char *json)
{
    other_key(t, key);
    str_adds(&t->buf, json);
}

int events_close(struct events *t, struct err *e)
{
    str_adds(&t->buf, "}}\n");
    return flush(t, 0, e);
}

void events_free(struct events *t)
{
    str_free(&t->buf);
}
