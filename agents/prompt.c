#include "prompt.h"

#include <stdio.h>
#include <string.h>

#include "embed.h"
#include "mem.h"
#include "sha256.h"
#include "text.h"
#include "zio.h"

#define PROMPT_BYTES ((size_t)256 << 10)
#define PROMPT_PARTS 32

struct prompt_part {
    size_t begin, end; /* literal text in prompt.user, then.. */
    int slot;          /* ..the value of this slot; -1 = nothing */
};

struct prompt {
    char name[96], hash[17];
    struct str system, user; /* user: literal text of all parts, braces resolved */
    struct prompt_part part[PROMPT_PARTS];
    int n_part;
};

/* ---- files ----------------------------------------------------------------------------------- */

static int prompt_path(const struct prompt_source *src, const char *name, char *out, size_t cap,
                       struct err *e)
{
    int n = src->dir[0] ? snprintf(out, cap, "%s/%s/%s", src->dir, src->strategy, name)
                        : snprintf(out, cap, "configs/prompts/%s/%s", src->strategy, name);
    if (n < 0 || (size_t)n >= cap)
        FAIL(e, ERR_CONFIG, "prompts_dir is too long: %zu bytes, the limit is %zu",
             strlen(src->dir), cap);
    return 0;
}

static int prompt_line(const char *text, size_t at)
{
    int line = 1;
    for (size_t i = 0; i < at; i++)
        line += text[i] == '\n';
    return line;
}

static int prompt_utf8(const char *path, const struct str *text, struct err *e)
{
    uint32_t cp;
    for (size_t i = 0, step; i < text->len; i += step) {
        int len = utf8_decode(text->s + i, text->len - i, &cp);
        if (len < 1)
            FAIL(e, ERR_CONFIG, "%s:%d: byte 0x%02x is not UTF-8; save the file as UTF-8", path,
                 prompt_line(text->s, i), (unsigned char)text->s[i]);
        step = (size_t)len;
    }
    return 0;
}

static int prompt_file(const struct prompt_source *src, const char *path, struct str *out,
                       struct err *e)
{
    if (src->dir[0]) {
        TRY(zio_read(path, PROMPT_BYTES, out, e));
        TRY(text_clean(out, path, ERR_CONFIG, e));
        return prompt_utf8(path, out, e);
    }
    const struct embed_file *f = embed_find(path);
    if (!f)
        FAIL(e, ERR_NOINPUT, "there is no built-in prompt %s", path);
    str_add(out, f->data, f->size);
    return str_ok(out, path, e);
}

int prompt_text(const struct prompt_source *src, const char *name, struct str *out, struct err *e)
{
    char path[1024];
    struct str text = STR_INIT;
    int rc;
    TRY_DONE(prompt_path(src, name, path, sizeof path, e));
    TRY_DONE(prompt_file(src, path, &text, e));
    while (text.len && text.s[text.len - 1] == '\n')
        text.len--;
    str_add(out, text.s, text.len);
    TRY_DONE(str_ok(out, path, e));
done:
    str_free(&text);
    return rc;
}

/* ---- slots ----------------------------------------------------------------------------------- */

/* One piece of a template: literal text, then perhaps a slot. */
struct prompt_scan {
    const char *path, *text; /* for messages: the whole file */
    size_t at, end;
};

/* Appends literal text up to the next slot or the end. *name gets the slot's name ("" at the
 * end). */
static int prompt_next(struct prompt_scan *s, struct str *literal, char name[48], struct err *e)
{
    name[0] = 0;
    while (s->at < s->end) {
        char c = s->text[s->at];
        if (c != '{' && c != '}') {
            str_addc(literal, c);
            s->at++;
            continue;
        }
        if (s->at + 1 < s->end && s->text[s->at + 1] == c) {
            str_addc(literal, c);
            s->at += 2;
            continue;
        }
        size_t n = 0, max = s->end - s->at - 1;
        const char *from = s->text + s->at + 1;
        while (c == '{' && n < max && n < 47 &&
               ((from[n] >= 'a' && from[n] <= 'z') || from[n] == '_'))
            n++;
        if (c == '}' || n == 0 || n == max || from[n] != '}')
            FAIL(e, ERR_CONFIG, "%s:%d: a single '%c' that begins no {slot}; write '%c%c'", s->path,
                 prompt_line(s->text, s->at), c, c, c);
        memcpy(name, from, n);
        name[n] = 0;
        s->at += n + 2;
        return 0;
    }
    return 0;
}

