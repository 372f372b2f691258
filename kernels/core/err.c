#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void err_clean(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

static void err_format(char *dst, size_t cap, const char *fmt, va_list ap)
{
    int n = vsnprintf(dst, cap, fmt, ap);
    if (n < 0)
        snprintf(dst, cap, "(message could not be formatted)");
    else if ((size_t)n >= cap)
        memcpy(dst + cap - 4, "...", 4);
    err_clean(dst);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    va_list ap;
    va_start(ap, fmt);
    char text[sizeof e->msg]; /* an argument may be e->msg itself */
    err_format(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(e->msg, text, sizeof text);
    e->code = code;
    return code;
}

int err_wrap(struct err *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    char head[sizeof e->msg], old[sizeof e->msg];
    va_list ap;
    va_start(ap, fmt);
    err_format(head, sizeof head, fmt, ap);
    va_end(ap);
    memcpy(old, e->msg, sizeof old);
    return err_set(e, e->code ? e->code : code, "%s: %s", head, old);
}

int err_exit(int code)
{
    switch (code) {
    case ERR_OK:
        return 0;
#define X(name, value, exit, text)                                                                 \
    case ERR_##name:                                                                               \
        return exit;
        ERR_MAP(X)
#undef X
    default:
        return 70;
    }
}
