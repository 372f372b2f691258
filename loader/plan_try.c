#include "plan_try.h"

#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "mem.h"

#define PINNED_PIECE ((uint64_t)4 << 20) /* of a ring on the host, as in stage.h */
#define PINNED_RING ((uint64_t)1 << 30)  /* hides pauses of the disk of a few tenths of a second */

/* latency, several devices: a plan for a single one of many sequences may be this much faster */
#define NO_ROOM 0.01

bool plan_add(uint64_t a, uint64_t b, uint64_t c, uint64_t *out)
{
    uint64_t p;
    return !__builtin_mul_overflow(b, c, &p) && !__builtin_add_overflow(a, p, out);
}

int plan_kv_need(const struct plan_input *in, uint64_t *one, uint64_t *want, struct err *e)
{
    uint64_t all;
    if (!plan_add(0, in->kv_bytes_per_token, (uint64_t)in->n_ctx, one) ||
        !plan_add(0, *one, (uint64_t)in->n_seq, &all))
        FAIL(e, ERR_USAGE,
             "cannot plan: the size of %d sequences of %d tokens overflows; lower --ctx or "
             "--sequences",
             in->n_seq, in->n_ctx);
    *want = in->kv_bytes ? in->kv_bytes : all;
    if (*want < *one)
        FAIL(e, ERR_USAGE,
             "cannot place the KV cache: one sequence of %d tokens needs %" PRIu64
             " bytes, %" PRIu64
             " were asked for; raise --kv-bytes, or lower --ctx or --kv-type q8_0",
             in->n_ctx, *one, *want);
    return 0;
}

void plan_kv_set(const struct plan_input *in, struct plan *p, uint64_t bytes)
{
    uint64_t tokens = bytes / in->kv_bytes_per_token;
    p->kv_tokens = (int64_t)(tokens > INT64_MAX ? INT64_MAX : tokens);
    p->kv_bytes = (uint64_t)p->kv_tokens * in->kv_bytes_per_token;
    int64_t n = p->kv_tokens / in->n_ctx;
    p->n_seq = n < in->n_seq ? (int)n : in->n_seq;
}

uint64_t plan_kv_share(const struct plan_input *in, uint64_t bytes, int n)
{
    return n == in->n_layer ? bytes : bytes / (uint64_t)in->n_layer * (uint64_t)n;
}

/* ---- places of a run of layers --------------------------------------------------------------- */

/* True when l is among k of n numbers that are spread evenly. */
static bool spread(int l, int k, int n)
{
    return (int64_t)(l + 1) * k / n > (int64_t)l * k / n;
}

static bool has_embed(const struct plan *p, const struct plan_share *s)
{
    return s == &p->share[plan_device_of(p, PART_EMBED, 0)];
}

static bool has_output(const struct plan *p, const struct plan_share *s)
{
    return s == &p->share[plan_device_of(p, PART_OUTPUT, 0)];
}

/* Gives the parts of a device their places, in the order output, attn, ffn, embed. The first
 * n_resident parts go to VRAM, n_host of the other ffn parts to the host. */
static void lay_out(struct plan *p, const struct plan_input *in, const struct plan_share *s,
                    int n_resident, int n_host)
{
    const bool output = has_output(p, s), embed = has_embed(p, s);
    int n = s->n, left = n_resident - output > 0 ? n_resident - output : 0, other = 0;
    int n_attn = left < n ? left : n, n_ffn = left - n_attn;
    bool all = n_ffn > n;
    if (n_ffn > n - n_host)
        n_ffn = n - n_host;
    if (output)
        p->output = n_resident > 0 ? PLAN_VRAM : PLAN_STREAM;
    if (embed)
        p->embed = all || (in->tied_bytes && output && n_resident > 0) ? PLAN_VRAM : PLAN_HOST;
    for (int l = 0; l < n; l++) {
        enum plan_place *attn = &p->attn[s->first + l], *ffn = &p->ffn[s->first + l];
        *attn = spread(l, n_attn, n) ? PLAN_VRAM : PLAN_STREAM;
        if (spread(l, n_ffn, n))
            *ffn = PLAN_VRAM;
        else
            *ffn = spread(other++, n_host, n - n_ffn) ? PLAN_HOST : PLAN_STREAM;
    }
}

