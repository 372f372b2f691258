#include "html.h"

#include <stdio.h>
#include <string.h>

#include "sha256.h"
#include "zio.h"

void html_text(struct str *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        const int k = utf8_decode(s + i, n - i, &cp);
        const bool bad = !k || (cp < 0x20 && cp != '\n' && cp != '\t') || (cp >= 0x7f && cp < 0xa0);
        if (bad)
            str_adds(out, "\xef\xbf\xbd");
        else if (cp == '&')
            str_adds(out, "&amp;");
        else if (cp == '<')
            str_adds(out, "&lt;");
        else if (cp == '>')
            str_adds(out, "&gt;");
        else if (cp == '"')
            str_adds(out, "&quot;");
        else if (cp == '\'')
            str_adds(out, "&#39;");
        else
            str_add(out, s + i, (size_t)k);
        i += k ? (size_t)k : 1;
    }
}

void html_texts(struct str *out, const char *s)
{
    html_text(out, s, strlen(s));
}

void html_base64(struct str *out, const void *bytes, size_t n)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *s = bytes;
    char four[4];
    for (size_t i = 0; i < n; i += 3) {
        const size_t left = n - i;
        const unsigned v = (unsigned)s[i] << 16 | (left > 1 ? (unsigned)s[i + 1] << 8 : 0) |
                           (left > 2 ? (unsigned)s[i + 2] : 0);
        four[0] = letters[v >> 18 & 63];
        four[1] = letters[v >> 12 & 63];
        four[2] = left > 1 ? letters[v >> 6 & 63] : '=';
        four[3] = left > 2 ? letters[v & 63] : '=';
        str_add(out, four, 4);
    }
}

static unsigned char html_nibble(char c)
{
    return (unsigned char)(c <= '9' ? c - '0' : c - 'a' + 10);
}

int html_hash(const char *s, size_t n, char out[64], struct err *e)
{
    char hex[65];
    unsigned char raw[32];
    struct str text = STR_INIT;
    TRY(sha256_hex(s, n, hex, e));
    for (int i = 0; i < 32; i++)
        raw[i] = (unsigned char)(html_nibble(hex[2 * i]) << 4 | html_nibble(hex[2 * i + 1]));
    html_base64(&text, raw, sizeof raw);
    int rc = str_ok(&text, "a hash", e);
    if (!rc)
        snprintf(out, 64, "'sha256-%.50s'", text.s);
    str_free(&text);
    return rc;
}

int html_block(struct str *out, const char *id, const struct str *text, struct err *e)
{
    struct str packed = STR_INIT;
    int rc;
    TRY_DONE(str_ok(text, "a part of a page", e));
    TRY_DONE(zio_gzip(text->s, text->len, &packed, e));
    str_addf(out, "<script type=\"application/octet-stream\" id=\"%s\">", id);
    html_base64(out, packed.s, packed.len);
    str_adds(out, "</script>\n");
    rc = str_ok(out, "a page", e);
done:
    str_free(&packed);
    return rc;
}
