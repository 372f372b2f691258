#include "timeline.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    WIDTH = 1120,
    LEFT = 118,
    RIGHT = 84,
    HEAD = 50,
    LANE = 30,
    GAP = 8,
    AXIS = 46,
    LEGEND = 34
};
static const double room = WIDTH - LEFT - RIGHT;

enum kind { WEIGHTS, OTHER_COPY, MATMUL, ATTENTION, OTHER_OP, HOST, KINDS };

static const struct {
    const char *name, *colour;
} kinds[KINDS] = {
    {"weights on the link", "#4f9d69"},
    {"other copies", "#c8553d"},
    {"matmul", "#2f6db5"},
    {"attention", "#e09f3e"},
    {"other ops", "#8d99ae"},
    {"computed by the CPU", "#7d5ba6"},
};
static const char *const lanes[SIM_ENGINES] = {"GPU", "link, up", "link, down", "CPU"};

/* Three lanes a card, and that of the CPU. */
static int lanes_of(const struct timeline *t)
{
    return t->run->n_card * SIM_CPU + 1;
}

static int height_of(const struct timeline *t)
{
    return HEAD + lanes_of(t) * (LANE + GAP) + AXIS;
}

/* Activations, too, may be many bytes; they go up beside weights, or where none are streamed. */
static enum kind kind_of(const struct simulated *r, const struct sim_span *s)
{
    if (s->engine == SIM_CPU)
        return HOST;
    if (s->engine != SIM_DEVICE)
        return s->engine == SIM_UP && r->plan.stream_bytes && s->bytes > 2e5 ? WEIGHTS : OTHER_COPY;
    return !strcmp(s->name, "matmul")      ? MATMUL
           : !strcmp(s->name, "attention") ? ATTENTION
                                           : OTHER_OP;
}

static void svg_text(struct str *out, double x, double y, const char *more, const char *text)
{
    str_addf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, more);
    for (const char *c = text; *c; c++) {
        if (*c == '&' || *c == '<')
            str_adds(out, *c == '&' ? "&amp;" : "&lt;");
        else
            str_addc(out, *c);
    }
    str_adds(out, "</text>\n");
}

/* of one kind in a lane, not written yet: neighbours less than a pixel apart become one */
struct bar {
    double from, to;
};

static void bar_write(struct str *out, struct bar *b, double y, enum kind kind)
{
    double w = b->to - b->from;
    if (b->to > b->from)
        str_addf(out, "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\" fill=\"%s\"/>\n",
                 LEFT + b->from, y, w < 0.6 ? 0.6 : w, LANE, kinds[kind].colour);
    *b = (struct bar){0, 0};
}

static void lane(struct str *out, const struct timeline *t, int card, enum sim_engine engine,
                 double y)
{
    const struct simulated *r = t->run;
    struct bar bar[KINDS] = {{0, 0}};
    char share[32], name[48];
    double scale = room / t->seconds;
    str_addf(out, "<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"#f1f3f5\"/>\n",
             LEFT, y, room, LANE);
    for (size_t i = 0; i < r->n_span; i++) {
        const struct sim_span *s = &r->span[i];
        if (s->engine != engine || s->card != card || s->end <= s->start || s->end <= r->begin ||
            s->start >= r->begin + t->seconds)
            continue;
        double from = fmax(0, (s->start - r->begin) * scale),
               to = fmin(room, (s->end - r->begin) * scale);
        struct bar *b = &bar[kind_of(r, s)];
        if (b->to > b->from && from - b->to > 0.3)
            bar_write(out, b, y, kind_of(r, s));
        *b = (struct bar){b->to > b->from ? b->from : from, to};
    }
    for (int k = 0; k < KINDS; k++)
        bar_write(out, &bar[k], y, (enum kind)k);
    snprintf(name, sizeof name, "%s", lanes[engine]);
    if (r->n_card > 1 && engine != SIM_CPU)
        snprintf(name, sizeof name, "%d: %s", card, lanes[engine]);
    svg_text(out, LEFT - 10, y + LANE / 2.0 + 5, "text-anchor=\"end\"", name);
    snprintf(share, sizeof share, "%.1f %%", 100 * r->card_busy[card][engine]);
    svg_text(out, LEFT + room + 10, y + LANE / 2.0 + 5, "", share);
}

/* Marks every 1, 2 or 5 times a power of ten milliseconds, about eight of them. */
static double tick(double ms)
{
    double rough = ms / 8, power = pow(10, floor(log10(rough)));
    return power * (rough / power < 1.5   ? 1
                    : rough / power < 3.5 ? 2
                    : rough / power < 7.5 ? 5
                                          : 10);
}

static void axis(struct str *out, const struct timeline *t, double top, double bottom)
{
    double ms = t->seconds * 1e3, step = tick(ms);
    char label[32];
    for (double x = 0; x <= ms * 1.0001; x += step) {
        double at = LEFT + x / ms * room;
        str_addf(out,
                 "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ced4da\"/>\n", at,
                 bottom, at, bottom + 5);
        snprintf(label, sizeof label, "%g", x);
        svg_text(out, at, bottom + 19, "text-anchor=\"middle\" class=\"small\"", label);
    }
    svg_text(out, LEFT + room + 10, bottom + 19, "class=\"small\"", "ms");
    for (double s = t->step; s > 0 && s < t->seconds * 0.9999; s += t->step) {
        double at = LEFT + s / t->seconds * room;
        str_addf(out,
                 "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#212529\" "
                 "stroke-dasharray=\"4 3\"/>\n",
                 at, top, at, bottom);
        svg_text(out, at + 4, top - 4, "class=\"small\"", "next step");
    }
}

static void legend(struct str *out, double y)
{
    double x = LEFT;
    for (int k = 0; k < KINDS; k++) {
        str_addf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", x,
                 y, kinds[k].colour);
        svg_text(out, x + 18, y + 11, "class=\"small\"", kinds[k].name);
        x += 40 + 6.6 * (double)strlen(kinds[k].name);
    }
}

static double timeline_one(const struct timeline *t, double y, struct str *out)
{
    const double top = y + HEAD + GAP;
    const int n = lanes_of(t);
    svg_text(out, LEFT, y + 22, "class=\"title\"", t->title);
    svg_text(out, LEFT, y + 40, "class=\"small\"", t->note);
    svg_text(out, LEFT + room + 10, y + 22, "class=\"small\"", "busy");
    for (int k = 0; k < n; k++) /* the CPU's times stand in the first card */
        lane(out, t, k == n - 1 ? 0 : k / SIM_CPU,
             k == n - 1 ? SIM_CPU : (enum sim_engine)(k % SIM_CPU), top + k * (LANE + GAP));
    axis(out, t, top, top + n * (LANE + GAP));
    return y + height_of(t);
}

void timeline_svg(const struct timeline *t, int n, struct str *out)
{
    int height = LEGEND;
    double y = 0;
    for (int i = 0; i < n; i++)
        height += height_of(&t[i]);
    str_addf(out,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 "
             "%d %d\">\n"
             "<style>text{font:13px sans-serif;fill:#212529}.small{font-size:11px;fill:#495057}"
             ".title{font-size:15px;font-weight:bold}</style>\n"
             "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
             WIDTH, height, WIDTH, height);
    for (int i = 0; i < n; i++)
        y = timeline_one(&t[i], y, out);
    legend(out, height - LEGEND + 8);
    str_adds(out, "</svg>\n");
}
