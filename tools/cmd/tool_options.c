#include "tool_options.h"

#include "agent_options.h"
#include "engine_options.h"
#include "serve_options.h"

static const struct option_row rows[] = {
#define ROW(...) OPTION_ROW(struct tool_options, __VA_ARGS__)
    TOOL_OPTIONS(ROW)};

const struct option_set tool_option_set = {rows, sizeof rows / sizeof rows[0],
                                           sizeof(struct tool_options), NULL, NULL};

int tool_config_init(struct config *c, struct err *e)
{
    const struct option_set *sets[CONFIG_SETS_MAX] = {&engine_option_set};
    int n = 1 + agent_option_sets(sets + 1, CONFIG_SETS_MAX - 3);
    sets[n++] = &tool_option_set;
    sets[n++] = &serve_option_set;
    return config_init(c, sets, n, e);
}
