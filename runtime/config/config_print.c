#include "config.h"

#include <string.h>

#include "knob.h"

void config_value(const struct config *c, const struct config_knob *k, struct str *out)
{
    if (k->type == CONFIG_STRING || k->type == CONFIG_ENUM) {
        str_adds(out, *(char *const *)(const void *)((const char *)c + k->offset));
    } else if (k->type == CONFIG_LIST) {
        int n;
        char *const *items = knob_items(c, k, &n);
        str_addc(out, '[');
        for (int i = 0; i < n; i++)
            str_addf(out, "%s%s", i ? ", " : "", items[i]);
        str_addc(out, ']');
    } else {
        knob_json(c, k, out);
    }
}

void config_json(const struct config *c, bool only_result_knobs, struct str *out)
{
    size_t n;
    const struct config_knob *k = config_knobs(&n);
    const char *comma = "";
    str_addc(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (only_result_knobs && !k[i].affects_result)
            continue;
        str_addf(out, "%s\"%s\": ", comma, k[i].key);
        knob_json(c, &k[i], out);
        comma = ", ";
    }
    str_addc(out, '}');
}

void config_reference(struct str *out)
{
    size_t n;
    const struct config_knob *k = config_knobs(&n);
    str_adds(
        out,
        "# Every key of a configuration with its default.\n"
        "# '_base: other.yaml' reads another file first; --set key=value has the last word.\n");
    for (size_t i = 0; i < n; i++) {
        const char *dot = strchr(k[i].key, '.'), *indent = dot ? "  " : "";
        size_t group = dot ? (size_t)(dot - k[i].key) + 1 : 0;
        if (!group || !i || strncmp(k[i].key, k[i - 1].key, group)) {
            str_addc(out, '\n');
            if (group)
                str_addf(out, "%.*s:\n", (int)group - 1, k[i].key);
        }
        str_addf(out, "%s# %s\n%s# Takes ", indent, k[i].doc, indent);
        knob_rule(&k[i], out);
        const char *dflt = k[i].type == CONFIG_LIST ? "[]" : *k[i].dflt ? k[i].dflt : "\"\"";
        str_addf(out, ".\n%s%s: %s\n", indent, k[i].key + group, dflt);
    }
}
