#include "profile_sum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

/* of an interval: itself, and the recorder's work before and after it */
enum { LEAVES = 3 };

struct step {
    const struct interval *span; /* NULL: the record does not have it */
    int group;
    const char *pass; /* name of the pass; NULL = none seen */
    int64_t rows;
};

/* Part of a step that may be chosen as its piece. */
struct leaf {
    int step;
    enum piece_kind kind;
    int64_t from, to;
    const struct interval *v;
};

struct edge {
    int64_t at;
    size_t leaf;
    bool begins;
};

struct call { /* an op as it ran */
    int group;
    const struct interval *v;
};

struct sum {
    const struct record *r;
    struct arena *memory;
    struct step *step; /* r->n_step */
    struct profile_group *group;
    size_t n_group, cap_group;
    struct profile_piece *piece; /* of the group that is being computed */
    size_t n_piece, cap_piece;
    struct leaf *leaf;
    size_t n_leaf;
    struct edge *edge;
    size_t *active; /* leaves around the moment */
    struct call *call;
    size_t n_call;
    double *sample;
};

/* ---- steps and groups ------------------------------------------------------------------------ */

static bool is_draft(const struct interval *v)
{
    return !strcmp(v->phase, "draft") || (v->kind == SPAN_PHASE && !strcmp(v->name, "draft"));
}

static struct step *step_of(const struct sum *s, const struct interval *v)
{
    return v->step >= 0 && v->step < s->r->n_step ? &s->step[v->step] : NULL;
}

static void read_steps(struct sum *s)
{
    for (size_t i = 0; i < s->r->n_interval; i++) {
        const struct interval *v = &s->r->interval[i];
        struct step *step = step_of(s, v);
        if (!step)
            continue;
        if (v->kind == SPAN_STEP)
            step->span = v;
        if (v->kind == SPAN_PHASE && !is_draft(v)) {
            step->pass = v->name;
            step->rows += v->rows;
        }
    }
}

static int group_named(struct sum *s, const char *name, int *out, struct err *e)
{
    for (size_t i = 0; i < s->n_group; i++)
        if (!strcmp(s->group[i].name, name)) {
            *out = (int)i;
            return 0;
        }
    TRY(mem_grow(&s->group, &s->cap_group, s->n_group + 1, sizeof *s->group, "groups of steps", e));
    s->group[s->n_group] = (struct profile_group){.name = name, .median = -1};
    *out = (int)s->n_group++;
    return 0;
}

static int64_t duration(const struct interval *v)
{
    return v->end_ns - v->start_ns;
}

static int assign_groups(struct sum *s, struct err *e)
{
    for (int k = 0; k < s->r->n_step; k++) {
        struct step *step = &s->step[k];
        step->group = -1;
        if (!step->span)
            continue;
        TRY(group_named(s, step->pass ? step->pass : "other", &step->group, e));
        struct profile_group *g = &s->group[step->group];
        g->n_step++;
        g->rows += step->rows;
        g->wall_ns += duration(step->span);
    }
    return 0;
}

