/* openai: a server with the API of OpenAI, such as vLLM, llama-server, Ollama's /v1, mas, or a
 * hosted service. */
#include "agent_options.h"
#include "llm_http.h"
#include "provider.h"

static int openai_open(const struct provider_options *o, struct llm **out, struct err *e)
{
    const struct agent_options *of = config_of(o->config, &agent_option_set);
    if (!*of->base_url)
        FAIL(e, ERR_CONFIG,
             "provider openai needs remote.base_url, such as http://127.0.0.1:8000/v1");
    return llm_http_of(&form_openai, o, of->base_url, out, e);
}

const struct provider provider_openai = {
    .name = "openai",
    .doc = "a server with the API of OpenAI",
    .open = openai_open,
};
