/* The OpenAPI document, from the routes and the fields of their bodies. */
#include <ctype.h>
#include <string.h>

#include "clinical_doc.h"
#include "ollama.h"
#include "route.h"

/* Schemas of objects inside bodies: rows name them as their choices. */
static const struct field_set *const nested[] = {&ollama_options_fields, &ollama_message_fields};

static void parameter_json(const struct route *r, struct str *out)
{
    struct str list = STR_INIT;
    for (const char *open = strchr(r->path, '{'); open; open = strchr(open + 1, '{')) {
        str_addf(&list, "%s{\"name\": ", list.len ? ", " : "");
        str_add_json(&list, open + 1, strcspn(open + 1, "}"));
        str_adds(&list, ", \"in\": \"path\", \"required\": true, \"schema\": {\"type\": "
                        "\"string\", \"minLength\": 1, \"maxLength\": 127}}");
    }
    clinical_doc_queries(r->method, r->path, &list);
    if (list.len)
        str_addf(out, ", \"parameters\": [%s]", list.s);
    out->failed |= list.failed;
    str_free(&list);
}

enum answers { TO_ALL = 1, TO_KEYED = 2, TO_NAMED = 4, TO_BODY = 8, TO_RUNS = 16, TO_REFUSED = 32 };

/* Statuses beside success, and the routes that may give them. */
static const struct {
    const char *status, *text;
    unsigned to;
} failures[] = {
    {"400", "The request is malformed, or a value is out of its limits.", TO_ALL},
    {"401", "The API key is missing or wrong.", TO_KEYED},
    {"403", "The host or the page's origin is not served.", TO_ALL},
    {"404", "No such model, run or case.", TO_NAMED},
    {"409", "The state of the run does not allow it.", TO_RUNS},
    {"413", "The body has more bytes than the limit.", TO_BODY},
    {"415", "The body is not plain application/json.", TO_BODY},
    {"500", "The server failed; its log says why.", TO_BODY | TO_NAMED},
    {"501", "This server does not do it.", TO_REFUSED},
    {"503", "No room or memory now, or the server stops; Retry-After says when to ask again.",
     TO_ALL},
    {"default", "The cause of another failure.", TO_ALL},
};
enum { FAILURES = sizeof failures / sizeof failures[0] };

static unsigned route_answers(const struct route *r)
{
    bool refused = !strncmp(r->doc, "Refused", 7), named = strchr(r->path, '{') != NULL;
    return TO_ALL | (r->marks & ROUTE_KEYLESS ? 0 : TO_KEYED) | (r->fields ? TO_BODY : 0) |
           (named || r->marks & ROUTE_WORKS || r->fields ? TO_NAMED : 0) |
           (!strcmp(r->tag, "clinical") && strcmp(r->method, "GET") != 0 ? TO_RUNS : 0) |
           (refused ? TO_REFUSED : 0);
}

/* An error of any status has the form of its API. */
static void responses_json(const struct route *r, struct str *out)
{
    const char *form = r->api == API_OLLAMA ? "Ollama" : "";
    unsigned to = route_answers(r);
    str_adds(out, ", \"responses\": {");
    if (!(to & TO_REFUSED))
        str_adds(out, "\"2XX\": {\"description\": \"The result.\"}, ");
    for (int i = 0, n = 0; i < FAILURES; i++)
        if (failures[i].to & to)
            str_addf(out, "%s\"%s\": {\"$ref\": \"#/components/responses/%s%s\"}", n++ ? ", " : "",
                     failures[i].status, form, failures[i].status);
    str_adds(out, "}");
}

