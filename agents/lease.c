#include "lease.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "folder.h"
#include "jdoc.h"
#include "log.h"
#include "mem.h"
#include "zio.h"

#define LEASE_FILE 4096   /* bytes of a lease at most */
#define LEASE_TRIES 10000 /* numbers lost to other claimants */
#define LEASE_BEATS 6     /* beats of the holder that a claimant waits at least */

struct lease {
    struct lease_options o;
    struct folder folder;
    struct lease_self self;
    char what[256];
    int number;
    off_t beat_at; /* offset of the last line, which the heartbeat replaces */
    unsigned long long beats;
    struct str notes;
    /* the thread */
    pthread_t thread;
    pthread_mutex_t mutex; /* guards `ends` */
    pthread_cond_t wake;
    bool ends, threaded;
};

struct lease_held { /* a lease as its file tells */
    struct lease_self by;
    double beat_s;
    char since[32];
    bool released;
    char text[LEASE_FILE]; /* any change is a sign of life */
    size_t n;
};

/* ---- the own process ------------------------------------------------------------------------- */

/* The first line of a file of /proc; "" if there is none. */
static void lease_line(const char *path, char *out, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, out, size - 1) : -1;
    out[n > 0 ? n : 0] = 0;
    out[strcspn(out, "\n")] = 0;
    if (fd >= 0)
        close(fd);
}

/* State and start of a process; false: there is none. */
static bool lease_process(long pid, char *state, unsigned long long *start)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    lease_line(path, text, sizeof text);
    char *p = strrchr(text, ')'); /* the name before it may hold anything */
    if (!p || strlen(p) < 4)
        return false;
    *state = p[2];
    p += 2;
    for (int field = 3; field < 22; field++) {
        p = strchr(p, ' ');
        if (!p++)
            return false;
    }
    *start = strtoull(p, NULL, 10);
    return true;
}

void lease_self(struct lease_self *out)
{
    char state;
    memset(out, 0, sizeof *out);
    if (gethostname(out->host, sizeof out->host - 1) != 0)
        out->host[0] = 0;
    lease_line("/proc/sys/kernel/random/boot_id", out->boot, sizeof out->boot);
    const ssize_t n = readlink("/proc/self/ns/pid", out->space, sizeof out->space - 1);
    out->space[n > 0 ? n : 0] = 0;
    out->pid = (long)getpid();
    if (!lease_process(out->pid, &state, &out->start))
        out->boot[0] = 0; /* judged by the heartbeat */
}

static bool lease_alive(const struct lease *l, const struct lease_self *by)
{
    char state = 'X';
    unsigned long long start = 0;
    if (l->o.alive)
        return l->o.alive(l->o.user, by);
    return lease_process(by->pid, &state, &start) && state != 'Z' && state != 'X' &&
           start == by->start;
}

