/* GET /: the page for browsers (page.html). */
#include "webpage.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "embed.h"
#include "html.h"

/* The hash of the text between two marks, as a source of a content security policy. */
static bool page_hash(const struct embed_file *f, const char *from, const char *to, char out[64])
{
    const char *a = strstr(f->data, from), *b = a ? strstr(a, to) : NULL;
    CHECK(b);
    a += strlen(from);
    return html_hash(a, (size_t)(b - a), out, NULL) == 0;
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
