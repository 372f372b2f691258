#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "page.h"
#include "profile.h"
#include "profile_sum.h"

enum {
    WIDTH = 1040,
    LEFT = 150,
    RIGHT = 70,
    LANE = 22,
    GAP = 6,
    AXIS = 24,
    BAR = 34,     /* height of the bar of a step */
    LAYERS = 150, /* height of the bars of layers */
    MOST_WORKERS = 16
};
static const double room = WIDTH - LEFT - RIGHT;

struct page {
    const struct record *r;
    const struct profile_facts *f;
    const struct profile_sum *sum;
    struct str *out;
};

/* ---- colours --------------------------------------------------------------------------------- */

struct shade {
    const char *name, *colour;
};

/* Ops have colours, the host's work is grey, waiting is pale. Neighbours in a step differ in
 * lightness too. */
static const struct shade shades[] = {
    {"matmul", "#2f6db5"},   {"attention", "#e09f3e"}, {"rmsnorm", "#4f9d69"},
    {"kv_write", "#7d5ba6"}, {"kv_copy", "#b79ad6"},   {"embed", "#b5446e"},
    {"add", "#3a9ca5"},      {"gather", "#8fce9f"},    {"logprob", "#8c5a2b"},
    {"sample", "#c8553d"},   {"draft", "#f2a6a0"},     {"copy", "#1b7f5c"},
    {"schedule", "#6c757d"}, {"upload", "#343a40"},    {"replay", "#868e96"},
    {"weights", "#5c6770"},  {"hop", "#495057"},       {"deliver", "#adb5bd"},
    {"queue", "#c3c9cf"},    {"wait", "#e3e7ea"},      {"recorder", "#f3d9fa"},
    {"between", "#f8f0d8"},
};

static const char *colour(const char *name)
{
    for (size_t i = 0; i < sizeof shades / sizeof shades[0]; i++)
        if (!strcmp(shades[i].name, name))
            return shades[i].colour;
    return "#b0a89f";
}

static bool is_pale(const char *c)
{
    unsigned rgb = (unsigned)strtoul(c + 1, NULL, 16);
    return (rgb >> 16) * 3 + (rgb >> 8 & 255) * 6 + (rgb & 255) > 1600;
}

/* Three or four digits: "85.1 us", "12.34 ms". */
static void add_time(struct str *out, double ns)
{
    if (ns < 999.5e3)
        str_addf(out, "%.*f us", ns < 99.95e3 ? 1 : 0, ns * 1e-3);
    else if (ns < 999.5e6)
        str_addf(out, "%.*f ms", ns < 9.995e6 ? 3 : ns < 99.95e6 ? 2 : 1, ns * 1e-6);
    else
        str_addf(out, "%.2f s", ns * 1e-9);
}

/* ---- one bar by piece ------------------------------------------------------------------------ */

static void bar(const struct page *p, const struct profile_group *g)
{
    double all = 0, x = 0;
    for (int i = 0; i < g->n_piece; i++)
        all += (double)g->piece[i].median_ns;
    if (!(all > 0))
        return;
    page_svg(p->out, WIDTH, BAR + 2);
    for (int i = 0; i < g->n_piece; i++) {
        const struct profile_piece *k = &g->piece[i];
        const double w = (double)k->median_ns / all * WIDTH;
        const char *c = colour(k->name);
        if (!(w > 0))
            continue;
        str_addf(p->out,
                 "<rect x=\"%.2f\" y=\"1\" width=\"%.2f\" height=\"%d\" fill=\"%s\" "
                 "class=\"cut\"><title>%s: ",
                 x, w, BAR, c, k->name);
        add_time(p->out, (double)k->median_ns);
        str_addf(p->out, ", %.1f %%</title></rect>\n", 100 * (double)k->median_ns / all);
        if (w > 8 * (double)strlen(k->name) + 8)
            str_addf(p->out,
                     "<text x=\"%.1f\" y=\"22\" text-anchor=\"middle\" class=\"%s\">%s</text>\n",
                     x + w / 2, is_pale(c) ? "on-pale" : "on-dark", k->name);
        x += w;
    }
    str_adds(p->out, "</svg>\n<p class=\"key\">");
    for (int i = 0; i < g->n_piece; i++) {
        const struct profile_piece *k = &g->piece[i];
        str_addf(p->out, "<span><i style=\"background:%s\"></i>%s <b>", colour(k->name), k->name);
        add_time(p->out, (double)k->median_ns);
        str_addf(p->out, "</b>, %.1f %%</span> ", 100 * (double)k->median_ns / all);
    }
    str_adds(p->out, "</p>\n");
}

