#include "curve.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "mem.h"

#define LEAST_SECONDS 0.05
enum {
    WIDTH = 960,
    HEIGHT = 600,
    LEFT = 78,
    RIGHT = 24,
    TOP = 64,
    CHART = 200,
    GAP = 62,
    BINS = 120
};

void curve_open(struct curve *c, struct llm *llm)
{
    *c = (struct curve){.llm = llm, .begin = (double)clock_ns() * 1e-9};
    curve_add(c);
}

void curve_add(struct curve *c)
{
    struct llm_gauge g;
    if (!c->llm)
        return;
    double now = (double)clock_ns() * 1e-9 - c->begin;
    if (c->full || (c->n && now < c->p[c->n - 1].seconds + LEAST_SECONDS))
        return;
    if (!llm_gauge(c->llm, &g))
        return;
    if (mem_grow(&c->p, &c->cap, c->n + 1, sizeof *c->p, "curve", NULL) < 0) {
        c->full = true;
        return;
    }
    c->pages = g.pages;
    c->p[c->n++] = (struct curve_point){.seconds = now,
                                        .new_tokens = g.new_tokens,
                                        .prompt_tokens = g.prompt_tokens,
                                        .used = g.pages_used,
                                        .cached = g.pages_cached,
                                        .running = g.running};
}

void curve_free(struct curve *c)
{
    mem_free(c->p);
    *c = (struct curve){.llm = NULL};
}

/* ---- drawing --------------------------------------------------------------------------------- */

struct chart {
    const char *title;
    double y, top; /* of its upper edge; value there */
    double seconds;
};

static double at_x(const struct chart *p, double seconds)
{
    return LEFT + seconds / p->seconds * (WIDTH - LEFT - RIGHT);
}

static double at_y(const struct chart *p, double v)
{
    return p->y + CHART * (1 - v / p->top);
}

static void text(struct str *out, double x, double y, const char *more, const char *what)
{
    str_addf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, more);
    for (const char *c = what; *c; c++)
        if (*c == '&' || *c == '<')
            str_adds(out, *c == '&' ? "&amp;" : "&lt;");
        else
            str_addc(out, *c);
    str_adds(out, "</text>\n");
}

/* The smallest step of 1, 2, 5 or 10 times a power of ten with which at most `steps` steps reach
 * v. */
static double nice(double v, int steps)
{
    double rough = v / steps, power = pow(10, floor(log10(rough > 0 ? rough : 1)));
    return power * (rough / power <= 1 ? 1 : rough / power <= 2 ? 2 : rough / power <= 5 ? 5 : 10);
}

static void frame(struct str *out, const struct chart *p)
{
    char label[32];
    double step = nice(p->top, 4), tick = nice(p->seconds, 8);
    text(out, LEFT, p->y - 10, "class=\"head\"", p->title);
    for (double v = 0; v <= p->top * 1.0001; v += step) {
        str_addf(out, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#dee2e6\"/>\n",
                 LEFT, at_y(p, v), WIDTH - RIGHT, at_y(p, v));
        snprintf(label, sizeof label, v >= 10000 ? "%.0fk" : "%.0f", v >= 10000 ? v / 1000 : v);
        text(out, LEFT - 8, at_y(p, v) + 4, "text-anchor=\"end\" class=\"small\"", label);
    }
    for (double s = 0; s <= p->seconds * 1.0001; s += tick) {
        snprintf(label, sizeof label, "%g s", s);
        text(out, at_x(p, s), p->y + CHART + 17, "text-anchor=\"middle\" class=\"small\"", label);
    }
}

static void key(struct str *out, double x, double y, const char *colour, const char *what)
{
    str_addf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"11\" height=\"11\" fill=\"%s\"/>\n", x,
             y - 10, colour);
    text(out, x + 16, y, "class=\"small\"", what);
}

/* Value of a total at a time, between its points along a line. */
static double total_at(const struct curve *c, double seconds, size_t field)
{
    size_t i = 1;
    while (i + 1 < c->n && c->p[i].seconds < seconds)
        i++;
    const struct curve_point *a = &c->p[i - 1], *b = &c->p[i];
    double va, vb, part = (seconds - a->seconds) / (b->seconds - a->seconds);
    memcpy(&va, (const char *)a + field, sizeof va);
    memcpy(&vb, (const char *)b + field, sizeof vb);
    return va + (vb - va) * (part < 0 ? 0 : part > 1 ? 1 : part);
}

static double rate(const struct curve *c, int bin, double width, size_t field)
{
    return (total_at(c, (bin + 1) * width, field) - total_at(c, bin * width, field)) / width;
}

