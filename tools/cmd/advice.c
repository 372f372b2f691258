#include "advice.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "engine_options.h"

static bool is_word(char c)
{
    return c == '-' || isalnum((unsigned char)c);
}

/* Length of the option that begins at s, 0 = none does. */
static size_t option_at(const char *s)
{
    size_t n = 2;
    if (strncmp(s, "--", 2) != 0 || !islower((unsigned char)s[2]))
        return 0;
    while (is_word(s[n]))
        n++;
    return n;
}

/* The text that stands for the option of n bytes; NULL = the option stays. */
typedef const char *word_for(const char *option, size_t n, const void *user);

/* Length of a command in single quotes that begins at s, as 'mas eval --isa avx2'; 0 = none does.
 * Its words may be quoted, too. */
static size_t command_at(const char *s)
{
    static const char begin[] = "'mas ";
    size_t n = sizeof begin - 1;
    bool word = false; /* in a quoted word */
    if (strncmp(s, begin, n) != 0)
        return 0;
    for (; s[n] && (s[n] != '\'' || word || s[n - 1] == ' '); n++)
        if (s[n] == '\'')
            word = !word;
    return n;
}

/* Replaces options of the message, but for those in a command. False: nothing was replaced, or the
 * result is too long. */
static bool replace(struct err *e, word_for *find, const void *user)
{
    char out[2 * sizeof e->msg];
    size_t at = 0;
    bool changed = false;
    const char *kept = e->msg; /* end of the last command */
    for (const char *s = e->msg; *s;) {
        if (s >= kept)
            kept = s + command_at(s);
        size_t n = s < kept || (s > e->msg && is_word(s[-1])) ? 0 : option_at(s);
        const char *word = n ? find(s, n, user) : NULL;
        size_t room = sizeof out - at, length = word ? strlen(word) : 1;
        if (length >= room)
            return false; /* longer than a message may be: as it was */
        memcpy(out + at, word ? word : s, length);
        at += length;
        s += word ? n : 1;
        changed |= word != NULL;
    }
    out[at] = 0;
    if (changed)
        err_set(e, e->code, "%s", out);
    return changed;
}

/* The key of a configuration that stands for the engine's option "--flag" of n bytes. */
static const char *key_of(const char *option, size_t n, const void *user)
{
    (void)user;
    for (int i = 0; i < engine_option_set.n; i++) {
        const char *flag = engine_option_set.row[i].flag;
        if (strlen(flag) + 2 == n && !memcmp(flag, option + 2, n - 2))
            return engine_option_set.row[i].key;
    }
    return NULL;
}

void advice_as_keys(struct err *e)
{
    if (replace(e, key_of, NULL)) {
        const struct err keys = *e;
        err_set(e, e->code, "%s (a configuration's keys; --set KEY=VALUE)", keys.msg);
    }
}

static const char *own_of(const char *option, size_t n, const void *user)
{
    for (const struct advice_option *o = user; o->flag; o++)
        if (strlen(o->flag) == n && !memcmp(o->flag, option, n))
            return o->own;
    return NULL;
}

void advice_as_options(struct err *e, const struct advice_option *own)
{
    replace(e, own_of, own);
}

void advice_instead(struct err *e, const char *option, const char *text)
{
    char out[sizeof e->msg];
    const char *cut = NULL;
    if (!strstr(e->msg, option))
        return;
    for (const char *s = e->msg; (s = strstr(s, "; ")); s++)
        cut = s;
    snprintf(out, sizeof out, "%.*s", (int)(cut ? (size_t)(cut - e->msg) : strlen(e->msg)), e->msg);
    err_set(e, e->code, "%s; %s", out, text);
}
