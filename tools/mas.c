/* mas: finds the subcommand and runs it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cmd.h"
#include "str.h"

static int unknown(const char *name)
{
    const struct cmd *near = NULL;
    int best = 4;
    for (const struct cmd *const *c = cmd_all(); *c; c++) {
        int d = str_distance(name, (*c)->name);
        if (d < best) {
            best = d;
            near = *c;
        }
    }
    struct err e;
    err_set(&e, ERR_USAGE, "unknown command '%s'%s%s%s; 'mas help' lists all", name,
            near ? ", did you mean '" : "", near ? near->name : "", near ? "'" : "");
    return cmd_fail(&e);
}

/* A descriptor below 3 that is closed would be that of the next file which is opened, and messages
 * would go into it. Reading a closed standard input fails, what is written to a closed standard
 * output fails, what is written to a closed standard error is dropped. */
static bool hold_descriptors(void)
{
    static const int mode[] = {O_WRONLY, O_RDONLY, O_WRONLY};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF && open("/dev/null", mode[fd]) != fd)
            return false;
    return true;
}

static int run_command(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "help";
    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        name = "help";
    if (!strcmp(name, "--version") || !strcmp(name, "-V"))
        name = "version";
    const struct cmd *c = cmd_find(name);
    if (!c)
        return unknown(name);
    char prog[64];
    snprintf(prog, sizeof prog, "mas %s", c->name);
    char *only[] = {prog, NULL};
    if (argc < 2)
        return c->run(1, only);
    argv[1] = prog;
    return c->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    struct err e = {0};
    if (!hold_descriptors()) {
        err_set(&e, ERR_IO, "cannot open /dev/null in place of a closed descriptor: %s",
                strerror(errno));
        return cmd_fail(&e);
    }
    signal(SIGPIPE, SIG_IGN); /* a write that nobody reads fails with EPIPE, */
    /* one beyond the limit of file sizes with EFBIG: errors with a message */
    signal(SIGXFSZ, SIG_IGN);
    int rc = run_command(argc, argv);
    if (cli_flush(&e) < 0 && rc != err_exit(ERR_IO)) { /* 74: the command has said it */
        int io = cmd_fail(&e);
        /* failed items are named in what was lost */
        rc = rc == 0 || rc == err_exit(ERR_ITEMS) ? io : rc;
    }
    return rc;
}
