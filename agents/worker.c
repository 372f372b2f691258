/* The messages, and a worker's side of them. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem.h"
#include "worker_frame.h"
#include "workers.h"

#define WORKER_WAIT_MS 200 /* an idle worker looks for its next question */
#define WORKER_READ ((size_t)64 << 10)

/* ---- messages -------------------------------------------------------------------------------- */

static int worker_put(int fd, const void *data, size_t n, struct err *e)
{
    const char *p = data;
    while (n) {
        const ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            FAIL(e, ERR_AGAIN, "the other process is gone: %s", strerror(errno));
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

int worker_send(int fd, enum worker_kind kind, int64_t number, const char *text, size_t n,
                struct err *e)
{
    const struct worker_frame f = {.kind = (int32_t)kind, .number = number, .n = n};
    TRY(worker_put(fd, &f, sizeof f, e));
    return worker_put(fd, text, n, e);
}

int worker_receive(int fd, struct str *in, bool *gone, struct err *e)
{
    char buf[WORKER_READ];
    *gone = false;
    for (;;) {
        const ssize_t k = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
        if (k > 0) {
            str_add(in, buf, (size_t)k);
            continue;
        }
        if (k < 0 && errno == EINTR)
            continue;
        *gone = k == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
        return str_ok(in, "a message", e);
    }
}

bool worker_next(const struct str *in, struct worker_frame *f, const char **text)
{
    if (in->len < sizeof *f)
        return false;
    memcpy(f, in->s, sizeof *f);
    if (f->n > WORKER_FRAME_MOST || in->len - sizeof *f < f->n)
        return false;
    *text = in->s + sizeof *f;
    return true;
}

void worker_drop(struct str *in, const struct worker_frame *f)
{
    const size_t n = sizeof *f + (size_t)f->n;
    memmove(in->s, in->s + n, in->len - n);
    in->len -= n;
    in->s[in->len] = 0;
}

/* ---- a worker -------------------------------------------------------------------------------- */

struct worker {
    int fd;
    const struct medqa_question *question;
    size_t n_question;
    struct str in;
    char fail[512]; /* the reason of the last GIVE */
    bool over;
    struct run_feed feed;
};

static int worker_record(void *user, const struct consult *c, struct err *e)
{
    struct worker *w = user;
    struct str s = STR_INIT;
    int rc = trace_lines(c, &s, e);
    if (rc == 0)
        rc = worker_send(w->fd, WORKER_DONE, c->q->index, s.s, s.len, e);
    str_free(&s);
    return rc;
}

static const struct medqa_question *worker_find(const struct worker *w, int64_t index)
{
    size_t lo = 0, hi = w->n_question;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (w->question[mid].index < index)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < w->n_question && w->question[lo].index == index ? &w->question[lo] : NULL;
}

/* Handles messages until one is a question and there is room for it. */
static int worker_read(struct worker *w, bool room, struct run_given *out, struct err *e)
{
    struct worker_frame f;
    const char *text;
    while (worker_next(&w->in, &f, &text)) {
        if (f.kind == WORKER_STOP)
            FAIL(e, ERR_CANCEL, "stopped");
        if (f.kind == WORKER_GIVE && !room)
            break;
        if (f.kind == WORKER_GIVE) {
            out->q = worker_find(w, f.number);
            if (!out->q)
                FAIL(e, ERR_BUG, "question %lld is not among %zu", (long long)f.number,
                     w->n_question);
            const size_t n = f.n < sizeof w->fail ? (size_t)f.n : sizeof w->fail - 1;
            memcpy(w->fail, text, n);
            w->fail[n] = 0;
            out->fail = n ? w->fail : NULL;
            worker_drop(&w->in, &f);
            break;
        }
        w->over |= f.kind == WORKER_OVER;
        worker_drop(&w->in, &f);
    }
    out->over = w->over && !out->q;
    return 0;
}

static int worker_take(void *user, bool room, bool idle, struct run_given *out, struct err *e)
{
    struct worker *w = user;
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    bool gone = false;
    TRY(worker_receive(w->fd, &w->in, &gone, e));
    if (idle && !gone && w->in.len < sizeof(struct worker_frame)) {
        (void)poll(&p, 1, WORKER_WAIT_MS);
        TRY(worker_receive(w->fd, &w->in, &gone, e));
    }
    if (gone)
        FAIL(e, ERR_CANCEL, "the parent process is gone");
    return worker_read(w, room, out, e);
}

int worker_open(int fd, const char *identity, const char *about,
                const struct medqa_question *question, size_t n_question, int slots,
                struct worker **out, struct err *e)
{
    struct worker *w = mem_zalloc(1, sizeof *w);
    int rc;
    if (!w)
        return NOMEM(e, sizeof *w, "a worker");
    *w = (struct worker){.fd = fd, .question = question, .n_question = n_question, .in = STR_INIT};
    w->feed = (struct run_feed){.take = worker_take, .record = worker_record, .user = w};
    TRY_DONE(worker_send(fd, WORKER_IDENTITY, 0, identity, strlen(identity), e));
    TRY_DONE(worker_send(fd, WORKER_ABOUT, 0, about, strlen(about), e));
    TRY_DONE(worker_send(fd, WORKER_READY, slots, "", 0, e));
    *out = w;
    return 0;
done:
    worker_close(w);
    return rc;
}

const struct run_feed *worker_feed(struct worker *w)
{
    return &w->feed;
}

void worker_failed(int fd, int rc, const struct err *why)
{
    struct err ignored; /* the parent sees the end of the process anyway */
    (void)worker_send(fd, WORKER_ERROR, rc, why->msg, strlen(why->msg), &ignored);
}

void worker_end(struct worker *w, const char *figures, int rc, const struct err *why)
{
    struct err ignored;
    if (*figures)
        (void)worker_send(w->fd, WORKER_FIGURES, 0, figures, strlen(figures), &ignored);
    if (rc < 0)
        worker_failed(w->fd, rc, why);
    else
        (void)worker_send(w->fd, WORKER_ENDED, 0, "", 0, &ignored);
}

void worker_close(struct worker *w)
{
    if (!w)
        return;
    str_free(&w->in);
    mem_free(w);
}
