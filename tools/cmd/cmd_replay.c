/* mas replay: shows the prompts and replies of a case as the trace holds them, or computes them
 * again. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "clinic.h"
#include "cmd.h"
#include "replay.h"
#include "rerun.h"

struct options {
    const char *dir, *id, *role;
    bool json, again;
    struct rerun_options rerun;
};

enum { OPT_CASE = 1, OPT_ROLE, OPT_JSON, OPT_RERUN, OPT_SET, OPT_DATA };

static const struct argp_option rows[] = {
    {"case", OPT_CASE, "ID", 0,
     "the question, by its trace_id in results.csv or the beginning of that", 1},
    {"role", OPT_ROLE, "R", 0, "only the calls of this role", 1},
    {"json", OPT_JSON, 0, 0, "the lines of the trace, as one JSON object", 1},
    {"rerun", OPT_RERUN, 0, 0,
     "compute the case again, and compare prompts and replies byte by byte; exit status 1 = they "
     "differ",
     2},
    {"model", 'm', "FILE", 0, "same as --set model=FILE; default: the model that the run names", 2},
    {"set", OPT_SET, "KEY=VALUE", 0, "another setting than the run's, with --rerun", 2},
    {"data", OPT_DATA, "FILE", 0,
     "the questions; default: those of the bundle, or the file that the run names", 2},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case OPT_CASE:
        o->id = arg;
        return 0;
    case OPT_ROLE:
        o->role = arg;
        return 0;
    case OPT_JSON:
        o->json = true;
        return 0;
    case OPT_RERUN:
        o->again = true;
        return 0;
    case 'm':
        o->rerun.model = arg;
        return 0;
    case OPT_DATA:
        o->rerun.data = arg;
        return 0;
    case OPT_SET:
        if (o->rerun.n_set == RERUN_SETS) {
            argp_error(st, "more than %d --set", RERUN_SETS);
            return EINVAL;
        }
        o->rerun.set[o->rerun.n_set++] = arg;
        return 0;
    case ARGP_KEY_ARG:
        return cli_one(st, "folder", arg, &o->dir);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- showing --------------------------------------------------------------------------------- */

/* Every line after "  | ". Line ends stay where they are; control characters become '?'. */
static void show_text(const char *head, const char *s, size_t n)
{
    printf("  %s, %zu bytes\n", head, n);
    for (size_t at = 0; at < n;) {
        const char *nl = memchr(s + at, '\n', n - at);
        const size_t len = nl ? (size_t)(nl - s) - at : n - at;
        fputs("  | ", stdout);
        clinic_clean(stdout, s + at, len);
        putchar('\n');
        at += len + 1;
    }
}

static void show_member(const char *head, const json_t *line, const char *key)
{
    size_t n = 0;
    const char *s = replay_text(line, key, &n);
    if (json_object_get(line, key))
        show_text(head, s, n);
}

static void show_clean(const json_t *line, const char *key)
{
    size_t n = 0;
    const char *s = replay_text(line, key, &n);
    clinic_clean(stdout, s, n);
}

static void show_number(const json_t *line, const char *head, const char *key)
{
    const json_t *v = json_object_get(line, key);
    if (json_is_integer(v))
        printf("%s%lld", head, (long long)json_integer_value(v));
    else if (json_is_real(v))
        printf("%s%g", head, json_real_value(v));
}

/* The letters of a call that scores, with their log-probabilities. */
static void show_scores(const json_t *line)
{
    const json_t *text = json_object_get(line, "options"), *lp = json_object_get(line, "option_lp");
    for (size_t i = 0; i < json_array_size(text); i++) {
        const json_t *s = json_array_get(text, i), *v = json_array_get(lp, i);
        fputs("  option '", stdout);
        clinic_clean(stdout, json_string_value(s) ? json_string_value(s) : "",
                     json_string_length(s));
        if (json_is_number(v))
            printf("': log-probability %.9g\n", json_number_value(v));
        else
            printf("': no log-probability\n");
    }
}

static void show_call(const json_t *line)
{
    show_clean(line, "role");
    show_number(line, " ", "index");
    if (json_object_get(line, "specialty")) {
        fputs(", ", stdout);
        show_clean(line, "specialty");
    }
    fputs(": ", stdout);
    show_clean(line, "finish");
    if (json_is_true(json_object_get(line, "parsed"))) {
        fputs(", parsed\n", stdout);
    } else {
        fputs(", not parsed: ", stdout);
        show_clean(line, "why");
        putchar('\n');
    }
    fputs("  prompt ", stdout);
    show_clean(line, "prompt");
    putchar(' ');
    show_clean(line, "prompt_hash");
    show_number(line, ", seed ", "seed");
    show_number(line, ", temperature ", "temperature");
    show_number(line, ", at most ", "max_tokens");
    show_number(line, " tokens; ", "n_prompt");
    show_number(line, " prompt tokens, ", "n_cached");
    show_number(line, " of them cached, ", "n_new");
    fputs(" new\n", stdout);
    show_member("system", line, "system");
    show_member("user", line, "user");
    show_member("beginning of the reply", line, "reply_prefix");
    show_member("thinking", line, "thinking");
    if (json_object_get(line, "options"))
        show_scores(line);
    else
        show_member("reply", line, "reply");
    putchar('\n');
}

