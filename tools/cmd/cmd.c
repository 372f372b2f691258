#include "cmd.h"

#include <stdio.h>
#include <string.h>

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
