#include "serve_options.h"

static const struct option_row rows[] = {
#define X(...) OPTION_ROW(struct serve_options, __VA_ARGS__)
#include "serve_options.def"
#undef X
};

const struct option_set serve_option_set = {rows, sizeof rows / sizeof rows[0],
                                            sizeof(struct serve_options), NULL, NULL};
