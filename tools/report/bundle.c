#include "bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "zio.h"

#define TAR_BLOCK ((size_t)512)
#define TAR_NAME 100   /* bytes of the field, with its zero */
#define TAR_PREFIX 155 /* bytes of the field for the folders before a long name */

/* A name of plain parts: no empty one, none that begins with a dot, no odd byte. */
static bool bundle_name_good(const char *s)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-/,=+";
    if (!*s || strspn(s, letters) != strlen(s) || strstr(s, "/.") || strstr(s, "//"))
        return false;
    return s[0] != '.' && s[0] != '/' && s[strlen(s) - 1] != '/';
}

/* A header has 99 bytes for the end of a name and 155 for what stands before it and its '/'.
 * Returns the length of the latter, the least that is possible; 0 = none is needed, < 0 = no '/'
 * divides the name so. */
static int tar_prefix(const char *name)
{
    const size_t n = strlen(name);
    if (n < TAR_NAME)
        return 0;
    for (const char *s = strchr(name, '/'); s; s = strchr(s + 1, '/'))
        if (n - (size_t)(s - name) - 1 < TAR_NAME)
            return s - name <= TAR_PREFIX ? (int)(s - name) : -1;
    return -1;
}

int bundle_add(struct bundle *b, const char *last, struct str *data, struct err *e)
{
    char name[2 * BUNDLE_NAME], whole[3 * BUNDLE_NAME];
    snprintf(name, sizeof name, "%s%s%s", b->under ? b->under : "", b->under ? "/" : "", last);
    snprintf(whole, sizeof whole, "%s/%s", b->top, name);
    TRY(str_ok(data, name, e));
    if (strlen(whole) > BUNDLE_NAME || !bundle_name_good(name) || tar_prefix(whole) < 0)
        FAIL(e, ERR_DATA,
             "cannot pack '%.240s': a name has letters, digits and -._,=+ and at most %d bytes "
             "with the run's name",
             name, BUNDLE_NAME);
    if (bundle_find(b, name))
        FAIL(e, ERR_DATA, "the bundle has %s twice", name);
    if (b->n == BUNDLE_FILES)
        FAIL(e, ERR_DATA, "more than %d files in a bundle", BUNDLE_FILES);
    TRY(mem_grow(&b->f, &b->cap, b->n + 1, sizeof *b->f, "a bundle", e));
    struct bundle_file *f = &b->f[b->n++];
    snprintf(f->name, sizeof f->name, "%s", name);
    f->data = *data;
    *data = (struct str)STR_INIT;
    return 0;
}

const struct bundle_file *bundle_find(const struct bundle *b, const char *name)
{
    for (size_t i = 0; i < b->n; i++)
        if (!strcmp(b->f[i].name, name))
            return &b->f[i];
    return NULL;
}

void bundle_free(struct bundle *b)
{
    for (size_t i = 0; i < b->n; i++)
        str_free(&b->f[i].data);
    mem_free(b->f);
    *b = (struct bundle){.n = 0};
}

/* ---- writing --------------------------------------------------------------------------------- */

static unsigned tar_sum(const unsigned char *h)
{
    unsigned sum = 0;
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : h[i];
    return sum;
}

/* name can be divided by tar_prefix. */
static void tar_header(const char *name, size_t size, unsigned char h[TAR_BLOCK])
{
    const int prefix = tar_prefix(name);
    memset(h, 0, TAR_BLOCK);
    snprintf((char *)h, TAR_NAME, "%s", name + (prefix > 0 ? prefix + 1 : 0));
    if (prefix > 0)
        memcpy(h + 345, name, (size_t)prefix);
    memcpy(h + 100, "0000644", 8);
    memcpy(h + 108, "0000000", 8);
    memcpy(h + 116, "0000000", 8);
    snprintf((char *)h + 124, 12, "%011llo", (unsigned long long)size);
    memcpy(h + 136, "00000000000", 12);
    h[156] = '0';
    memcpy(h + 257, "ustar", 6);
    memcpy(h + 263, "00", 2);
    snprintf((char *)h + 148, 8, "%06o", tar_sum(h) & 0777777);
    h[155] = ' ';
}

static int bundle_order(const void *a, const void *b)
{
    return strcmp(((const struct bundle_file *)a)->name, ((const struct bundle_file *)b)->name);
}

void bundle_sort(struct bundle *b)
{
    if (b->n)
        qsort(b->f, b->n, sizeof *b->f, bundle_order);
}

