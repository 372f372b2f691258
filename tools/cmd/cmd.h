/* cmd: one row per subcommand of mas. A command is a file cmd_<name>.c with `const struct cmd
 * cmd_<name>` and one line in commands.def. */
#ifndef MAS_CMD_H
#define MAS_CMD_H

#include "err.h"

struct cmd {
    const char *name;
    const char *summary;               /* one line for `mas help` */
    const char *examples;              /* shown by `mas help NAME`, one command a line */
    int (*run)(int argc, char **argv); /* argv[0] = "mas NAME"; returns an exit code */
};

#define X(name) extern const struct cmd cmd_##name;
#include "commands.def"
#undef X

/* Prints "mas: <message>" to stderr and returns the exit code of e. */
int cmd_fail(const struct err *e);
/* NULL if there is no such command. */
const struct cmd *cmd_find(const char *name);
/* All of them, NULL-terminated, in the order of commands.def. */
const struct cmd *const *cmd_all(void);

#endif
