#include "thinker.h"

#include "engine.h"
#include "gguf_edit.h"
#include "llm.h"
#include "test.h"

void thinker_write(const char *path)
{
    struct str changes = STR_INIT;
    str_adds(&changes, "piece:5117=<think>,piece:5118=<|im_start|>,piece:5119=<|im_end|>");
    for (int id = 5096; id < 5117; id++)
        str_addf(&changes, ",piece:%d=</think>", id);
    gguf_edit(TEST_SOURCE "/configs/demo/toy_clinic.gguf", path, changes.s);
    str_free(&changes);
}

struct llm *thinker_llm(const char *path, const char *template, int n_seq)
{
    struct err e;
    struct engine *en = NULL;
    struct llm *l = NULL;
    struct engine_options o = {.model = path,
                               .backend = "cpu",
                               .n_threads = 2,
                               .n_ctx = 512,
                               .n_seq = n_seq,
                               .chat_template = template};
    ok(engine_open(&o, &en, &e));
    ok(llm_local_open(en, true, &l, &e));
    return l;
}
