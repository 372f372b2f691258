#include "bench_html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "page.h"

enum {
    WIDTH = 900,
    HEIGHT = 420,
    LEFT = 76,
    RIGHT = 24,
    TOP = 18,
    BOTTOM = 52,
    COLOURS = 8,
    MOST_LINES = 12
};
static const char *const colour[COLOURS] = {"#2f6db5", "#c8553d", "#4f9d69", "#7d5ba6",
                                            "#e09f3e", "#3a9ca5", "#8d99ae", "#b5446e"};

static void svg_open(struct str *out, int height)
{
    page_svg(out, WIDTH, height);
}

/* Has no row before i this kernel? */
static bool first_of_kernel(const struct bench_page *p, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (!strcmp(p->row[k].kernel, p->row[i].kernel))
            return false;
    return true;
}

/* Colours by kernel, in the order in which they first come. */
static int kernel_index(const struct bench_page *p, const char *kernel)
{
    int n = 0;
    for (size_t i = 0; i < p->n_row && strcmp(p->row[i].kernel, kernel); i++)
        n += first_of_kernel(p, i);
    return n;
}

static void key(const struct bench_page *p, struct str *out)
{
    str_adds(out, "<p class=\"key\">");
    for (size_t i = 0; i < p->n_row; i++) {
        if (!first_of_kernel(p, i))
            continue;
        str_addf(out, "<span><i style=\"background:%s\"></i>",
                 colour[kernel_index(p, p->row[i].kernel) % COLOURS]);
        page_text(out, p->row[i].kernel);
        str_adds(out, "</span> ");
    }
    str_adds(out, "</p>\n");
}

/* ---- axes ------------------------------------------------------------------------------------ */

struct scale { /* logarithmic, from low to high */
    double low, high, from, to;
};

static double at(const struct scale *s, double v)
{
    return s->from + (s->to - s->from) * (log(v / s->low) / log(s->high / s->low));
}

static void widen(struct scale *s, double v)
{
    if (!(v > 0))
        return;
    s->low = s->low > 0 && s->low < v ? s->low : v;
    s->high = s->high > v ? s->high : v;
}

/* To whole powers of the base. */
static void settle(struct scale *s, double base)
{
    s->low = pow(base, floor(log(s->low * 1.0001) / log(base)));
    s->high = pow(base, ceil(log(s->high * 0.9999) / log(base)));
    if (!(s->high > s->low))
        s->high = s->low * base;
}

static void axes(struct str *out, const struct scale *x, const struct scale *y, double base_x,
                 const char *name_x, const char *name_y)
{
    char label[32];
    for (double v = x->low; v <= x->high * 1.001; v *= base_x) {
        double px = at(x, v);
        str_addf(out, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" class=\"grid\"/>\n", px,
                 TOP, px, HEIGHT - BOTTOM);
        snprintf(label, sizeof label, "%g", v);
        page_label(out, px, HEIGHT - BOTTOM + 18, "middle", label);
    }
    for (double v = y->low; v <= y->high * 1.001; v *= 10) {
        double py = at(y, v);
        str_addf(out, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" class=\"grid\"/>\n", LEFT,
                 py, WIDTH - RIGHT, py);
        snprintf(label, sizeof label, "%g", v);
        page_label(out, LEFT - 8, py + 4, "end", label);
    }
    page_label(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 12, "middle", name_x);
    str_addf(out, "<text transform=\"translate(16 %d) rotate(-90)\" text-anchor=\"middle\">",
             (TOP + HEIGHT - BOTTOM) / 2);
    page_text(out, name_y);
    str_adds(out, "</text>\n");
}

static void point(struct str *out, double x, double y, const struct bench_page *p,
                  const struct bench_result *r, const char *what)
{
    str_addf(out,
             "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"%s\" fill-opacity=\"0.85\"><title>",
             x, y, r->best ? 5.0 : 3.5, colour[kernel_index(p, r->kernel) % COLOURS]);
    page_text(out, r->op);
    str_adds(out, " [");
    page_text(out, r->name);
    str_adds(out, "] ");
    page_text(out, r->kernel);
    str_addf(out, ": %s</title></circle>\n", what);
}

/* ---- roofline -------------------------------------------------------------------------------- */

static void roof(struct str *out, const struct scale *x, const struct scale *y,
                 double bytes_per_second, const char *name)
{
    double low = x->low, high = x->high, to = bytes_per_second * 1e-9;
    if (!(to > 0))
        return;
    low = fmax(low, y->low / to);
    high = fmin(high, y->high / to);
    if (low >= high)
        return;
    str_addf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"roof\"/>\n",
             at(x, low), at(y, low * to), at(x, high), at(y, high * to));
    char label[64];
    snprintf(label, sizeof label, "%s %.3g GB/s", name, to);
    /* to the right of the line near its foot, where neither kernels nor the processors' ceilings
     * are */
    const double from = 0.06, px = at(x, low) + from * (at(x, high) - at(x, low));
    page_label(out, px + 10, at(y, low * to) + from * (at(y, high * to) - at(y, low * to)) + 8,
               "start", label);
}

