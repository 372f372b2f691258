/* Any bytes as a server's reply: read completely by a form, or an error. Also as a reply under a
 * schema, as a score, and as the body of a refusal. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "form.h"
#include "schema_fit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_chat(const struct form *f, const char *s, size_t n)
{
    struct form_reply r = FORM_REPLY_INIT;
    struct err e;
    if (f->read(s, n, &r, &e) == 0) {
        if (r.end == FORM_STOP && !r.text.len)
            abort();
        if (r.n_prompt < 0 || r.n_new < 0 || r.n_think < 0 || r.n_cached > r.n_prompt)
            abort();
        if (!isnan(r.mean_lp) && !(r.mean_lp <= 0))
            abort();
    }
    form_reply_free(&r);
}

static void read_score(const char *s, size_t n)
{
    static const char *const option[] = {" blue", " of stone"};
    static const size_t len[] = {5, 9};
    const struct form_score c = {
        .prompt = "The sky is", .prompt_len = 10, .option = option, .option_len = len, .n = 2};
    struct form_reply r = FORM_REPLY_INIT;
    struct err e;
    double lp[2] = {1, 1};
    int tokens[2] = {0, 0};
    if (form_openai.read_score(&c, s, n, lp, tokens, &r, &e) == 0)
        for (int i = 0; i < 2; i++)
            if (!(lp[i] <= 0) || tokens[i] < 1)
                abort();
    form_reply_free(&r);
}

/* The bytes as a value, and as a schema of themselves. */
static void fit(const char *s, size_t n)
{
    static const char schema[] =
        "{\"type\": \"object\", \"properties\": {\"word\": {\"enum\": [\"zqxvy\"]}, \"list\": "
        "{\"type\": \"array\", \"uniqueItems\": true, \"items\": {\"type\": \"number\", "
        "\"maximum\": 3}}}, \"required\": [\"word\"], \"additionalProperties\": false}";
    struct schema_fit *f = NULL;
    struct err e;
    if (schema_fit_open(schema, sizeof schema - 1, "fuzz", &f, &e) < 0)
        abort();
    (void)schema_fit_check(f, s, n, &e);
    schema_fit_close(f);
    f = NULL;
    if (schema_fit_open(s, n, "fuzz", &f, &e) == 0)
        (void)schema_fit_check(f, s, n, &e);
    schema_fit_close(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *s = (const char *)data, *part = NULL;
    struct str out = STR_INIT;
    size_t n = 0;
    read_chat(&form_openai, s, size);
    read_chat(&form_ollama, s, size);
    read_score(s, size);
    fit(s, size);
    form_fault(s, size, &out);
    if (out.len > size + 400)
        abort();
    str_free(&out);
    form_json_part(s, size, &part, &n);
    if (part < s || part + n > s + size)
        abort();
    return 0;
}
