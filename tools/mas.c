/* mas: finds the subcommand and runs it. */
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "str.h"

static const struct cmd *const cmds[] = {
#define X(name) &cmd_##name,
#include "commands.def"
#undef X
    NULL};

const struct cmd *const *cmd_all(void)
{
    return cmds;
}

const struct cmd *cmd_find(const char *name)
{
    for (const struct cmd *const *c = cmds; *c; c++)
        if (!strcmp((*c)->name, name))
            return *c;
    return NULL;
}

int cmd_fail(const struct err *e)
{
    fprintf(stderr, "mas: %s\n", e->msg);
    return err_exit(e->code);
}

static int unknown(const char *name)
{
    const struct cmd *near = NULL;
    int best = 4;
    for (const struct cmd *const *c = cmds; *c; c++) {
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

int main(int argc, char **argv)
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
    int rc = c->run(argc - 1, argv + 1);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "mas: cannot write to standard output\n");
        return rc ? rc : err_exit(ERR_IO);
    }
    return rc;
}
