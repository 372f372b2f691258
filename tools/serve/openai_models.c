/* GET /v1/models. */
#include <string.h>

#include "openai.h"
#include "server.h"

static void model_json(struct serve *s, int index, struct str *out)
{
    struct hub_entry m;
    hub_entry(s->hub, index, &m);
    str_adds(out, "{\"id\": ");
    str_add_json(out, m.name, strlen(m.name));
    str_addf(out, ", \"object\": \"model\", \"created\": %lld, \"owned_by\": \"mas\"}",
             (long long)(m.modified ? m.modified : s->unix_start));
}

void openai_models_get(struct call *c)
{
    struct str out = STR_INIT;
    str_adds(&out, "{\"object\": \"list\", \"data\": [");
    for (int i = 0; i < hub_count(c->s->hub); i++) {
        str_adds(&out, i ? ", " : "");
        model_json(c->s, i, &out);
    }
    str_adds(&out, "]}\n");
    call_reply(c, 200, &out);
}

void openai_model_get(struct call *c)
{
    struct str out = STR_INIT;
    int index = hub_find(c->s->hub, c->part);
    if (index < 0) {
        struct str names = STR_INIT;
        hub_names(c->s->hub, &names);
        call_fail(c, 404, "model", "no model '%.100s'; there are %.700s", c->part, names.s);
        str_free(&names);
        return;
    }
    model_json(c->s, index, &out);
    str_adds(&out, "\n");
    call_reply(c, 200, &out);
}

/* The models make text, not vectors. The body is not read. */
void openai_embeddings_post(struct call *c)
{
    call_fail(c, 400, NULL, "embeddings are not supported: the models of this server make text");
}
