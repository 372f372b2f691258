/* Any bytes as a schema. A schema that compiles is driven by the same bytes: in random steps the
 * mask, feeding and closing must agree. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "grammar.h"
#include "rng.h"

static const char *const extra[] = {"\", \"", "\": ",     "\"}",     "\"]",  ", ",   "{\"",
                                    "[\"",    "\\n",      "\\ud83d", "0.",   "10",   "true",
                                    "null",   "\xe2\x82", "\x80\"",  "aaaa", "....", "a\", \"b"};
#define N_EXTRA (sizeof extra / sizeof extra[0])
#define N_TOKENS (256 + N_EXTRA + 1)

static struct grammar_vocab *vocabulary(char byte[256], const char *bytes[N_TOKENS],
                                        size_t len[N_TOKENS])
{
    bool is_end[N_TOKENS] = {false};
    for (size_t i = 0; i < N_TOKENS; i++) {
        bytes[i] = i < 256 ? &byte[i] : i < 256 + N_EXTRA ? extra[i - 256] : "";
        len[i] = i < 256 ? 1 : strlen(bytes[i]);
        if (i < 256)
            byte[i] = (char)i;
    }
    is_end[N_TOKENS - 1] = true;
    struct grammar_vocab *v = NULL;
    int rc = grammar_vocab_open_tokens(N_TOKENS, bytes, len, is_end, &v, NULL);
    CHECK(rc == 0);
    return v;
}

static void close_it(struct grammar_vocab *v, const struct grammar *g, struct grammar_state s)
{
    struct token_list out = {0};
    int rc = grammar_close(v, g, &s, &out, NULL);
    CHECK(rc == 0);
    int n = grammar_close_tokens(v, g, &s);
    CHECK((size_t)n == out.n);
    for (size_t i = 0; i < out.n; i++) {
        bool taken = grammar_accept(v, g, &s, out.id[i]);
        CHECK(taken);
    }
    CHECK(s.done);
    token_list_free(&out);
}

static void drive(const struct grammar *g, uint64_t seed)
{
    char byte[256];
    const char *bytes[N_TOKENS];
    size_t len[N_TOKENS];
    struct grammar_vocab *v = vocabulary(byte, bytes, len);
    struct grammar_state s, copy;
    grammar_start(g, &s);
    for (uint64_t step = 0; step < 200 && !s.done; step++) {
        const uint32_t *mask;
        int32_t allowed[N_TOKENS];
        uint32_t n = 0;
        int rc = grammar_mask(v, g, &s, &mask, NULL);
        CHECK(rc == 0);
        for (size_t id = 0; id < N_TOKENS; id++) {
            copy = s;
            bool want = len[id] && grammar_feed(g, &copy, bytes[id], len[id]);
            CHECK(want == (mask[id / 32] >> (id % 32) & 1));
            if (want)
                allowed[n++] = (int32_t)id;
        }
        CHECK(n > 0);
        if (step % 16 == 0)
            close_it(v, g, s);
        bool taken = grammar_accept(v, g, &s, allowed[rng_below(rng_key(seed, 1, step), 0, n)]);
        CHECK(taken);
    }
    close_it(v, g, s);
    grammar_vocab_close(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct grammar *g;
    struct err e;
    if (grammar_compile((const char *)data, size, "fuzz", &g, &e) < 0)
        return 0;
    drive(g, grammar_id(g));
    grammar_free(g);
    return 0;
}
