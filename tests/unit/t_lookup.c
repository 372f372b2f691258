/* Drafts from texts: the chosen occurrence, the end of a text, and eviction from the memory. */
#include "lookup.h"
#include "rng.h"
#include "test.h"

static struct lookup *open_lookup(size_t tokens)
{
    struct lookup *l = NULL;
    struct err e;
    ok(lookup_open(tokens, &l, &e));
    return l;
}

static void draft_is(const struct lookup *l, const int32_t *tok, int n, enum lookup_from from,
                     int length, int n_next, int32_t next)
{
    struct lookup_draft g = lookup_find(l, tok, n);
    if (g.n != n_next || (n_next && (g.from != from || g.length != length || g.next[0] != next)))
        fail_msg("draft of %d tokens, first %d, by %d tokens of %s; wanted %d, %d, %d of %s", g.n,
                 g.n ? g.next[0] : -1, g.length, g.from ? "memory" : "text", n_next, next, length,
                 from ? "memory" : "text");
}

static void the_longest_context_counts_then_the_last_place(void **state)
{
    (void)state;
    struct lookup *l = open_lookup(64);
    const int32_t none[] = {1, 2, 3, 4}, one[] = {1, 2, 9, 5, 1, 2},
                  last[] = {1, 2, 7, 1, 2, 8, 1, 2}, longer[] = {3, 1, 2, 7, 4, 1, 2, 8, 3, 1, 2},
                  run[] = {6, 6, 6, 6};
    draft_is(l, none, 4, LOOKUP_TEXT, 0, 0, 0);
    draft_is(l, none, 0, LOOKUP_TEXT, 0, 0, 0);
    draft_is(l, none, 1, LOOKUP_TEXT, 0, 0, 0);
    draft_is(l, one, 6, LOOKUP_TEXT, 2, 4, 9);
    draft_is(l, last, 8, LOOKUP_TEXT, 2, 3, 8);
    draft_is(l, longer, 11, LOOKUP_TEXT, 3, 8, 7);
    draft_is(l, run, 4, LOOKUP_TEXT, 3, 1, 6);
    lookup_close(l);
}

static void memory_helps_where_the_text_has_less_to_say(void **state)
{
    (void)state;
    struct lookup *l = open_lookup(64);
    const int32_t said[] = {1, 2, 3, 4, 5}, later[] = {7, 2, 3, 4, 6}, end[] = {3, 4, 5},
                  other[] = {9, 2, 3, 4}, whole[] = {1, 2, 3, 4}, own[] = {2, 3, 8, 2, 3},
                  both[] = {3, 4, 8, 2, 3, 4};
    lookup_remember(l, said, 5);
    draft_is(l, whole, 4, LOOKUP_MEMORY, 4, 1, 5);
    draft_is(l, end, 3, LOOKUP_MEMORY, 3, 0, 0); /* no token followed */
    lookup_remember(l, later, 5);
    draft_is(l, other, 4, LOOKUP_MEMORY, 3, 1, 6); /* the last occurrence */
    draft_is(l, own, 5, LOOKUP_TEXT, 2, 3, 8);     /* two tokens are too few for the memory */
    draft_is(l, both, 6, LOOKUP_MEMORY, 3, 1, 6);  /* three beat two */
    lookup_close(l);
}

/* A memory of 64 tokens: a draft is what followed the last occurrence of these tokens, or empty. */
static void what_is_overwritten_is_forgotten(void **state)
{
    (void)state;
    struct lookup *l = open_lookup(64);
    int32_t text[400];
    int found = 0;
    for (int i = 0; i < 400; i++)
        text[i] = (int32_t)rng_below(4, (uint64_t)i, 1000);
    for (int i = 0; i + 20 <= 400; i += 20) {
        lookup_remember(l, text + i, 20);
        for (int k = 0; k + 20 <= i + 20; k += 20) {
            struct lookup_draft g = lookup_find(l, text + k, 8);
            if (!g.n)
                continue;
            found++;
            assert_true(k + 60 > i); /* three texts with their ends fill it */
            assert_memory_equal(g.next, text + k + 8, (size_t)g.n * sizeof *g.next);
        }
    }
    assert_true(found > 30);
    lookup_remember(l, text, 400); /* longer than the memory, which keeps its end */
    draft_is(l, text + 380, 10, LOOKUP_MEMORY, 8, 10, text[390]);
    lookup_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_context_counts_then_the_last_place),
        cmocka_unit_test(memory_helps_where_the_text_has_less_to_say),
        cmocka_unit_test(what_is_overwritten_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
