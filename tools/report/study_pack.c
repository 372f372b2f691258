/*
 * The texts of a run's cases, packed for the page.
 *
 * A block holds STUDY_BLOCK cases as JSON, gzip, base64. A system text stands once in the block of
 * texts of its run. A user text names the earlier call with the longest common beginning. Then come
 * the length of that beginning in UTF-16 units, as the page's script counts, and the rest.
 */
#include <math.h>
#include <string.h>

#include "html.h"
#include "jdoc.h"
#include "mem.h"
#include "study.h"

#define PACK_SHOWN 12   /* bad replies in the table of a run */
#define PACK_REPLY 1500 /* bytes of a reply in that table */
#define PACK_CALLS 1000 /* of a case, as in result.c */

struct pack_text {
    char *s; /* a copy */
    size_t n;
};

struct pack {
    struct study_run *r;
    size_t number;          /* of the run */
    struct pack_text *text; /* (n_text) system texts */
    size_t n_text, cap_text;
    struct str block; /* the open one: JSON */
    size_t in_block;
    const json_t **user; /* (n_user) lines of the case with a user text */
    size_t n_user, cap_user;
};

static void pack_string(struct str *out, const char *key, const char *s, size_t n)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_json(out, s, n);
}

static void pack_copy(struct str *out, const char *key, const json_t *line, const char *name)
{
    size_t n = 0;
    const char *s = replay_text(line, name, &n);
    if (json_object_get(line, name))
        pack_string(out, key, s, n);
}

static void pack_number(struct str *out, const char *key, const json_t *line, const char *name)
{
    const json_t *v = json_object_get(line, name);
    if (json_is_integer(v))
        str_addf(out, ", \"%s\": %lld", key, (long long)json_integer_value(v));
    if (!json_is_real(v))
        return;
    str_addf(out, ", \"%s\": ", key);
    str_add_number(out, json_real_value(v), 6);
}

static int pack_system(struct pack *p, const json_t *line, size_t *at, struct err *e)
{
    size_t n = 0;
    const char *s = replay_text(line, "system", &n);
    for (*at = 0; *at < p->n_text; (*at)++)
        if (p->text[*at].n == n && !memcmp(p->text[*at].s, s, n))
            return 0;
    TRY(mem_grow(&p->text, &p->cap_text, p->n_text + 1, sizeof *p->text, "system texts", e));
    p->text[p->n_text].s = mem_strndup(s, n);
    if (!p->text[p->n_text].s)
        return NOMEM(e, n, "a system text");
    p->text[p->n_text++].n = n;
    return 0;
}

/* Bytes of the common beginning, up to the end of a character; *units: in UTF-16. */
static size_t pack_common(const char *a, size_t n, const char *b, size_t m, size_t *units)
{
    size_t at = 0;
    while (at < n && at < m && a[at] == b[at])
        at++;
    while (at && at < n && ((unsigned char)a[at] & 0xc0) == 0x80)
        at--;
    *units = 0;
    for (size_t i = 0; i < at; i++) {
        const unsigned char c = (unsigned char)a[i];
        *units += (c & 0xc0) == 0x80 ? 0 : c >= 0xf0 ? 2 : 1;
    }
    return at;
}

/* "from": call, "same": units, "user": the rest. */
static void pack_user(struct pack *p, const json_t *line)
{
    size_t n = 0, best = 0, from = 0, same = 0;
    const char *s = replay_text(line, "user", &n);
    for (size_t i = 0; i < p->n_user; i++) {
        size_t m = 0, units = 0;
        const char *other = replay_text(p->user[i], "user", &m);
        const size_t common = pack_common(s, n, other, m, &units);
        if (common > best) {
            best = common;
            from = i;
            same = units;
        }
    }
    if (best > 40)
        str_addf(&p->block, ", \"from\": %zu, \"same\": %zu", from, same);
    else
        best = 0;
    pack_string(&p->block, "user", s + best, n - best);
}

static void pack_scores(struct str *out, const json_t *line)
{
    const json_t *list = json_object_get(line, "options"), *lp = json_object_get(line, "option_lp");
    if (!json_is_array(list))
        return;
    str_adds(out, ", \"scores\": [");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *s = json_array_get(list, i), *v = json_array_get(lp, i);
        str_adds(out, i ? ", [" : "[");
        str_add_json(out, json_is_string(s) ? json_string_value(s) : "", json_string_length(s));
        str_adds(out, ", ");
        str_add_number(out, json_is_number(v) ? json_number_value(v) : (double)NAN, 6);
        str_addc(out, ']');
    }
    str_addc(out, ']');
}

