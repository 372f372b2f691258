/*
 * catalog: the medical specialties a panel can ask. Read once from YAML (built in, or a path),
 * checked, immutable from then on. An entry's index is its place in the file and breaks every tie.
 */
#ifndef MAS_CATALOG_H
#define MAS_CATALOG_H

#include <stddef.h>

#include "err.h"
#include "mem.h"

#define CATALOG_MAX 64 /* a grammar keeps the ids already used in 64 bits */

enum catalog_kind { CATALOG_GENERALIST, CATALOG_MEDICAL, CATALOG_SURGICAL };
const char *catalog_kind_name(enum catalog_kind k);

struct catalog_entry {
    const char *id;    /* [a-z][a-z0-9_]* */
    const char *name;  /* as shown */
    const char *scope; /* one sentence: the field of this specialist */
    enum catalog_kind kind;
};

struct catalog {
    struct catalog_entry entry[CATALOG_MAX];
    int n, n_generalist;
    char hash[65]; /* sha256 over all fields in order */
    struct arena arena;
};

/* path "" = the built-in configs/specialties.yaml. ERR_NOINPUT, ERR_CONFIG "file:..", ERR_NOMEM. */
int catalog_read(const char *path, struct catalog *out, struct err *e);
/* As catalog_read, from YAML text; name is for messages. */
int catalog_parse(const char *text, size_t n, const char *name, struct catalog *out, struct err *e);
void catalog_free(struct catalog *c); /* accepts a zeroed one */

int catalog_find(const struct catalog *c, const char *id); /* index, or -1 */
/* As catalog_find, but ERR_CONFIG with the nearest id. */
int catalog_need(const struct catalog *c, const char *id, int *out, struct err *e);

#endif
