#include "reader.h"

#include <pthread.h>
#include <stdbool.h>

#include "check.h"
#include "clock.h"
#include "mem.h"

struct reader {
    int (*fill)(void *user, uint64_t piece, struct err *e);
    void *user;
    pthread_t thread;
    /* shared by both threads, under lock */
    pthread_mutex_t lock;
    pthread_cond_t more;        /* given has grown, or stop */
    pthread_cond_t filled_more; /* filled has grown, or failed */
    uint64_t given, filled;
    int64_t busy_ns;
    bool stop;
    struct err failed; /* code != 0: nothing is filled any more */
};

/* With the lock held, waits for a piece to fill; false: stop. */
static bool reader_next(struct reader *r)
{
    while (!r->stop && (r->failed.code || r->filled == r->given))
        pthread_cond_wait(&r->more, &r->lock);
    return !r->stop;
}

static void *reader_main(void *arg)
{
    struct reader *r = arg;
    pthread_mutex_lock(&r->lock);
    while (reader_next(r)) {
        uint64_t piece = r->filled;
        struct err why = {0};
        pthread_mutex_unlock(&r->lock);
        int64_t t0 = clock_ns();
        int rc = r->fill(r->user, piece, &why);
        int64_t ns = clock_ns() - t0;
        pthread_mutex_lock(&r->lock);
        r->busy_ns += ns;
        if (rc < 0) {
            r->failed = why;
            r->failed.code = rc;
        } else {
            r->filled++;
        }
        pthread_cond_signal(&r->filled_more);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void reader_free(struct reader *r)
{
    pthread_cond_destroy(&r->filled_more);
    pthread_cond_destroy(&r->more);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

int reader_open(int (*fill)(void *, uint64_t, struct err *), void *user, struct reader **out,
                struct err *e)
{
    struct reader *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return NOMEM(e, sizeof *r, "the reader of weights");
    r->fill = fill;
    r->user = user;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->more, NULL);
    pthread_cond_init(&r->filled_more, NULL);
    if (pthread_create(&r->thread, NULL, reader_main, r)) {
        reader_free(r);
        FAIL(e, ERR_AGAIN, "cannot start the thread that reads weights");
    }
    *out = r;
    return 0;
}

void reader_close(struct reader *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->more);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    reader_free(r);
}

void reader_give(struct reader *r, uint64_t upto)
{
    pthread_mutex_lock(&r->lock);
    CHECK(upto >= r->given);
    r->given = upto;
    pthread_cond_signal(&r->more);
    pthread_mutex_unlock(&r->lock);
}

/* Called with the lock held. */
static int reader_result(const struct reader *r, struct err *e)
{
    if (r->failed.code)
        FAIL(e, r->failed.code, "%s", r->failed.msg);
    return 0;
}

int reader_filled(struct reader *r, uint64_t *filled, struct err *e)
{
    pthread_mutex_lock(&r->lock);
    int rc = reader_result(r, e);
    if (rc == 0)
        *filled = r->filled;
    pthread_mutex_unlock(&r->lock);
    return rc;
}

int reader_wait(struct reader *r, uint64_t piece, struct err *e)
{
    pthread_mutex_lock(&r->lock);
    CHECK(piece < r->given);
    while (r->filled <= piece && !r->failed.code)
        pthread_cond_wait(&r->filled_more, &r->lock);
    int rc = r->filled > piece ? 0 : reader_result(r, e);
    pthread_mutex_unlock(&r->lock);
    return rc;
}

int64_t reader_busy_ns(struct reader *r)
{
    pthread_mutex_lock(&r->lock);
    int64_t ns = r->busy_ns;
    pthread_mutex_unlock(&r->lock);
    return ns;
}
