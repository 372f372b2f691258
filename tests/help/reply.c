#include "reply.h"

#include <string.h>

#include "tokenizer.h"

static void done(struct request *r)
{
    struct reply *p = (struct reply *)r;
    pthread_mutex_lock(&p->lock);
    p->ended++;
    pthread_cond_signal(&p->told);
    pthread_mutex_unlock(&p->lock);
}

int reply_run(struct engine *en, struct reply *p, struct err *e)
{
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->told, NULL);
    p->ended = 0;
    p->r.done = done;
    int rc = engine_submit(en, &p->r, e);
    if (rc == 0) {
        pthread_mutex_lock(&p->lock);
        while (!p->ended)
            pthread_cond_wait(&p->told, &p->lock);
        pthread_mutex_unlock(&p->lock);
        if (p->r.finish == FINISH_ERROR) {
            rc = p->r.err.code;
            if (e)
                *e = p->r.err;
        }
    }
    pthread_cond_destroy(&p->told);
    pthread_mutex_destroy(&p->lock);
    return rc;
}

int reply_prompt(const struct engine *en, const char *text, struct token_list *out, struct err *e)
{
    return tokenizer_encode(engine_tokenizer(en), text, strlen(text), TOK_BOS, out, e);
}
