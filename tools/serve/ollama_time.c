/* Times and times to live in Ollama's API. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "hub.h"
#include "jdoc.h"
#include "ollama.h"

void ollama_time(int64_t seconds, int64_t ns, struct str *out)
{
    struct tm tm;
    time_t t = (time_t)seconds;
    gmtime_r(&t, &tm);
    str_addf(out, "\"%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
             tm.tm_hour, tm.tm_min, tm.tm_sec);
    str_addf(out, ".%09lldZ\"", (long long)ns);
}

void ollama_now(struct str *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    ollama_time((int64_t)now.tv_sec, now.tv_nsec, out);
}

/* Reads digits with a fraction at *s; false if there are none. */
static bool take_number(const char **s, double *out)
{
    const char *p = *s;
    double v = 0, place = 1;
    size_t digits = 0;
    for (; *p >= '0' && *p <= '9'; p++, digits++)
        v = v * 10 + (*p - '0');
    if (*p == '.')
        for (p++; *p >= '0' && *p <= '9'; p++, digits++)
            v += (*p - '0') * (place /= 10);
    if (!digits)
        return false;
    *s = p;
    *out = v;
    return true;
}

/* "1h30m", "-1", "300", "1.5s": seconds. */
static bool duration(const char *s, double *out)
{
    static const struct {
        const char *name;
        double seconds;
    } unit[] = {{"ns", 1e-9}, {"us", 1e-6}, {"\xc2\xb5s", 1e-6}, {"\xce\xbcs", 1e-6},
                {"ms", 1e-3}, {"s", 1},     {"m", 60},           {"h", 3600}};
    double sum = 0, v;
    bool negative = *s == '-';
    s += *s == '-' || *s == '+';
    const char *first = s;
    do {
        if (!take_number(&s, &v))
            return false;
        size_t n = strcspn(s, "0123456789."), i = 0;
        if (!n && !*s && strspn(first, "0123456789.") == strlen(first)) { /* seconds */
            *out = negative ? -v : v;
            return true;
        }
        while (i < sizeof unit / sizeof unit[0] &&
               (strlen(unit[i].name) != n || memcmp(s, unit[i].name, n) != 0))
            i++;
        if (i == sizeof unit / sizeof unit[0])
            return false;
        sum += v * unit[i].seconds;
        s += n;
    } while (*s);
    *out = negative ? -sum : sum;
    return true;
}

int ollama_keep_alive(const json_t *v, int64_t *ms, struct err *e)
{
    double seconds = 0;
    *ms = -1;
    if (!v || json_is_null(v))
        return 0;
    const char *text = json_string_value(v);
    if (json_is_number(v))
        seconds = json_number_value(v);
    else if (!text || strlen(text) != json_string_length(v) || !duration(text, &seconds))
        FAIL(e, ERR_DATA,
             "'keep_alive' is %s%.40s%s, expected seconds, or a time as \"5m\" or \"1h30m\"",
             text ? "'" : "", text ? text : jdoc_type_name(json_typeof(v)), text ? "'" : "");
    *ms = seconds < 0 || seconds > 1e9 ? HUB_FOR_EVER : (int64_t)ceil(seconds * 1000);
    return 0;
}
