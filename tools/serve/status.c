/* GET /, /health, /ready, /openapi.json. */
#include <string.h>

#include "server.h"
#include "webpage.h"

void root_get(struct call *c)
{
    static const char text[] = "mas is running\n";
    const char *accept = http_header(c->http, "accept");
    struct str s = STR_INIT;
    if (accept && strstr(accept, "text/html")) {
        page_reply(c);
        return;
    }
    str_adds(&s, text);
    call_reply_type(c, 200, "text/plain; charset=utf-8", &s);
}

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
