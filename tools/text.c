#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int text_read(const char *path, struct str *out, struct err *e)
{
    bool pipe = !path || !strcmp(path, "-");
    const char *name = pipe ? "standard input" : path;
    FILE *f = pipe ? stdin : fopen(path, "rb");
    if (!f)
        FAIL(e, ERR_NOINPUT, "cannot open %s: %s", name, strerror(errno));
    char buf[16384];
    for (size_t n; !out->failed && (n = fread(buf, 1, sizeof buf, f)) > 0;)
        str_add(out, buf, n);
    int rc = str_ok(out, name, e);
    if (rc == 0 && ferror(f))
        rc = err_set(e, ERR_IO, "cannot read %s: %s", name, strerror(errno));
    if (!pipe)
        fclose(f);
    return rc;
}
