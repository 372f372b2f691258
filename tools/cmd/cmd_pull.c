/* mas pull: downloads a model or questions (download.h), and shows how far it is. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "clinic.h"
#include "clock.h"
#include "cmd.h"
#include "download.h"
#include "mem.h"
#include "sources.h"

#define SECOND 1000000000
#define BAR_EVERY (SECOND / 5)
#define LINE_EVERY ((int64_t)30 * SECOND)

struct options {
    const char *name, *out, *list, *sha256;
    int tries, stall;
    bool force, quiet;
};

/* ---- options --------------------------------------------------------------------------------- */

enum { KEY_SOURCES = 0x100, KEY_SHA256, KEY_TRIES, KEY_STALL, KEY_FORCE, KEY_QUIET };

static const struct argp_option rows[] = {
    {"output", 'o', "FILE", 0, "write this file; default: the name's file in its folder", 0},
    {"force", KEY_FORCE, 0, 0, "replace a file that is here already", 0},
    {"sha256", KEY_SHA256, "HEX", 0, "digest that the file must have", 0},
    {"sources", KEY_SOURCES, "FILE", 0,
     "list of names, mirrors and tokens (form: configs/sources.yaml); default: $MAS_SOURCES, or "
     "the "
     "list in the program",
     0},
    {"tries", KEY_TRIES, "N", 0,
     "attempts without one new byte before it gives up, for each address (default 8)", 0},
    {"stall", KEY_STALL, "SECONDS", 0,
     "begin again when hardly a byte came for so long (default 60)", 0},
    {"quiet", KEY_QUIET, 0, 0, "no progress", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case 'o':
        o->out = arg;
        return 0;
    case KEY_FORCE:
        o->force = true;
        return 0;
    case KEY_SHA256:
        o->sha256 = arg;
        return 0;
    case KEY_SOURCES:
        o->list = arg;
        return 0;
    case KEY_TRIES:
        return cli_int(st, "--tries", arg, 1, 1000, &o->tries);
    case KEY_STALL:
        return cli_int(st, "--stall", arg, 1, 3600, &o->stall);
    case KEY_QUIET:
        o->quiet = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->name) {
            argp_error(st, "a second name '%s'; one at a time", arg);
            return EINVAL;
        }
        o->name = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = rows,
    .parser = parse,
    .args_doc = "[NAME|ADDRESS]",
    .doc = "Downloads a model or questions: a name of the list, https://.., hf:ORG/REPO/FILE or "
           "ollama:NAME:TAG. Without a name it shows the list. An interrupted download continues "
           "with the same command."};

/* ---- progress -------------------------------------------------------------------------------- */

struct show {
    const char *file;
    bool quiet, terminal, drawn;
    int64_t last_ns, mark_ns; /* of the last line; of the rate's last sample */
    uint64_t mark;            /* bytes received then */
    double rate;              /* bytes/s, smoothed over some seconds */
    const atomic_int *stop;
};

static void show_end(struct show *s)
{
    if (s->drawn)
        fprintf(stderr, "\r%78s\r", "");
    s->drawn = false;
}

static void measure(struct show *s, uint64_t received, int64_t now)
{
    double dt = (double)(now - s->mark_ns) * 1e-9;
    if (dt < 0.2)
        return;
    double one = (double)(received - s->mark) / dt, keep = s->rate > 0 ? exp(-dt / 5) : 0;
    s->rate = keep * s->rate + (1 - keep) * one;
    s->mark = received;
    s->mark_ns = now;
}

/* "12.3 of 42.5 GB, 29 %, 45.2 MB/s, 11:09 left" */
static void line_of(const struct show *s, const struct pull_progress *p, char *out, size_t cap)
{
    double unit = p->total >= 1000000000 || p->done >= 1000000000 ? 1e9 : 1e6;
    const char *name = unit > 1e6 ? "GB" : "MB";
    int n = snprintf(out, cap, "%.1f", (double)p->done / unit);
    if (p->total)
        n += snprintf(out + n, cap - (size_t)n, " of %.1f %s, %.0f %%", (double)p->total / unit,
                      name, 100.0 * (double)p->done / (double)p->total);
    else
        n += snprintf(out + n, cap - (size_t)n, " %s", name);
    if (p->phase == PULL_REREAD)
        n += snprintf(out + n, cap - (size_t)n, ", reading the part that is here");
    if (p->phase != PULL_TRANSFER || s->rate <= 0)
        return;
    n += snprintf(out + n, cap - (size_t)n, ", %.1f MB/s", s->rate * 1e-6);
    if (p->total > p->done) {
        double left = (double)(p->total - p->done) / s->rate;
        if (left < 360000)
            snprintf(out + n, cap - (size_t)n, ", %d:%02d:%02d left", (int)(left / 3600),
                     (int)(left / 60) % 60, (int)left % 60);
    }
}

