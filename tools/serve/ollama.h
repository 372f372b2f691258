/*
 * ollama: Ollama's API: its models, generate and chat, downloads. OLLAMA.md says which members have
 * which effect.
 */
#ifndef MAS_OLLAMA_H
#define MAS_OLLAMA_H

#include "field.h"
#include "str.h"

extern const struct field_set ollama_generate_fields, ollama_chat_fields, ollama_show_fields,
    ollama_pull_fields, ollama_options_fields, ollama_message_fields;

/* The first members of generate's and chat's args. */
struct ollama_draw {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "ollama_draw.def"
#undef X
};

struct ollama_options {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "ollama_options.def"
#undef X
};

/* A time to live in ms: a number of seconds, or a text as "5m", "1h30m", "300". Negative ones are
 * HUB_FOR_EVER; *ms is -1 if v is NULL or null. ERR_DATA. */
int ollama_keep_alive(const json_t *v, int64_t *ms, struct err *e);
/* Appends a time as clients read it, "2026-11-30T01:02:03.000000004Z". */
void ollama_time(int64_t seconds, int64_t ns, struct str *out);
void ollama_now(struct str *out);

#endif
