/* mas inspect: shows what is in a model file: metadata, tensors, bytes by format. Text from the
 * file is escaped, so that it cannot draw on the terminal. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "chat.h"
#include "chat_digest.h"
#include "cmd.h"
#include "escape.h"
#include "mixture.h"
#include "source.h"
#include "sources.h"

struct options {
    const char *model;
    bool json, tensors, sha256, help;
};

enum { KEY_HELP = '?', KEY_JSON = 0x100, KEY_TENSORS, KEY_SHA256 };
enum { SHOW_ELEMS = 6, SHOW_BYTES = 100 }; /* of an array, of a string in the table */

static const struct argp_option rows[] = {
    {"model", 'm', "MODEL", 0, "path of a GGUF file, or 'demo'; the same as MODEL alone", 0},
    {"json", KEY_JSON, NULL, 0, "print one JSON object, tensors included", 0},
    {"tensors", KEY_TENSORS, NULL, 0, "list the tensors", 0},
    {"sha256", KEY_SHA256, NULL, 0, "hash the whole file", 0},
    {"help", KEY_HELP, NULL, 0, "show this", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'm':
        o->model = arg;
        return 0;
    case KEY_JSON:
        o->json = true;
        return 0;
    case KEY_TENSORS:
        o->tensors = true;
        return 0;
    case KEY_SHA256:
        o->sha256 = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->model) {
            argp_error(state, "a second model '%s'; one at a time", arg);
            return EINVAL;
        }
        o->model = arg;
        return 0;
    case KEY_HELP:
        o->help = true;
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
        state->next = state->argc;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    rows, parse, "[MODEL]", "Shows metadata, tensors and bytes by format of a model file.",
    NULL, NULL,  NULL};

/* ---- sums ------------------------------------------------------------------------------------ */

struct sums {
    uint64_t tensors[FMT_COUNT], params[FMT_COUNT], bytes[FMT_COUNT];
    uint64_t all_params, all_bytes;
};

static struct sums sum_up(const struct gguf *g)
{
    struct sums s = {.all_params = 0};
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        uint64_t n = (uint64_t)tensor_rows(&t->t) * (uint64_t)tensor_cols(&t->t);
        s.tensors[t->t.fmt]++;
        s.params[t->t.fmt] += n;
        s.bytes[t->t.fmt] += t->bytes;
        s.all_params += n;
        s.all_bytes += t->bytes;
    }
    return s;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* A number of the file. JSON has no NaN and no infinity: null. */
static void add_float(struct str *out, double v, int digits, bool json)
{
    if (json && !(v - v == 0))
        str_adds(out, "null");
    else
        str_addf(out, "%.*g", digits, v);
}

static void add_scalar(struct str *out, enum gguf_type type, const unsigned char *p, bool json)
{
    uint64_t u = 0;
    float f;
    double d;
    int shift = 64 - 8 * (int)gguf_type_bytes(type);
    memcpy(&u, p, gguf_type_bytes(type));
    switch (type) {
    case GGUF_F32:
        memcpy(&f, p, sizeof f);
        add_float(out, (double)f, 9, json);
        return;
    case GGUF_F64:
        memcpy(&d, p, sizeof d);
        add_float(out, d, 17, json);
        return;
    case GGUF_BOOL:
        str_adds(out, u ? "true" : "false");
        return;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        str_addf(out, "%" PRId64, (int64_t)(u << shift) >> shift);
        return;
    default:
        str_addf(out, "%" PRIu64, u);
    }
}

static void add_string(struct str *out, struct gguf_str s, bool json)
{
    if (json) {
        str_add_json(out, s.s, s.len);
        return;
    }
    str_addc(out, '\'');
    escape_add(out, s.s, s.len, SHOW_BYTES);
    str_addc(out, '\'');
}

/* The first elements of an array; all of them never: a vocabulary has 100,000. */
static void add_array(struct str *out, const struct gguf_kv *kv, bool json)
{
    uint64_t n = kv->count < SHOW_ELEMS ? kv->count : SHOW_ELEMS;
    str_addc(out, '[');
    for (uint64_t i = 0; i < n; i++) {
        str_adds(out, i ? ", " : "");
        if (kv->strings)
            add_string(out, kv->strings[i], json);
        else
            add_scalar(out, kv->elem, kv->raw + i * gguf_type_bytes(kv->elem), json);
    }
    str_adds(out, !json && n < kv->count ? ", ...]" : "]");
}

static void add_value(struct str *out, const struct gguf_kv *kv, bool json)
{
    uint64_t len;
    if (kv->type == GGUF_ARRAY) {
        add_array(out, kv, json);
    } else if (kv->type == GGUF_STRING) {
        memcpy(&len, kv->raw, sizeof len);
        add_string(out, (struct gguf_str){(const char *)kv->raw + sizeof len, (size_t)len}, json);
    } else {
        add_scalar(out, kv->type, kv->raw, json);
    }
}

/* ---- the two forms --------------------------------------------------------------------------- */

