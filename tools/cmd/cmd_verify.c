/* mas verify: checks a run's folder or a bundle, and names each difference. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "clinic.h"
#include "cmd.h"
#include "collect.h"
#include "gridfile.h"
#include "shard.h"
#include "verify.h"

struct options {
    const char *path, *model, *data;
};

enum { OPT_DATA = 1 };

static const struct argp_option rows[] = {
    {"model", 'm', "FILE", 0,
     "same as --set model=FILE of the run: the file whose hash is compared; default: the model "
     "that the run names, where it is found",
     1},
    {"data", OPT_DATA, "FILE", 0,
     "the questions; default: those of the bundle, or the file that the run names", 1},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case 'm':
        o->model = arg;
        return 0;
    case OPT_DATA:
        o->data = arg;
        return 0;
    case ARGP_KEY_ARG:
        return cli_one(st, "run", arg, &o->path);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int check(const struct options *o, const char *dir, struct err *e)
{
    const struct verify_options vo = {.dir = dir, .model = o->model, .data = o->data};
    struct verify v = {.text = STR_INIT};
    int rc;
    TRY_DONE((gridfile_is(dir) ? verify_experiment : verify_folder)(&vo, &v, e));
    for (const char *s = v.text.s; *s;) {
        const size_t n = strcspn(s, "\n");
        clinic_clean(stdout, s, n);
        putchar('\n');
        s += n + (s[n] == '\n');
    }
    TRY_DONE(cli_flush(e));
    if (v.n_differ)
        rc = err_set(e, ERR_DATA, "%s: %d parts differ, %d are as recorded, %d are not checked",
                     o->path, v.n_differ, v.n_same, v.n_open);
    else
        printf("%s: %d parts are as recorded, %d are not checked\n", o->path, v.n_same, v.n_open);
done:
    verify_free(&v);
    return rc;
}

/* A bundle is unpacked into a folder that is removed afterwards. */
static int check_bundle(const struct options *o, struct err *e)
{
    struct bundle b = {.n = 0};
    const char *tmp = getenv("TMPDIR");
    char dir[256] = "";
    int rc;
    TRY_DONE(bundle_read(o->path, &b, e));
    snprintf(dir, sizeof dir, "%.200s/mas-verify-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) {
        dir[0] = 0;
        TRY_DONE(err_set(e, ERR_CREATE, "cannot create a folder in %.200s; set TMPDIR",
                         tmp && *tmp ? tmp : "/tmp"));
    }
    TRY_DONE(collect_unpack(&b, dir, e));
    TRY_DONE(check(o, dir, e));
done:
    if (dir[0])
        collect_remove(&b, dir);
    bundle_free(&b);
    return rc;
}

static int verify(const struct options *o, struct err *e)
{
    struct stat st;
    if (!o->path)
        FAIL(e, ERR_USAGE,
             "no run; give its folder, that of an experiment, or a bundle of mas export --bundle");
    TRY(shard_refuse_unmerged(o->path, e));
    if (stat(o->path, &st) == 0 && S_ISDIR(st.st_mode))
        return check(o, o->path, e);
    return check_bundle(o, e);
}

static int run(int argc, char **argv)
{
    static const struct argp argp = {
        rows,
        parse,
        "PATH",
        "Checks the folder of a run or of an experiment, or a bundle of mas export --bundle. It "
        "covers checksums of every "
        "line, each question once, figures, and hashes of prompts, data and model. Exit status 65: "
        "some part differs; its place is named.",
        NULL,
        NULL,
        NULL};
    struct options o = {.path = NULL};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    return verify(&o, &e) < 0 ? clinic_fail(&e) : 0;
}

const struct cmd cmd_verify = {"verify",
                               "check a run, an experiment or a bundle against its hashes",
                               "mas verify runs/try\n"
                               "mas verify try.tar.gz -m model.gguf --data medqa.jsonl\n",
                               run};
