#include "differ.h"

#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "gguf.h"
#include "rng.h"

static bool no_gdb;

/* ---- dice ---- */

int dice_int(struct dice *d, int lo, int hi)
{
    return lo + (int)rng_below(rng_mix(d->seed), d->n++, (uint32_t)(hi - lo + 1));
}

bool dice_chance(struct dice *d, int percent)
{
    return dice_int(d, 1, 100) <= percent;
}

uint64_t dice_u64(struct dice *d)
{
    return rng_u64(rng_mix(d->seed), d->n++);
}

void dice_word(struct dice *d, const char *words, char *out, size_t size)
{
    int n = 1;
    for (const char *s = words; *s; s++)
        n += *s == '|';
    for (int skip = dice_int(d, 0, n - 1); skip > 0; words++)
        skip -= *words == '|';
    snprintf(out, size, "%.*s", (int)strcspn(words, "|"), words);
}

/* ---- children ---- */

double now_seconds(void)
{
    return (double)clock_ns() / 1e9;
}

static void say_and_leave(const char *what)
{
    perror(what);
    _exit(70);
}

static void redirect(const char *path, int fd)
{
    int f = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (f < 0 || dup2(f, fd) < 0)
        say_and_leave(path);
    close(f);
}

/* Allows any process to attach to the child, if the kernel restricts that. The child ends with the
 * test. */
static void child_begin(void)
{
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

static pid_t fork_or_die(void)
{
    fflush(stdout);
    fflush(stderr);
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(70);
    }
    return pid;
}

void child_fork(struct child *c, const char *log, int (*body)(void *user), void *user)
{
    *c = (struct child){
        .log = log, .handlers = true, .started = now_seconds(), .pid = fork_or_die()};
    if (c->pid)
        return;
    child_begin();
    redirect(log, 2);
    if (dup2(2, 1) < 0)
        say_and_leave("dup2");
    child_traces();
    exit(body(user));
}

void child_exec(struct child *c, const char *dir, const char *out, const char *log,
                char *const argv[])
{
    *c = (struct child){.log = log, .started = now_seconds(), .pid = fork_or_die()};
    if (c->pid)
        return;
    child_begin();
    redirect(out, 1);
    redirect(log, 2);
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, 0) < 0 || chdir(dir) < 0)
        say_and_leave(dir);
    execv(argv[0], argv);
    say_and_leave(argv[0]);
}

/* True when the child has ended; its status is then stored. */
static bool child_ended(struct child *c)
{
    int status;
    struct rusage used;
    if (c->ended)
        return true;
    if (wait4(c->pid, &status, WNOHANG, &used) != c->pid)
        return false;
    c->cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
             (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    c->ended = true;
    c->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    c->seconds = now_seconds() - c->started;
    return true;
}

static bool child_ends_within(struct child *c, double seconds)
{
    for (double start = now_seconds(); !child_ended(c); usleep(2000))
        if (now_seconds() - start > seconds)
            return false;
    return true;
}

/* Appends gdb's backtraces of all threads to the log; false: gdb is missing or cannot attach. */
static bool traces_by_gdb(const struct child *c)
{
    char pid[24];
    snprintf(pid, sizeof pid, "%d", (int)c->pid);
    char *argv[] = {"gdb", "-p", pid, "-batch", "-nx", "-ex", "thread apply all bt 14", NULL};
    struct child gdb = {.started = now_seconds(), .pid = fork_or_die()};
    if (!gdb.pid) {
        int f = open(c->log, O_WRONLY | O_APPEND);
        if (f < 0 || dup2(f, 1) < 0 || dup2(f, 2) < 0)
            _exit(127);
        execvp(argv[0], argv);
        _exit(127);
    }
    if (!child_ends_within(&gdb, 60)) {
        kill(gdb.pid, SIGKILL);
        waitpid(gdb.pid, NULL, 0);
        return false;
    }
    return gdb.status == 0;
}

static void append_file(FILE *to, const char *label, const char *path)
{
    char *text = differ_read(path);
    fprintf(to, "  %s: %s%s", label, text, strchr(text, '\n') ? "" : "\n");
    free(text);
}

/* User and system time in clock ticks of the process or thread with this folder in /proc. */
static unsigned long cpu_ticks(const char *folder)
{
    char path[700];
    snprintf(path, sizeof path, "%s/stat", folder);
    char *text = differ_read(path), *after = strrchr(text, ')');
    unsigned long user = 0, sys = 0;
    if (!after ||
        sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) != 2)
        user = sys = 0;
    free(text);
    return user + sys;
}

