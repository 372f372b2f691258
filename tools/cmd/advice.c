#include "advice.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Options of tools/cmd/cli.c that messages name, and what stands for them in a configuration. */
static const struct {
    const char *option, *key;
} rows[] = {
    {"--backend", "backend"},
    {"--batch-tokens", "engine.batch_tokens"},
    {"--cpu-layers", "placement.cpu_layers"},
    {"--ctx", "max_context_length"},
    {"--device", "CUDA_VISIBLE_DEVICES"},
    {"--draft-model", "speculative.draft_model"},
    {"--isa", "isa"},
    {"--kv-bytes", "kv.bytes"},
    {"--kv-swap", "kv.swap"},
    {"--kv-type", "kv.type"},
    {"--link-limit", "placement.link_limit"},
    {"--lookup", "speculative.lookup"},
    {"--map-weights", "placement.map_weights"},
    {"--max-branches", "speculative.max_branches"},
    {"--max-draft", "speculative.max_draft"},
    {"--page-tokens", "kv.page_tokens"},
    {"--placement", "placement.mode"},
    {"--ram", "placement.ram"},
    {"--sequences", "engine.sequences"},
    {"--threads", "threads"},
    {"--vram", "placement.vram"},
};

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

static const char *key_of(const char *option, size_t n)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strlen(rows[i].option) == n && !memcmp(rows[i].option, option, n))
            return rows[i].key;
    return NULL;
}

void advice_as_keys(struct err *e)
{
    char out[2 * sizeof e->msg];
    size_t at = 0;
    bool changed = false;
    for (const char *s = e->msg; *s;) {
        size_t n = s > e->msg && is_word(s[-1]) ? 0 : option_at(s);
        const char *key = n ? key_of(s, n) : NULL;
        size_t room = sizeof out - at, length = key ? strlen(key) : 1;
        if (length >= room)
            return; /* longer than a message may be: as it was */
        memcpy(out + at, key ? key : s, length);
        at += length;
        s += key ? n : 1;
        changed |= key != NULL;
    }
    out[at] = 0;
    if (changed)
        err_set(e, e->code, "%s (a configuration's keys; --set KEY=VALUE)", out);
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
