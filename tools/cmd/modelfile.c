#include "modelfile.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"

#define SECOND 1000000000
#define BAR_EVERY (SECOND / 10)
#define LINE_EVERY (5 * (int64_t)SECOND)

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int modelfile_apart(const char *in, const char *out, struct err *e)
{
    if (same_file(in, out))
        FAIL(e, ERR_USAGE, "output %s is the input %s itself; choose another name", out, in);
    return 0;
}

void modelfile_progress_begin(struct modelfile_progress *p, const char *verb, uint64_t total,
                              bool quiet)
{
    *p = (struct modelfile_progress){.verb = verb, .total = total, .quiet = quiet};
    p->terminal = isatty(STDERR_FILENO);
    p->start_ns = p->last_ns = clock_ns();
}

void modelfile_progress_show(struct modelfile_progress *p, uint64_t done, const char *what)
{
    int64_t now = clock_ns(), every = p->terminal ? BAR_EVERY : LINE_EVERY;
    if (p->quiet || now - p->last_ns < every)
        return;
    double share = p->total ? (double)done / (double)p->total : 1;
    double passed = (double)(now - p->start_ns) / SECOND;
    double left = share > 0 ? passed * (1 - share) / share : 0;
    p->last_ns = now;
    p->drawn = p->terminal;
    if (p->terminal) {
        static const char hashes[] = "##############################";
        int width = (int)(sizeof hashes - 1), full = (int)(share * width);
        fprintf(stderr, "\r%s [%-*.*s] %3d %%  %.0f s left  %-32.32s", p->verb, width, full, hashes,
                (int)(share * 100), left, what);
    } else {
        fprintf(stderr, "%s: %d %%, %.1f of %.1f GB, %.0f s left, at %s\n", p->verb,
                (int)(share * 100), (double)done / 1e9, (double)p->total / 1e9, left, what);
    }
    fflush(stderr);
}

void modelfile_progress_end(struct modelfile_progress *p)
{
    if (p->drawn)
        fprintf(stderr, "\r%100s\r", "");
    p->drawn = false;
}
