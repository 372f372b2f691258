/*
 * plan_runs: the layers of each of several devices.
 *
 * A few cuts are tried for all devices, for each alone and for groups of them. Then layers move
 * between devices while that helps.
 *
 *   by memory    in proportion to the layers that lie whole in VRAM
 *   by time      each takes the same time, as far as its memory goes; best for a full pipeline
 *   fastest      the fastest devices are filled, one after another; fewest borders
 *   one streams  all others hold whole layers only, one device has the rest
 */
#include "plan_try.h"

/* GROUPED: of up to this many devices, each group of some is tried alone */
enum { CUTS = PLAN_DEVICES + 3, HOST_STEPS = 10, GROUPED = 4 };

static double layer_bytes(const struct plan_input *in)
{
    double sum = 0;
    for (int l = 0; l < in->n_layer; l++)
        sum += (double)in->attn_bytes[l] + (double)in->ffn_bytes[l];
    return in->n_layer ? sum / in->n_layer : 1;
}

/* Layers that lie whole in the memory of a device, with their KV. output: beside the output. */
static int capacity(const struct search *s, const struct plan_aim *aim, int d, bool output)
{
    const struct plan_device *dev = &s->dev[d];
    const double each = layer_bytes(s->in) + (double)aim->kv / s->in->n_layer;
    double room =
        (double)(dev->vram_bytes - dev->vram_bytes / VRAM_SLACK) - (double)dev->workspace_bytes;
    if (output)
        room -= (double)s->in->output_bytes;
    return room > 0 ? (int)(room / each < s->in->n_layer ? room / each : s->in->n_layer) : 0;
}

/* Some of the devices; bit d of set stands for device d. */
struct group {
    unsigned set;
    int cap[PLAN_DEVICES];      /* layers that lie whole in VRAM; 0 outside the group */
    double speed[PLAN_DEVICES]; /* 0 outside the group */
};

static struct group group_of(const struct search *s, const struct plan_aim *aim, unsigned set)
{
    struct group g = {.set = set};
    for (int d = 0; d < s->n_dev; d++) {
        if (!(set >> d & 1))
            continue;
        g.cap[d] = capacity(s, aim, d, !(set >> d >> 1));
        g.speed[d] = s->dev[d].vram;
    }
    return g;
}

/* Adds layers in proportion to w until there are n_layer, at most cap[d] of a device. */
static void share_out(const struct search *s, const double *w, const int *cap, int *n)
{
    int left = s->in->n_layer;
    for (int d = 0; d < s->n_dev; d++)
        left -= n[d];
    for (; left > 0; left--) {
        int best = -1;
        for (int d = 0; d < s->n_dev; d++)
            if (n[d] < cap[d] && w[d] > 0 &&
                (best < 0 || (n[d] + 1) * w[best] < (n[best] + 1) * w[d]))
                best = d;
        if (best < 0)
            return;
        n[best]++;
    }
}

/* The layers that lie in no VRAM go to the device of the group with the fastest link. */
static void share_rest(const struct search *s, const struct group *g, int *n)
{
    int to = -1, left = s->in->n_layer;
    for (int d = 0; d < s->n_dev; d++) {
        left -= n[d];
        if (g->set >> d & 1 && (to < 0 || s->dev[d].link > s->dev[to].link))
            to = d;
    }
    n[to] += left;
}

static void cut_by_memory(const struct search *s, const struct group *g, int *n)
{
    double w[PLAN_DEVICES];
    int cap[PLAN_DEVICES];
    for (int d = 0; d < s->n_dev; d++) {
        w[d] = g->cap[d];
        cap[d] = s->in->n_layer;
    }
    share_out(s, w, cap, n);
    share_rest(s, g, n);
}

static void cut_by_time(const struct search *s, const struct group *g, int *n)
{
    share_out(s, g->speed, g->cap, n);
    share_rest(s, g, n);
}

static void cut_fastest(const struct search *s, const struct group *g, int *n)
{
    for (int left = s->in->n_layer; left > 0;) {
        int best = -1;
        for (int d = 0; d < s->n_dev; d++)
            if (!n[d] && g->cap[d] && (best < 0 || g->speed[d] > g->speed[best]))
                best = d;
        if (best < 0)
            break;
        n[best] = g->cap[best] < left ? g->cap[best] : left;
        left -= n[best];
    }
    share_rest(s, g, n);
}

/* All others are filled, device f has the rest. */
static void cut_one_streams(const struct search *s, const struct group *g, int f, int *n)
{
    int left = s->in->n_layer;
    for (int d = 0; d < s->n_dev; d++) {
        n[d] = d == f ? 0 : g->cap[d] < left ? g->cap[d] : left;
        left -= n[d];
    }
    n[f] = left;
}

/* The cuts of a group. Returns their number, at most CUTS. */
static int cut_list(const struct search *s, const struct plan_aim *aim, unsigned set,
                    struct plan_cut *cut)
{
    const struct group g = group_of(s, aim, set);
    int n_cut = 0;
    for (int i = 0; i < CUTS; i++)
        cut[i] = (struct plan_cut){.depth = RING_FEWEST};
    cut_by_memory(s, &g, cut[n_cut++].n);
    cut_by_time(s, &g, cut[n_cut++].n);
    cut_fastest(s, &g, cut[n_cut++].n);
    for (int f = 0; f < s->n_dev; f++)
        if (set >> f & 1)
            cut_one_streams(s, &g, f, cut[n_cut++].n);
    return n_cut;
}

