#include <stdio.h>
#include <string.h>

#include "check.h"
#include "config.h"

/* True for a key "map.name" whose name the map can take. */
static bool is_entry(const struct option_row *r, const char *key)
{
    size_t n = strlen(r->key);
    if (!option_is_map(r) || strncmp(key, r->key, n) || key[n] != '.')
        return false;
    const char *name = key + n + 1;
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return len && len < 64 && !name[len];
}

const struct option_row *config_find(const struct config *c, const char *key, const void **at)
{
    for (int s = 0; s < c->n; s++)
        for (int i = 0; i < c->set[s]->n; i++) {
            const struct option_row *r = &c->set[s]->row[i];
            if (option_is_map(r) ? is_entry(r, key) : !strcmp(r->key, key)) {
                if (at)
                    *at = (const char *)c->values + c->offset[s];
                return r;
            }
        }
    return NULL;
}

bool config_is_group(const struct config *c, const char *key)
{
    size_t n = strlen(key);
    for (int s = 0; s < c->n; s++)
        for (int i = 0; i < c->set[s]->n; i++) {
            const struct option_row *r = &c->set[s]->row[i];
            if (!strncmp(r->key, key, n) && (r->key[n] == '.' || (!r->key[n] && option_is_map(r))))
                return true;
        }
    return false;
}

/* ---- the nearest key ------------------------------------------------------------------------- */

/* Length of the group in "group.name", 0 for a key without one. */
static size_t group_length(const char *key)
{
    const char *dot = strchr(key, '.');
    return dot ? (size_t)(dot - key) : 0;
}

/* Edit distance between key and the key of a row. A key without its group is compared with the part
 * after the dot, at one step more. Of an entry of a map only the map's name counts. */
static int distance(const char *key, const struct option_row *r)
{
    char head[64];
    size_t dot = group_length(key), group = group_length(r->key);
    if (option_is_map(r) && dot && dot < sizeof head) {
        snprintf(head, sizeof head, "%.*s", (int)dot, key);
        return str_distance(head, r->key);
    }
    int whole = str_distance(key, r->key);
    if (!group)
        return whole;
    int name = str_distance(key, r->key + group + 1) + 1;
    return name < whole ? name : whole;
}

struct nearest {
    struct str *out;
    int best, listed;
    bool counting;
};

static void nearest_offer(struct nearest *s, const char *name, size_t n, int how_far)
{
    if (s->counting) {
        s->best = how_far < s->best ? how_far : s->best;
    } else if (how_far == s->best && s->listed < 3) {
        str_addf(s->out, "%s'%.*s'", s->listed++ ? " or " : "", (int)n, name);
    }
}

static void nearest_of_set(struct nearest *s, const struct option_set *set, const char *key)
{
    for (int i = 0; i < set->n; i++) {
        const char *name = set->row[i].key;
        size_t group = group_length(name);
        if (group && (!i || strncmp(name, set->row[i - 1].key, group + 1) != 0)) {
            char head[64];
            CHECK(group < sizeof head);
            snprintf(head, sizeof head, "%.*s", (int)group, name);
            nearest_offer(s, head, group, str_distance(key, head));
        }
        nearest_offer(s, name, strlen(name), distance(key, &set->row[i]));
    }
}

void config_nearest(const struct config *c, const char *key, struct str *out)
{
    size_t third = strlen(key) / 3; /* a distance above a third of its letters is another word */
    struct nearest s = {.out = out, .best = third < 2 ? 3 : third > 8 ? 9 : (int)third + 1};
    const int limit = s.best;
    for (int pass = 0; pass < 2; pass++) {
        s.counting = pass == 0;
        if (!s.counting && s.best == limit)
            return;
        nearest_offer(&s, "_base", 5, str_distance(key, "_base"));
        for (int i = 0; i < c->n; i++)
            nearest_of_set(&s, c->set[i], key);
    }
}
