/* GET /health, /ready, /openapi.json. */
#include "server.h"

void health_get(struct call *c)
{
    struct str s = STR_INIT;
    str_adds(&s, "{\"status\": \"ok\"}\n");
    call_reply(c, 200, &s);
}

void ready_get(struct call *c)
{
    struct str s = STR_INIT;
    if (atomic_load(&c->s->draining)) {
        call_fail(c, 503, NULL, "the server is stopping");
        return;
    }
    if (atomic_load(&c->s->first) == SERVE_LOADING) {
        call_fail(c, 503, NULL, "the model is being loaded");
        return;
    }
    str_adds(&s, "{\"status\": \"ready\"}\n");
    call_reply(c, 200, &s);
}

void openapi_get(struct call *c)
{
    struct str s = STR_INIT;
    route_openapi(&s);
    call_reply(c, 200, &s);
}
