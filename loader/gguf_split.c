/*
 * gguf_split: opens a model that llama.cpp's gguf-split, or a program like it, has cut into parts.
 *
 * Each part is a GGUF file of its own. Its keys: split.count (parts), split.no (from 0), and
 * split.tensors.count (tensors of all parts together). The first part has the metadata of the
 * model. Offsets of tensors count from the data of their own part.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "escape.h"
#include "gguf_parse.h"
#include "mem.h"
#include "str.h"

#define KEY_COUNT "split.count"
#define KEY_NO "split.no"
#define KEY_TENSORS "split.tensors.count"
#define TAIL_BYTES 20 /* -00001-of-00002.gguf */

struct split {
    int64_t no, count;
};

static int split_keys(const struct gguf *g, struct split *s, struct err *e)
{
    TRY(gguf_get_int_or(g, KEY_COUNT, 0, UINT16_MAX, 0, &s->count, e));
    TRY(gguf_get_int_or(g, KEY_NO, 0, UINT16_MAX, 0, &s->no, e));
    if (s->count > 1 && s->no >= s->count)
        FAIL(e, ERR_DATA,
             "%s: " KEY_NO " is %" PRId64 ", but " KEY_COUNT " is %" PRId64 ": file damaged",
             g->shown, s->no, s->count);
    return 0;
}

static void split_tail(char tail[TAIL_BYTES + 1], int64_t no, int64_t count)
{
    snprintf(tail, TAIL_BYTES + 1, "-%05d-of-%05d.gguf", (int)no + 1, (int)count);
}

/* Appends the path of part `no` of the model that g, part s->no, belongs to. */
static int split_path(const struct gguf *g, const struct split *s, int64_t no, struct str *out,
                      struct err *e)
{
    char tail[TAIL_BYTES + 1];
    const char *path = g->bytes.path;
    size_t n = strlen(path);
    split_tail(tail, s->no, s->count);
    if (n <= TAIL_BYTES || strcmp(path + n - TAIL_BYTES, tail) != 0)
        FAIL(e, ERR_DATA,
             "%s is part %" PRId64 " of %" PRId64
             " of a model, so its name must end in %s: give it the name it was published with",
             g->shown, s->no + 1, s->count, tail);
    split_tail(tail, no, s->count);
    str_add(out, path, n - TAIL_BYTES);
    str_adds(out, tail);
    return str_ok(out, "a path", e);
}

static int split_open_part(const char *path, int64_t no, int64_t count, struct gguf **out,
                           struct err *e)
{
    struct stat st;
    if (stat(path, &st) != 0)
        FAIL(e, ERR_NOINPUT,
             "part %" PRId64 " of %" PRId64 " of a model is missing: there is no "
             "%s; all parts must stand in one folder",
             no + 1, count, path);
    return gguf_parse_file(path, out, e);
}

static int split_check(const struct gguf *part, const struct split *want, struct err *e)
{
    struct split s;
    TRY(split_keys(part, &s, e));
    if (s.count != want->count)
        FAIL(e, ERR_DATA,
             "%s: " KEY_COUNT " is %" PRId64 ", in the first part %" PRId64
             ": the parts belong to different models",
             part->shown, s.count, want->count);
    if (s.no != want->no)
        FAIL(e, ERR_DATA,
             "%s: " KEY_NO " is %" PRId64 ", must be %" PRId64
             ": the file has the name of another part",
             part->shown, s.no, want->no);
    return 0;
}

/* Adds the tensors of a part at offset `at` of the model. */
static int split_add_tensors(struct gguf *g, const struct gguf *part, uint64_t at, struct err *e)
{
    for (size_t i = 0; i < part->n_tensor; i++) {
        struct gguf_tensor t = part->tensor[i];
        char text[ESCAPE_NAME];
        uint32_t old;
        TRY(mem_grow(&g->tensor, &g->tensor_cap, g->n_tensor + 1, sizeof *g->tensor,
                     "the tensors of a model", e));
        int is_new =
            names_add(&g->tensor_names, t.name.s, t.name.len, (uint32_t)g->n_tensor, &old, e);
        if (is_new < 0)
            return is_new;
        if (is_new == 0)
            FAIL(e, ERR_DATA, "%s: tensor '%s' stands in an earlier part too", part->shown,
                 escape_name(text, t.name.s, t.name.len));
        t.at += at; /* both lie below 2^63 */
        g->tensor[g->n_tensor++] = t;
    }
    return 0;
}