static void on_progress(const struct pull_progress *p, void *user)
{
    struct show *s = user;
    char line[200];
    int64_t now = clock_ns();
    if (p->phase == PULL_TRANSFER)
        measure(s, p->received, now);
    if (s->quiet || p->phase == PULL_CONNECT)
        return;
    if (p->phase == PULL_WAIT) {
        show_end(s);
        fprintf(stderr, "%s: %s; another attempt\n", s->file ? s->file : "mas", p->why);
        return;
    }
    if (now - s->last_ns < (s->terminal ? BAR_EVERY : LINE_EVERY))
        return;
    s->last_ns = now;
    line_of(s, p, line, sizeof line);
    if (s->terminal)
        fprintf(stderr, "\r%-78.78s", line);
    else
        fprintf(stderr, "%s: %s\n", s->file, line);
    s->drawn = s->terminal;
    fflush(stderr);
}

static bool on_stop(void *user)
{
    return atomic_load(((const struct show *)user)->stop) != 0;
}

static void on_begin(const struct pull_file *f, void *user)
{
    struct show *s = user;
    s->file = strrchr(f->path, '/') ? strrchr(f->path, '/') + 1 : f->path;
    s->rate = 0;
    s->mark = 0;
    s->mark_ns = s->last_ns = clock_ns();
}

static void on_end(const char *path, const struct pull_result *r, bool kept, void *user)
{
    show_end(user);
    if (kept)
        printf("%s is here already: its %s is as it must be\n", path,
               r->proven ? "sha256" : "length");
    else
        printf("%s: %" PRIu64 " bytes, sha256 %s%s\n", path, r->bytes, r->sha256,
               r->proven ? " as it must be" : "; no digest is known to compare it with");
}

/* ---- the command ----------------------------------------------------------------------------- */

static int show_list(const char *list, struct err *e)
{
    struct sources s = {.data = NULL};
    int rc = sources_open(list, &s, e);
    for (size_t i = 0; rc == 0 && i < s.n_entry; i++) {
        const struct sources_entry *n = &s.entry[i];
        struct str path = STR_INIT;
        struct stat st;
        str_addf(&path, "%s/%s", n->data ? s.data : s.places.models, n->file);
        printf("%-22s %-5s %s\n", n->name, !path.failed && stat(path.s, &st) == 0 ? "here" : "",
               n->about ? n->about : "");
        str_free(&path);
    }
    sources_close(&s);
    return rc < 0 ? rc : cli_flush(e);
}

static int run(int argc, char **argv)
{
    struct options o = {.tries = 8, .stall = 60};
    struct str path = STR_INIT;
    struct err e = {0};
    int rc = cli_parse(&argp, argc, argv, &o);
    if (rc >= 0)
        return rc;
    struct show show = {
        .quiet = o.quiet, .terminal = isatty(STDERR_FILENO), .stop = clinic_signals()};
    const struct download_options d = {.name = o.name,
                                       .out = o.out,
                                       .list = o.list,
                                       .sha256 = o.sha256,
                                       .force = o.force,
                                       .pull = {.tries = o.tries,
                                                .stall_s = o.stall,
                                                .backoff_ms = 500,
                                                .authorities = getenv("SSL_CERT_FILE"),
                                                .progress = on_progress,
                                                .stopped = on_stop,
                                                .user = &show},
                                       .begin = on_begin,
                                       .end = on_end,
                                       .user = &show};
    rc = o.name ? download(&d, &path, &e) : show_list(o.list, &e);
    show_end(&show);
    str_free(&path);
    return rc < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_pull = {"pull", "download a model or questions",
                             "mas pull\n"
                             "mas pull llama3-8b\n"
                             "mas pull medqa\n"
                             "mas pull hf:bartowski/Qwen2.5-7B-Instruct-GGUF/"
                             "Qwen2.5-7B-Instruct-Q4_K_M.gguf\n"
                             "mas pull ollama:llama3:8b\n"
                             "mas pull https://example.org/model.gguf -o models/m.gguf",
                             run};
