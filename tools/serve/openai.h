/* openai: OpenAI's API: models, completions, chat completions, responses. */
#ifndef MAS_OPENAI_H
#define MAS_OPENAI_H

#include "field.h"

extern const struct field_set openai_completion_fields;

#endif
