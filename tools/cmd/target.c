#include "target.h"

#include <string.h>

static int target_input(const struct target *t, const char *const *input, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (input[i] && viewfile_same(t->path, input[i]))
            FAIL(e, ERR_USAGE, "%s %s is read by this command and would be lost; name another file",
                 t->option, t->path);
    return 0;
}

int target_check(const struct target *t, size_t n, const char *const *input, size_t n_input,
                 enum target_force force, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        if (!t[i].path)
            continue;
        for (size_t k = 0; k < i; k++)
            TRY(viewfile_apart(t[k].option, t[k].path, t[i].option, t[i].path, e));
        if (!strcmp(t[i].path, "-"))
            continue;
        TRY(target_input(&t[i], input, n_input, e));
        if (force == TARGET_FORCED)
            continue;
        struct err why = {.code = 0};
        const int rc = viewfile_free(t[i].kind, t[i].path, &why);
        if (rc < 0)
            FAIL(e, rc, "%s%s", why.msg,
                 rc == ERR_USAGE && force == TARGET_ASKS ? ", or give --force to replace it" : "");
    }
    return 0;
}
