#include "fit_say.h"

#include <inttypes.h>
#include <string.h>

void fit_say_model(const struct fit *f, struct str *s)
{
    const struct model *m = &f->of.m;
    const uint64_t bytes = weights_bytes(&m->w);
    const bool small = bytes < 100000000, few = m->n_params < 100000000;
    str_addf(s, "%s%s%s: %.1f %s, %d layers, %.*f %s parameters\n", f->shape ? f->shape : f->model,
             f->shape ? " " : "", f->shape ? mixture_name(f->mix) : "",
             (double)bytes * (small ? 1e-6 : 1e-9), small ? "MB" : "GB", m->hp.n_layer, few ? 1 : 2,
             (double)m->n_params * (few ? 1e-6 : 1e-9), few ? "million" : "billion");
}

void fit_say_cpu(const struct fit *f, struct str *s)
{
    str_addf(s, "%s%d core%s, %s%s", f->nodes > 1 ? "in all " : "", f->cores,
             f->cores == 1 ? "" : "s", f->isa, f->isa_note);
}

static const char *comma(const struct str *s, size_t start)
{
    return s->len > start ? ", " : "  assumed: ";
}

void fit_say_assumed(const struct fit *f, struct str *s)
{
    const size_t start = s->len;
    if (f->host_assumed)
        str_addf(s, "%s--host %.0fGB/s", comma(s, start), f->rates.host * 1e-9);
    if (f->cores_assumed)
        str_addf(s, "%s--threads %d", comma(s, start), f->cores);
    if (f->isa_assumed)
        str_addf(s, "%s--isa %s", comma(s, start), f->isa);
    if (f->ram_assumed)
        str_addf(s, "%s--ram %.0fGiB", comma(s, start), (double)f->opt.ram_bytes / 1073741824);
    if (s->len > start)
        str_addc(s, '\n');
}

void fit_say_hours(double hours, struct str *s)
{
    if (hours < 1)
        str_addf(s, "%.1f minutes", hours * 60);
    else
        str_addf(s, "%.1f hours", hours);
}

static void text(struct str *s, const char *key, const char *value)
{
    str_addf(s, "\"%s\": ", key);
    if (value)
        str_add_json(s, value, strlen(value));
    else
        str_adds(s, "null");
}

static void rate(struct str *s, const char *key, double v)
{
    str_addf(s, ", \"%s\": ", key);
    if (v > 0)
        str_add_number(s, v, 6);
    else
        str_adds(s, "null");
}

static void option(struct str *s, const struct fit *f, const char *key, const char *flag)
{
    str_addf(s, ", \"%s\": ", key);
    option_json(option_of_flag(&engine_option_set, flag), &f->opt, s);
}

static void assumed(struct str *s, const char *key, bool is)
{
    str_addf(s, ", \"%s_assumed\": %s", key, is ? "true" : "false");
}

static void cards(struct str *s, const struct fit *f)
{
    str_adds(s, ", \"cards\": [");
    for (int i = 0; i < f->n_card; i++) {
        const struct fit_card *c = &f->card[i];
        str_adds(s, i ? ", {" : "{");
        text(s, "name", c->name);
        str_addf(s, ", \"vram_bytes\": %" PRIu64, c->vram_bytes);
        rate(s, "vram_bytes_per_second", c->vram);
        rate(s, "link_bytes_per_second", c->link);
        rate(s, "peer_bytes_per_second", c->peer);
        str_addc(s, '}');
    }
    str_addc(s, ']');
}

void fit_say_inputs(const struct fit *f, double node_rate, struct str *s)
{
    str_adds(s, ", \"inputs\": {");
    text(s, "model", f->model);
    str_adds(s, ", ");
    text(s, "shape", f->shape);
    str_adds(s, ", ");
    text(s, "type", f->shape ? mixture_name(f->mix) : NULL);
    option(s, f, "context", "ctx");
    option(s, f, "kv_type", "kv-type");
    option(s, f, "ram_bytes", "ram");
    option(s, f, "sequences", "sequences");
    option(s, f, "placement", "placement");
    option(s, f, "split", "split");
    if (f->opt.cpu_layers.set)
        str_addf(s, ", \"cpu_layers\": %d", f->opt.cpu_layers.value);
    else
        str_adds(s, ", \"cpu_layers\": null");
    str_adds(s, ", \"host\": {\"nodes\": ");
    if (f->nodes)
        str_addf(s, "%d", f->nodes);
    else
        str_adds(s, "null");
    str_addf(s, ", \"cores\": %d, ", f->cores);
    text(s, "isa", f->isa);
    rate(s, "bytes_per_second", node_rate);
    assumed(s, "ram_bytes", f->ram_assumed);
    assumed(s, "cores", f->cores_assumed);
    assumed(s, "isa", f->isa_assumed);
    assumed(s, "bytes_per_second", f->host_assumed);
    str_addc(s, '}');
    cards(s, f);
    str_addc(s, '}');
}