/*
 * Backtraces without gdb: writes the state of each thread from /proc. A forked child prints each
 * thread's backtrace on SIGUSR1. An executed program has no such handler: its busiest thread gets
 * SIGABRT, and AddressSanitizer prints the stack (handle_abort=1).
 */
static void traces_by_signals(const struct child *c)
{
    char task[64], path[700];
    snprintf(task, sizeof task, "/proc/%d/task", (int)c->pid);
    DIR *dir = opendir(task);
    pid_t busiest = c->pid;
    unsigned long most = 0;
    for (struct dirent *d; dir && (d = readdir(dir));) {
        pid_t tid = (pid_t)atoi(d->d_name);
        if (tid <= 0)
            continue;
        FILE *log = fopen(c->log, "a");
        if (!log)
            break;
        fprintf(log, "thread %d\n", (int)tid);
        static const char *const files[] = {"comm", "wchan", "syscall"};
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
            snprintf(path, sizeof path, "%s/%s/%s", task, d->d_name, files[i]);
            append_file(log, files[i], path);
        }
        fclose(log);
        snprintf(path, sizeof path, "%s/%s", task, d->d_name);
        unsigned long ticks = cpu_ticks(path);
        busiest = ticks > most ? tid : busiest;
        most = ticks > most ? ticks : most;
        if (c->handlers) {
            syscall(SYS_tgkill, c->pid, tid, SIGUSR1);
            usleep(100000); /* one backtrace at a time */
        }
    }
    if (dir)
        closedir(dir);
    if (!c->handlers) {
        syscall(SYS_tgkill, c->pid, busiest, SIGABRT);
        sleep(1);
    }
}

static void child_hung(struct child *c)
{
    if (no_gdb || !traces_by_gdb(c))
        traces_by_signals(c);
    kill(c->pid, SIGKILL);
    int status;
    waitpid(c->pid, &status, 0);
    c->ended = c->hung = true;
    c->status = 128 + SIGKILL;
    c->seconds = now_seconds() - c->started;
}

static double cpu_seconds(const struct child *c)
{
    char folder[40];
    snprintf(folder, sizeof folder, "/proc/%d", (int)c->pid);
    return (double)cpu_ticks(folder) / (double)sysconf(_SC_CLK_TCK);
}

void child_wait(struct child *c, const volatile double *limit)
{
    for (int i = 0; !child_ended(c); i++) {
        bool look = i % 64 == 63;
        if (look && (cpu_seconds(c) > *limit ||
                     now_seconds() - c->started > WALL_SECONDS + WALL_SLOWER * *limit)) {
            child_hung(c);
            return;
        }
        usleep(1000);
    }
}

bool child_signal_after(struct child *c, double seconds, int sig)
{
    if (child_ends_within(c, seconds))
        return false;
    kill(c->pid, sig);
    return true;
}

/* Uses backtrace_symbols_fd, which allocates nothing. */
static void on_trace(int sig)
{
    void *at[40];
    char head[64];
    int n = snprintf(head, sizeof head, "signal %d, thread %ld\n", sig, (long)syscall(SYS_gettid));
    if (write(2, head, (size_t)n) == n)
        backtrace_symbols_fd(at, backtrace(at, 40), 2);
    if (sig == SIGUSR1)
        return;
    signal(sig, SIG_DFL);
    raise(sig);
}

void child_traces(void)
{
    void *at[2];
    backtrace(at, 2); /* the first call loads a library; a signal handler must not do that */
    signal(SIGUSR1, on_trace);
#ifndef __SANITIZE_ADDRESS__ /* AddressSanitizer prints its own backtraces */
    signal(SIGABRT, on_trace);
    signal(SIGSEGV, on_trace);
    signal(SIGBUS, on_trace);
    signal(SIGFPE, on_trace);
    signal(SIGILL, on_trace);
#endif
}