/* ---- timeline of a step ---------------------------------------------------------------------- */

static const struct interval *find_step(const struct record *r, int step)
{
    for (size_t i = 0; i < r->n_interval; i++)
        if (r->interval[i].kind == SPAN_STEP && r->interval[i].step == step)
            return &r->interval[i];
    return NULL;
}

/* Does the timeline show the interval on its track? Passes, parts and steps only surround others.
 * On the CPU alone an op runs while it is called, so it is no host work. */
static bool is_shown(const struct record *r, const struct interval *v)
{
    const bool work = v->kind == SPAN_OP || v->kind == SPAN_COPY;
    if (work && r->track[v->track].kind == TRACK_ENGINE)
        return r->device_timed;
    return work || v->kind == SPAN_HOST;
}

static const char *shown_as(const struct record *r, const struct interval *v)
{
    const bool queued = r->track[v->track].kind == TRACK_ENGINE;
    if (v->kind == SPAN_HOST)
        return v->name;
    if (queued)
        return "queue";
    return v->kind == SPAN_COPY ? "copy" : !strcmp(v->phase, "draft") ? "draft" : v->name;
}

struct shown {
    const struct interval *v;
    enum track_kind kind;
};

static int by_start(const void *a, const void *b)
{
    const struct shown *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->v->track != y->v->track)
        return x->v->track < y->v->track ? -1 : 1;
    return (x->v->start_ns > y->v->start_ns) - (x->v->start_ns < y->v->start_ns);
}

struct pen { /* a rectangle that is not written yet */
    const struct interval *v;
    const char *name;
    double from, to;
    int n; /* intervals in it */
};

static void pen_write(const struct page *p, struct pen *pen, double y)
{
    if (!pen->n)
        return;
    const double w = pen->to - pen->from;
    str_addf(p->out, "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\" fill=\"%s\"><title>",
             LEFT + pen->from, y, w < 0.4 ? 0.4 : w, LANE, colour(pen->name));
    page_text(p->out, pen->v->name);
    if (pen->n > 1) {
        str_addf(p->out, ", %d times", pen->n);
    } else {
        str_addc(p->out, ' ');
        add_time(p->out, (double)(pen->v->end_ns - pen->v->start_ns));
        if (pen->v->layer >= 0)
            str_addf(p->out, ", layer %d", pen->v->layer);
        if (*pen->v->detail) {
            str_adds(p->out, ": ");
            page_text(p->out, pen->v->detail);
        }
    }
    str_adds(p->out, "</title></rect>\n");
    pen->n = 0;
}

/* Intervals less than a third of a pixel apart become one; those hidden by the last one are left
 * out. */
static void lane(const struct page *p, const struct shown *shown, size_t n,
                 const struct interval *step, double y)
{
    const double scale = room / (double)(step->end_ns - step->start_ns);
    const struct track *k = &p->r->track[shown[0].v->track];
    struct pen pen = {.n = 0};
    double busy = 0;
    char share[16], title[21];
    str_addf(p->out, "<rect x=\"%d\" y=\"%.1f\" width=\"%.0f\" height=\"%d\" class=\"lane\"/>\n",
             LEFT, y, room, LANE);
    for (size_t i = 0; i < n; i++) {
        const struct interval *v = shown[i].v;
        const double from = fmax(0, (double)(v->start_ns - step->start_ns) * scale);
        const double to = fmin(room, (double)(v->end_ns - step->start_ns) * scale);
        const char *name = shown_as(p->r, v);
        if (to <= from)
            continue;
        busy += strcmp(name, "wait") ? to - from : 0;
        if (pen.n && from - pen.to < 0.33 && (!strcmp(name, pen.name) || to - pen.from < 0.33)) {
            pen.to = fmax(pen.to, to);
            pen.n++;
            continue;
        }
        pen_write(p, &pen, y);
        pen = (struct pen){v, name, from, to, 1};
    }
    pen_write(p, &pen, y);
    snprintf(title, sizeof title, "%.*s", (int)strcspn(k->name, ","), k->name);
    page_label(p->out, LEFT - 8, y + LANE / 2.0 + 4, "end", title);
    snprintf(share, sizeof share, "%.1f %%", 100 * fmin(1, busy / room));
    page_label(p->out, WIDTH - RIGHT + 8, y + LANE / 2.0 + 4, "start", share);
}

