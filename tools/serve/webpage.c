/* GET /: the page for browsers (page.html). */
#include "webpage.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "embed.h"
#include "sha256.h"

static unsigned hex_byte(const char *s)
{
    static const char digits[] = "0123456789abcdef";
    return (unsigned)((strchr(digits, s[0]) - digits) << 4 | (strchr(digits, s[1]) - digits));
}

/* The hash of the text between two marks, as a source of a content security policy. */
static bool page_hash(const struct embed_file *f, const char *from, const char *to, char out[64])
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *a = strstr(f->data, from), *b = a ? strstr(a, to) : NULL;
    char hex[65];
    int at = snprintf(out, 64, "'sha256-");
    CHECK(b);
    a += strlen(from);
    if (sha256_hex(a, (size_t)(b - a), hex, NULL) < 0)
        return false;
    for (int i = 0; i < 32; i += 3) { /* 32 bytes: ten groups of three, and two */
        unsigned v = hex_byte(hex + 2 * i) << 16 | hex_byte(hex + 2 * i + 2) << 8;
        v |= i + 2 < 32 ? hex_byte(hex + 2 * i + 4) : 0;
        out[at++] = letters[v >> 18 & 63];
        out[at++] = letters[v >> 12 & 63];
        out[at++] = letters[v >> 6 & 63];
        out[at++] = i + 2 < 32 ? letters[v & 63] : '=';
    }
    snprintf(out + at, 64 - (size_t)at, "'");
    return true;
}

void page_reply(struct call *c)
{
    const struct embed_file *f = embed_find("tools/serve/page.html");
    struct str body = STR_INIT;
    char script[64], style[64], policy[480];
    CHECK(f);
    if (!page_hash(f, "<script>", "</script>", script) ||
        !page_hash(f, "<style>", "</style>", style)) {
        call_fail(c, 503, NULL, "out of memory; try again later");
        return;
    }
    snprintf(policy, sizeof policy,
             "default-src 'none'; script-src %s; style-src %s; connect-src 'self'; img-src data:; "
             "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             script, style);
    str_add(&body, f->data, f->size);
    http_set_header(c->http, "Content-Security-Policy", policy);
    http_set_header(c->http, "X-Frame-Options", "DENY");
    http_set_header(c->http, "Referrer-Policy", "no-referrer");
    call_reply_type(c, 200, "text/html; charset=utf-8", &body);
}