int bundle_pack(struct bundle *b, struct str *out, struct err *e)
{
    static const char zeros[TAR_BLOCK] = {0};
    struct str tar = STR_INIT;
    unsigned char h[TAR_BLOCK];
    char name[BUNDLE_NAME + 4];
    int rc;
    bundle_sort(b);
    for (size_t i = 0; i < b->n; i++) {
        snprintf(name, sizeof name, "%.63s/%.*s", b->top, BUNDLE_NAME, b->f[i].name);
        tar_header(name, b->f[i].data.len, h);
        str_add(&tar, h, sizeof h);
        str_add(&tar, b->f[i].data.s, b->f[i].data.len);
        str_add(&tar, zeros, (TAR_BLOCK - b->f[i].data.len % TAR_BLOCK) % TAR_BLOCK);
    }
    str_add(&tar, zeros, TAR_BLOCK);
    str_add(&tar, zeros, TAR_BLOCK);
    TRY_DONE(str_ok(&tar, "a bundle", e));
    TRY_DONE(zio_gzip(tar.s, tar.len, out, e));
done:
    str_free(&tar);
    return rc;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int tar_file(struct bundle *b, const char *text, size_t len, size_t *at, struct err *e)
{
    const unsigned char *h = (const unsigned char *)text + *at;
    unsigned char want[TAR_BLOCK];
    char name[TAR_PREFIX + TAR_NAME + 2], size[13], *end = NULL;
    snprintf(name, sizeof name, "%.155s%s%.100s", (const char *)h + 345, h[345] ? "/" : "",
             (const char *)h);
    snprintf(size, sizeof size, "%.12s", (const char *)h + 124);
    const unsigned long long n = strtoull(size, &end, 8);
    const char *slash = strchr(name, '/');
    if (*end || n > len - *at - TAR_BLOCK || !slash || slash - name > 63 || tar_prefix(name) < 0)
        FAIL(e, ERR_DATA, "byte %zu: no header of a file in a bundle", *at);
    tar_header(name, (size_t)n, want);
    if (memcmp(h, want, TAR_BLOCK) != 0)
        FAIL(e, ERR_DATA, "byte %zu: the header of '%.240s' is not as mas export writes it", *at,
             name);
    if (b->n && (strlen(b->top) != (size_t)(slash - name) ||
                 memcmp(b->top, name, (size_t)(slash - name)) != 0))
        FAIL(e, ERR_DATA, "byte %zu: '%.240s' is in another folder than %s", *at, name, b->top);
    snprintf(b->top, sizeof b->top, "%.*s", (int)(slash - name), name);
    if (!bundle_name_good(b->top) || strchr(b->top, '/'))
        FAIL(e, ERR_DATA, "byte %zu: '%.63s' is no name of a run", *at, b->top);
    *at += TAR_BLOCK;
    struct str data = STR_INIT;
    str_add(&data, text + *at, (size_t)n);
    const size_t room = ((size_t)n + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
    int rc = bundle_add(b, slash + 1, &data, e);
    str_free(&data);
    if (!rc && room > len - *at)
        rc = err_set(e, ERR_DATA, "byte %zu: the archive ends in '%.100s'", *at, name);
    for (size_t i = (size_t)n; !rc && i < room; i++)
        if (text[*at + i])
            rc = err_set(e, ERR_DATA, "byte %zu: not zero after '%.100s'", *at + i, name);
    *at += room;
    return rc;
}

static int tar_read(struct bundle *b, const char *text, size_t len, struct err *e)
{
    size_t at = 0;
    while (len - at >= TAR_BLOCK && text[at])
        TRY(tar_file(b, text, len, &at, e));
    if (!b->n || len - at != 2 * TAR_BLOCK)
        FAIL(e, ERR_DATA, "byte %zu: no bundle ends here; it is cut off or no file of mas export",
             at);
    for (size_t i = at; i < len; i++)
        if (text[i])
            FAIL(e, ERR_DATA, "byte %zu: not zero after the last file", i);
    return 0;
}

int bundle_parse(const char *text, size_t n, struct bundle *out, struct err *e)
{
    struct bundle b = {.n = 0};
    const int rc = tar_read(&b, text, n, e);
    if (rc < 0)
        bundle_free(&b);
    else
        *out = b;
    return rc;
}

int bundle_read(const char *path, struct bundle *out, struct err *e)
{
    struct str tar = STR_INIT;
    int rc;
    TRY_DONE(zio_read(path, BUNDLE_BYTES, &tar, e));
    rc = bundle_parse(tar.s, tar.len, out, e);
    if (rc == ERR_DATA)
        err_wrap(e, rc, "%s, unpacked", path);
done:
    str_free(&tar);
    return rc;
}
