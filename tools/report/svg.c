#include "svg.h"

#include <math.h>
#include <stdio.h>

#include "html.h"

static const char *const dashes[SVG_SHAPES] = {"none", "7 3", "2 3",         "9 3 2 3",
                                               "12 4", "4 2", "9 2 2 2 2 2", "1 2"};

void svg_open(struct svg *g, const char *id, const char *title, const char *about, double width,
              double height)
{
    str_addf(g->out, "<figure id=\"%s\"><h3>", id);
    html_texts(g->out, title);
    str_addf(g->out,
             "</h3><svg class=\"chart\" viewBox=\"0 0 %g %g\" role=\"img\" aria-labelledby=\"%s-t "
             "%s-d\"><title id=\"%s-t\">",
             width, height, id, id, id);
    html_texts(g->out, title);
    str_addf(g->out, "</title><desc id=\"%s-d\">", id);
    html_texts(g->out, about);
    str_adds(g->out, "</desc>\n");
}

void svg_close(struct svg *g, const char *caption)
{
    str_adds(g->out, "</svg><figcaption>");
    html_texts(g->out, caption);
    str_adds(g->out, "</figcaption></figure>\n");
}

double svg_step(double v, int steps)
{
    const double rough = v / steps, power = pow(10, floor(log10(rough > 0 ? rough : 1)));
    const double of = rough / power;
    return power * (of <= 1.0000001 ? 1 : of <= 2.0000001 ? 2 : of <= 5.0000001 ? 5 : 10);
}

double svg_x(const struct svg *g, double v)
{
    return g->left + (v - g->x_lo) / (g->x_hi - g->x_lo) * g->width;
}

double svg_y(const struct svg *g, double v)
{
    return g->top + g->height - (v - g->y_lo) / (g->y_hi - g->y_lo) * g->height;
}

void svg_line(struct svg *g, double x1, double y1, double x2, double y2, const char *more)
{
    str_addf(g->out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2,
             more);
}

void svg_rect(struct svg *g, double x, double y, double w, double h, const char *more)
{
    str_addf(g->out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" %s/>\n", x, y,
             w > 0 ? w : 0, h > 0 ? h : 0, more);
}

void svg_text(struct svg *g, double x, double y, const char *more, const char *text)
{
    str_addf(g->out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, more);
    html_texts(g->out, text);
    str_adds(g->out, "</text>\n");
}

static void svg_label(char out[32], double v, double step, bool percent)
{
    const double shown = percent ? 100 * v : v, by = percent ? 100 * step : step;
    if (shown >= 10000)
        snprintf(out, 32, "%gk", shown / 1000);
    else
        snprintf(out, 32, "%.*f%s",
                 by < 0.01  ? 3
                 : by < 0.1 ? 2
                 : by < 1   ? 1
                            : 0,
                 shown, percent ? " %" : "");
}

void svg_axes(struct svg *g, const char *x_name, const char *y_name, bool x_percent, bool y_percent)
{
    char label[32];
    const double dx = svg_step(g->x_hi - g->x_lo, 5), dy = svg_step(g->y_hi - g->y_lo, 5);
    g->x_hi = g->x_lo + dx * ceil((g->x_hi - g->x_lo) / dx - 1e-9);
    g->y_hi = g->y_lo + dy * ceil((g->y_hi - g->y_lo) / dy - 1e-9);
    for (double v = g->y_lo; v <= g->y_hi + dy / 100; v += dy) {
        svg_line(g, g->left, svg_y(g, v), g->left + g->width, svg_y(g, v), "class=\"grid\"");
        svg_label(label, v, dy, y_percent);
        svg_text(g, g->left - 5, svg_y(g, v) + 4, "class=\"soft end\"", label);
    }
    for (double v = g->x_lo; v <= g->x_hi + dx / 100; v += dx) {
        svg_line(g, svg_x(g, v), g->top + g->height, svg_x(g, v), g->top + g->height + 4,
                 "class=\"axis\"");
        svg_label(label, v, dx, x_percent);
        svg_text(g, svg_x(g, v), g->top + g->height + 17, "class=\"soft middle\"", label);
    }
    svg_line(g, g->left, g->top + g->height, g->left + g->width, g->top + g->height,
             "class=\"axis\"");
    svg_text(g, g->left + g->width, g->top + g->height + 33, "class=\"soft end\"", x_name);
    svg_text(g, 4, g->top - 14, "class=\"soft\"", y_name);
}

/* The outline of a shape of about 5 units around 0, 0. */
static void svg_shape(struct str *out, size_t shape)
{
    static const char *const path[SVG_SHAPES] = {
        "M5 0A5 5 0 1 1 -5 0A5 5 0 1 1 5 0Z",
        "M-4.5 -4.5H4.5V4.5H-4.5Z",
        "M0 -5.5L5.5 4.5H-5.5Z",
        "M0 -6L6 0L0 6L-6 0Z",
        "M0 5.5L5.5 -4.5H-5.5Z",
        "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
        "M-6 -3.2L-3.2 -6L0 -2.8L3.2 -6L6 -3.2L2.8 0L6 3.2L3.2 6L0 2.8L-3.2 6L-6 3.2L-2.8 0Z",
        "M-3 -5.2H3L6 0L3 5.2H-3L-6 0Z"};
    str_addf(out, "<path d=\"%s\"", path[shape % SVG_SHAPES]);
}

/* From the ninth series on the shapes are hollow. */
static void svg_shape_class(struct str *out, size_t series)
{
    str_addf(out, " class=\"mark %s c%zu\"/>", series / SVG_SHAPES % 2 ? "hollow" : "full",
             series % SVG_SHAPES);
}

void svg_mark(struct svg *g, double x, double y, size_t series, size_t number)
{
    char label[32];
    str_addf(g->out, "<g transform=\"translate(%.1f %.1f)\">", x, y);
    svg_shape(g->out, series);
    svg_shape_class(g->out, series);
    str_adds(g->out, "</g>\n");
    snprintf(label, sizeof label, "%zu", number);
    if (number)
        svg_text(g, x + 8, y - 6, "class=\"ink bold\"", label);
}

void svg_series(struct svg *g, const double *x, const double *y, size_t n, size_t series,
                bool stairs)
{
    str_addf(g->out, "<polyline class=\"line c%zu\" stroke-dasharray=\"%s\" points=\"",
             series % SVG_SHAPES, dashes[series % SVG_SHAPES]);
    for (size_t i = 0; i < n; i++) {
        if (stairs && i)
            str_addf(g->out, "%.1f,%.1f ", svg_x(g, x[i]), svg_y(g, y[i - 1]));
        str_addf(g->out, "%.1f,%.1f ", svg_x(g, x[i]), svg_y(g, y[i]));
    }
    str_adds(g->out, "\"/>\n");
}

void svg_key(struct str *out, size_t series)
{
    str_adds(out, "<svg class=\"key\" viewBox=\"-8 -8 16 16\" aria-hidden=\"true\">");
    svg_shape(out, series);
    svg_shape_class(out, series);
    str_adds(out, "</svg>");
}