static int pack_call(struct pack *p, const json_t *line, struct err *e)
{
    size_t system = 0;
    TRY(pack_system(p, line, &system, e));
    str_addf(&p->block, "%s{\"system\": %zu", p->n_user ? ",\n" : "", system);
    pack_copy(&p->block, "role", line, "role");
    pack_number(&p->block, "index", line, "index");
    pack_copy(&p->block, "specialty", line, "specialty");
    pack_copy(&p->block, "finish", line, "finish");
    if (!json_is_true(json_object_get(line, "parsed")))
        pack_copy(&p->block, "why", line, "why");
    pack_number(&p->block, "own", line, "own_bytes");
    pack_number(&p->block, "prompt", line, "n_prompt");
    pack_number(&p->block, "cached", line, "n_cached");
    pack_number(&p->block, "think", line, "n_think");
    pack_number(&p->block, "new", line, "n_new");
    pack_number(&p->block, "seconds", line, "seconds");
    pack_number(&p->block, "temperature", line, "temperature");
    pack_user(p, line);
    pack_copy(&p->block, "begin", line, "reply_prefix");
    pack_copy(&p->block, "thinking", line, "thinking");
    pack_scores(&p->block, line);
    if (!json_object_get(line, "options"))
        pack_copy(&p->block, "reply", line, "reply");
    str_addc(&p->block, '}');
    TRY(mem_grow(&p->user, &p->cap_user, p->n_user + 1, sizeof *p->user, "calls", e));
    p->user[p->n_user++] = line;
    return 0;
}

/* ---- replies that ended badly ---------------------------------------------------------------- */

static void pack_bad(struct pack *p, const char *id, const char *speaker, json_int_t index,
                     const char *end, const char *why, const char *reply, size_t n)
{
    struct str *out = &p->r->bad;
    if (p->r->n_bad++ >= PACK_SHOWN)
        return;
    str_addf(out, "<tr><td data-label=\"Run\">%zu</td><td data-label=\"Case\"><a href=\"#case-",
             p->number + 1);
    html_texts(out, id);
    str_adds(out, "\">");
    html_texts(out, id);
    str_adds(out, "</a></td><td data-label=\"Call\">");
    html_texts(out, speaker);
    if (index >= 0)
        str_addf(out, " %lld", (long long)index + 1);
    str_adds(out, "</td><td data-label=\"End\">");
    html_texts(out, end);
    str_adds(out, "</td><td data-label=\"Reason\">");
    html_texts(out, why);
    str_adds(out, "</td><td data-label=\"Text\">");
    if (n) {
        str_adds(out, "<pre>");
        html_text(out, reply, utf8_complete(reply, n < PACK_REPLY ? n : PACK_REPLY));
        str_adds(out, n > PACK_REPLY ? " ..</pre>" : "</pre>");
    }
    str_adds(out, "</td></tr>\n");
}

/* true: the call was not parsed. */
static bool pack_judge(struct pack *p, const char *id, const json_t *line)
{
    size_t n = 0, k = 0;
    const char *finish = replay_text(line, "finish", &k), *reply = replay_text(line, "reply", &n);
    const bool parsed = json_is_true(json_object_get(line, "parsed"));
    const bool early = !strcmp(finish, "cut") || !strcmp(finish, "closed");
    if (!parsed || early)
        pack_bad(p, id, replay_text(line, "role", &k),
                 json_integer_value(json_object_get(line, "index")),
                 parsed    ? finish
                 : *finish ? finish
                           : "error",
                 replay_text(line, "why", &k), reply, n);
    return !parsed;
}

/* ---- cases ----------------------------------------------------------------------------------- */

/* Counts the shown places of the key and of the answer. "shown" has the letters of the file in the
 * order of the prompt. */
static void pack_place(struct study_run *r, const struct result *res, const json_t *line)
{
    size_t n = 0;
    const char *shown = replay_text(line, "shown", &n);
    if ((size_t)res->index >= r->run.asked || n > MEDQA_OPTIONS)
        return;
    for (size_t i = 0; i < n; i++) {
        const bool key = res->key >= 0 && shown[i] == 'A' + res->key;
        const bool chosen = res->predicted >= 0 && shown[i] == 'A' + res->predicted;
        r->place[i].key += key;
        r->place[i].right += key && res->correct;
        r->place[i].chosen += chosen;
    }
    r->n_place = n > r->n_place ? n : r->n_place;
}

static unsigned pack_flags(const struct result *res, const json_t *line, bool call)
{
    unsigned f = call ? STUDY_CALL : 0;
    f |= res->correct ? STUDY_RIGHT : 0;
    f |= res->state == CONSULT_UNPARSED ? STUDY_UNPARSED : 0;
    f |= res->state == CONSULT_FAILED ? STUDY_FAILED : 0;
    f |= res->cut ? STUDY_CUT : 0;
    f |= res->closed ? STUDY_CLOSED : 0;
    f |= res->agreement < 1 ? STUDY_DISAGREE : 0;
    f |= json_integer_value(json_object_get(line, "changed")) > 0 ? STUDY_CHANGED : 0;
    return f;
}

