/* serve_options: the options of the server (serve_options.def). */
#ifndef MAS_SERVE_OPTIONS_H
#define MAS_SERVE_OPTIONS_H

#include "config.h"

struct serve_options {
#define X(...) OPTION_MEMBER(__VA_ARGS__)
#include "serve_options.def"
#undef X
};
extern const struct option_set serve_option_set;

#endif