/* The peak of the processors. */
static void ceiling_line(struct str *out, const struct scale *x, const struct scale *y,
                         double ops_per_second, const char *name)
{
    const double gop = ops_per_second * 1e-9;
    char label[64];
    if (!(gop > y->low && gop < y->high))
        return;
    str_addf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"roof\"/>\n",
             at(x, x->low), at(y, gop), at(x, x->high), at(y, gop));
    snprintf(label, sizeof label, "%s %.3g GOP/s", name, gop);
    page_label(out, at(x, x->high) - 8, at(y, gop) - 5, "end", label);
}

static void roofline(const struct bench_page *p, struct str *out)
{
    struct scale x = {0, 0, LEFT, WIDTH - RIGHT}, y = {0, 0, HEIGHT - BOTTOM, TOP};
    char what[64];
    for (size_t i = 0; i < p->n_row; i++)
        if (p->row[i].ops > 0) {
            widen(&x, p->row[i].ops / p->row[i].bytes);
            widen(&y, p->row[i].ops / p->row[i].us * 1e-3);
        }
    if (!(x.high > 0))
        return;
    settle(&x, 10);
    widen(&y, x.low * p->ceiling.read * 1e-9);
    for (int i = 0; i < PEAK_COUNT; i++)
        widen(&y, p->ceiling.peak[i] * 1.01e-9);
    settle(&y, 10);
    str_adds(out, "<h2>Roofline</h2>\n<p>Each point is a kernel on a case: operations a second "
                  "over operations for each byte that "
                  "must move. On the sloping line the memory is the limit, on a level one the "
                  "processors.</p>\n");
    svg_open(out, HEIGHT);
    axes(out, &x, &y, 10, "operations a byte", "GOP/s");
    roof(out, &x, &y, p->ceiling.read, "memory, read");
    roof(out, &x, &y, p->ceiling.up, "link");
    for (int i = 0; i < PEAK_COUNT; i++)
        ceiling_line(out, &x, &y, p->ceiling.peak[i], ceiling_peak_name[i]);
    for (size_t i = 0; i < p->n_row; i++) {
        const struct bench_result *r = &p->row[i];
        double gop = r->ops / r->us * 1e-3;
        snprintf(what, sizeof what, "%.4g GOP/s, %.1f %% of the memory's rate", gop,
                 100 * r->share);
        if (r->ops > 0)
            point(out, at(&x, r->ops / r->bytes), at(&y, gop), p, r, what);
    }
    str_adds(out, "</svg>\n");
    key(p, out);
}

/* ---- a decode step --------------------------------------------------------------------------- */

/* Time of the matrices of a step at the fewest columns that were measured, with the fastest kernel
 * of each. */
static void step(const struct bench_page *p, struct str *out)
{
    int columns = 0;
    double total = 0;
    for (size_t i = 0; i < p->n_row; i++)
        if (p->row[i].times && (!columns || p->row[i].columns < columns))
            columns = p->row[i].columns;
    for (size_t i = 0; i < p->n_row; i++)
        if (p->row[i].times && p->row[i].columns == columns && p->row[i].best)
            total += p->row[i].us * p->row[i].times;
    if (!(total > 0))
        return;
    str_addf(out,
             "<h2>Matrices of a decode step</h2>\n<p>%d row%s of activations, the fastest kernel "
             "of each matrix: %.1f ms "
             "together, %.2f tokens a second if nothing else took time.</p>\n",
             columns, columns == 1 ? "" : "s", total * 1e-3, columns / total * 1e6);
    int n = 0;
    for (size_t i = 0; i < p->n_row; i++)
        n += p->row[i].times && p->row[i].columns == columns && p->row[i].best;
    svg_open(out, 30 * n + 10);
    double y = 6, longest = 0;
    for (size_t i = 0; i < p->n_row; i++)
        if (p->row[i].times && p->row[i].columns == columns && p->row[i].best)
            longest = fmax(longest, p->row[i].us * p->row[i].times);
    for (size_t i = 0; i < p->n_row; i++) {
        const struct bench_result *r = &p->row[i];
        char label[128];
        if (!r->times || r->columns != columns || !r->best)
            continue;
        double w = 440 * r->us * r->times / longest;
        snprintf(label, sizeof label, "%s, %d x", r->name, r->times);
        page_label(out, 262, y + 15, "end", label);
        str_addf(out, "<rect x=\"270\" y=\"%.1f\" width=\"%.1f\" height=\"20\" fill=\"%s\"/>\n", y,
                 w < 1 ? 1 : w, colour[kernel_index(p, r->kernel) % COLOURS]);
        snprintf(label, sizeof label, "%.2f ms, %.0f %% of read", r->us * r->times * 1e-3,
                 100 * r->share);
        page_label(out, 278 + w, y + 15, "start", label);
        y += 30;
    }
    str_adds(out, "</svg>\n");
}

/* ---- columns --------------------------------------------------------------------------------- */

