#include "engine_options.h"

#include "chat.h"
#include "kv.h"
#include "ops.h"
#include "seq.h"

#define KV_FORMATS (fmt_kv_choices + 1)

static const struct option_row rows[] = {
#define X(...) OPTION_ROW(struct engine_options, __VA_ARGS__)
#include "options.def"
#undef X
};

const struct option_set engine_option_set = {rows, sizeof rows / sizeof rows[0],
                                             sizeof(struct engine_options), NULL, NULL};
