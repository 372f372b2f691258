#include "placed.h"

int place_run(const struct plan *plan, const struct weights *w, struct ops *ops, double link_limit,
              void (*progress)(uint64_t, uint64_t, void *), void *user, struct place **out,
              struct err *e)
{
    struct place *p;
    TRY(place_open(plan, w, &ops, NULL, NULL, link_limit, &p, e));
    int rc = place_load(p, progress, user, e);
    if (rc < 0) {
        place_free(p);
        return rc;
    }
    *out = p;
    return 0;
}