/* Divides n_host parts on the CPU among the devices, in proportion to the layers without room. */
static void share_host(const struct search *s, const struct plan_aim *aim, int n_host,
                       struct plan_cut *cut)
{
    double weight[PLAN_DEVICES], sum = 0;
    int last = 0;
    for (int d = 0; d < s->n_dev; d++)
        last = cut->n[d] ? d : last;
    for (int d = 0; d < s->n_dev; d++) {
        int over = cut->n[d] - capacity(s, aim, d, d == last);
        weight[d] = over > 0 ? over : 0;
        sum += weight[d];
        cut->n_host[d] = 0;
    }
    for (int left = n_host; left > 0; left--) {
        int best = -1;
        for (int d = 0; d < s->n_dev; d++) {
            double w = sum > 0 ? weight[d] + 1e-3 : cut->n[d], bw = best < 0  ? 0
                                                                    : sum > 0 ? weight[best] + 1e-3
                                                                              : cut->n[best];
            if (cut->n_host[d] < cut->n[d] &&
                (best < 0 || (cut->n_host[d] + 1) * bw < (cut->n_host[best] + 1) * w))
                best = d;
        }
        if (best < 0)
            return;
        cut->n_host[best]++;
    }
}

static int try_host(struct search *s, const struct plan_aim *aim, struct plan_cut *cut, int n_host,
                    struct err *e)
{
    share_host(s, aim, n_host, cut);
    return plan_try_cut(s, aim, cut, e);
}

static int host_parts(const struct search *s, const struct plan_cut *cut)
{
    int n = 0;
    for (int d = 0; d < s->n_dev; d++)
        n += cut->n_host[d];
    return n;
}

static bool cpu_may_help(const struct search *s, const struct plan_aim *aim)
{
    return s->in->n_host < 0 && aim->mode == PLAN_LATENCY && s->in->rates.host > 0 &&
           (s->score < 0 || s->best.stream_bytes > 0 || plan_computes_on_host(&s->best));
}

/* Tries the cuts of a group of devices. */
static int try_group(struct search *s, const struct plan_aim *aim, unsigned set, struct err *e)
{
    struct plan_cut cut[CUTS];
    const int n_cut = cut_list(s, aim, set, cut), n = s->in->n_layer,
              least = s->in->n_host > 0 ? s->in->n_host : 0;
    for (int i = 0; i < n_cut; i++)
        TRY(try_host(s, aim, &cut[i], least, e));
    for (int i = 0; i < n_cut; i++)
        for (int k = 1; k <= HOST_STEPS && cpu_may_help(s, aim); k++)
            TRY(try_host(s, aim, &cut[i], n * k / HOST_STEPS, e));
    return 0;
}

int plan_runs(struct search *s, const struct plan_aim *aim, struct err *e)
{
    for (int d = 0; d < s->n_dev; d++)
        TRY(try_group(s, aim, 1u << d, e));
    return try_group(s, aim, (1u << s->n_dev) - 1, e);
}

/* Tries a change of the best cut: k layers from one device to another, more parts on the CPU, a
 * deeper ring. *better: it is the best now. */
static int try_change(struct search *s, const struct plan_aim *aim, struct plan_cut cut, int n_host,
                      bool *better, struct err *e)
{
    double score = s->score;
    TRY(try_host(s, aim, &cut, n_host, e));
    *better = *better || s->score < score;
    return 0;
}

static int move_layers(struct search *s, const struct plan_aim *aim, int k, bool *better,
                       struct err *e)
{
    for (int from = 0; from < s->n_dev; from++)
        for (int to = 0; to < s->n_dev; to++) {
            struct plan_cut cut = s->cut;
            if (from == to || cut.n[from] < k)
                continue;
            cut.n[from] -= k;
            cut.n[to] += k;
            TRY(try_change(s, aim, cut, host_parts(s, &s->cut), better, e));
        }
    return 0;
}

static int move_host(struct search *s, const struct plan_aim *aim, int k, bool *better,
                     struct err *e)
{
    int n_host = host_parts(s, &s->cut);
    for (int sign = -1; sign <= 1; sign += 2)
        if (cpu_may_help(s, aim) && n_host + sign * k >= 0 && n_host + sign * k <= s->in->n_layer)
            TRY(try_change(s, aim, s->cut, n_host + sign * k, better, e));
    return 0;
}

int plan_runs_polish(struct search *s, const struct plan_aim *aim, struct err *e)
{
    for (unsigned set = 1; s->n_dev <= GROUPED && set < 1u << s->n_dev; set++)
        if (set & (set - 1)) /* more than one */
            TRY(try_group(s, aim, set, e));
    for (int k = 8; k >= 1; k /= 2) {
        bool better = true;
        while (better) {
            better = false;
            TRY(move_layers(s, aim, k, &better, e));
            TRY(move_host(s, aim, k, &better, e));
            for (int depth = RING_FEWEST; depth <= RING_MOST && s->best.ring_bytes; depth++) {
                struct plan_cut cut = s->cut;
                cut.depth = depth;
                TRY(try_change(s, aim, cut, host_parts(s, &cut), &better, e));
            }
        }
    }
    return 0;
}

int plan_runs_micro(struct search *s, struct plan *p, struct err *e)
{
    int low = p->n_micro, high = p->n_seq; /* n_seq rows pay */
    while (p->n_micro > 1 && low < high) {
        struct cost one, many;
        int mid = low + (high - low) / 2;
        TRY(plan_try_step(s, p, mid, 1, &one, e));
        TRY(plan_try_step(s, p, mid, p->n_micro, &many, e));
        if (many.step_s < one.step_s)
            high = mid;
        else
            low = mid + 1;
    }
    p->micro_rows = high;
    return 0;
}