static void show_case(const struct result *r)
{
    printf("case %s, record %lld: %s", r->id, (long long)r->index + 1,
           consult_state_name(r->state));
    if (r->predicted >= 0)
        printf(" %c", 'A' + r->predicted);
    if (r->key >= 0)
        printf(", key %c, %s", 'A' + r->key, r->correct ? "right" : "wrong");
    putchar('\n');
    if (*r->why) {
        fputs("  why: ", stdout);
        clinic_clean(stdout, r->why, strlen(r->why));
        putchar('\n');
    }
    putchar('\n');
}

/* Is the line a call of the role? NULL = of any. The case's line never is. */
static bool wanted(const json_t *line, const char *role)
{
    const char *is = json_string_value(json_object_get(line, "role"));
    return is && (!role || !strcmp(is, role));
}

static int no_role(const struct replay *r, const struct replay_case *c, const char *role,
                   struct err *e)
{
    struct str names = STR_INIT;
    const char *line, *last = "";
    json_t *doc = NULL;
    size_t n;
    char kept[64] = "";
    for (size_t at = c->first; replay_line(r, c, &at, &line, &n);) {
        if (replay_parse(line, n, &doc, e) < 0)
            continue;
        const char *is = json_string_value(json_object_get(doc, "role"));
        if (is && strcmp(is, last) != 0) {
            str_addf(&names, "%s%.60s", names.len ? ", " : "", is);
            snprintf(kept, sizeof kept, "%.60s", is);
            last = kept;
        }
        json_decref(doc);
        doc = NULL;
    }
    const int rc =
        err_set(e, ERR_USAGE, "the case has no call of role '%.40s'; its roles: %s", role, names.s);
    str_free(&names);
    return rc;
}

static int show(const struct options *o, const struct replay *r, const struct replay_case *c,
                struct err *e)
{
    const char *line;
    size_t n;
    int shown = 0;
    if (o->json)
        fputs("{\"calls\": [", stdout);
    else
        show_case(&r->results.r[c->result]);
    for (size_t at = c->first; replay_line(r, c, &at, &line, &n);) {
        json_t *doc = NULL;
        TRY(replay_parse(line, n, &doc, e));
        if (wanted(doc, o->role) && o->json)
            printf("%s%.*s", shown++ ? ",\n" : "\n", (int)n, line);
        else if (wanted(doc, o->role) && ++shown)
            show_call(doc);
        else if (o->json && at == c->end)
            printf("\n],\n\"case\": %.*s}\n", (int)n, line);
        json_decref(doc);
    }
    if (!shown && o->role)
        return no_role(r, c, o->role, e);
    return cli_flush(e);
}

static int replay(struct options *o, struct err *e)
{
    struct replay r = {.text = STR_INIT};
    const struct replay_case *c = NULL;
    int rc;
    if (!o->dir)
        FAIL(e, ERR_USAGE, "no folder of a run; mas eval prints its name");
    if (!o->id)
        FAIL(e, ERR_USAGE, "no case; give its trace_id with --case ID");
    if (!o->again && (o->rerun.model || o->rerun.n_set || o->rerun.data))
        FAIL(e, ERR_USAGE, "--model, --set and --data need --rerun");
    if (o->again && o->json)
        FAIL(e, ERR_USAGE, "--json and --rerun exclude each other");
    TRY_DONE(replay_open(o->dir, &r, e));
    TRY_DONE(replay_find(&r, o->id, &c, e));
    o->rerun.dir = o->dir;
    o->rerun.role = o->role;
    rc = o->again ? rerun(&o->rerun, &r, c, e) : show(o, &r, c, e);
done:
    replay_free(&r);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct argp argp = {
        rows,
        parse,
        "DIR",
        "Shows a case of a run: every prompt and every reply as the trace holds them. With --rerun "
        "computes them again from the run's own settings. It says whether the bytes agree, and "
        "which hash differs: model, prompts, data, program or backend. Research software: not for "
        "clinical care.",
        NULL,
        NULL,
        NULL};
    struct options o = {.dir = NULL};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    clinic_notice();
    return replay(&o, &e) < 0 ? clinic_fail(&e) : 0;
}

const struct cmd cmd_replay = {"replay",
                               "show the prompts and replies of a case, or compute them again",
                               "mas replay runs/try --case 8f0a62b1\n"
                               "mas replay runs/try --case 8f0a62b1 --rerun -m model.gguf\n",
                               run};