static bool lease_same_space(const struct lease_self *a, const struct lease_self *b)
{
    return a->boot[0] && a->space[0] && !strcmp(a->boot, b->boot) && !strcmp(a->space, b->space);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void lease_path(const struct lease *l, int number, char out[1100])
{
    char name[32];
    snprintf(name, sizeof name, "lease-%04d", number);
    folder_path(&l->folder, name, out);
}

/* The highest number in the folder; 0 = none. */
static int lease_highest(const struct folder *f, int *out, struct err *e)
{
    DIR *d = opendir(f->dir);
    int most = 0;
    if (!d)
        FAIL(e, ERR_IO, "cannot read the folder %s: %s", f->dir, strerror(errno));
    for (const struct dirent *i = readdir(d); i; i = readdir(d)) {
        int64_t k = 0;
        if (!strncmp(i->d_name, "lease-", 6) && str_to_i64(i->d_name + 6, 1, INT32_MAX - 1, &k))
            most = k > most ? (int)k : most;
    }
    closedir(d);
    *out = most;
    return 0;
}

static void lease_text(const struct lease *l, struct str *out)
{
    struct tm tm;
    char since[32];
    const time_t now = time(NULL);
    gmtime_r(&now, &tm);
    strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", &tm);
    str_adds(out, "{\"host\": ");
    str_add_json(out, l->self.host, strlen(l->self.host));
    str_addf(out, ", \"pid\": %ld, \"start\": \"%llu\", \"boot\": ", l->self.pid, l->self.start);
    str_add_json(out, l->self.boot, strlen(l->self.boot));
    str_adds(out, ", \"space\": ");
    str_add_json(out, l->self.space, strlen(l->self.space));
    str_addf(out, ", \"since\": \"%s\", \"beat_s\": %.3f}\n", since, l->o.beat_s);
}

static int lease_beat_line(const struct lease *l, bool held, char out[64])
{
    return snprintf(out, 64, "%s %020llu\n", held ? "held" : "free", l->beats);
}

static int lease_parse(struct lease_held *h, struct err *e)
{
    const char *nl = memchr(h->text, '\n', h->n);
    json_t *doc = NULL;
    json_int_t pid = 0;
    const char *host = "", *boot = "", *space = "", *start = "", *since = "";
    int rc;
    if (!nl) /* it is being made, on a file system without links */
        return 0;
    TRY_DONE(jdoc_load(h->text, (size_t)(nl - h->text), &doc, e));
    TRY_DONE(jdoc_string(doc, "host", &host, e));
    TRY_DONE(jdoc_string(doc, "boot", &boot, e));
    TRY_DONE(jdoc_string(doc, "space", &space, e));
    TRY_DONE(jdoc_string(doc, "start", &start, e));
    TRY_DONE(jdoc_string(doc, "since", &since, e));
    TRY_DONE(jdoc_int(doc, "pid", 0, INT64_MAX, &pid, e));
    TRY_DONE(jdoc_number(doc, "beat_s", 0, 1e6, &h->beat_s, e));
    snprintf(h->by.host, sizeof h->by.host, "%s", host);
    snprintf(h->by.boot, sizeof h->by.boot, "%s", boot);
    snprintf(h->by.space, sizeof h->by.space, "%s", space);
    snprintf(h->since, sizeof h->since, "%s", since);
    h->by.start = strtoull(start, NULL, 10);
    h->by.pid = (long)pid;
    h->released = h->text + h->n - nl > 5 && !memcmp(nl + 1, "free ", 5);
done:
    json_decref(doc);
    return rc;
}

/* Opens the file anew, which asks the server of a network file system for its present content. */
static int lease_read(const struct folder *f, int number, struct lease_held *out, struct err *e)
{
    char path[1100], name[32];
    ssize_t n = -1;
    snprintf(name, sizeof name, "lease-%04d", number);
    folder_path(f, name, path);
    memset(out, 0, sizeof *out);
    for (int i = 0; i < 3 && n < 0; i++) { /* ESTALE: the file handle was forgotten meanwhile */
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd >= 0 ? pread(fd, out->text, sizeof out->text, 0) : -1;
        const int why = errno;
        if (fd >= 0)
            close(fd);
        errno = why;
        if (n < 0 && errno != ESTALE && errno != EINTR)
            break;
    }
    if (n < 0)
        FAIL(e, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    out->n = (size_t)n;
    const int rc = lease_parse(out, e);
    return rc < 0 ? err_wrap(e, rc, "%s", path) : 0;
}

static int lease_refuse(const char *what, const struct lease_held *h, struct err *e)
{
    FAIL(e, ERR_CREATE,
         "%s is held by process %ld on host %s since %s; wait for it, or end it there", what,
         h->by.pid, h->by.host[0] ? h->by.host : "(unknown)", h->since[0] ? h->since : "(unknown)");
}

/* ---- taking ---------------------------------------------------------------------------------- */

static int64_t lease_clock(const struct lease *l)
{
    return l->o.clock ? l->o.clock(l->o.user) : clock_ns();
}

static void lease_sleep(const struct lease *l, double s)
{
    struct timespec t = {.tv_sec = (time_t)s, .tv_nsec = (long)((s - (double)(time_t)s) * 1e9)};
    if (l->o.sleep)
        l->o.sleep(l->o.user, s);
    else
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL); /* a signal ends it */
}

/* Watches the heartbeat of a holder on another host. *dead false: the number is not the highest any
 * more. A sign of life is ERR_CREATE. */
static int lease_watch(const struct lease *l, int number, const struct lease_held *h, bool *dead,
                       struct err *e)
{
    const int64_t begin = lease_clock(l);
    const double wait =
        l->o.wait_s > LEASE_BEATS * h->beat_s ? l->o.wait_s : LEASE_BEATS * h->beat_s;
    struct lease_held *now = mem_zalloc(1, sizeof *now);
    int rc = now ? 0 : NOMEM(e, sizeof *now, "a lease"), highest = number;
    *dead = false;
    log_line(LOG_WARN,
             "%s: process %ld on host %s held it last; watching for its heartbeat, up to "
             "%.0f s%s",
             l->what, h->by.pid, h->by.host, wait,
             wait > l->o.wait_s
                 ? " (six of its heartbeats, which is longer than the time of mas eval --lease)"
                 : "");
    while (rc == 0) {
        lease_sleep(l, l->o.beat_s / 4);
        if (l->o.stop && atomic_load(l->o.stop))
            TRY_DONE(err_set(e, ERR_CANCEL, "stopped while waiting for %s", l->what));
        TRY_DONE(lease_highest(&l->folder, &highest, e));
        if (highest != number)
            break;
        TRY_DONE(lease_read(&l->folder, number, now, e));
        if (now->released) {
            *dead = true;
            break;
        }
        if (now->n != h->n || memcmp(now->text, h->text, h->n) != 0)
            TRY_DONE(lease_refuse(l->what, now, e));
        *dead = (double)(lease_clock(l) - begin) * 1e-9 >= wait;
        if (*dead)
            break;
    }
done:
    mem_free(now);
    return rc;
}

/* May we take the number after this one? ERR_CREATE: its holder lives. */
static int lease_judge(struct lease *l, int number, bool *free_now, struct err *e)
{
    struct lease_held *h = mem_zalloc(1, sizeof *h);
    int rc = h ? 0 : NOMEM(e, sizeof *h, "a lease");
    if (rc == 0)
        rc = lease_read(&l->folder, number, h, e);
    if (rc < 0 || h->released) {
        *free_now = rc == 0;
        goto done;
    }
    if (lease_same_space(&l->self, &h->by)) {
        if (lease_alive(l, &h->by))
            TRY_DONE(lease_refuse(l->what, h, e));
        *free_now = true;
    } else {
        TRY_DONE(lease_watch(l, number, h, free_now, e));
    }
    if (*free_now) {
        str_clear(&l->notes);
        str_addf(&l->notes, "%s: taken over from process %ld on host %s, which %s\n", l->what,
                 h->by.pid, h->by.host,
                 lease_same_space(&l->self, &h->by) ? "ended without giving it back"
                                                    : "gave no sign of life");
    }
done:
    mem_free(h);
    return rc;
}

static int lease_claim(struct lease *l, struct err *e)
{
    struct str text = STR_INIT;
    char name[32], beat[64];
    bool made = false;
    int rc = 0;
    for (int i = 0; i < LEASE_TRIES; i++) {
        int highest = 0;
        bool free_now = true;
        TRY_DONE(lease_highest(&l->folder, &highest, e));
        if (highest)
            TRY_DONE(lease_judge(l, highest, &free_now, e));
        if (!free_now)
            continue;
        str_clear(&text);
        lease_text(l, &text);
        const size_t head = text.len;
        str_add(&text, beat, (size_t)lease_beat_line(l, true, beat));
        TRY_DONE(str_ok(&text, "a lease", e));
        snprintf(name, sizeof name, "lease-%04d", highest + 1);
        TRY_DONE(folder_publish(&l->folder, name, text.s, text.len, &made, e));
        if (made) {
            l->number = highest + 1;
            l->beat_at = (off_t)head;
            goto done;
        }
    }
    rc = err_set(e, ERR_CREATE, "%s: other processes took it %d times; try again", l->what,
                 LEASE_TRIES);
done:
    str_free(&text);
    return rc;
}

/* ---- holding --------------------------------------------------------------------------------- */

static int lease_write(struct lease *l, bool held, struct err *e)
{
    char path[1100], line[64];
    const int n = lease_beat_line(l, held, line);
    lease_path(l, l->number, path);
    const int fd = open(path, O_WRONLY | O_CLOEXEC); /* the name, not a handle that may be stale */
    bool bad = fd < 0 || pwrite(fd, line, (size_t)n, l->beat_at) != n || fsync(fd) != 0;
    int why = errno;
    if (fd >= 0 && close(fd) != 0 && !bad) {
        bad = true;
        why = errno;
    }
    if (bad)
        FAIL(e, ERR_IO, "cannot write the heartbeat of %s: %s", path, strerror(why));
    return 0;
}

int lease_beat(struct lease *l, struct err *e)
{
    l->beats++;
    return lease_write(l, true, e);
}

int lease_check(struct lease *l, struct err *e)
{
    char path[1100];
    struct stat st;
    struct lease_held *h;
    lease_path(l, l->number + 1, path);
    if (stat(path, &st) != 0) {
        if (errno != ENOENT)
            FAIL(e, ERR_IO, "cannot read %s: %s", path, strerror(errno));
        lease_path(l, l->number, path);
        if (stat(path, &st) != 0)
            FAIL(e, ERR_IO, "%s: the lease %s is gone: %s", l->what, path, strerror(errno));
        return 0;
    }
    h = mem_zalloc(1, sizeof *h);
    if (!h)
        return NOMEM(e, sizeof *h, "a lease");
    int rc = lease_read(&l->folder, l->number + 1, h, e);
    if (rc == 0)
        rc = err_set(e, ERR_CREATE,
                     "%s was taken over by process %ld on host %s at %s, because this process gave "
                     "no sign of life; nothing more is written here",
                     l->what, h->by.pid, h->by.host, h->since);
    mem_free(h);
    return rc;
}

static void *lease_run(void *arg)
{
    struct lease *l = arg;
    bool said = false;
    pthread_mutex_lock(&l->mutex);
    while (!l->ends) {
        struct timespec t;
        struct err e = {.code = 0};
        clock_gettime(CLOCK_MONOTONIC, &t);
        const int64_t at =
            (int64_t)t.tv_sec * 1000000000 + t.tv_nsec + (int64_t)(l->o.beat_s * 1e9);
        t = (struct timespec){.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
        int late = 0;
        while (!l->ends && !late)
            late = pthread_cond_timedwait(&l->wake, &l->mutex, &t);
        if (l->ends)
            break;
        pthread_mutex_unlock(&l->mutex);
        if (lease_beat(l, &e) < 0 && !said) {
            said = true;
            log_warn("%s; another process may take the folder over", e.msg);
        }
        pthread_mutex_lock(&l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

/* Signals stay with the main thread. */
static int lease_start(struct lease *l, struct err *e)
{
    sigset_t all, was;
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &a);
    pthread_condattr_destroy(&a);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    const int rc = pthread_create(&l->thread, NULL, lease_run, l);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    l->threaded = rc == 0;
    if (rc)
        FAIL(e, ERR_AGAIN, "cannot start a thread: %s", strerror(rc));
    return 0;
}

int lease_take(const struct lease_options *o, struct lease **out, struct err *e)
{
    struct lease *l = mem_zalloc(1, sizeof *l);
    int rc;
    if (!l)
        return NOMEM(e, sizeof *l, "a lease");
    l->o = *o;
    l->notes = (struct str)STR_INIT;
    l->folder.lock = -1;
    l->o.beat_s = o->beat_s > 0 ? o->beat_s : LEASE_BEAT_S;
    l->o.wait_s = o->wait_s > 0 ? o->wait_s : LEASE_WAIT_S;
    snprintf(l->what, sizeof l->what, "%s", o->what);
    if (o->self)
        l->self = *o->self;
    else
        lease_self(&l->self);
    pthread_mutex_init(&l->mutex, NULL);
    TRY_DONE(folder_make(&l->folder, o->dir, e));
    TRY_DONE(lease_claim(l, e));
    if (!o->sleep)
        TRY_DONE(lease_start(l, e));
    *out = l;
    return 0;
done:
    lease_give(l);
    return rc;
}

int lease_number(const struct lease *l)
{
    return l->number;
}

const char *lease_notes(const struct lease *l)
{
    return l->notes.s;
}

void lease_give(struct lease *l)
{
    struct err ignored; /* a successor then judges by process or heartbeat */
    if (!l)
        return;
    if (l->threaded) {
        pthread_mutex_lock(&l->mutex);
        l->ends = true;
        pthread_cond_signal(&l->wake);
        pthread_mutex_unlock(&l->mutex);
        pthread_join(l->thread, NULL);
        pthread_cond_destroy(&l->wake);
    }
    l->beats++;
    if (l->number)
        (void)lease_write(l, false, &ignored);
    pthread_mutex_destroy(&l->mutex);
    str_free(&l->notes);
    mem_free(l);
}

int lease_refuse_held(const char *dir, struct err *e)
{
    struct folder f = {.lock = -1};
    struct lease l = {.o = {.dir = dir}};
    struct lease_held *h;
    int highest = 0, rc = 0;
    if ((size_t)snprintf(f.dir, sizeof f.dir, "%s", dir) >= sizeof f.dir)
        FAIL(e, ERR_USAGE, "the folder's name is too long: %zu bytes", strlen(dir));
    TRY(lease_highest(&f, &highest, e));
    if (!highest)
        return 0;
    h = mem_zalloc(1, sizeof *h);
    if (!h)
        return NOMEM(e, sizeof *h, "a lease");
    rc = lease_read(&f, highest, h, e);
    lease_self(&l.self);
    if (rc == 0 && !h->released && (!lease_same_space(&l.self, &h->by) || lease_alive(&l, &h->by)))
        rc = lease_refuse(dir, h, e);
    mem_free(h);
    return rc;
}