/* "Q4_K 8x4096->14336 swiglu" and "Q4_K 1x4096->14336 swiglu" are of the same matrix. */
static bool same_matrix(const struct bench_result *a, const struct bench_result *b)
{
    const char *x = strchr(a->name, 'x'), *y = strchr(b->name, 'x');
    const size_t n = strcspn(a->name, " "), k = strcspn(b->name, " "); /* of the formats */
    return a->times && b->times && x && y && !strcmp(x, y) && n == k &&
           !strncmp(a->name, b->name, n);
}

static bool first_of_matrix(const struct bench_page *p, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (same_matrix(&p->row[k], &p->row[i]))
            return false;
    return true;
}

static void columns(const struct bench_page *p, struct str *out)
{
    struct scale x = {0, 0, LEFT, WIDTH - RIGHT}, y = {0, 0, HEIGHT - BOTTOM, TOP};
    for (size_t i = 0; i < p->n_row; i++)
        if (p->row[i].times && p->row[i].best) {
            widen(&x, p->row[i].columns);
            widen(&y, p->row[i].us);
        }
    if (!(x.high > x.low))
        return;
    settle(&x, 2);
    settle(&y, 10);
    str_adds(out, "<h2>Columns</h2>\n<p>Time of a call over the rows of activations that share the "
                  "matrix, with the fastest "
                  "kernel: flat where the weights are the limit.</p>\n");
    svg_open(out, HEIGHT);
    axes(out, &x, &y, 2, "rows of activations", "us a call");
    struct str names = STR_INIT;
    char label[128];
    int line = 0;
    for (size_t i = 0; i < p->n_row && line < MOST_LINES; i++) {
        if (!p->row[i].times || !first_of_matrix(p, i))
            continue;
        const char *c = colour[line % COLOURS];
        str_addf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", c);
        for (size_t k = i; k < p->n_row; k++)
            if (p->row[k].best && same_matrix(&p->row[i], &p->row[k]))
                str_addf(out, "%.1f,%.1f ", at(&x, p->row[k].columns), at(&y, p->row[k].us));
        str_adds(out, "\"/>\n");
        str_addf(&names, "<span><i style=\"background:%s\"></i>", c);
        const char *name = p->row[i].name; /* without the columns: "Q4_K 4096->14336 swiglu" */
        snprintf(label, sizeof label, "%.*s %s", (int)strcspn(name, " "), name,
                 strchr(name, 'x') + 1);
        page_text(&names, label);
        str_adds(&names, "</span> ");
        line++;
    }
    str_addf(out, "</svg>\n<p class=\"key\">%s</p>\n", names.s ? names.s : "");
    str_free(&names);
}

/* ---- the page -------------------------------------------------------------------------------- */

static void table(const struct bench_page *p, struct str *out)
{
    str_adds(
        out,
        "<h2>All kernels</h2>\n<table><thead><tr><th>op</th><th>case</th><th>kernel</th><th>us, "
        "cold</th><th>p5 .. "
        "p95</th><th>us, warm</th><th>GB/s</th><th>GOP/s</th><th>% of "
        "read</th><th>error</th><th></th></tr></thead><tbody>\n");
    for (size_t i = 0; i < p->n_row; i++) {
        const struct bench_result *r = &p->row[i];
        str_addf(out, "<tr%s><td>", r->best ? " class=\"best\"" : "");
        page_text(out, r->op);
        str_adds(out, "</td><td>");
        page_text(out, r->name);
        str_adds(out, "</td><td>");
        page_text(out, r->kernel);
        str_addf(out,
                 "</td><td>%.1f</td><td>%.1f .. "
                 "%.1f%s</td><td>%.1f</td><td>%.2f</td><td>%.1f</td><td>%.1f</td><td>",
                 r->us, r->us_p5, r->us_p95, r->noisy ? " ~" : "", r->warm_us,
                 r->bytes / r->us * 1e-3, r->ops / r->us * 1e-3, 100 * r->share);
        if (!isnan(r->error))
            str_addf(out, "%.1f %%", 100 * r->error);
        str_addf(out, "</td><td>%s%s</td></tr>\n", r->best ? "best " : "", r->picked ? "*" : "");
    }
    str_adds(out, "</tbody></table>\n<p>*: what a call takes. ~: p95 far from p5. error: of what "
                  "the oracle allows.</p>\n");
}

void bench_html(const struct bench_page *p, struct str *out)
{
    char when[32];
    bench_time(when);
    page_open(out, p->title, "");
    str_adds(out, "<p>");
    page_text(out, p->device);
    str_addf(
        out,
        "; %d thread%s; %s; mas %s. Memory read %.4g GB/s, copied %.4g GB/s (read and written)",
        p->threads, p->threads == 1 ? "" : "s", when, MAS_COMMIT, p->ceiling.read * 1e-9,
        p->ceiling.copy * 1e-9);
    if (p->ceiling.up > 0)
        str_addf(out, ", link %.4g GB/s", p->ceiling.up * 1e-9);
    str_adds(out, ", measured in the same run.</p>\n");
    if (*p->note) {
        str_adds(out, "<p class=\"note\">");
        page_text(out, p->note);
        str_adds(out, "</p>\n");
    }
    roofline(p, out);
    step(p, out);
    columns(p, out);
    table(p, out);
    page_close(out);
}
