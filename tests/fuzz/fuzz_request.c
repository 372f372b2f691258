/* Bodies of requests: JSON, read by the rows of every path. The first byte chooses the path. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "field.h"
#include "mem.h"
#include "route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A member that was read is within the limits of its row. */
static void check_row(const struct field_row *r, const void *at, const json_t *given)
{
    if (!given || json_is_null(given))
        return;
    if (r->type == FIELD_INT)
        CHECK((double)*(const int64_t *)at >= r->lo && (double)*(const int64_t *)at <= r->hi);
    if (r->type == FIELD_NUMBER)
        CHECK(*(const double *)at >= r->lo && *(const double *)at <= r->hi);
    if (r->type == FIELD_STRING) {
        const char *s = *(const char *const *)at;
        CHECK(strlen(s) == json_string_length(given) && (double)strlen(s) <= r->hi);
    }
    if (r->type == FIELD_WORD)
        CHECK(strstr(r->choices, *(const char *const *)at) != NULL);
    if (r->type == FIELD_ARRAY)
        CHECK((double)json_array_size(given) <= r->hi);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct field_set *set[256];
    int sets = 0;
    for (int i = 0; i < route_count && sets < 256; i++)
        if (route_table[i].fields)
            set[sets++] = route_table[i].fields;
    if (!n)
        return 0;
    const struct field_set *s = set[data[0] % sets];
    json_t *doc = NULL;
    const char *member = NULL;
    struct err e = {0};
    char *body = mem_strndup((const char *)data + 1, n - 1);
    void *args = mem_zalloc(1, s->size);
    CHECK(body && args);
    int rc = field_parse(body, n - 1, &doc, &e);
    if (rc == 0)
        rc = field_read(s, doc, args, &member, &e);
    CHECK((rc < 0) == (e.msg[0] != 0));
    for (int i = 0; rc == 0 && i < s->n; i++)
        check_row(&s->row[i], (const char *)args + s->row[i].offset,
                  json_object_get(doc, s->row[i].name));
    json_decref(doc);
    mem_free(args);
    mem_free(body);
    return 0;
}
