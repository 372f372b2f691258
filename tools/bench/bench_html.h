/* bench_html: results of mas bench kernels as one self-contained page: roofline, the matrices of a
 * decode step, columns, and the table. */
#ifndef MAS_BENCH_HTML_H
#define MAS_BENCH_HTML_H

#include "bench.h"

struct bench_result { /* one kernel on one case */
    char op[16], name[96], kernel[64];
    double us, us_p5, us_p95, warm_us, bytes, ops, share, error; /* error: NaN = not checked */
    bool noisy, best, picked;
    /* for a model's matrix: rows of activations, and uses in a decode step; else 0 */
    int columns, times;
};

struct bench_page {
    const char *title, *device, *note; /* note: "" or a caveat about the figures */
    int threads;
    struct ceiling ceiling;
    const struct bench_result *row;
    size_t n_row;
};

void bench_html(const struct bench_page *p, struct str *out);

#endif