static void add_up(struct plan_share *s, enum plan_place place, uint64_t bytes, uint64_t *largest)
{
    if (place == PLAN_VRAM)
        s->vram_weight_bytes += bytes;
    else if (place == PLAN_HOST)
        s->host_bytes += bytes;
    else {
        s->stream_bytes += bytes;
        if (bytes > *largest)
            *largest = bytes;
    }
}

/* Adds up the bytes of a device by place. Returns those of its largest streamed part. */
static uint64_t weigh(const struct plan *p, const struct plan_input *in, struct plan_share *s)
{
    uint64_t largest = 0;
    const bool output = has_output(p, s);
    s->vram_weight_bytes = s->host_bytes = s->stream_bytes = 0;
    if (output)
        add_up(s, p->output, in->output_bytes, &largest);
    if (has_embed(p, s))
        add_up(s, p->embed,
               in->embed_bytes - (p->embed == PLAN_VRAM && output ? in->tied_bytes : 0), &largest);
    for (int l = s->first; l < s->first + s->n; l++) {
        add_up(s, p->attn[l], in->attn_bytes[l], &largest);
        add_up(s, p->ffn[l], in->ffn_bytes[l], &largest);
    }
    return largest;
}

/* Number of parts to begin with: no more fit, even without a ring. Two are added because parts
 * differ in size. */
static int fill_from(struct search *s, struct plan_share *one, int most, int n_host, uint64_t room)
{
    int low = 0, high = most;
    while (low < high) {
        int mid = low + (high - low + 1) / 2;
        lay_out(&s->try, s->in, one, mid, n_host);
        weigh(&s->try, s->in, one);
        if (one->vram_weight_bytes <= room)
            low = mid;
        else
            high = mid - 1;
    }
    return low + 2 < most ? low + 2 : most;
}

/* Puts the most parts of the device into VRAM that fit `room` bytes beside a ring of `depth`
 * largest parts. */
static bool fill(struct search *s, int d, int n_host, int depth, uint64_t room)
{
    struct plan *p = &s->try;
    struct plan_share *one = &p->share[d];
    int most = 2 * one->n + has_embed(p, one) + has_output(p, one) - n_host;
    for (int r = s->n_dev > 1 ? fill_from(s, one, most, n_host, room) : most; r >= 0; r--) {
        uint64_t need, largest;
        lay_out(p, s->in, one, r, n_host);
        largest = weigh(p, s->in, one);
        if (one->stream_bytes && s->dev[d].link <= 0)
            return false;
        one->ring_bytes = 0;
        if (one->stream_bytes &&
            !plan_add(0, (largest + 255) & ~(uint64_t)255, (uint64_t)depth, &one->ring_bytes))
            return false;
        if (!plan_add(one->ring_bytes, one->vram_weight_bytes, 1, &need))
            return false;
        if (need <= room) {
            p->n_resident += r;
            return true;
        }
    }
    return false;
}

/* ---- the host -------------------------------------------------------------------------------- */

/* Divides the pinned memory among the devices that stream. False: a ring would be too short. */
static bool share_pinned(struct plan *p)
{
    int streaming = 0;
    for (int d = 0; d < p->n_device; d++)
        streaming += p->share[d].stream_bytes > 0;
    for (int d = 0; d < p->n_device; d++) {
        struct plan_share *s = &p->share[d];
        uint64_t each = streaming ? p->pinned_bytes / (uint64_t)streaming : 0;
        s->pinned_bytes = !s->stream_bytes ? 0
                          : p->keep_pinned ? s->stream_bytes
                                           : each - each % PINNED_PIECE;
        if (s->stream_bytes && !p->keep_pinned && s->pinned_bytes < 2 * PINNED_PIECE)
            return false;
    }
    return true;
}

