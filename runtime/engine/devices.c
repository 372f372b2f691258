#include "devices.h"

#include <stdio.h>
#include <string.h>

#include "probe.h"

struct numbers {
    int at[PLAN_DEVICES], n;
};

static int number_add(struct numbers *list, const char *text, int len, struct err *e)
{
    int number = 0;
    bool good = len > 0 && len < 4;
    for (int i = 0; i < len && good; i++) {
        good = text[i] >= '0' && text[i] <= '9';
        number = 10 * number + (text[i] - '0');
    }
    if (!good)
        FAIL(e, ERR_USAGE,
             "devices: '%.*s' is no number of a GPU; name numbers from 0, as 0,1, or all", len,
             text);
    for (int i = 0; i < list->n; i++)
        if (list->at[i] == number)
            FAIL(e, ERR_USAGE, "devices: GPU %d is named twice; name each GPU once", number);
    if (list->n == PLAN_DEVICES)
        FAIL(e, ERR_USAGE, "devices: more than %d GPUs; name %d at most", PLAN_DEVICES,
             PLAN_DEVICES);
    list->at[list->n++] = number;
    return 0;
}

/* The numbers of the option's items, each of which may hold several. */
static int numbers_read(const struct option_list *items, struct numbers *out, struct err *e)
{
    for (int i = 0; i < items->n; i++) {
        const char *at = items->item[i];
        for (bool more = true; more;) {
            while (*at == ' ')
                at++;
            int len = (int)strcspn(at, ", ");
            TRY(number_add(out, at, len, e));
            at += len;
            while (*at == ' ')
                at++;
            more = *at == ',';
            at += more;
            if (!more && *at)
                FAIL(e, ERR_USAGE, "devices: '%s': a comma stands between two numbers",
                     items->item[i]);
        }
    }
    return 0;
}

static int numbers_all(const char *kind, const struct ops_options *of, struct numbers *out,
                       struct err *e)
{
    int n;
    TRY(ops_devices(kind, of, &n, e));
    for (out->n = 0; out->n < n && out->n < PLAN_DEVICES; out->n++)
        out->at[out->n] = out->n;
    return 0;
}

void devices_one(const struct devices *d, int i, char *out, size_t n)
{
    const struct device *dev = d->ops[i]->dev;
    if (d->n == 1)
        snprintf(out, n, "%s", dev->name);
    else
        snprintf(out, n, "GPU %d (%s)", dev->ordinal, dev->name);
}

static void devices_name(struct devices *d)
{
    size_t at = 0, pci = 0;
    for (int i = 0; i < d->n; i++) {
        const struct device *dev = d->ops[i]->dev;
        d->number[i] = dev->ordinal;
        int n = d->n == 1 ? snprintf(d->name, sizeof d->name, "%s", dev->name)
                          : snprintf(d->name + at, sizeof d->name - at, "%sGPU %d: %s",
                                     i ? "; " : "", dev->ordinal, dev->name);
        at += (size_t)n;
        n = snprintf(d->pci + pci, sizeof d->pci - pci, "%s%s", i && *dev->pci ? "," : "",
                     dev->pci);
        pci += (size_t)n;
    }
}

int devices_open(const struct engine_options *opt, struct devices *d, struct err *e)
{
    struct ops_options of = {.n_threads = opt->n_threads,
                             .isa = opt->isa,
                             .device = opt->device,
                             .vram_bytes = opt->vram_bytes,
                             .devices = opt->devices.n > 0,
                             .sim = opt->sim};
    struct numbers list = {0};
    const struct option_list *asked = &opt->devices;
    const bool all = asked->n == 1 && !strcmp(asked->item[0], "all");
    if (asked->n && opt->device)
        FAIL(e, ERR_USAGE, "device %d and devices exclude each other; set one of them",
             opt->device);
    if (all)
        TRY(numbers_all(opt->backend, &of, &list, e));
    else
        TRY(numbers_read(asked, &list, e));
    if (!asked->n)
        list = (struct numbers){.at = {opt->device}, .n = 1};
    for (int i = 0; i < list.n; i++) {
        of.device = list.at[i];
        TRY(ops_open(i ? d->ops[0]->name : opt->backend, &of, &d->ops[i], e));
        d->n++;
        if (d->ops[0]->dev->is_host && asked->n)
            FAIL(e, ERR_NODEV,
                 "devices name GPUs and backend %s uses none; use another backend, or leave "
                 "devices out",
                 d->ops[0]->name);
    }
    devices_name(d);
    return 0;
}

void devices_close(struct devices *d)
{
    for (int i = d->n; i-- > 0;)
        ops_close(d->ops[i]);
    d->n = 0;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* The way from device a to device b: one copy, or two through pinned memory. */
static int devices_way(const struct devices *d, const struct engine_options *opt, int a, int b,
                       struct cost_hop *out, struct err *e)
{
    struct device *from = d->ops[a]->dev, *to = d->ops[b]->dev;
    const double la = d->rates[a].link, lb = d->rates[b].link;
    *out = (struct cost_hop){.hop_s = d->rates[a].hop_s};
    if (to->api->peer)
        TRY(to->api->peer(to, from, &out->peer, e));
    if (out->peer && !opt->rates)
        return probe_peer(from, to, &out->rate, e);
    if (out->peer && opt->peer_rate > 0)
        out->rate = opt->peer_rate;
    else if (la > 0 && lb > 0)
        out->rate = out->peer ? smaller(la, lb) : 1 / (1 / la + 1 / lb);
    return 0;
}

int devices_plan(struct devices *d, const struct engine_options *opt, struct ops *host,
                 enum fmt fmt, const uint64_t *limit, struct plan_input *in, struct err *e)
{
    if (d->n < 2)
        return 0;
    for (int i = 0; i < d->n; i++) {
        struct device *dev = d->ops[i]->dev;
        struct plan_rates *r = &d->rates[i];
        size_t free_bytes, total;
        TRY(dev->api->memory(dev, &free_bytes, &total, e));
        if (opt->rates)
            *r = opt->rates[i < opt->n_rates ? i : 0];
        else if (!(r->vram > 0))
            TRY(probe_rates(d->ops[i], host, fmt, r, e));
        if (opt->link_limit > 0 && r->link > opt->link_limit)
            r->link = opt->link_limit;
        d->plan[i] = (struct plan_device){
            .vram_bytes = limit[i] && free_bytes > limit[i] ? limit[i] : free_bytes,
            .vram = r->vram,
            .link = r->link,
            .device_ops = r->device_ops,
            .launch_s = r->launch_s};
    }
    for (int a = 0; a < d->n; a++)
        for (int b = 0; b < d->n; b++)
            if (a != b && !(d->hop[a * d->n + b].rate > 0)) /* once */
                TRY(devices_way(d, opt, a, b, &d->hop[a * d->n + b], e));
    in->rates = d->rates[0];
    in->n_device = d->n;
    in->device = d->plan;
    in->hop = d->hop;
    in->rows.copy_s = PLAN_COPY_S;
    in->rows.call_s = PLAN_CALL_S;
    return 0;
}
