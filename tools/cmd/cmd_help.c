#include <stdbool.h>
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

/* True if the line has the words "mas NAME MODE". An empty mode is in every line. */
static bool has_mode(const char *line, size_t n, const char *name, const char *mode)
{
    char words[96];
    size_t len = (size_t)snprintf(words, sizeof words, "mas %s %s", name, mode);
    if (!*mode)
        return true;
    if (len >= sizeof words)
        return false;
    const char *at = strstr(line, words);
    return at && at + len <= line + n && strchr(" \n", at[len]);
}

/* Prints the examples of a mode; f NULL: prints none. Returns their number. */
static int examples(const struct cmd *c, const char *mode, FILE *f)
{
    int found = 0;
    for (const char *s = c->examples; *s;) {
        size_t n = strcspn(s, "\n");
        if (has_mode(s, n, c->name, mode)) {
            if (f)
                fprintf(f, "  %.*s\n", (int)n, s);
            found++;
        }
        s += n + (s[n] == '\n');
    }
    return found;
}

/* argv: "help", a command, and a mode of the command, such as "read" of bench. Each mode has an
 * example. */
static int run(int argc, char **argv)
{
    if (argc < 2) {
        list();
        return 0;
    }
    struct err e;
    const struct cmd *c = cmd_find(argv[1]);
    if (!c) {
        err_set(&e, ERR_USAGE, "no command '%s'; 'mas help' lists all", argv[1]);
        return cmd_fail(&e);
    }
    const bool plain = !strcmp(c->name, "help") || !strcmp(c->name, "version");
    const char *mode = argc > 2 ? argv[2] : "";
    if (argc > 3) {
        err_set(&e, ERR_USAGE, "unexpected argument '%s'; usage: mas help [COMMAND [MODE]]",
                argv[3]);
        return cmd_fail(&e);
    }
    if (argc > 2 && (plain || *mode == '-' || !*mode || !examples(c, mode, NULL))) {
        err_set(&e, ERR_USAGE, "mas %s has no mode '%s'; 'mas help %s' shows the command", c->name,
                mode, c->name);
        return cmd_fail(&e);
    }
    char prog[64], flag[] = "--help";
    snprintf(prog, sizeof prog, "mas %s", c->name);
    if (plain) {
        printf("mas %s: %s\n\n", c->name, c->summary);
    } else {
        char *args[] = {prog, argc > 2 ? argv[2] : flag, argc > 2 ? flag : NULL, NULL};
        int rc = c->run(argc, args); /* argp prints the options; commands use ARGP_NO_EXIT */
        if (rc)
            return rc;
        printf("\n");
    }
    printf("Examples:\n");
    examples(c, mode, stdout);
    return 0;
}

const struct cmd cmd_help = {"help", "list the commands, or show one",
                             "mas help\nmas help eval\nmas help bench read\n", run};
