/* The list of cases that the page's script searches, and the whole page. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "embed.h"
#include "html.h"
#include "study.h"

static void index_answer(const struct study *s, size_t run, const struct study_question *q,
                         struct str *out)
{
    size_t at = 0;
    const struct result *r = study_result(s, run, q, &at);
    if (!r) {
        str_adds(out, study_asked(s, run, q) ? "0" : "null");
        return;
    }
    const struct study_case *c = &s->run[run].c[at];
    str_addf(out, "[\"%s\", ", consult_state_name(r->state));
    if (r->predicted >= 0)
        str_addf(out, "\"%c\"", 'A' + r->predicted);
    else
        str_add_json(out, r->answer, strlen(r->answer));
    str_addf(out, ", %u, %zu, %zu, ", c->flags, c->block, c->place);
    str_add_number(out, r->p, 4);
    str_adds(out, ", ");
    if (result_computed(r) >= 0)
        str_addf(out, "%lld, ", (long long)result_computed(r));
    else
        str_adds(out, "null, ");
    str_add_number(out, r->seconds, 3);
    str_addc(out, ']');
}

static void index_question(const struct study *s, const struct study_question *q, struct str *out)
{
    const struct records_row *row = &s->run[q->first].run.records.r[q->record];
    str_addf(out, "{\"id\": \"%s\", \"n\": %zu, \"key\": ", q->id, q->record + 1);
    if (row->key >= 0)
        str_addf(out, "\"%c\"", 'A' + row->key);
    else
        str_adds(out, "\"\"");
    str_adds(out, ", \"step\": ");
    str_add_json(out, row->step, strlen(row->step));
    const char *text = q->q ? q->q->text : row->question;
    str_addf(out, ", \"whole\": %d, \"text\": ", q->q ? 1 : 0);
    str_add_json(out, text, strlen(text));
    str_adds(out, ", \"options\": [");
    for (int i = 0; q->q && i < q->q->n_options; i++) {
        str_adds(out, i ? ", " : "");
        str_add_json(out, q->q->option[i], strlen(q->q->option[i]));
    }
    str_adds(out, "], \"runs\": [");
    for (size_t i = 0; i < s->n; i++) {
        str_adds(out, i ? ", " : "");
        index_answer(s, i, q, out);
    }
    str_adds(out, "]}");
}

int study_index(const struct study *s, struct str *out, struct err *e)
{
    struct str text = STR_INIT;
    str_adds(&text, "{\"runs\": [");
    for (size_t i = 0; i < s->n; i++) {
        str_adds(&text, i ? ", " : "");
        str_add_json(&text, s->run[i].name, strlen(s->run[i].name));
    }
    str_adds(&text, "],\n\"cases\": [");
    for (size_t i = 0; i < s->n_question; i++) {
        str_adds(&text, i ? ",\n" : "\n");
        index_question(s, &s->question[i], &text);
    }
    str_adds(&text, "]}\n");
    const int rc = html_block(out, "index", &text, e);
    str_free(&text);
    return rc;
}

/* ---- the page -------------------------------------------------------------------------------- */

struct part { /* of a template: text[0..n) between two marks */
    const char *s;
    size_t n;
};

static struct part part_of(const struct embed_file *f, const char *from, const char *to)
{
    CHECK(f);
    const char *a = strstr(f->data, from), *b = a ? strstr(a, to) : NULL;
    CHECK_MSG(b, "the page has no such part");
    a += strlen(from);
    return (struct part){.s = a, .n = (size_t)(b - a)};
}

static int page_head(const struct part *style, const struct part *script, struct str *out,
                     struct err *e)
{
    const struct part house = part_of(embed_find("tools/serve/page.html"), "<style>", "</style>");
    struct str css = STR_INIT;
    char a[64], b[64];
    int rc;
    str_add(&css, house.s, house.n);
    str_add(&css, style->s, style->n);
    TRY_DONE(str_ok(&css, "a page", e));
    TRY_DONE(html_hash(css.s, css.len, a, e));
    TRY_DONE(html_hash(script->s, script->n, b, e));
    str_addf(out,
             STUDY_HEAD
             "<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
             "script-src %s; style-src %s; img-src data:; base-uri 'none'; form-action 'none'\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta name=\"color-scheme\" content=\"light dark\">\n"
             "<title>mas: report of an evaluation, for research only</title>\n"
             "<link rel=\"icon\" href=\"data:,\">\n<style>",
             b, a);
    str_add(out, css.s, css.len);
    str_adds(out, "</style>\n</head>\n");
done:
    str_free(&css);
    return rc;
}