void child_without_gdb(void)
{
    no_gdb = true;
}

/* ---- the smallest trial ---- */

void shrink_run(struct shrink *s)
{
    void *before = malloc(s->size);
    double start = now_seconds();
    bool smaller = before != NULL;
    while (smaller) {
        smaller = false;
        for (int part = 0; part < s->n_part && now_seconds() - start < s->seconds; part++) {
            memcpy(before, s->trial, s->size);
            bool dropped = s->drop(s->trial, part), fails = dropped && s->fails(s->trial, s->user);
            s->tries += dropped;
            smaller |= fails;
            if (!fails)
                memcpy(s->trial, before, s->size);
        }
    }
    free(before);
}

/* ---- the command line ---- */

void differ_options_read(int argc, char **argv, const struct option *own,
                         void (*take)(int key, char *value, void *user), void *user,
                         struct differ_options *out)
{
    static const struct option shared[] = {{"seed", 1, 0, 's'},    {"count", 1, 0, 'n'},
                                           {"minutes", 1, 0, 'm'}, {"keep-going", 0, 0, 'k'},
                                           {"no-gdb", 0, 0, 'g'},  {"shrink-seconds", 1, 0, 'h'}};
    enum { SHARED = sizeof shared / sizeof *shared, MOST = 16 };
    struct option all[MOST + 1] = {{0}};
    int n = SHARED;
    memcpy(all, shared, sizeof shared);
    while (own->name && n < MOST)
        all[n++] = *own++;
    *out = (struct differ_options){.seed = 1, .count = -1, .minutes = 1e9, .shrink_seconds = 120};
    for (int c; (c = getopt_long(argc, argv, "", all, NULL)) != -1;) {
        switch (c) {
        case 's':
            out->seed = strtoull(optarg, NULL, 0);
            break;
        case 'n':
            out->count = atol(optarg);
            break;
        case 'm':
            out->minutes = atof(optarg);
            break;
        case 'k':
            out->keep_going = true;
            break;
        case 'g':
            child_without_gdb();
            break;
        case 'h':
            out->shrink_seconds = atof(optarg);
            break;
        case '?':
            exit(64);
        default:
            take(c, optarg, user);
        }
    }
    if (out->count < 0)
        out->count = out->minutes < 1e9 ? 1 << 30 : 1;
}

/* ---- files ---- */

char *differ_read(const char *path)
{
    size_t n = 0, cap = 1 << 16;
    char *text = malloc(cap + 1);
    FILE *f = fopen(path, "rb");
    for (size_t got; text && f && (got = fread(text + n, 1, cap - n, f)) > 0;) {
        n += got;
        if (n == cap)
            text = realloc(text, (cap *= 2) + 1);
    }
    if (f)
        fclose(f);
    if (!text) {
        perror(path);
        exit(70);
    }
    text[n] = 0;
    return text;
}

void differ_noisy_copy(const char *model, const char *path, double noise)
{
    struct err e;
    struct gguf *g = NULL;
    FILE *from = fopen(model, "rb"), *to = fopen(path, "wb");
    if (!from || !to || gguf_open(model, &g, &e) < 0 || fseek(from, 0, SEEK_END) < 0)
        say_and_leave(model);
    size_t n = (size_t)ftell(from);
    char *file = malloc(n);
    rewind(from);
    if (!file || fread(file, 1, n, from) != n)
        say_and_leave(model);
    for (size_t i = 0; i < (size_t)gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (t->t.fmt != FMT_F32)
            continue;
        float *w = (float *)(file + t->at);
        size_t count = t->bytes / sizeof *w;
        double sum = 0;
        for (size_t k = 0; k < count; k++)
            sum += fabs((double)w[k]);
        for (size_t k = 0; k < count; k++)
            w[k] +=
                (float)(noise * sum / (double)count * ((double)rng_uniform(i, (uint64_t)k) - 0.5));
    }
    if (fwrite(file, 1, n, to) != n || fclose(to))
        say_and_leave(path);
    fclose(from);
    gguf_close(g);
    free(file);
}