/* The members of the case's line that the page shows as they are. */
static void pack_facts(struct str *out, const json_t *line)
{
    static const char *const left_out[] = {"case", "question", "crc", NULL};
    static const char *const unknown[] = {"calls", "cut", "closed", NULL}; /* of imported ones */
    const bool imported = json_is_true(json_object_get(line, "imported"));
    const char *key, *comma = "";
    json_t *v;
    str_adds(out, "\"facts\": {");
    json_object_foreach((json_t *)(uintptr_t)line, key, v)
    {
        bool skip = false;
        for (int i = 0; left_out[i]; i++)
            skip |= !strcmp(key, left_out[i]);
        for (int i = 0; imported && unknown[i]; i++)
            skip |= !strcmp(key, unknown[i]);
        if (skip)
            continue;
        char *s = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        out->failed |= !s;
        str_adds(out, comma);
        str_add_json(out, key, strlen(key));
        str_addf(out, ": %s", s ? s : "null");
        mem_free(s);
        comma = ", ";
    }
    str_addc(out, '}');
}

static int pack_flush(struct pack *p, struct err *e)
{
    char id[48];
    if (!p->in_block)
        return 0;
    str_addc(&p->block, ']');
    snprintf(id, sizeof id, "b%zu-%zu", p->number, p->r->n_block++);
    TRY(html_block(&p->r->blocks, id, &p->block, e));
    str_clear(&p->block);
    p->in_block = 0;
    return 0;
}

static int pack_lines(struct pack *p, const struct replay *lines, const struct replay_case *c,
                      json_t **doc, struct err *e)
{
    const struct result *res = &lines->results.r[c->result];
    const size_t at = p->r->result[res->index] - 1;
    const char *line;
    size_t n, k = 0;
    bool call = false;
    str_addf(&p->block, "%s{\"calls\": [", p->in_block ? ",\n" : "[");
    p->n_user = 0;
    for (size_t off = c->first; replay_line(lines, c, &off, &line, &n); k++) {
        if (k > PACK_CALLS)
            FAIL(e, ERR_DATA, "case %s has more than %d calls", res->id, PACK_CALLS);
        TRY(replay_parse(line, n, &doc[k], e));
        if (off < c->end) {
            TRY(pack_call(p, doc[k], e));
            call |= pack_judge(p, res->id, doc[k]);
            continue;
        }
        str_adds(&p->block, "], ");
        pack_facts(&p->block, doc[k]);
        str_addc(&p->block, '}');
        pack_place(p->r, res, doc[k]);
        p->r->c[at] = (struct study_case){
            .block = p->r->n_block, .place = p->in_block++, .flags = pack_flags(res, doc[k], call)};
        if (res->state == CONSULT_FAILED || res->state == CONSULT_UNPARSED)
            pack_bad(p, res->id, "the case", -1, consult_state_name(res->state), res->why, "", 0);
    }
    return 0;
}

static int pack_case(struct pack *p, const struct replay *lines, const struct replay_case *c,
                     struct err *e)
{
    json_t **doc = mem_zalloc((size_t)c->n_calls + 1, sizeof *doc);
    if (!doc)
        return NOMEM(e, sizeof *doc, "a case");
    int rc = pack_lines(p, lines, c, doc, e);
    for (int i = 0; i <= c->n_calls; i++)
        json_decref(doc[i]);
    mem_free(doc);
    if (rc == 0 && p->in_block == STUDY_BLOCK)
        rc = pack_flush(p, e);
    return rc;
}

static int pack_texts(struct pack *p, struct err *e)
{
    struct str all = STR_INIT;
    char id[32];
    str_addc(&all, '[');
    for (size_t i = 0; i < p->n_text; i++) {
        str_adds(&all, i ? ",\n" : "");
        str_add_json(&all, p->text[i].s, p->text[i].n);
    }
    str_addc(&all, ']');
    snprintf(id, sizeof id, "t%zu", p->number);
    const int rc = html_block(&p->r->blocks, id, &all, e);
    str_free(&all);
    return rc;
}

int study_pack(struct study_run *r, size_t number, const struct replay *lines, struct err *e)
{
    struct pack p = {.r = r, .number = number, .block = STR_INIT};
    const struct replay_case **of = mem_zalloc(r->run.records.n, sizeof *of);
    int rc = 0;
    if (!of)
        return NOMEM(e, r->run.records.n * sizeof *of, "a run");
    for (size_t i = 0; i < lines->n; i++)
        of[lines->results.r[lines->c[i].result].index] = &lines->c[i];
    for (size_t i = 0; i < r->run.asked; i++)
        if (of[i])
            TRY_DONE(pack_case(&p, lines, of[i], e));
    TRY_DONE(pack_flush(&p, e));
    TRY_DONE(pack_texts(&p, e));
    TRY_DONE(str_ok(&r->bad, "a table", e));
done:
    for (size_t i = 0; i < p.n_text; i++)
        mem_free(p.text[i].s);
    mem_free(p.text);
    mem_free(p.user);
    mem_free(of);
    str_free(&p.block);
    return rc;
}
