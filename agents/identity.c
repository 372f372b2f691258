#include "identity.h"

#include <string.h>

#include "budget.h"

static void identity_text(struct str *out, const char *key, const char *s)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_json(out, s, strlen(s));
}

void identity_json(const struct strategy_env *env, const char *data_sha256, struct str *out)
{
    const struct llm_info *info = llm_info(env->llm);
    str_adds(out, "{\"config\": ");
    config_json(env->config, true, out);
    str_addf(out, ", \"prompts\": {%s}", env->prompts.s);
    identity_text(out, "specialties_sha256", env->catalog->hash);
    identity_text(out, "model_sha256", info->model_sha256);
    identity_text(out, "chat", info->chat);
    identity_text(out, "backend", info->backend);
    identity_text(out, "host_layers", info->host_layers);
    if (info->served[0])
        identity_text(out, "served", info->served);
    str_addf(out, ", \"context\": %d", info->n_ctx);
    identity_text(out, "data_sha256", data_sha256);
    if (env->budget)
        str_addf(out, ", \"match_tokens\": \"%s\"", env->budget->sha256);
    if (env->subset)
        str_addf(out, ", \"subset\": %s", env->subset);
    if (env->variants)
        str_addf(out, ", \"variants\": %s", env->variants);
    str_addf(out, ", \"shuffle\": %s", env->shuffle ? "true" : "false");
    if (env->shard) /* the last member: merge.c takes it off */
        str_addf(out, ", \"shard\": %s", env->shard);
    str_addc(out, '}');
}

void identity_about(const struct strategy_env *env, const char *version, const char *data_path,
                    const char *energy, struct str *out)
{
    const struct llm_info *info = llm_info(env->llm);
    str_adds(out, "{\"version\": ");
    str_add_json(out, version, strlen(version));
    identity_text(out, "model", info->model);
    identity_text(out, "backend", info->backend);
    identity_text(out, "device", info->device);
    identity_text(out, "placement", info->placement);
    if (info->server[0])
        identity_text(out, "server", info->server);
    identity_text(out, "data", data_path);
    identity_text(out, "energy", energy);
    str_adds(out, ", \"config\": ");
    config_json(env->config, false, out);
    str_addc(out, '}');
}
