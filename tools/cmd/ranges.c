#include "ranges.h"

#include <stdio.h>
#include <stdlib.h>

#include "nvtx.h"

enum { KEY_NVTX = 0x3000, KEY_NO_NVTX };

static const struct argp_option options[] = {
    {"nvtx", KEY_NVTX, 0, 0, "name the work in ranges for nsys and ncu; on by itself under them",
     30},
    {"no-nvtx", KEY_NO_NVTX, 0, 0, "no ranges for nsys and ncu", 30},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct ranges *r = st->input;
    (void)arg;
    if (key != KEY_NVTX && key != KEY_NO_NVTX)
        return ARGP_ERR_UNKNOWN;
    r->nvtx = key == KEY_NVTX ? RANGES_ON : RANGES_OFF;
    return 0;
}

const struct argp ranges_argp = {options, parse, 0, 0, 0, 0, 0};

int ranges_open(struct ranges *r, struct err *e)
{
    const char *library = getenv("NVTX_INJECTION64_PATH"); /* a profiler's */
    struct err why = {0};
    r->spans = NULL;
    if (r->nvtx == RANGES_OFF || (r->nvtx == RANGES_AUTO && !(library && *library)))
        return 0;
    int rc = nvtx_open(&r->spans, &why);
    if (rc == 0) {
        spans_thread(r->spans, "main");
        return 0;
    }
    if (r->nvtx == RANGES_ON || rc != ERR_NODEV)
        FAIL(e, rc, "%s", why.msg);
    fprintf(stderr, "mas: %s (NVTX_INJECTION64_PATH is %s)\n", why.msg, library);
    return 0;
}

void ranges_close(struct ranges *r)
{
    nvtx_close(r->spans);
    r->spans = NULL;
}