/* 1, 2 or 5 times a power of ten: about eight marks. */
static double tick(double whole)
{
    const double rough = whole / 8, power = pow(10, floor(log10(rough))), first = rough / power;
    return power * (first < 1.5 ? 1 : first < 3.5 ? 2 : first < 7.5 ? 5 : 10);
}

static void axis(const struct page *p, double us, double y)
{
    const bool ms = us >= 3000;
    const double whole = ms ? us * 1e-3 : us, mark = tick(whole);
    char text[32];
    for (double x = 0; x <= whole * 1.0001; x += mark) {
        const double at = LEFT + x / whole * room;
        str_addf(p->out, "<line x1=\"%.1f\" y1=\"4\" x2=\"%.1f\" y2=\"%.1f\" class=\"mark\"/>\n",
                 at, at, y);
        snprintf(text, sizeof text, "%g", x);
        page_label(p->out, at, y + 14, "middle", text);
    }
    page_label(p->out, WIDTH - RIGHT + 20, y + 14, "start", ms ? "ms" : "us");
}

static void lanes(const struct page *p, const struct shown *v, size_t n,
                  const struct interval *step)
{
    int n_lane = 0, workers = 0;
    size_t to;
    for (size_t i = 0; i < n; i++)
        n_lane += i == 0 || v[i].v->track != v[i - 1].v->track;
    if (n_lane > MOST_WORKERS + 8)
        n_lane = MOST_WORKERS + 8;
    str_adds(p->out, "<div class=\"wide\">");
    page_svg(p->out, WIDTH, n_lane * (LANE + GAP) + AXIS);
    axis(p, (double)(step->end_ns - step->start_ns) * 1e-3, n_lane * (LANE + GAP));
    double y = 4;
    for (size_t from = 0; from < n && n_lane; from = to) {
        for (to = from + 1; to < n && v[to].v->track == v[from].v->track;)
            to++;
        if (v[from].kind == TRACK_WORKER && workers++ == MOST_WORKERS)
            break;
        lane(p, v + from, to - from, step, y);
        y += LANE + GAP;
        n_lane--;
    }
    str_adds(p->out, "</svg></div>\n");
    if (workers > MOST_WORKERS)
        str_addf(p->out, "<p>Only the first %d of %d workers are drawn.</p>\n", MOST_WORKERS,
                 p->r->n_worker);
}

static int timeline(const struct page *p, const struct profile_group *g, struct err *e)
{
    const struct interval *step = find_step(p->r, g->median);
    size_t n = 0;
    if (!step || step->end_ns <= step->start_ns)
        return 0;
    struct shown *v = mem_zalloc(p->r->n_interval + 1, sizeof *v);
    if (!v)
        return NOMEM(e, p->r->n_interval * sizeof *v, "a timeline");
    for (size_t i = 0; i < p->r->n_interval; i++)
        if (p->r->interval[i].step == g->median && is_shown(p->r, &p->r->interval[i]))
            v[n++] = (struct shown){&p->r->interval[i], p->r->track[p->r->interval[i].track].kind};
    qsort(v, n, sizeof *v, by_start);
    str_addf(p->out,
             "<h3>Timeline of step %d</h3>\n<p>The colours are those of the bar. On the right is "
             "the share of the time in which a track is busy.</p>\n",
             g->median);
    lanes(p, v, n, step);
    mem_free(v);
    return 0;
}

/* ---- table ----------------------------------------------------------------------------------- */

