#include "provider.h"

#include <stdio.h>
#include <string.h>

#include "agent_options.h"

static const struct provider *const providers[] = {
#define X(name) &provider_##name,
#include "providers.def"
#undef X
};

static int provider_watched(const struct provider *p, const struct provider_options *o,
                            struct llm **out, struct err *e)
{
    TRY(p->open(o, out, e));
    llm_watch(*out, o->spans);
    return 0;
}

int provider_open(const struct provider_options *o, struct llm **out, struct err *e)
{
    const struct agent_options *of = config_of(o->config, &agent_option_set);
    const char *name = of->provider;
    char names[256];
    size_t n = 0;
    for (size_t i = 0; i < sizeof providers / sizeof providers[0]; i++) {
        if (!strcmp(providers[i]->name, name))
            return provider_watched(providers[i], o, out, e);
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "",
                              providers[i]->name);
    }
    FAIL(e, ERR_CONFIG, "no provider '%.40s'; there are %s", name, names);
}
