/*
 * svg: pictures of a report, drawn by the program. A series has a mark of its own shape, a line of
 * its own dashes, a number and a colour. So it is told apart without colour, too. Colours are
 * classes of the page's style: c0, c1, .. for series, ink, soft, grid.
 */
#ifndef MAS_SVG_H
#define MAS_SVG_H

#include <stddef.h>

#include "str.h"

#define SVG_SHAPES 8

struct svg {
    struct str *out;
    double left, top, width, height; /* of the plot, in units of the picture */
    double x_lo, x_hi, y_lo, y_hi;   /* values at its edges */
    bool x_log;                      /* the x axis is logarithmic; then x_lo > 0 */
};

/* Begins a figure with a picture of that size and its text for readers who do not see it. id: of
 * the figure, unique in the page. Untrusted texts may be in title and about. */
void svg_open(struct svg *g, const char *id, const char *title, const char *about, double width,
              double height);
/* Ends it; the caption stands below. */
void svg_close(struct svg *g, const char *caption);
/* Rounds the upper ends of the axes up to a whole step, and draws frame, steps and names. A
 * logarithmic axis keeps its ends. percent: the axis is a share. */
void svg_axes(struct svg *g, const char *x_name, const char *y_name, bool x_percent,
              bool y_percent);
/* The smallest step of 1, 2 or 5 times a power of ten with which at most `steps` steps reach v. */
double svg_step(double v, int steps);

double svg_x(const struct svg *g, double value);
double svg_y(const struct svg *g, double value);
/* more: attributes. In units of the picture. */
void svg_line(struct svg *g, double x1, double y1, double x2, double y2, const char *more);
void svg_rect(struct svg *g, double x, double y, double w, double h, const char *more);
void svg_text(struct svg *g, double x, double y, const char *more, const char *text);
/* A series' mark at a place, with its number beside it unless number is 0. */
void svg_mark(struct svg *g, double x, double y, size_t series, size_t number);
/* A series' line through n points of values. stairs: the value holds until the next point. */
void svg_series(struct svg *g, const double *x, const double *y, size_t n, size_t series,
                bool stairs);
/* The mark of a series alone, as part of a line of text. */
void svg_key(struct str *out, size_t series);

#endif