/* Sets pinned memory and page cache of the host; false when parts computed there do not fit. */
static bool fits_host(struct plan *p, const struct plan_input *in)
{
    uint64_t whole;
    if (!plan_add(p->stream_bytes, p->host_bytes, 1, &whole))
        return false;
    p->keep_pinned = p->stream_bytes && (!in->ram_bytes || whole <= in->ram_bytes);
    if (p->keep_pinned || !p->stream_bytes) {
        p->pinned_bytes = p->stream_bytes;
        return share_pinned(p) && (!in->ram_bytes || whole <= in->ram_bytes);
    }
    uint64_t most = in->ram_bytes / 2 < PINNED_RING ? in->ram_bytes / 2 : PINNED_RING;
    p->pinned_bytes = most - most % PINNED_PIECE;
    uint64_t computed = p->embed == PLAN_HOST ? p->host_bytes - in->embed_bytes : p->host_bytes;
    return share_pinned(p) && (!computed || computed + p->pinned_bytes <= in->ram_bytes);
}

/* ---- prediction ------------------------------------------------------------------------------ */

/* The parts in the order of a step. Returns their number. */
static int parts_of(const struct search *s, const struct plan *p)
{
    const struct plan_input *in = s->in;
    int n = 0;
    s->part[n++] = (struct cost_part){PART_EMBED, 0, p->embed, in->embed_bytes,
                                      plan_device_of(p, PART_EMBED, 0)};
    for (int l = 0; l < in->n_layer; l++) {
        const int d = plan_device_of(p, PART_ATTN, l);
        s->part[n++] = (struct cost_part){PART_ATTN, l, p->attn[l], in->attn_bytes[l], d};
        s->part[n++] = (struct cost_part){PART_FFN, l, p->ffn[l], in->ffn_bytes[l], d};
    }
    s->part[n++] = (struct cost_part){PART_OUTPUT, 0, p->output, in->output_bytes,
                                      plan_device_of(p, PART_OUTPUT, 0)};
    for (int i = 0; !in->on_device && i < n; i++)
        s->part[i].place = PLAN_VRAM; /* the host computes every part */
    return n;
}

int plan_try_step(struct search *s, const struct plan *p, int n_seq, int n_micro, struct cost *out,
                  struct err *e)
{
    const struct plan_input *in = s->in;
    struct cost_device device[PLAN_DEVICES];
    const struct cost_rows shared = {.head_bytes = in->rows.head_bytes,
                                     .ffn_bytes = in->rows.ffn_bytes,
                                     .logit_bytes = (uint64_t)in->rows.n_vocab * sizeof(float),
                                     .output = p->rows_output,
                                     .copy_s = in->rows.copy_s,
                                     .call_s = in->rows.call_s};
    struct plan_rates rates = in->rates;
    if (!in->on_device) {
        rates.vram =
            rates.host_row > 0 && rates.host_row < rates.host ? rates.host_row : rates.host;
        rates.device_ops = rates.host_ops;
    }
    if (s->n_dev < 2 && !(rates.vram > 0))
        return 0;
    for (int d = 0; d < s->n_dev; d++)
        device[d] = (struct cost_device){.vram = s->dev[d].vram,
                                         .link = s->dev[d].link,
                                         .device_ops = s->dev[d].device_ops,
                                         .launch_s = s->dev[d].launch_s,
                                         .ring_bytes = p->share[d].ring_bytes};
    struct cost_model m = {.part = s->part,
                           .n_part = parts_of(s, p),
                           .rates = rates,
                           .device = s->n_dev > 1 ? device : NULL,
                           .hop = in->hop,
                           .n_device = s->n_dev > 1 ? s->n_dev : 0,
                           .n_micro = n_micro,
                           .steps_overlap = in->steps_overlap,
                           .from_disk = p->stream_bytes && !p->keep_pinned,
                           .ring_bytes = p->ring_bytes,
                           .kv_bytes_per_token = in->kv_bytes_per_token,
                           .n_layer = in->n_layer ? in->n_layer : 1,
                           .n_windowed = in->n_windowed,
                           .window = in->window,
                           .row_bytes = in->row_bytes,
                           .ops_per_byte = in->ops_per_byte,
                           .attn_more = in->attn_more,
                           .rows = p->split == PLAN_ROWS ? &shared : NULL};
    struct cost_load load = {n_seq, n_seq, in->kv_len ? in->kv_len : (in->n_ctx + 1) / 2};
    return cost_step(&m, &load, out, e);
}