/* The distribution of the steps' durations, and the step in its middle. */
static void find_median(struct sum *s, int group)
{
    struct profile_group *g = &s->group[group];
    size_t n = 0;
    for (int k = 0; k < s->r->n_step; k++)
        if (s->step[k].group == group)
            s->sample[n++] = (double)duration(s->step[k].span);
    g->step = stat_summarize(s->sample, n); /* sorts */
    for (int k = 0; n && k < s->r->n_step && g->median < 0; k++)
        if (s->step[k].group == group &&
            duration(s->step[k].span) == (int64_t)s->sample[(n - 1) / 2])
            g->median = k;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static bool leaf_kind(const struct record *r, const struct interval *v, enum piece_kind *out)
{
    const enum track_kind on = r->track[v->track].kind;
    if (v->kind == SPAN_OP && (on == TRACK_DEVICE || on == TRACK_ENGINE))
        *out = on == TRACK_DEVICE ? PIECE_OP : PIECE_QUEUE;
    else if (v->kind == SPAN_COPY && (on == TRACK_COPY || on == TRACK_ENGINE))
        *out = on == TRACK_COPY ? PIECE_COPY : PIECE_QUEUE;
    else if (v->kind == SPAN_HOST && on == TRACK_ENGINE)
        *out = strcmp(v->name, "wait") ? PIECE_HOST : PIECE_WAIT;
    else
        return false;
    return true;
}

static int by_step(const void *a, const void *b)
{
    const struct leaf *x = a, *y = b;
    return (x->step > y->step) - (x->step < y->step);
}

static void read_leaves(struct sum *s)
{
    for (size_t i = 0; i < s->r->n_interval; i++) {
        const struct interval *v = &s->r->interval[i];
        const struct step *step = step_of(s, v);
        struct leaf l = {.step = v->step, .from = v->start_ns, .to = v->end_ns, .v = v};
        if (!step || !step->span)
            continue;
        if (duration(v) > 0 && leaf_kind(s->r, v, &l.kind))
            s->leaf[s->n_leaf++] = l;
        l.kind = PIECE_RECORDER;
        l.from = v->start_ns - v->before_ns;
        l.to = v->start_ns;
        if (v->before_ns > 0 && v->kind != SPAN_STEP)
            s->leaf[s->n_leaf++] = l;
        l.from = v->end_ns;
        l.to = v->end_ns + v->after_ns;
        if (v->after_ns > 0 && v->kind != SPAN_STEP)
            s->leaf[s->n_leaf++] = l;
    }
    qsort(s->leaf, s->n_leaf, sizeof *s->leaf, by_step);
}

const char *piece_kind_name(enum piece_kind kind)
{
    switch (kind) {
    case PIECE_OP:
        return "op";
    case PIECE_HOST:
        return "host";
    case PIECE_COPY:
        return "copy";
    case PIECE_QUEUE:
        return "queue";
    case PIECE_WAIT:
        return "wait";
    case PIECE_RECORDER:
        return "recorder";
    case PIECE_BETWEEN:
        break;
    }
    return "between";
}

static const char *piece_name(enum piece_kind kind, const struct interval *v)
{
    if (kind == PIECE_OP)
        return is_draft(v) ? "draft" : v->name;
    return kind == PIECE_HOST ? v->name : piece_kind_name(kind);
}

static int add_piece(struct sum *s, enum piece_kind kind, const struct interval *v, int64_t ns,
                     bool median, struct err *e)
{
    const char *name = piece_name(kind, v);
    size_t i = 0;
    while (i < s->n_piece && (s->piece[i].kind != kind || strcmp(s->piece[i].name, name)))
        i++;
    if (i == s->n_piece) {
        TRY(mem_grow(&s->piece, &s->cap_piece, i + 1, sizeof *s->piece, "pieces of a step", e));
        s->piece[s->n_piece++] = (struct profile_piece){.kind = kind, .name = name};
    }
    s->piece[i].ns += ns;
    s->piece[i].median_ns += median ? ns : 0;
    return 0;
}

static int by_time(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    return x->at != y->at ? (x->at > y->at) - (x->at < y->at) : (int)x->begins - (int)y->begins;
}

static int64_t clip(int64_t t, const struct interval *step)
{
    return t < step->start_ns ? step->start_ns : t > step->end_ns ? step->end_ns : t;
}

/* The leaf of the first kind among those around the moment; NULL = none. */
static const struct leaf *chosen(const struct sum *s, size_t n_active)
{
    const struct leaf *best = NULL;
    for (size_t i = 0; i < n_active; i++) {
        const struct leaf *l = &s->leaf[s->active[i]];
        if (!best || l->kind < best->kind)
            best = l;
    }
    return best;
}

/* Splits the step whose leaves are [from, to). */
static int split_step(struct sum *s, int k, size_t from, size_t to, struct err *e)
{
    const struct interval *step = s->step[k].span;
    const bool median = s->group[s->step[k].group].median == k;
    int64_t at = step->start_ns;
    size_t n_edge = 0, n_active = 0;
    for (size_t i = from; i < to; i++) {
        s->edge[n_edge++] = (struct edge){clip(s->leaf[i].from, step), i, true};
        s->edge[n_edge++] = (struct edge){clip(s->leaf[i].to, step), i, false};
    }
    qsort(s->edge, n_edge, sizeof *s->edge, by_time);
    for (size_t i = 0; i <= n_edge; i++) {
        const int64_t next = i < n_edge ? s->edge[i].at : step->end_ns;
        const struct leaf *l = chosen(s, n_active);
        if (next > at)
            TRY(add_piece(s, l ? l->kind : PIECE_BETWEEN, l ? l->v : NULL, next - at, median, e));
        at = next;
        if (i == n_edge)
            break;
        if (s->edge[i].begins) {
            s->active[n_active++] = s->edge[i].leaf;
            continue;
        }
        for (size_t j = 0; j < n_active; j++)
            if (s->active[j] == s->edge[i].leaf) {
                s->active[j] = s->active[--n_active];
                break;
            }
    }
    return 0;
}

static int by_kind(const void *a, const void *b)
{
    const struct profile_piece *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return x->ns != y->ns ? (x->ns < y->ns) - (x->ns > y->ns) : strcmp(x->name, y->name);
}

static int split_group(struct sum *s, int group, struct err *e)
{
    struct profile_group *g = &s->group[group];
    size_t from = 0;
    s->n_piece = 0;
    for (int k = 0; k < s->r->n_step; k++) {
        size_t to = from;
        while (to < s->n_leaf && s->leaf[to].step == k)
            to++;
        if (s->step[k].group == group)
            TRY(split_step(s, k, from, to, e));
        from = to;
    }
    if (!s->n_piece)
        return 0;
    qsort(s->piece, s->n_piece, sizeof *s->piece, by_kind);
    struct profile_piece *p = arena_alloc(s->memory, s->n_piece, sizeof *p);
    if (!p)
        return NOMEM(e, s->n_piece * sizeof *p, "pieces of a step");
    memcpy(p, s->piece, s->n_piece * sizeof *p);
    g->piece = p;
    g->n_piece = (int)s->n_piece;
    return 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* An op outside of all steps belongs to the group "other". */
static int read_calls(struct sum *s, struct err *e)
{
    for (size_t i = 0; i < s->r->n_interval; i++) {
        const struct interval *v = &s->r->interval[i];
        const struct step *step = step_of(s, v);
        struct call c = {.group = step ? step->group : -1, .v = v};
        if (v->kind != SPAN_OP || s->r->track[v->track].kind != TRACK_DEVICE)
            continue;
        if (c.group < 0)
            TRY(group_named(s, "other", &c.group, e));
        s->call[s->n_call++] = c;
    }
    return 0;
}

/* The number after "up to " in a case: the longest sequence of an attention, which differs from
 * step to step. Returns the length of the text before it; 0 = there is none. */
static size_t up_to(const char *detail, long *n)
{
    const char *at = strstr(detail, "up to ");
    char *end = NULL;
    *n = at ? strtol(at + 6, &end, 10) : 0;
    return at && end > at + 6 ? (size_t)(at + 6 - detail) : 0;
}

/* Orders cases; equal if they differ in the longest sequence only. */
static int compare_cases(const char *a, const char *b)
{
    long n;
    const size_t x = up_to(a, &n), y = up_to(b, &n);
    if (!x || x != y || strncmp(a, b, x) != 0)
        return strcmp(a, b);
    a += x;
    b += y;
    return strcmp(a + strspn(a, "0123456789"), b + strspn(b, "0123456789"));
}

static int compare_calls(const struct call *x, const struct call *y)
{
    int d = (x->group > y->group) - (x->group < y->group);
    d = d ? d : strcmp(x->v->phase, y->v->phase);
    d = d ? d : strcmp(x->v->name, y->v->name);
    d = d ? d : compare_cases(x->v->detail, y->v->detail);
    return d ? d : strcmp(x->v->kernel, y->v->kernel);
}

static int by_row(const void *a, const void *b)
{
    return compare_calls(a, b);
}

static int add_busy(struct sum *s, struct profile_row *row, const struct interval *v, struct err *e)
{
    int64_t longest = 0;
    if (v->busy == RECORD_UNWATCHED || s->r->n_worker == 0)
        return 0;
    if (!row->busy_ns)
        row->busy_ns = arena_alloc(s->memory, (size_t)s->r->n_worker, sizeof *row->busy_ns);
    if (!row->busy_ns)
        return NOMEM(e, (size_t)s->r->n_worker * sizeof *row->busy_ns, "times of workers");
    for (int w = 0; w < s->r->n_worker; w++) {
        const int64_t ns = s->r->busy_ns[v->busy + (size_t)w];
        row->busy_ns[w] += ns;
        longest = ns > longest ? ns : longest;
    }
    row->longest_ns += longest;
    row->watched_ns += duration(v);
    return 0;
}

/* Adds up calls [from, to), which are of one row. */
static int add_row(struct sum *s, size_t from, size_t to, struct profile_row *row, struct err *e)
{
    const struct interval *first = s->call[from].v;
    *row = (struct profile_row){.group = s->call[from].group,
                                .phase = first->phase,
                                .op = first->name,
                                .detail = first->detail,
                                .kernel = first->kernel,
                                .calls = (int64_t)(to - from)};
    for (size_t i = from; i < to; i++) {
        const struct interval *v = s->call[i].v;
        long most, n;
        (void)up_to(row->detail, &most);
        (void)up_to(v->detail, &n);
        row->detail = n > most ? v->detail : row->detail;
        row->rows += v->rows;
        row->ns += duration(v);
        row->bytes += v->bytes;
        row->ops += v->ops;
        s->sample[i - from] = (double)duration(v);
        TRY(add_busy(s, row, v, e));
    }
    row->call = stat_summarize(s->sample, to - from);
    return 0;
}

static int by_share(const void *a, const void *b)
{
    const struct profile_row *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->ns != y->ns)
        return x->ns > y->ns ? -1 : 1;
    const int d = strcmp(x->op, y->op);
    return d ? d : strcmp(x->detail, y->detail);
}

static int make_rows(struct sum *s, struct profile_sum *out, struct err *e)
{
    size_t n = 0, to;
    qsort(s->call, s->n_call, sizeof *s->call, by_row);
    for (size_t i = 0; i < s->n_call; i++)
        n += i == 0 || compare_calls(&s->call[i - 1], &s->call[i]);
    struct profile_row *row = arena_alloc(s->memory, n ? n : 1, sizeof *row);
    if (!row)
        return NOMEM(e, n * sizeof *row, "rows of a profile");
    out->n_row = 0;
    for (size_t from = 0; from < s->n_call; from = to) {
        for (to = from + 1; to < s->n_call && !compare_calls(&s->call[from], &s->call[to]);)
            to++;
        TRY(add_row(s, from, to, &row[out->n_row++], e));
    }
    qsort(row, out->n_row, sizeof *row, by_share);
    out->row = row;
    return 0;
}

/* ---- layers ---------------------------------------------------------------------------------- */

static int by_layer(const void *a, const void *b)
{
    const struct call *x = a, *y = b;
    int d = (x->group > y->group) - (x->group < y->group);
    d = d ? d : (x->v->layer > y->v->layer) - (x->v->layer < y->v->layer);
    return d ? d : (x->v->step > y->v->step) - (x->v->step < y->v->step);
}

static bool same_layer(const struct call *x, const struct call *y)
{
    return x->group == y->group && x->v->layer == y->v->layer;
}

/* The steps of calls [from, to), all of one layer. */
static void add_layer(struct sum *s, size_t from, size_t to, struct profile_layer *out)
{
    size_t n = 0;
    for (size_t i = from; i < to; i++) {
        const bool first = i == from || s->call[i - 1].v->step != s->call[i].v->step;
        const double ns = (double)duration(s->call[i].v);
        if (first)
            s->sample[n++] = ns;
        else
            s->sample[n - 1] += ns;
    }
    const struct stat_summary t = stat_summarize(s->sample, n);
    *out = (struct profile_layer){s->call[from].v->layer, t.min, t.median, t.max};
}

/* Layers of the model; those of a draft have the same numbers and are left out. */
static int make_layers(struct sum *s, struct err *e)
{
    size_t n = 0, n_layer = 0, to;
    for (size_t i = 0; i < s->n_call; i++)
        if (s->call[i].v->layer >= 0 && s->call[i].v->step >= 0 && !is_draft(s->call[i].v))
            s->call[n++] = s->call[i];
    qsort(s->call, n, sizeof *s->call, by_layer);
    for (size_t i = 0; i < n; i++)
        n_layer += i == 0 || !same_layer(&s->call[i - 1], &s->call[i]);
    struct profile_layer *l = arena_alloc(s->memory, n_layer ? n_layer : 1, sizeof *l);
    if (!l)
        return NOMEM(e, n_layer * sizeof *l, "layers of a profile");
    for (size_t from = 0; from < n; from = to) {
        struct profile_group *g = &s->group[s->call[from].group];
        for (to = from + 1; to < n && same_layer(&s->call[from], &s->call[to]);)
            to++;
        if (!g->layer)
            g->layer = l;
        g->n_layer++;
        add_layer(s, from, to, l++);
    }
    return 0;
}

/* ---- all ------------------------------------------------------------------------------------- */

static int reserve(struct sum *s, struct err *e)
{
    const size_t n = s->r->n_interval + 1, k = (size_t)s->r->n_step + 1, most = n > k ? n : k;
    s->step = mem_zalloc(k, sizeof *s->step);
    s->leaf = mem_zalloc(n, LEAVES * sizeof *s->leaf);
    s->edge = mem_zalloc(n, LEAVES * 2 * sizeof *s->edge);
    s->active = mem_zalloc(n, LEAVES * sizeof *s->active);
    s->call = mem_zalloc(n, sizeof *s->call);
    s->sample = mem_zalloc(most, sizeof *s->sample);
    if (!s->step || !s->leaf || !s->edge || !s->active || !s->call || !s->sample)
        return NOMEM(e, most * sizeof *s->edge, "totals of a profile");
    return 0;
}

static int keep_groups(struct sum *s, struct profile_sum *out, struct err *e)
{
    struct profile_group *g = arena_alloc(s->memory, s->n_group ? s->n_group : 1, sizeof *g);
    if (!g)
        return NOMEM(e, s->n_group * sizeof *g, "groups of steps");
    if (s->n_group)
        memcpy(g, s->group, s->n_group * sizeof *g);
    out->group = g;
    out->n_group = (int)s->n_group;
    return 0;
}

static void add_walls(const struct sum *s, struct profile_sum *out)
{
    const struct interval *last = NULL;
    for (int k = 0; k < s->r->n_step; k++) {
        const struct interval *step = s->step[k].span;
        if (!step)
            continue;
        out->wall_ns += duration(step);
        if (last && step->start_ns > last->end_ns)
            out->apart_ns += step->start_ns - last->end_ns;
        last = step;
    }
}

static void sum_free(struct sum *s)
{
    mem_free(s->step);
    mem_free(s->group);
    mem_free(s->piece);
    mem_free(s->leaf);
    mem_free(s->edge);
    mem_free(s->active);
    mem_free(s->call);
    mem_free(s->sample);
}

int profile_sum_make(const struct record *r, struct profile_sum *out, struct err *e)
{
    struct sum s = {.r = r};
    struct profile_sum made = {.n_group = 0};
    int rc = 0;
    s.memory = made.memory = mem_zalloc(1, sizeof *s.memory);
    if (!s.memory)
        return NOMEM(e, sizeof *s.memory, "totals of a profile");
    TRY_DONE(reserve(&s, e));
    read_steps(&s);
    TRY_DONE(assign_groups(&s, e));
    TRY_DONE(read_calls(&s, e)); /* may add a group */
    read_leaves(&s);
    for (int g = 0; g < (int)s.n_group; g++) {
        find_median(&s, g);
        TRY_DONE(split_group(&s, g, e));
    }
    TRY_DONE(make_rows(&s, &made, e));
    TRY_DONE(make_layers(&s, e));
    TRY_DONE(keep_groups(&s, &made, e));
    add_walls(&s, &made);
    *out = made;
done:
    if (rc < 0)
        profile_sum_free(&made);
    sum_free(&s);
    return rc;
}

void profile_sum_free(struct profile_sum *s)
{
    if (s->memory)
        arena_free(s->memory);
    mem_free(s->memory);
    memset(s, 0, sizeof *s);
}

double profile_imbalance(const struct record *r, const struct profile_row *row)
{
    int64_t all = 0;
    if (!row->busy_ns || r->n_worker == 0)
        return (double)NAN;
    for (int w = 0; w < r->n_worker; w++)
        all += row->busy_ns[w];
    const double mean = (double)all / r->n_worker;
    return mean > 0 ? ((double)row->longest_ns - mean) / mean : (double)NAN;
}
