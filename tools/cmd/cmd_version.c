#include <stdio.h>

#include "cmd.h"

static int run(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("mas %s (%s)\n", MAS_VERSION, MAS_COMMIT);
    printf("research software: not for clinical care\n");
    return 0;
}

const struct cmd cmd_version = {"version", "print the version", "mas version\n", run};
