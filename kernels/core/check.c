#include "check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *expr, const char *file, int line, const char *why)
{
    fprintf(stderr, "mas: internal error at %s:%d: %s%s%s\n", file, line, expr, *why ? ": " : "",
            why);
    fflush(NULL);
    abort();
}