bool plan_computes_on_host(const struct plan *p)
{
    for (int l = 0; l < p->n_layer; l++)
        if (p->ffn[l] == PLAN_HOST)
            return true;
    return false;
}

/* Predicts n_seq sequences in the number of micro-batches that is fastest. */
static int step_of_all(struct search *s, struct plan *p, struct err *e)
{
    p->n_micro = 1;
    TRY(plan_try_step(s, p, p->n_seq, 1, &p->all, e));
    if (p->stream_bytes || plan_computes_on_host(p) || p->n_border == 0)
        return 0;
    for (int m = 2; m <= COST_MICRO && m <= p->n_seq; m *= 2) {
        struct cost c;
        TRY(plan_try_step(s, p, p->n_seq, m, &c, e));
        if (c.step_s < p->all.step_s * (1 - 1e-9)) {
            p->all = c;
            p->n_micro = m;
        }
    }
    return 0;
}

/* ---- a candidate ----------------------------------------------------------------------------- */

void plan_copy(struct plan *to, const struct plan *from)
{
    enum plan_place *attn = to->attn, *ffn = to->ffn;
    size_t bytes = (size_t)from->n_layer * sizeof *attn;
    memcpy(attn, from->attn, bytes);
    memcpy(ffn, from->ffn, bytes);
    *to = *from;
    to->attn = attn;
    to->ffn = ffn;
}

/* Runs and borders of the cut. */
static void set_runs(struct search *s, const struct plan_cut *cut)
{
    struct plan *p = &s->try;
    int first = 0, before = -1;
    p->n_border = 0;
    for (int d = 0; d < s->n_dev; d++) {
        p->share[d] = (struct plan_share){.first = first, .n = cut->n[d]};
        first += cut->n[d];
        if (!cut->n[d] && s->n_dev > 1)
            continue;
        p->share[d].workspace_bytes = s->dev[d].workspace_bytes;
        if (before >= 0)
            p->border[p->n_border++] =
                (struct plan_border){.layer = p->share[d].first,
                                     .from = before,
                                     .to = d,
                                     .peer = s->in->hop[before * s->n_dev + d].peer,
                                     .row_bytes = s->in->row_bytes};
        before = d;
    }
}

static void sum_up(struct plan *p)
{
    p->vram_weight_bytes = p->stream_bytes = p->host_bytes = 0;
    p->ring_bytes = p->workspace_bytes = p->total_bytes = 0;
    for (int d = 0; d < p->n_device; d++) {
        struct plan_share *s = &p->share[d];
        p->vram_weight_bytes += s->vram_weight_bytes;
        p->stream_bytes += s->stream_bytes;
        p->host_bytes += s->host_bytes;
        p->ring_bytes += s->ring_bytes;
        p->workspace_bytes += s->workspace_bytes;
        s->total_bytes = s->kv_bytes + s->workspace_bytes + s->ring_bytes + s->vram_weight_bytes;
        p->total_bytes += s->total_bytes;
    }
}

static bool used(const struct search *s, int d)
{
    return s->n_dev < 2 || s->try.share[d].n > 0;
}

/* Bytes of a device beside its workspace and that much KV in all; false: there are not so many. */
static bool room_of(const struct search *s, int d, uint64_t kv, uint64_t *room)
{
    const struct plan_share *one = &s->try.share[d];
    const uint64_t vram = s->dev[d].vram_bytes, mine = plan_kv_share(s->in, kv, one->n);
    *room = vram - vram / VRAM_SLACK;
    if (*room < one->workspace_bytes || *room - one->workspace_bytes < mine)
        return false;
    *room -= one->workspace_bytes + mine;
    return true;
}

/* Gives KV the room that fits no further part, on all devices alike. */
static uint64_t more_kv(const struct search *s, const struct plan_aim *aim, const uint64_t *room)
{
    const struct plan *p = &s->try;
    uint64_t more = UINT64_MAX;
    for (int d = 0; d < s->n_dev; d++) {
        const struct plan_share *one = &p->share[d];
        if (!used(s, d) || (one->n == 0 && s->in->n_layer))
            continue;
        uint64_t spare = room[d] - one->ring_bytes - one->vram_weight_bytes;
        if (one->n != s->in->n_layer)
            spare = spare / (uint64_t)one->n * (uint64_t)s->in->n_layer;
        more = spare < more ? spare : more;
    }
    return aim->want - p->kv_bytes < more ? aim->want : p->kv_bytes + more;
}