/* Moves the bytes of a part to g, and adds its tensors. The part is left for gguf_close. */
static int split_join(struct gguf *g, struct gguf *part, struct err *e)
{
    const struct gguf_more *last = g->n_more ? &g->more[g->n_more - 1] : NULL;
    uint64_t at = last ? last->at + gguf_bytes_room(&last->bytes) : gguf_bytes_room(&g->bytes);
    if (at > INT64_MAX || gguf_bytes_room(&part->bytes) > INT64_MAX - at)
        FAIL(e, ERR_DATA, "%s: the parts together overflow", part->shown);
    TRY(split_add_tensors(g, part, at, e));
    struct gguf_more *more = mem_resize(g->more, g->n_more + 1, sizeof *more);
    if (!more)
        return NOMEM(e, (g->n_more + 1) * sizeof *more, "the parts of a model");
    g->more = more;
    more[g->n_more++] = (struct gguf_more){.bytes = part->bytes, .at = at};
    part->bytes = (struct gguf_bytes){.fd = -1};
    return 0;
}

static int split_add(struct gguf *g, const struct split *first, int64_t no, struct err *e)
{
    struct str path = STR_INIT;
    struct gguf *part = NULL;
    int rc = 0;
    TRY_DONE(split_path(g, first, no, &path, e));
    TRY_DONE(split_open_part(path.s, no, first->count, &part, e));
    TRY_DONE(split_check(part, &(struct split){.no = no, .count = first->count}, e));
    TRY_DONE(split_join(g, part, e));
done:
    gguf_close(part);
    str_free(&path);
    return rc;
}

/* Replaces *g, part s->no, by the first part. */
static int split_first(struct gguf **g, struct split *s, struct err *e)
{
    struct str path = STR_INIT;
    struct gguf *first = NULL;
    struct split want = {.no = 0, .count = s->count};
    int rc = 0;
    TRY_DONE(split_path(*g, s, 0, &path, e));
    TRY_DONE(split_open_part(path.s, 0, s->count, &first, e));
    TRY_DONE(split_check(first, &want, e));
    gguf_close(*g);
    *g = first;
    first = NULL;
    *s = want;
done:
    gguf_close(first);
    str_free(&path);
    return rc;
}

static int split_all(struct gguf *g, const struct split *first, struct err *e)
{
    int64_t want;
    for (int64_t no = 1; no < first->count; no++)
        TRY(split_add(g, first, no, e));
    TRY(gguf_get_int_or(g, KEY_TENSORS, 0, INT32_MAX, (int64_t)g->n_tensor, &want, e));
    if (want != (int64_t)g->n_tensor)
        FAIL(e, ERR_DATA,
             "%s: " KEY_TENSORS " is %" PRId64 ", but the %" PRId64
             " parts hold %zu tensors: parts of different models, or a damaged one",
             g->shown, want, first->count, g->n_tensor);
    return 0;
}

int gguf_open_model(const char *path, struct gguf **out, struct err *e)
{
    struct gguf *g;
    struct split s;
    TRY(gguf_parse_file(path, &g, e));
    int rc = split_keys(g, &s, e);
    if (rc == 0 && s.count > 1 && s.no != 0)
        rc = split_first(&g, &s, e);
    if (rc == 0 && s.count > 1)
        rc = split_all(g, &s, e);
    if (rc == 0)
        rc = gguf_map(g, e);
    if (rc < 0)
        gguf_close(g);
    else
        *out = g;
    return rc;
}