static void rates(struct str *out, const struct curve *c, const struct chart *p, size_t field,
                  const char *colour, int bins)
{
    double width = p->seconds / bins;
    str_adds(out, "<polyline fill=\"none\" stroke-width=\"2\" points=\"");
    for (int i = 0; i < bins; i++) {
        double y = at_y(p, rate(c, i, width, field));
        str_addf(out, "%.1f,%.1f %.1f,%.1f ", at_x(p, i * width), y, at_x(p, (i + 1) * width), y);
    }
    str_addf(out, "\" stroke=\"%s\"/>\n", colour);
}

/* An area from the value `from` to from + `more` of each point. */
static void area(struct str *out, const struct curve *c, const struct chart *p, bool cached,
                 const char *colour)
{
    str_addf(out, "<polygon fill=\"%s\" points=\"", colour);
    for (size_t i = 0; i < c->n; i++)
        str_addf(out, "%.1f,%.1f ", at_x(p, c->p[i].seconds),
                 at_y(p, c->p[i].used + (cached ? c->p[i].cached : 0)));
    for (size_t i = c->n; i-- > 0;)
        str_addf(out, "%.1f,%.1f ", at_x(p, c->p[i].seconds), at_y(p, cached ? c->p[i].used : 0));
    str_adds(out, "\"/>\n");
}

static void draw_rates(struct str *out, const struct curve *c, struct chart p, int bins)
{
    const size_t new = offsetof(struct curve_point, new_tokens),
                 prompt = offsetof(struct curve_point, prompt_tokens);
    for (int i = 0; i < bins; i++) {
        double width = p.seconds / bins, a = rate(c, i, width, new), b = rate(c, i, width, prompt);
        p.top = fmax(p.top, fmax(a, b));
    }
    p.top = nice(p.top, 4) * ceil(p.top / nice(p.top, 4));
    frame(out, &p);
    rates(out, c, &p, prompt, "#e09f3e", bins);
    rates(out, c, &p, new, "#2f6db5", bins);
    key(out, LEFT + 330, p.y - 10, "#2f6db5", "generated");
    key(out, LEFT + 430, p.y - 10, "#e09f3e",
        "prompt tokens computed (those from the prefix cache are not)");
}

static void draw_pages(struct str *out, const struct curve *c, struct chart p)
{
    double most = 1;
    for (size_t i = 0; i < c->n; i++)
        most = fmax(most, c->p[i].running);
    p.top = c->pages;
    frame(out, &p);
    area(out, c, &p, true, "#cfe3d4");
    area(out, c, &p, false, "#4f9d69");
    struct chart q = p;
    char label[64];
    q.top = most;
    str_adds(out, "<polyline fill=\"none\" stroke=\"#212529\" stroke-width=\"1.5\" points=\"");
    for (size_t i = 0; i < c->n; i++)
        str_addf(out, "%.1f,%.1f ", at_x(&q, c->p[i].seconds), at_y(&q, c->p[i].running));
    str_adds(out, "\"/>\n");
    key(out, LEFT + 190, p.y - 10, "#4f9d69", "in use");
    key(out, LEFT + 260, p.y - 10, "#cfe3d4", "prefix cache, free to take");
    snprintf(label, sizeof label, "sequences computed together (upper edge: %.0f)", most);
    key(out, LEFT + 450, p.y - 10, "#212529", label);
}

int curve_svg(const struct curve *c, const char *title, struct str *out, struct err *e)
{
    if (c->n < 2)
        FAIL(e, ERR_DATA, "nothing to draw: the run was over at once");
    int bins = c->n / 2 < BINS ? (int)(c->n / 2) : BINS;
    const struct chart p = {.y = TOP + 30, .seconds = c->p[c->n - 1].seconds};
    struct chart rates_chart = p, pages = p;
    rates_chart.title = "tokens a second";
    pages.title = "KV cache, pages";
    pages.y += CHART + GAP;
    str_addf(out,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 "
             "%d %d\">\n"
             "<style>text{font:13px sans-serif;fill:#212529}.small{font-size:11px;fill:#495057}"
             ".head{font-weight:bold}.title{font-size:15px;font-weight:bold}</style>\n"
             "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
             WIDTH, HEIGHT, WIDTH, HEIGHT);
    text(out, LEFT, 30, "class=\"title\"", title);
    draw_rates(out, c, rates_chart, bins > 0 ? bins : 1);
    draw_pages(out, c, pages);
    str_adds(out, "</svg>\n");
    return str_ok(out, "a picture", e);
}
