#include "meter.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clinic.h"
#include "clock.h"
#include "stats.h"

#define METER_BAR_NS INT64_C(100000000)
#define METER_LINE_NS INT64_C(30000000000)

void meter_open(struct meter *m, bool quiet)
{
    *m = (struct meter){.quiet = quiet, .terminal = isatty(STDERR_FILENO) != 0};
    m->shown_ns = clock_ns() - (m->terminal ? METER_BAR_NS : 0);
}

static void eta(const struct run_progress *p, char out[32])
{
    snprintf(out, 32, "ETA --:--");
    if (!p->fresh || p->done >= p->total)
        return;
    double left = p->seconds / (double)p->fresh * (double)(p->total - p->done);
    long s = left < 1e7 ? (long)left : 10000000;
    if (s >= 3600)
        snprintf(out, 32, "ETA %ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, 32, "ETA %ld:%02ld", s / 60, s % 60);
}

/* "412/1273  61.2 % (57-66)  230 tok/s  ETA 1:02:33  2 unparsed" */
static void describe(const struct run_progress *p, char out[160])
{
    struct stats_rate a = stats_wilson(p->correct, p->done);
    char when[32], bad[64] = "";
    size_t n = 0;
    eta(p, when);
    if (p->unparsed + p->failed)
        snprintf(bad, sizeof bad, "  %zu unparsed %zu failed", p->unparsed, p->failed);
    n += (size_t)snprintf(out, 160, "%zu/%zu", p->done, p->total);
    if (p->done)
        n += (size_t)snprintf(out + n, 160 - n, "  %.1f %% (%.0f-%.0f)", 100 * a.rate, 100 * a.lo,
                              100 * a.hi);
    snprintf(out + n, 160 - n, "  %.0f tok/s  %s%s",
             p->seconds > 0 ? (double)p->new_tokens / p->seconds : 0.0, when, bad);
}

static void bar(const struct run_progress *p, const char *text)
{
    int room = clinic_width(stderr) - (int)strlen(text) - 4, full;
    if (room > 40)
        room = 40;
    if (room < 4) {
        fprintf(stderr, "\r\033[K%.*s", clinic_width(stderr) - 1, text);
        return;
    }
    full = p->total ? (int)((double)p->done / (double)p->total * room) : 0;
    fprintf(stderr, "\r\033[K[%.*s%*s] %s", full, "########################################",
            room - full, "", text);
}

void meter_show(struct meter *m, const struct run_progress *p)
{
    char text[160];
    int64_t now = clock_ns();
    bool last = p->done == p->total && m->terminal;
    if (m->quiet || (!last && now - m->shown_ns < (m->terminal ? METER_BAR_NS : METER_LINE_NS)))
        return;
    m->shown_ns = now;
    describe(p, text);
    if (m->terminal) {
        bar(p, text);
        m->drawn = true;
    } else {
        fprintf(stderr, "%s\n", text);
    }
    fflush(stderr);
}

void meter_close(struct meter *m)
{
    if (m->drawn)
        fputc('\n', stderr);
    m->drawn = false;
}