static void cell(const struct page *p, const char *text)
{
    str_adds(p->out, "<td>");
    page_text(p->out, text);
    str_adds(p->out, "</td>");
}

static void cell_number(const struct page *p, const char *format, double v)
    __attribute__((format(printf, 2, 0)));

/* Nothing for a number that is not known. */
static void cell_number(const struct page *p, const char *format, double v)
{
    str_adds(p->out, "<td>");
    if (!isnan(v))
        str_addf(p->out, format, v);
    str_adds(p->out, "</td>");
}

static void row(const struct page *p, const struct profile_group *g, const struct profile_row *k)
{
    const double us = k->call.median * 1e-3, calls = (double)k->calls, nan = (double)NAN;
    const double gb = us > 0 ? k->bytes / calls / us * 1e-3 : nan;
    const double gop = us > 0 ? k->ops / calls / us * 1e-3 : nan;
    const bool draft = !strcmp(k->phase, "draft");
    str_addf(p->out, "<tr><td><i class=\"box\" style=\"background:%s\"></i>%s",
             colour(draft ? "draft" : k->op), draft ? "draft: " : "");
    page_text(p->out, k->op);
    str_adds(p->out, "</td>");
    cell(p, k->detail);
    cell(p, k->kernel);
    str_addf(p->out, "<td>%" PRId64 "</td>", k->calls);
    cell_number(p, "%.3f", (double)k->ns * 1e-6);
    cell_number(p, "%.1f", g->wall_ns > 0 ? 100 * (double)k->ns / (double)g->wall_ns : nan);
    cell_number(p, "%.1f", us);
    str_addf(p->out, "<td>%.1f .. %.1f</td>", k->call.p5 * 1e-3, k->call.p95 * 1e-3);
    cell_number(p, "%.2f", gb);
    if (p->f->read > 0)
        cell_number(p, "%.1f", 100 * gb * 1e9 / p->f->read);
    cell_number(p, "%.1f", gop);
    if (p->r->n_worker)
        cell_number(p, "%.1f", 100 * profile_imbalance(p->r, k));
    str_adds(p->out, "</tr>\n");
}

static void table(const struct page *p, int group)
{
    str_addf(p->out,
             "<h3>Ops</h3>\n<div class=\"wide\"><table><thead><tr><th>op</th><th>case</th>"
             "<th>kernel</th><th>calls</th><th>ms, all</th><th>%% of steps</th><th>us a "
             "call</th><th>p5 .. p95</th><th>GB/s</th>%s<th>GOP/s</th>%s</tr></thead><tbody>\n",
             p->f->read > 0 ? "<th>% of read</th>" : "", p->r->n_worker ? "<th>uneven %</th>" : "");
    for (size_t i = 0; i < p->sum->n_row; i++)
        if (p->sum->row[i].group == group)
            row(p, &p->sum->group[group], &p->sum->row[i]);
    str_adds(p->out, "</tbody></table></div>\n");
}

/* ---- layers ---------------------------------------------------------------------------------- */

