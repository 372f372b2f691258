/* Any bytes as predictions of another program: cases that read back, or an error. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "import.h"
#include "result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int good)
{
    if (!good)
        abort();
}

/* Each case is a line that a run reads back as the same answer. */
static void whole(const struct import *im, const struct medqa *m)
{
    struct str s = STR_INIT;
    struct results rs = {.n = 0};
    struct err e;
    import_write(im, m, &s);
    require(!s.failed);
    for (size_t at = 0; at < s.len;) {
        const char *nl = memchr(s.s + at, '\n', s.len - at);
        require(nl != NULL);
        require(result_read(&rs, s.s + at, (size_t)(nl - s.s) - at, &e) == 0);
        const struct result *r = &rs.r[rs.n - 1];
        require(r->imported && r->predicted == im->answer[r->index].predicted);
        at = (size_t)(nl - s.s) + 1;
    }
    require(rs.n == im->n_given && im->n_unparsed <= im->n_given);
    results_free(&rs);
    str_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] =
        "{\"question\": \"P?\", \"options\": [\"a\", \"b\", \"c\"], \"answer_idx\": \"B\"}\n"
        "{\"question\": \"Q?\", \"options\": [\"a\", \"b\"], \"answer_idx\": \"A\"}\n";
    struct medqa m = {.n = 0};
    struct import im = {.answer = NULL};
    struct err e;
    require(medqa_parse(text, sizeof text - 1, "q", &m, &e) == 0);
    if (import_parse((const char *)data, size, "fuzz", NULL, &m, &im, &e) == 0)
        whole(&im, &m);
    import_free(&im);
    medqa_free(&m);
    return 0;
}