/* Scores try by the seconds a token of the sequences that the mode serves. */
static int consider(struct search *s, const struct plan_aim *aim, const struct plan_cut *cut,
                    struct err *e)
{
    struct plan *p = &s->try;
    const bool latency = aim->mode == PLAN_LATENCY;
    p->mode = aim->mode;
    TRY(latency ? plan_try_step(s, p, 1, 1, &p->one, e) : step_of_all(s, p, e));
    s->last = latency ? p->one.step_s : p->all.step_s / (double)p->n_seq;
    if (latency && s->n_dev > 1) /* unlike cuts of one device, others may leave memory idle */
        s->last *= 1 + NO_ROOM * (1 - (double)p->n_seq / s->in->n_seq);
    if (s->score >= 0 && !(s->last < s->score * (1 - 1e-9)))
        return 0;
    TRY(latency ? step_of_all(s, p, e) : plan_try_step(s, p, 1, 1, &p->one, e));
    s->score = s->last;
    s->cut = *cut;
    for (int d = 0; d < s->n_dev; d++)
        p->share[d].kv_bytes = plan_kv_share(s->in, p->kv_bytes, p->share[d].n);
    sum_up(p);
    plan_copy(&s->best, p);
    return 0;
}

int plan_try_cut(struct search *s, const struct plan_aim *aim, const struct plan_cut *cut,
                 struct err *e)
{
    struct plan *p = &s->try;
    uint64_t room[PLAN_DEVICES] = {0};
    s->last = -1;
    set_runs(s, cut);
    p->n_resident = 0;
    for (int d = 0; d < s->n_dev; d++)
        if (used(s, d) &&
            (!room_of(s, d, aim->kv, &room[d]) || !fill(s, d, cut->n_host[d], cut->depth, room[d])))
            return 0;
    sum_up(p);
    if (!fits_host(p, s->in))
        return 0;
    plan_kv_set(s->in, p, aim->kv);
    if (!s->in->kv_bytes)
        plan_kv_set(s->in, p, more_kv(s, aim, room));
    return consider(s, aim, cut, e);
}

uint64_t plan_try_stream_all(struct search *s, const struct plan_cut *cut, int d)
{
    set_runs(s, cut);
    lay_out(&s->try, s->in, &s->try.share[d], 0, 0);
    return weigh(&s->try, s->in, &s->try.share[d]);
}

int plan_try_open(struct search *s, const struct plan_input *in, const struct plan *like,
                  struct err *e)
{
    size_t n = (size_t)in->n_layer;
    *s = (struct search){.in = in, .score = -1, .last = -1, .n_dev = 1};
    if (in->n_device > 1)
        s->n_dev = in->n_device;
    for (int d = 0; d < s->n_dev; d++)
        s->dev[d] = in->n_device > 1 ? in->device[d]
                                     : (struct plan_device){.vram_bytes = in->vram_bytes,
                                                            .vram = in->rates.vram,
                                                            .link = in->rates.link,
                                                            .device_ops = in->rates.device_ops,
                                                            .launch_s = in->rates.launch_s};
    for (int d = 0; d < s->n_dev; d++)
        if (!s->dev[d].workspace_bytes)
            s->dev[d].workspace_bytes = in->workspace_bytes;
    s->part = mem_zalloc(2 * n + 2, sizeof *s->part);
    enum plan_place *try = mem_zalloc(2 * n + 1, sizeof *try),
                    *best = mem_zalloc(2 * n + 1, sizeof *best);
    s->try = s->best = *like;
    s->try.n_device = s->best.n_device = s->n_dev;
    s->try.attn = try, s->try.ffn = try ? try + n : NULL;
    s->best.attn = best, s->best.ffn = best ? best + n : NULL;
    return s->part && try && best ? 0 : NOMEM(e, (2 * n + 2) * sizeof *s->part, "a plan");
}

void plan_try_close(struct search *s)
{
    mem_free(s->part);
    mem_free(s->try.attn);
    mem_free(s->best.attn);
}