static void layers(const struct page *p, const struct profile_group *g)
{
    double most = 0, most_max = 0;
    char text[32];
    for (int i = 0; i < g->n_layer; i++) {
        most = fmax(most, g->layer[i].median);
        most_max = fmax(most_max, g->layer[i].max);
    }
    if (!(most > 0) || g->n_layer < 2)
        return;
    const double top = fmin(most_max, 2 * most), pitch = room / g->n_layer;
    const double w = fmin(40, pitch > 3 ? pitch - 1 : pitch);
    str_adds(p->out, "<h3>Layers</h3>\n<p>Time of a layer's ops in a step: the bar is the median "
                     "over steps, the line above it the longest (cut at twice the longest "
                     "bar).</p>\n<div class=\"wide\">");
    page_svg(p->out, WIDTH, LAYERS + AXIS + 8);
    const double unit = top >= 3e6 ? 1e6 : 1e3, whole = top / unit;
    for (double x = 0, mark = tick(2 * whole); x <= whole; x += mark) {
        const double y = 8 + LAYERS - x / whole * LAYERS;
        str_addf(p->out, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%.0f\" y2=\"%.1f\" class=\"mark\"/>\n",
                 LEFT, y, LEFT + room, y);
        snprintf(text, sizeof text, "%g %s", x, unit > 1e3 ? "ms" : "us");
        page_label(p->out, LEFT - 8, y + 4, "end", text);
    }
    for (int i = 0; i < g->n_layer; i++) {
        const struct profile_layer *l = &g->layer[i];
        const double h = l->median / top * LAYERS, high = fmin(1, l->max / top) * LAYERS;
        const double x = LEFT + pitch * (i + 0.5);
        str_addf(
            p->out,
            "<line x1=\"%.2f\" y1=\"%.1f\" x2=\"%.2f\" y2=\"%.1f\" class=\"high\"/><rect "
            "x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" fill=\"#2f6db5\"><title>layer "
            "%d: %.1f us (%.1f .. %.1f)</title></rect>\n",
            x, 8 + LAYERS - high, x, 8 + LAYERS - h, x - w / 2, 8 + LAYERS - h, w, h, l->layer,
            l->median * 1e-3, l->min * 1e-3, l->max * 1e-3);
        if (g->n_layer <= 20 || l->layer % 10 == 0) {
            snprintf(text, sizeof text, "%d", l->layer);
            page_label(p->out, x, LAYERS + 24, "middle", text);
        }
    }
    str_adds(p->out, "</svg></div>\n");
}

/* ---- workers --------------------------------------------------------------------------------- */

static void workers(const struct page *p, int group)
{
    int64_t watched = 0;
    for (size_t i = 0; i < p->sum->n_row; i++)
        if (p->sum->row[i].group == group && p->sum->row[i].busy_ns)
            watched += p->sum->row[i].watched_ns;
    if (watched <= 0)
        return;
    str_adds(p->out, "<h3>Threads of the CPU pool</h3>\n<p>Share of the time of ops that each "
                     "thread computes; it waits for the others in the rest. The column "
                     "&quot;uneven&quot; of the "
                     "table is (longest - mean) / mean, call by call.</p>\n<div class=\"wide\">");
    page_svg(p->out, WIDTH, p->r->n_worker * 18 + 4);
    for (int w = 0; w < p->r->n_worker; w++) {
        int64_t busy = 0;
        char text[64];
        for (size_t i = 0; i < p->sum->n_row; i++)
            if (p->sum->row[i].group == group && p->sum->row[i].busy_ns)
                busy += p->sum->row[i].busy_ns[w];
        const double share = (double)busy / (double)watched;
        snprintf(text, sizeof text, "worker %d", w);
        page_label(p->out, LEFT - 8, w * 18 + 14, "end", text);
        str_addf(p->out,
                 "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"14\" class=\"lane\"/><rect "
                 "x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"14\" fill=\"#2f6db5\"/>\n",
                 LEFT, w * 18 + 3, room, LEFT, w * 18 + 3, room * fmin(1, share));
        snprintf(text, sizeof text, "%.1f %%", 100 * share);
        page_label(p->out, WIDTH - RIGHT + 8, w * 18 + 14, "start", text);
    }
    str_adds(p->out, "</svg></div>\n");
}

/* ---- the page -------------------------------------------------------------------------------- */

static int section(const struct page *p, int group, struct err *e)
{
    const struct profile_group *g = &p->sum->group[group];
    str_adds(p->out, "<h2>");
    page_text(p->out, g->name);
    if (!g->n_step)
        str_adds(p->out, ": work outside of steps");
    str_adds(p->out, "</h2>\n");
    if (g->n_step) {
        str_addf(p->out, "<p>%d step%s, %.4g rows each. A step takes ", g->n_step,
                 g->n_step == 1 ? "" : "s", (double)g->rows / g->n_step);
        add_time(p->out, g->step.median);
        if (g->n_step > 1) {
            str_adds(p->out, " (median; 5 % take less than ");
            add_time(p->out, g->step.p5);
            str_adds(p->out, ", 5 % more than ");
            add_time(p->out, g->step.p95);
            str_addc(p->out, ')');
        }
        str_adds(p->out, ".</p>\n");
        bar(p, g);
        TRY(timeline(p, g, e));
    }
    table(p, group);
    layers(p, g);
    workers(p, group);
    return 0;
}

