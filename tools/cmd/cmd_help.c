#include <stdio.h>
#include <string.h>

#include "cmd.h"

static void list(void)
{
    printf("usage: mas COMMAND [OPTION...]\n\n"
           "Runs Llama models for clinical multi-agent research. Not for clinical care.\n\n");
    for (const struct cmd *const *c = cmd_all(); *c; c++)
        printf("  %-12s %s\n", (*c)->name, (*c)->summary);
    printf("\n'mas help COMMAND' shows options and examples.\n");
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        list();
        return 0;
    }
    const struct cmd *c = cmd_find(argv[1]);
    if (!c) {
        struct err e;
        err_set(&e, ERR_USAGE, "no command '%s'; 'mas help' lists all", argv[1]);
        return cmd_fail(&e);
    }
    char prog[64], flag[] = "--help";
    snprintf(prog, sizeof prog, "mas %s", c->name);
    if (!strcmp(c->name, "help") || !strcmp(c->name, "version")) {
        printf("mas %s: %s\n\n", c->name, c->summary);
    } else {
        char *args[] = {prog, flag, NULL};
        int rc = c->run(2, args); /* argp prints the options; commands use ARGP_NO_EXIT */
        if (rc)
            return rc;
        printf("\n");
    }
    printf("Examples:\n");
    for (const char *s = c->examples; *s;) {
        size_t n = strcspn(s, "\n");
        printf("  %.*s\n", (int)n, s);
        s += n + (s[n] == '\n');
    }
    return 0;
}

const struct cmd cmd_help = {"help", "list the commands, or show one", "mas help\nmas help eval\n",
                             run};