static int prompt_unknown(const struct prompt_scan *s, const char *name, const char *section,
                          struct err *e)
{
    FAIL(e, ERR_CONFIG, "%s:%d: unknown slot {%s} in section [%s]", s->path,
         prompt_line(s->text, s->at - 1), name, section);
}

static int prompt_fill_system(struct prompt *p, struct prompt_scan *s,
                              const struct prompt_constant *c, size_t n, struct err *e)
{
    unsigned long used = 0;
    for (;;) {
        char name[48];
        TRY(prompt_next(s, &p->system, name, e));
        if (!name[0])
            break;
        size_t i = 0;
        while (i < n && strcmp(c[i].name, name) != 0)
            i++;
        if (i == n)
            return prompt_unknown(s, name, "system", e);
        used |= 1ul << i;
        str_adds(&p->system, c[i].value);
    }
    for (size_t i = 0; i < n; i++)
        if (!(used >> i & 1))
            FAIL(e, ERR_CONFIG, "%s: section [system] has no slot {%s}", s->path, c[i].name);
    return str_ok(&p->system, "a prompt", e);
}

static int prompt_fill_user(struct prompt *p, struct prompt_scan *s, const char *const *slots,
                            struct err *e)
{
    unsigned long used = 0;
    for (;;) {
        char name[48];
        struct prompt_part part = {.begin = p->user.len, .slot = -1};
        TRY(prompt_next(s, &p->user, name, e));
        part.end = p->user.len;
        if (p->n_part == PROMPT_PARTS)
            FAIL(e, ERR_CONFIG, "%s: more than %d slots", s->path, PROMPT_PARTS - 1);
        if (name[0]) {
            int i = 0;
            while (slots[i] && strcmp(slots[i], name) != 0)
                i++;
            if (!slots[i])
                return prompt_unknown(s, name, "user", e);
            used |= 1ul << i;
            part.slot = i;
        }
        p->part[p->n_part++] = part;
        if (!name[0])
            break;
    }
    for (int i = 0; slots[i]; i++)
        if (!(used >> i & 1))
            FAIL(e, ERR_CONFIG, "%s: section [user] has no slot {%s}", s->path, slots[i]);
    return str_ok(&p->user, "a prompt", e);
}

/* ---- sections -------------------------------------------------------------------------------- */

/* Offset of the first byte after the line "[name]"; *line = offset of that line. */
static bool prompt_section(const char *text, const char *name, size_t *line, size_t *begin)
{
    size_t n = strlen(name);
    for (const char *p = text; p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (!strncmp(p, name, n) && (p[n] == '\n' || p[n] == 0)) {
            *line = (size_t)(p - text);
            *begin = *line + n + (p[n] == '\n');
            return true;
        }
        if (!*p)
            break;
    }
    return false;
}

/* The blank lines around a section are for its reader, not for the model. */
static struct prompt_scan prompt_trim(const char *path, const char *text, size_t begin, size_t end)
{
    while (begin < end && text[begin] == '\n')
        begin++;
    while (end > begin && text[end - 1] == '\n')
        end--;
    return (struct prompt_scan){.path = path, .text = text, .at = begin, .end = end};
}

static int prompt_parse(struct prompt *p, const char *path, const struct str *text,
                        const struct prompt_constant *c, size_t n_c, const char *const *slots,
                        struct err *e)
{
    size_t sys_line, sys, user_line, user;
    if (!prompt_section(text->s, "[system]", &sys_line, &sys) || sys_line != 0)
        FAIL(e, ERR_CONFIG, "%s:1: must begin with the line [system]", path);
    if (!prompt_section(text->s, "[user]", &user_line, &user))
        FAIL(e, ERR_CONFIG, "%s: has no line [user]", path);
    struct prompt_scan s = prompt_trim(path, text->s, sys, user_line);
    TRY(prompt_fill_system(p, &s, c, n_c, e));
    s = prompt_trim(path, text->s, user, text->len);
    return prompt_fill_user(p, &s, slots, e);
}