/* The responses that the routes refer to, in both forms. */
static void failures_json(struct str *out)
{
    for (int i = 0; i < 2 * FAILURES; i++) {
        const char *form = i < FAILURES ? "" : "Ollama";
        str_addf(out, "%s\"%s%s\": {\"description\": ", i ? ", " : "", form,
                 failures[i % FAILURES].status);
        str_add_json(out, failures[i % FAILURES].text, strlen(failures[i % FAILURES].text));
        str_addf(out,
                 ", \"content\": {\"application/json\": {\"schema\": {\"$ref\": "
                 "\"#/components/schemas/%sError\"}}}}",
                 form);
    }
}

static void operation_json(const struct route *r, struct str *out)
{
    str_adds(out, "\"");
    for (const char *m = r->method; *m; m++)
        str_addc(out, (char)tolower((unsigned char)*m));
    str_addf(out, "\": {\"tags\": [\"%s\"], \"summary\": ", r->tag);
    str_add_json(out, r->doc, strlen(r->doc));
    const char *more = clinical_doc(r->method, r->path);
    if (more) {
        str_adds(out, ", \"description\": ");
        str_add_json(out, more, strlen(more));
    }
    if (r->marks & ROUTE_KEYLESS)
        str_adds(out, ", \"security\": []");
    parameter_json(r, out);
    if (r->fields)
        str_addf(out,
                 ", \"requestBody\": {\"required\": true, \"content\": {\"application/json\": "
                 "{\"schema\": {\"$ref\": \"#/components/schemas/%s\"}}}}",
                 r->fields->name);
    responses_json(r, out);
    str_adds(out, "}");
}

static void paths_json(struct str *out)
{
    for (int i = 0; i < route_count; i++) {
        bool seen = false;
        for (int k = 0; k < i && !seen; k++)
            seen = !strcmp(route_table[k].path, route_table[i].path);
        if (seen)
            continue;
        str_adds(out, i ? ", " : "");
        str_add_json(out, route_table[i].path, strlen(route_table[i].path));
        str_adds(out, ": {");
        int n = 0;
        for (int k = i; k < route_count; k++)
            if (!strcmp(route_table[k].path, route_table[i].path)) {
                str_adds(out, n++ ? ", " : "");
                operation_json(&route_table[k], out);
            }
        str_adds(out, "}");
    }
}

void route_openapi(struct str *out)
{
    str_adds(out, "{\"openapi\": \"3.1.0\", \"info\": {\"title\": \"mas\", \"version\": \"1\", "
                  "\"description\": \"Quantized transformers and clinical panels. For research "
                  "only, not for care.\"}, \"security\": [{}, {\"key\": []}], \"paths\": {");
    paths_json(out);
    str_adds(out, "}, \"components\": {\"responses\": {");
    failures_json(out);
    str_adds(out,
             "}, \"securitySchemes\": {\"key\": {\"type\": \"http\", \"scheme\": "
             "\"bearer\"}}, \"schemas\": {\"Error\": {\"type\": \"object\", \"required\": "
             "[\"error\"], \"properties\": {\"error\": {\"type\": \"object\", \"required\": "
             "[\"message\", \"type\"], \"properties\": {\"message\": {\"type\": \"string\"}, "
             "\"type\": {\"type\": \"string\"}, \"param\": {\"type\": [\"string\", \"null\"]}, "
             "\"code\": {\"type\": [\"string\", \"null\"]}}}}}, \"OllamaError\": {\"type\": "
             "\"object\", \"required\": [\"error\"], \"properties\": {\"error\": {\"type\": "
             "\"string\"}}}");
    for (int i = 0; i < route_count; i++) {
        const struct field_set *f = route_table[i].fields;
        bool seen = !f;
        for (int k = 0; k < i && !seen; k++)
            seen = route_table[k].fields == f;
        if (seen)
            continue;
        str_addf(out, ", \"%s\": ", f->name);
        field_schema(f, out);
    }
    for (size_t i = 0; i < sizeof nested / sizeof nested[0]; i++) {
        str_addf(out, ", \"%s\": ", nested[i]->name);
        field_schema(nested[i], out);
    }
    str_adds(out, "}}}\n");
}