static void add_shape(struct str *out, const struct tensor *t, const char *open, const char *close)
{
    for (int i = 0; i < t->n_dim; i++)
        str_addf(out, "%s%" PRId64, i ? ", " : open, t->dim[i]);
    str_adds(out, close);
}

/* The name of the type of a file, after its number. */
static void add_file_type(struct str *out, const struct gguf_kv *kv)
{
    static const char key[] = "general.file_type";
    uint32_t type;
    enum mixture mix;
    if (kv->type != GGUF_U32 || kv->key.len != sizeof key - 1 ||
        memcmp(kv->key.s, key, kv->key.len) != 0)
        return;
    memcpy(&type, kv->raw, sizeof type);
    if (mixture_from_file_type(type, &mix))
        str_addf(out, " (%s)", mixture_name(mix));
}

static void text_metadata(struct str *out, const struct gguf *g)
{
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        str_adds(out, "  ");
        escape_add(out, kv->key.s, kv->key.len, SHOW_BYTES);
        str_addf(out, "  %s", gguf_type_name(kv->elem));
        if (kv->type == GGUF_ARRAY)
            str_addf(out, "[%" PRIu64 "]", kv->count);
        str_adds(out, " = ");
        add_value(out, kv, false);
        add_file_type(out, kv);
        str_addc(out, '\n');
    }
}

static void text_tensors(struct str *out, const struct gguf *g)
{
    str_addf(out, "\ntensors (shapes slowest first)\n");
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        size_t part = gguf_part_of(g, t->at);
        str_addf(out, "  %-7s %14" PRIu64 " bytes at %14" PRIu64 "  ", fmt_info(t->t.fmt)->name,
                 t->bytes, t->at - gguf_part(g, part).at);
        if (gguf_n_parts(g) > 1)
            str_addf(out, "part %zu  ", part + 1);
        escape_add(out, t->name.s, t->name.len, SHOW_BYTES);
        add_shape(out, &t->t, " (", ")\n");
    }
}

static void text_parts(struct str *out, const struct gguf *g)
{
    for (size_t i = 0; gguf_n_parts(g) > 1 && i < gguf_n_parts(g); i++) {
        struct gguf_part part = gguf_part(g, i);
        str_addf(out, "part %zu of %zu, %" PRIu64 " bytes: ", i + 1, gguf_n_parts(g), part.bytes);
        escape_add(out, part.path, strlen(part.path), SIZE_MAX);
        str_addc(out, '\n');
    }
}

/* The chat template of a file. */
struct template
{
    const char *name;
    char digest[CHAT_DIGEST_HEX + 1]; /* "" = the file has none */
};

static int template_of(const struct gguf *g, struct template *out, struct err *e)
{
    struct gguf_str text;
    out->digest[0] = '\0';
    TRY(chat_recognise(g, &out->name, e));
    if (!gguf_find(g, CHAT_KEY))
        return 0;
    TRY(gguf_get_str(g, CHAT_KEY, &text, e));
    return chat_digest(text, out->digest, e);
}

static void text_template(struct str *out, const struct template *t)
{
    if (!*t->digest)
        str_adds(out, "\nchat template: none in the file, so plain\n");
    else
        str_addf(out, "\nchat template: %s (digest %s)%s\n", t->name, t->digest,
                 strcmp(t->name, CHAT_UNKNOWN) != 0 ? "" : ": --chat needs --chat-template NAME");
}

static void text_form(struct str *out, const struct gguf *g, const struct options *o,
                      const char *hash, const struct template *t)
{
    struct sums s = sum_up(g);
    escape_add(out, gguf_path(g), strlen(gguf_path(g)), SIZE_MAX);
    str_addf(out, ": GGUF version %u, %" PRIu64 " bytes\n", gguf_version(g), gguf_file_bytes(g));
    text_parts(out, g);
    if (*hash)
        str_addf(out, "sha256 %s%s\n", hash,
                 gguf_n_parts(g) > 1 ? " (of all parts, one after the other)" : "");
    str_addf(out, "\nmetadata (%zu keys)\n", gguf_n_kv(g));
    text_metadata(out, g);
    text_template(out, t);
    if (o->tensors)
        text_tensors(out, g);
    str_addf(out, "\n%-8s %8s %16s %16s %10s\n", "format", "tensors", "parameters", "bytes",
             "bits each");
    for (int f = 0; f < FMT_COUNT; f++)
        if (s.tensors[f])
            str_addf(out, "%-8s %8" PRIu64 " %16" PRIu64 " %16" PRIu64 " %10.4f\n",
                     fmt_info((enum fmt)f)->name, s.tensors[f], s.params[f], s.bytes[f],
                     8.0 * (double)s.bytes[f] / (double)s.params[f]);
    str_addf(out, "%-8s %8zu %16" PRIu64 " %16" PRIu64 " %10.4f\n", "all", gguf_n_tensors(g),
             s.all_params, s.all_bytes,
             s.all_params ? 8.0 * (double)s.all_bytes / (double)s.all_params : 0.0);
}

