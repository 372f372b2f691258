/* tool_options: the options of the commands that run strategies, and the configuration made of all
 * tables: the engine's, the agents' and this one. */
#ifndef MAS_TOOL_OPTIONS_H
#define MAS_TOOL_OPTIONS_H

#include "config.h"
#include "log.h"

/* X(..) as in option.h. */
#define TOOL_OPTIONS(X)                                                                            \
    X(const char *, data, STRING, "data", NULL, 0, NULL, 0, 4096, "", NULL, "", 0,                 \
      "Questions of mas eval without --data: a path, or medqa, which mas pull downloads.")         \
    X(const char *, data_format, STRING, "data_format", "data-format", 0, "NAME", 0, 64, "", NULL, \
      "", 0, "Format of the questions, a name of agents/DATASETS.md; empty: their content tells.") \
    X(const char *, traces_dir, STRING, "logging.traces_dir", NULL, 0, NULL, 1, 4096, "runs",      \
      NULL, "", 0, "Folder that gets one folder a run, with its traces.")                          \
    X(enum log_level, log_level, ENUM, "logging.level", NULL, 0, NULL, 0, 0, "warn",               \
      "error|warn|info|debug", "", 0, "Least severe kind of message on standard error.")           \
    X(double, price_kwh, FLOAT, "price_kwh", "price-kwh", 0, "USD", 0, 100, "0.12", NULL, "USD",   \
      0, "Price of a kilowatt-hour, for the cost of a question.")

struct tool_options {
    TOOL_OPTIONS(OPTION_MEMBER)
};
extern const struct option_set tool_option_set;

/* A configuration with every table and its defaults. */
int tool_config_init(struct config *c, struct err *e);

#endif