static void page_about(const struct study *s, struct str *out)
{
    size_t asked = 0, done = 0;
    for (size_t i = 0; i < s->n; i++) {
        asked += s->run[i].sum.accuracy.n;
        done += s->run[i].sum.so_far.n;
    }
    str_addf(out, "%zu %s, %zu questions, %zu of %zu records done \u00b7 program ", s->n,
             s->n == 1 ? "run" : "runs", s->n_question, done, asked);
    html_texts(out, MAS_COMMIT);
}

static int page_slot(const struct study *s, const char *name, size_t n, struct str *out,
                     struct err *e)
{
#define SLOT(what, call)                                                                           \
    if (n == strlen(what) && !memcmp(name, what, n)) {                                             \
        call;                                                                                      \
        return 0;                                                                                  \
    }
    SLOT("about", page_about(s, out))
    SLOT("legend", study_legend(s, out))
    SLOT("table-runs", study_table_runs(s, out))
    SLOT("chart-accuracy", study_chart_accuracy(s, out))
    SLOT("charts-cost", study_charts_cost(s, out))
    SLOT("note-questions", study_note_questions(s, out))
    SLOT("table-steps", study_table_steps(s, out))
    SLOT("table-prices", study_table_prices(s, out))
    SLOT("table-paired", study_table_paired(s, out))
    SLOT("table-settings", study_table_settings(s, out))
    SLOT("chart-paired", study_chart_paired(s, out))
    SLOT("charts-calibration", study_charts_calibration(s, out))
    SLOT("charts-places", study_charts_places(s, out))
    SLOT("charts-specialties", study_charts_specialties(s, out))
    SLOT("charts-time", TRY(study_charts_time(s, out, e)))
    SLOT("table-places", study_table_places(s, out))
    SLOT("table-specialties", study_table_specialties(s, out))
    SLOT("table-bad", study_table_bad(s, out))
    SLOT("table-setup", study_table_setup(s, out))
#undef SLOT
    CHECK_MSG(0, "the page has a slot of an unknown name");
    return 0;
}

/* The body, with each <!--slot NAME--> replaced. */
static int page_body(const struct study *s, const struct part *body, struct str *out, struct err *e)
{
    static const char from[] = "<!--slot ", to[] = "-->";
    const char *at = body->s, *end = body->s + body->n;
    for (;;) {
        const char *a = strstr(at, from);
        if (!a || a >= end)
            break;
        const char *b = strstr(a, to);
        CHECK(b);
        str_add(out, at, (size_t)(a - at));
        a += sizeof from - 1;
        TRY(page_slot(s, a, (size_t)(b - a), out, e));
        at = b + sizeof to - 1;
    }
    str_add(out, at, (size_t)(end - at));
    return str_ok(out, "a page", e);
}

int study_page(const struct study *s, struct str *out, struct err *e)
{
    const struct embed_file *f = embed_find("tools/report/study.html");
    const struct part style = part_of(f, "<style>", "</style>");
    const struct part body = part_of(f, "</head>\n", "<script>");
    const struct part script = part_of(f, "<script>", "</script>");
    TRY(page_head(&style, &script, out, e));
    TRY(page_body(s, &body, out, e));
    TRY(study_index(s, out, e));
    for (size_t i = 0; i < s->n; i++)
        str_add(out, s->run[i].blocks.s, s->run[i].blocks.len);
    str_adds(out, "<script>");
    str_add(out, script.s, script.n);
    str_adds(out, "</script>\n</body>\n</html>\n");
    return str_ok(out, "a page", e);
}
