/* thinker: the demo model with the control tokens of Qwen3. Its thoughts are noise. Most control
 * tokens become the end of thinking, so that a hot model draws it now and then. */
#ifndef MAS_THINKER_H
#define MAS_THINKER_H

#include <stddef.h>

struct llm;

/* Writes the model to path. */
void thinker_write(const char *path);
/* Opens it with two threads, a context of 512 and a chat template. */
struct llm *thinker_llm(const char *path, const char *template, int n_seq);

#endif