static int prompt_make_hash(struct prompt *p, const struct str *text, struct err *e)
{
    struct str all = STR_INIT;
    char hex[65];
    str_addf(&all, "%s\n%zu\n", p->name, p->system.len);
    str_add(&all, p->system.s, p->system.len);
    str_add(&all, text->s, text->len);
    int rc = str_ok(&all, "a prompt's hash", e);
    if (!rc)
        rc = sha256_hex(all.s, all.len, hex, e);
    str_free(&all);
    if (!rc)
        snprintf(p->hash, sizeof p->hash, "%.16s", hex);
    return rc;
}

int prompt_open(const struct prompt_source *src, const char *role,
                const struct prompt_constant *constants, size_t n_constants,
                const char *const *slots, struct prompt **out, struct err *e)
{
    char path[1024], file[64];
    struct str text = STR_INIT;
    struct prompt *p = mem_zalloc(1, sizeof *p);
    int rc;
    if (!p)
        return NOMEM(e, sizeof *p, "a prompt");
    p->system = p->user = (struct str)STR_INIT;
    snprintf(p->name, sizeof p->name, "%s/%s", src->strategy, role);
    snprintf(file, sizeof file, "%s.txt", role);
    TRY_DONE(prompt_path(src, file, path, sizeof path, e));
    TRY_DONE(prompt_file(src, path, &text, e));
    TRY_DONE(prompt_parse(p, path, &text, constants, n_constants, slots, e));
    TRY_DONE(prompt_make_hash(p, &text, e));
    *out = p;
    p = NULL;
done:
    prompt_close(p);
    str_free(&text);
    return rc;
}

void prompt_close(struct prompt *p)
{
    if (!p)
        return;
    str_free(&p->system);
    str_free(&p->user);
    mem_free(p);
}

const char *prompt_system(const struct prompt *p, size_t *len)
{
    *len = p->system.len;
    return p->system.s;
}

const char *prompt_hash(const struct prompt *p)
{
    return p->hash;
}

const char *prompt_name(const struct prompt *p)
{
    return p->name;
}

void prompt_render(const struct prompt *p, const char *const *values, struct str *out)
{
    for (int i = 0; i < p->n_part; i++) {
        const struct prompt_part *q = &p->part[i];
        str_add(out, p->user.s + q->begin, q->end - q->begin);
        if (q->slot >= 0)
            str_adds(out, values[q->slot]);
    }
}

/* ---- schemas --------------------------------------------------------------------------------- */

/* Is a quoted slot "{name}" at s? Its name and whole length. */
static size_t prompt_quoted(const char *s, char name[48])
{
    size_t n = 0;
    if (s[0] != '"' || s[1] != '{')
        return 0;
    while (n < 47 && ((s[2 + n] >= 'a' && s[2 + n] <= 'z') || s[2 + n] == '_'))
        n++;
    if (!n || s[2 + n] != '}' || s[3 + n] != '"')
        return 0;
    memcpy(name, s + 2, n);
    name[n] = 0;
    return n + 4;
}

int prompt_schema(const struct prompt_source *src, const char *name,
                  const struct prompt_constant *constants, size_t n_constants, struct str *out,
                  struct err *e)
{
    char path[1024], slot[48];
    struct str text = STR_INIT;
    unsigned long used = 0;
    int rc;
    TRY_DONE(prompt_path(src, name, path, sizeof path, e));
    TRY_DONE(prompt_file(src, path, &text, e));
    for (size_t i = 0; i < text.len;) {
        size_t skip = prompt_quoted(text.s + i, slot), k = 0;
        if (!skip) {
            str_addc(out, text.s[i++]);
            continue;
        }
        while (k < n_constants && strcmp(constants[k].name, slot) != 0)
            k++;
        if (k == n_constants) {
            rc = err_set(e, ERR_CONFIG, "%s:%d: unknown slot {%s}", path, prompt_line(text.s, i),
                         slot);
            goto done;
        }
        used |= 1ul << k;
        str_adds(out, constants[k].value);
        i += skip;
    }
    for (size_t k = 0; k < n_constants; k++)
        if (!(used >> k & 1)) {
            rc = err_set(e, ERR_CONFIG, "%s: has no slot \"{%s}\"", path, constants[k].name);
            goto done;
        }
    TRY_DONE(str_ok(out, path, e));
done:
    str_free(&text);
    return rc;
}
