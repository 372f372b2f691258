/* ollama: a server of Ollama, by its own API, which takes the length of the context. */
#include "agent_options.h"
#include "llm_http.h"
#include "provider.h"

#define OLLAMA_ADDRESS "http://127.0.0.1:11434"

static int ollama_open(const struct provider_options *o, struct llm **out, struct err *e)
{
    const struct agent_options *of = config_of(o->config, &agent_option_set);
    return llm_http_of(&form_ollama, o, *of->base_url ? of->base_url : OLLAMA_ADDRESS, out, e);
}

const struct provider provider_ollama = {
    .name = "ollama",
    .doc = "a server of Ollama, by its own API",
    .open = ollama_open,
};
