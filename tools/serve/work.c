#include "work.h"

#include <pthread.h>
#include <stdbool.h>

#include "check.h"
#include "mem.h"

struct work {
    pthread_mutex_t lock;
    pthread_cond_t news;
    struct work_job *head, **tail;
    pthread_t *thread;
    int n;
    bool closing;
};

static void *work_main(void *arg)
{
    struct work *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->head && !w->closing)
            pthread_cond_wait(&w->news, &w->lock);
        struct work_job *j = w->head;
        if (!j)
            break;
        w->head = j->next;
        if (!w->head)
            w->tail = &w->head;
        pthread_mutex_unlock(&w->lock);
        j->run(j);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int work_open(int threads, struct work **out, struct err *e)
{
    struct work *w = mem_zalloc(1, sizeof *w);
    if (!w)
        return NOMEM(e, sizeof *w, "worker threads");
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->news, NULL);
    w->tail = &w->head;
    w->thread = mem_zalloc((size_t)threads, sizeof *w->thread);
    while (w->thread && w->n < threads && pthread_create(&w->thread[w->n], NULL, work_main, w) == 0)
        w->n++;
    if (w->n < threads) {
        work_close(w);
        FAIL(e, ERR_AGAIN, "cannot start %d worker threads", threads);
    }
    *out = w;
    return 0;
}

void work_post(struct work *w, struct work_job *j)
{
    j->next = NULL;
    pthread_mutex_lock(&w->lock);
    *w->tail = j;
    w->tail = &j->next;
    pthread_cond_signal(&w->news);
    pthread_mutex_unlock(&w->lock);
}

void work_close(struct work *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_broadcast(&w->news);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->n; i++)
        pthread_join(w->thread[i], NULL);
    CHECK(!w->head);
    pthread_cond_destroy(&w->news);
    pthread_mutex_destroy(&w->lock);
    mem_free(w->thread);
    mem_free(w);
}