static void json_metadata(struct str *out, const struct gguf *g)
{
    str_adds(out, "\"metadata\": [");
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        str_adds(out, i ? ",\n  {\"key\": " : "\n  {\"key\": ");
        str_add_json(out, kv->key.s, kv->key.len);
        str_addf(out, ", \"type\": \"%s\"", gguf_type_name(kv->type));
        if (kv->type == GGUF_ARRAY)
            str_addf(out, ", \"element\": \"%s\", \"count\": %" PRIu64 ", \"first\": ",
                     gguf_type_name(kv->elem), kv->count);
        else
            str_adds(out, ", \"value\": ");
        add_value(out, kv, true);
        str_addc(out, '}');
    }
    str_adds(out, "],\n");
}

static void json_tensors(struct str *out, const struct gguf *g)
{
    str_adds(out, "\"tensors\": [");
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        str_adds(out, i ? ",\n  {\"name\": " : "\n  {\"name\": ");
        str_add_json(out, t->name.s, t->name.len);
        str_addf(out, ", \"format\": \"%s\", \"shape\": ", fmt_info(t->t.fmt)->name);
        add_shape(out, &t->t, "[", "]");
        size_t part = gguf_part_of(g, t->at);
        if (gguf_n_parts(g) > 1)
            str_addf(out, ", \"part\": %zu", part + 1);
        str_addf(out, ", \"offset\": %" PRIu64 ", \"bytes\": %" PRIu64 "}",
                 t->at - gguf_part(g, part).at, t->bytes);
    }
    str_adds(out, "],\n");
}

static void json_parts(struct str *out, const struct gguf *g)
{
    for (size_t i = 0; gguf_n_parts(g) > 1 && i < gguf_n_parts(g); i++) {
        struct gguf_part part = gguf_part(g, i);
        str_adds(out, i ? ",\n  {\"path\": " : "\"parts\": [\n  {\"path\": ");
        str_add_json(out, part.path, strlen(part.path));
        str_addf(out, ", \"bytes\": %" PRIu64 "}%s", part.bytes,
                 i + 1 < gguf_n_parts(g) ? "" : "],\n");
    }
}

static void json_form(struct str *out, const struct gguf *g, const char *hash,
                      const struct template *t)
{
    struct sums s = sum_up(g);
    str_adds(out, "{\"path\": ");
    str_add_json(out, gguf_path(g), strlen(gguf_path(g)));
    str_addf(out, ", \"version\": %u, \"file_bytes\": %" PRIu64 ",\n", gguf_version(g),
             gguf_file_bytes(g));
    if (*hash)
        str_addf(out, "\"sha256\": \"%s\",\n", hash);
    json_parts(out, g);
    str_addf(out, "\"chat_template\": \"%s\", \"chat_digest\": \"%s\",\n", t->name, t->digest);
    json_metadata(out, g);
    json_tensors(out, g);
    str_adds(out, "\"formats\": [");
    for (int f = 0, first = 1; f < FMT_COUNT; f++)
        if (s.tensors[f]) {
            str_addf(out,
                     "%s\n  {\"format\": \"%s\", \"tensors\": %" PRIu64 ", \"parameters\": %" PRIu64
                     ", \"bytes\": %" PRIu64 "}",
                     first ? "" : ",", fmt_info((enum fmt)f)->name, s.tensors[f], s.params[f],
                     s.bytes[f]);
            first = 0;
        }
    str_addf(out, "],\n\"parameters\": %" PRIu64 ", \"tensor_bytes\": %" PRIu64 "}\n", s.all_params,
             s.all_bytes);
}

static int inspect(const struct options *o, struct str *out, struct err *e)
{
    struct gguf *g = NULL;
    char hash[65] = "";
    struct template t;
    int rc;
    TRY_DONE(sources_gguf(o->model, &g, e));
    if (o->sha256)
        TRY_DONE(source_sha256(g, NULL, NULL, hash, e));
    TRY_DONE(template_of(g, &t, e));
    if (o->json)
        json_form(out, g, hash, &t);
    else
        text_form(out, g, o, hash, &t);
    TRY_DONE(str_ok(out, "the description of a model", e));
done:
    gguf_close(g);
    return rc;
}

static int run(int argc, char **argv)
{
    struct options o = {.model = NULL};
    struct str out = STR_INIT;
    struct err e;
    int rc = 0;
    if (argp_parse(&argp, argc, argv, ARGP_NO_EXIT | ARGP_NO_HELP, NULL, &o))
        return err_exit(ERR_USAGE);
    if (o.help)
        return 0;
    if (!o.model)
        rc = err_set(&e, ERR_USAGE, "no model given; name a GGUF file or demo");
    else
        rc = inspect(&o, &out, &e);
    if (rc < 0)
        rc = cmd_fail(&e);
    else
        fwrite(out.s, 1, out.len, stdout); /* main looks whether it arrived */
    str_free(&out);
    return rc;
}

const struct cmd cmd_inspect = {"inspect", "show the content of a model file",
                                "mas inspect -m model.gguf\n"
                                "mas inspect -m model.gguf --tensors --sha256\n"
                                "mas inspect -m model.gguf --json",
                                run};
