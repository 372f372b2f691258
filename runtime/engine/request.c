#include "request.h"

const char *finish_name(enum finish f)
{
    static const char *const names[] = {"running", "stop",      "length",
                                        "closed",  "cancelled", "error"};
    return names[f];
}