static void head(const struct page *p)
{
    const struct profile_facts *f = p->f;
    struct str title = STR_INIT;
    str_addf(&title, PROFILE_HTML_TITLE "%s%s", *f->model ? " of " : "", f->model);
    page_open(p->out, title.s,
              "body{max-width:1040px}.wide{overflow-x:auto}.wide "
              "svg{min-width:760px}h3{font-size:14px;margin:18px 0 4px}"
              "pre{background:#f1f3f5;padding:8px 12px;white-space:pre-wrap;overflow-wrap:anywhere}"
              ".lane{fill:#f1f3f5}.mark{stroke:#ced4da}.high{stroke:#868e96}.cut{stroke:#fff;"
              "stroke-width:1}svg text.on-dark{fill:#fff;stroke:none}svg text.on-pale{stroke:none}"
              ".key i,i.box{border:1px solid #868e96}i.box{display:inline-block;width:9px;"
              "height:9px;margin-right:6px}th,td{padding:3px 5px;white-space:nowrap}"
              "td:nth-child(2){white-space:normal;min-width:170px}"
              "*{-webkit-print-color-adjust:exact;print-color-adjust:exact}");
    str_free(&title);
    str_adds(p->out, "<p>");
    const char *const fact[] = {f->device, f->date, f->program};
    bool any = false;
    for (size_t i = 0; i < sizeof fact / sizeof fact[0]; i++) {
        if (!*fact[i])
            continue;
        str_adds(p->out, any ? "; " : "");
        page_text(p->out, fact[i]);
        any = true;
    }
    str_adds(p->out, any ? ".</p>\n" : "</p>\n");
    if (*f->command) {
        str_adds(p->out, "<pre>");
        page_text(p->out, f->command);
        str_adds(p->out, "</pre>\n");
    }
    if (*f->note) {
        str_adds(p->out, "<p class=\"note\">");
        page_text(p->out, f->note);
        str_adds(p->out, "</p>\n");
    }
    if (p->r->dropped)
        str_addf(p->out,
                 "<p class=\"note\">The record was full: %" PRIu64
                 " intervals more are not part of this page.</p>\n",
                 p->r->dropped);
}

static void how_to_read(const struct page *p)
{
    str_adds(p->out, "<p>All steps take ");
    add_time(p->out, (double)p->sum->wall_ns);
    str_adds(p->out, ", and ");
    add_time(p->out, (double)p->sum->apart_ns);
    str_addf(p->out,
             " pass between steps. %s The bar of a section is its step of median duration. Each "
             "moment of a step belongs to the first piece that fits:</p>\n<ol><li>an op runs: its "
             "name</li><li>the host works (grey): schedule, upload, deliver, ..</li><li>copy: "
             "weights are copied</li><li>queue: the host queues an op</li><li>wait: the host waits "
             "and the device is idle</li><li>recorder: the profiler works</li><li>between: the "
             "rest</li></ol>\n",
             p->r->device_timed ? "The device itself measures its times."
                                : "Ops are timed while they are called.");
    if (p->f->read > 0)
        str_addf(p->out,
                 "<p>&quot;%% of read&quot; compares with a memory read of %.4g GB/s, measured in "
                 "the same run.</p>\n",
                 p->f->read * 1e-9);
}

int profile_html(const struct record *r, const struct profile_facts *f, struct outfile *out,
                 struct err *e)
{
    struct str text = STR_INIT;
    struct profile_sum sum = {.n_group = 0};
    const struct page p = {.r = r, .f = f, .sum = &sum, .out = &text};
    int rc;
    TRY_DONE(profile_sum_make(r, &sum, e));
    head(&p);
    if (!sum.n_group)
        str_adds(&text, "<p>Nothing was recorded.</p>\n");
    else
        how_to_read(&p);
    for (int g = 0; g < sum.n_group; g++)
        TRY_DONE(section(&p, g, e));
    page_close(&text);
    TRY_DONE(str_ok(&text, "a page", e));
    rc = outfile_put(out, text.s, text.len, e);
done:
    profile_sum_free(&sum);
    str_free(&text);
    return rc;
}
