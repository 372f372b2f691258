/* plan_rows: tensor parallel, where every device has a share of each matrix, against a pipeline. */
#include "plan_try.h"

#include <stdio.h>

#include "mem.h"

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* The devices as one. Each has the same share, so the smallest and the slowest count n times. */
static void as_one(const struct plan_input *in, struct plan_input *one)
{
    const struct plan_device *d = in->device;
    const int n = in->n_device;
    *one = *in;
    one->n_device = 0;
    one->row_shares = n;
    one->workspace_bytes = 0;
    struct plan_device least = d[0];
    for (int i = 0; i < n; i++) {
        uint64_t workspace = d[i].workspace_bytes ? d[i].workspace_bytes : in->workspace_bytes;
        least.vram = smaller(least.vram, d[i].vram);
        least.link = smaller(least.link, d[i].link);
        least.device_ops = smaller(least.device_ops, d[i].device_ops);
        least.launch_s = least.launch_s > d[i].launch_s ? least.launch_s : d[i].launch_s;
        if (d[i].vram_bytes < least.vram_bytes)
            least.vram_bytes = d[i].vram_bytes;
        if (workspace * (uint64_t)n > one->workspace_bytes)
            one->workspace_bytes = workspace * (uint64_t)n;
    }
    one->vram_bytes = least.vram_bytes * (uint64_t)n;
    one->rates.vram = least.vram * n;
    one->rates.link = least.link * n;
    one->rates.device_ops = least.device_ops * n;
    one->rates.launch_s = least.launch_s;
}

static double score(const struct plan_input *in, const struct plan *p)
{
    return in->mode == PLAN_LATENCY ? p->one.step_s
                                    : p->all.step_s / (double)(p->n_seq ? p->n_seq : 1);
}

/* Every device has 1 / n of all bytes. */
static void take(const struct plan_input *in, struct plan *p, const struct plan *rows)
{
    const uint64_t n = (uint64_t)in->n_device;
    plan_copy(p, rows);
    p->split = PLAN_ROWS;
    p->n_device = in->n_device;
    for (int d = 0; d < in->n_device; d++)
        p->share[d] = (struct plan_share){.n = p->n_layer,
                                          .vram_weight_bytes = p->vram_weight_bytes / n,
                                          .stream_bytes = p->stream_bytes / n,
                                          .host_bytes = p->host_bytes / n,
                                          .ring_bytes = p->ring_bytes / n,
                                          .pinned_bytes = p->pinned_bytes / n,
                                          .kv_bytes = p->kv_bytes / n,
                                          .workspace_bytes = p->workspace_bytes / n,
                                          .total_bytes = p->total_bytes / n};
    p->rows_one = p->one;
    p->rows_all = p->all;
    p->why_layers[0] = 0;
}

/* True when tensor parallel can be predicted; otherwise p says why not. */
static bool divides(const struct plan_input *in, struct plan *p)
{
    if (in->rows.units < 1 || in->rows.units % in->n_device)
        snprintf(p->why_layers, sizeof p->why_layers,
                 "heads and feed-forward blocks form %d shares, which %d devices cannot divide "
                 "evenly",
                 in->rows.units, in->n_device);
    else if (!(in->rows.rate > 0))
        snprintf(p->why_layers, sizeof p->why_layers, "%s",
                 in->rows.missing ? in->rows.missing : "the rate of an all-reduce is unknown");
    else
        return true;
    return false;
}

int plan_rows(const struct plan_input *in, struct plan *p, struct err *e)
{
    struct plan_input one;
    struct plan rows;
    struct err why = {0};
    if (!divides(in, p))
        return 0;
    as_one(in, &one);
    int rc = plan_make(&one, &rows, &why);
    if (rc == ERR_USAGE) {
        snprintf(p->why_layers, sizeof p->why_layers,
                 "equal shares do not fit the smallest device");
        return 0;
    }
    if (rc < 0)
        FAIL(e, rc, "%s", why.msg);
    const double by_rows = score(in, &rows), by_layers = score(in, p);
    if (by_rows < by_layers && !in->rows.missing) {
        take(in, p, &rows);
    } else {
        p->rows_one = rows.one;
        p->rows_all = rows.all;
        snprintf(p->why_layers, sizeof p->why_layers,
                 by_rows < by_layers ? "tensor parallel would take %.0f %% of the time, but %s"
                                     : "tensor parallel would take %.0f %% of the time%s",
                 100 * by_rows / by_layers, by_rows < by_layers ? in->rows.missing : "");
    }
    plan_free(&rows);
    return 0;
}
