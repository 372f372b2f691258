#include "clinical_doc.h"

#include <stdbool.h>
#include <string.h>

#define PATHS 4

static const struct doc {
    const char *method, *path[PATHS];
    const char *text;
} docs[] = {
    {"POST",
     {"/run", "/plan", "/consult", "/aggregate"},
     "With stream true the reply is text/event-stream, one line of JSON an event. case {id, "
     "notice, model, strategy, seed, question, options, noise}. call-started {call, role, index, "
     "many, specialty, prompt, system, user, max_tokens, max_think, temperature}. text {call, "
     "delta, "
     "thinking}: the deltas of a call add up to its reply. call-finished {call, role, specialty, "
     "parsed, why, reply, value, finish, prompt_tokens, cached_tokens, think_tokens, new_tokens, "
     "seconds, mean_lp, option_lp}. plan {triage_generalist, selected_specialties, log_p}. answer: "
     "the object of a reply without stream. cost {calls, tokens, seconds, joules, energy, usd}. "
     "error {error}. end {}."},
    {"POST",
     {"/eval", "/runs/{id}/resume"},
     "202 with Location once the folder of the run is written. 409: another process writes it, or "
     "it goes on already. 503 with Retry-After: too many cases and evaluations run."},
    {"GET",
     {"/runs/{id}/events"},
     "text/event-stream. progress {done, total, correct, unparsed, failed, rejected, in_flight, "
     "so_far, seconds, tokens_per_second, seconds_left, joules}. case, whose id counts finished "
     "cases, {n, id, state, predicted, key, correct, seconds, tokens, calls, why}. end {state, "
     "why}. Last-Event-ID goes on after the event of that id."},
};

static const struct query {
    const char *path[PATHS], *name, *schema, *text;
} queries[] = {
    {{"/runs", "/runs/{id}"},
     "offset",
     "{\"type\": \"integer\", \"minimum\": 0, \"maximum\": 2147483647}",
     "Items before the first one."},
    {{"/runs", "/runs/{id}"},
     "limit",
     "{\"type\": \"integer\", \"minimum\": 0, \"maximum\": 1000, \"default\": 100}",
     "Most items."},
    {{"/runs"}, "cases", "{\"type\": \"boolean\", \"default\": false}", "Single cases, too."},
    {{"/runs/{id}"},
     "filter",
     "{\"enum\": [\"all\", \"wrong\", \"correct\", \"unparsed\", \"failed\"], \"default\": "
     "\"all\"}",
     "Kind of cases."},
    {{"/runs/{id}/events"},
     "last",
     "{\"type\": \"integer\", \"minimum\": 0}",
     "As the header Last-Event-ID."},
};

static bool has(const char *const *path, const char *wanted)
{
    for (int i = 0; i < PATHS && path[i]; i++)
        if (!strcmp(path[i], wanted))
            return true;
    return false;
}

const char *clinical_doc(const char *method, const char *path)
{
    for (size_t i = 0; i < sizeof docs / sizeof docs[0]; i++)
        if (!strcmp(docs[i].method, method) && has(docs[i].path, path))
            return docs[i].text;
    return NULL;
}

void clinical_doc_queries(const char *method, const char *path, struct str *out)
{
    for (size_t i = 0; i < sizeof queries / sizeof queries[0] && !strcmp(method, "GET"); i++) {
        const struct query *q = &queries[i];
        if (!has(q->path, path))
            continue;
        str_addf(out, "%s{\"name\": \"%s\", \"in\": \"query\", \"schema\": %s, \"description\": ",
                 out->len ? ", " : "", q->name, q->schema);
        str_add_json(out, q->text, strlen(q->text));
        str_adds(out, "}");
    }
}
