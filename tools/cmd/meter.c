#include "meter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clinic.h"
#include "clock.h"
#include "stats.h"

#define METER_BAR_NS INT64_C(100000000)
#define METER_LINE_NS INT64_C(30000000000)
#define METER_WHOLE_BAR 12 /* columns of the bar of several runs, with its brackets */

void meter_open(struct meter *m, bool quiet)
{
    *m = (struct meter){.quiet = quiet, .terminal = isatty(STDERR_FILENO) != 0};
    m->shown_ns = clock_ns() - (m->terminal ? METER_BAR_NS : 0);
}

static void eta_of(double left, const char *sign, char out[32])
{
    long s = left < 1e7 ? (long)left : 10000000;
    if (s >= 3600)
        snprintf(out, 32, "ETA %s%ld:%02ld:%02ld", sign, s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, 32, "ETA %s%ld:%02ld", sign, s / 60, s % 60);
}

static void eta(const struct run_progress *p, char out[32])
{
    snprintf(out, 32, "ETA --:--");
    if (!p->fresh || p->done >= p->total)
        return;
    eta_of(p->seconds / (double)p->fresh * (double)(p->total - p->done), "", out);
}

/* The parts that are left out when there is no room, the most important one first. */
enum { PART_BAD, PART_THROTTLED, PART_ENERGY, PART_VRAM, PARTS };

static void parts(const struct run_progress *p, const struct health_now *h, char part[PARTS][48])
{
    const struct health_value *used = &h->gauge[HEALTH_VRAM_USED],
                              *total = &h->gauge[HEALTH_VRAM_TOTAL];
    const char *held = health_throttled(h->reasons);
    memset(part, 0, sizeof(char[PARTS][48]));
    if (p->unparsed + p->failed)
        snprintf(part[PART_BAD], 48, "  %zu unparsed %zu failed", p->unparsed, p->failed);
    if (*held)
        snprintf(part[PART_THROTTLED], 48, "  throttled: %s", held);
    if (p->n_joules) {
        double each = p->joules / (double)p->n_joules;
        snprintf(part[PART_ENERGY], 48, each < 10 ? "  %.2g J/q" : "  %.0f J/q", each);
    }
    if (isfinite(used->now) && isfinite(total->now) && total->now > 0)
        snprintf(part[PART_VRAM], 48, "  %.1f/%.1f GiB", used->now / 1073741824.0,
                 total->now / 1073741824.0);
}

/* "412/1273  61.2 % (57-66)  230 tok/s  ETA 1:02:33  212 J/q  21.3/24.0 GiB" */
void meter_line(const struct run_progress *p, const struct health_now *h, int width,
                struct str *out)
{
    static const int shown[PARTS] = {PART_ENERGY, PART_VRAM, PART_THROTTLED, PART_BAD};
    struct stats_rate a = stats_wilson(p->correct, p->done);
    char when[32], part[PARTS][48];
    size_t begin = out->len;
    eta(p, when);
    parts(p, h, part);
    str_addf(out, "%zu/%zu", p->done, p->total);
    if (p->done)
        str_addf(out, "  %.1f %% (%.0f-%.0f)", 100 * a.rate, 100 * a.lo, 100 * a.hi);
    str_addf(out, "  %.0f tok/s  %s", p->seconds > 0 ? (double)p->new_tokens / p->seconds : 0.0,
             when);
    for (size_t i = 0, at = out->len - begin; i < PARTS; i++) {
        size_t n = strlen(part[i]);
        if (at + n > (size_t)width)
            part[i][0] = 0;
        else
            at += n;
    }
    for (int i = 0; i < PARTS; i++)
        str_adds(out, part[shown[i]]);
}

void meter_whole_line(const struct meter_whole *w, const struct run_progress *p, int width,
                      struct str *out)
{
    const struct stats_rate a = stats_wilson(p->correct, p->done);
    const size_t fresh = w->fresh + p->fresh;
    const double own = w->seconds + p->seconds, left = (double)(p->total - p->done + w->later);
    char when[32] = "ETA --:--", head[96], tail[160];
    int n = 0;
    if (fresh && w->done + p->done < w->total)
        eta_of(own / (double)fresh * left + w->ahead +
                   (own + w->other_seconds) / (double)(fresh + w->other_fresh) * (double)w->unknown,
               w->unknown ? "~" : "", when);
    snprintf(head, sizeof head, "%zu/%zu  %s  cell %zu/%zu ", w->done + p->done, w->total, when,
             w->at, w->n);
    n = snprintf(tail, sizeof tail, "  %zu/%zu", p->done, p->total);
    if (p->done)
        n += snprintf(tail + n, sizeof tail - (size_t)n, "  %.1f %% (%.0f-%.0f)", 100 * a.rate,
                      100 * a.lo, 100 * a.hi);
    if (p->unparsed + p->failed)
        snprintf(tail + n, sizeof tail - (size_t)n, "  %zu unparsed %zu failed", p->unparsed,
                 p->failed);
    const int room = width - (int)strlen(head) - (int)strlen(tail), name = (int)strlen(w->name);
    str_adds(out, head);
    if (name <= room)
        str_adds(out, w->name);
    else if (room > 2)
        str_addf(out, "%.*s..", room - 2, w->name);
    str_adds(out, tail);
}

static void bar(size_t done, size_t total, const char *text)
{
    int room = clinic_width(stderr) - (int)strlen(text) - 4, full;
    if (room > 40)
        room = 40;
    if (room < 4) {
        fprintf(stderr, "\r\033[K%.*s", clinic_width(stderr) - 1, text);
        return;
    }
    full = total ? (int)((double)done / (double)total * room) : 0;
    fprintf(stderr, "\r\033[K[%.*s%*s] %s", full, "########################################",
            room - full, "", text);
}

void meter_show(struct meter *m, const struct run_progress *p, const struct health_now *h)
{
    struct str text = STR_INIT;
    int64_t now = clock_ns();
    const struct meter_whole *w = m->whole;
    const size_t done = p->done + (w ? w->done : 0), total = w ? w->total : p->total;
    bool last = p->done == p->total && m->terminal;
    if (m->quiet || (!last && now - m->shown_ns < (m->terminal ? METER_BAR_NS : METER_LINE_NS)))
        return;
    m->shown_ns = now;
    int width = clinic_width(stderr) - (m->terminal ? 1 : 0);
    if (!w)
        meter_line(p, h, width, &text);
    else /* a plain line has the whole name; a bar has room beside it */
        meter_whole_line(w, p, m->terminal ? width - METER_WHOLE_BAR : 4 * width, &text);
    if (m->terminal) {
        bar(done, total, text.s);
        m->drawn = true;
    } else {
        fprintf(stderr, "%s\n", text.s);
    }
    fflush(stderr);
    str_free(&text);
}

void meter_close(struct meter *m)
{
    if (m->drawn)
        fputc('\n', stderr);
    m->drawn = false;
}

void meter_clear(struct meter *m)
{
    if (m->drawn)
        fputs("\r\033[K", stderr);
    m->drawn = false;
}
