/* mas plan: `mas run --plan-only`. */
#include "cmd.h"
#include "one_case.h"

static int run(int argc, char **argv)
{
    return one_case(argc, argv, true,
                    "Same as mas run --plan-only: asks only for the plan and prints it. Takes the "
                    "first strategy that makes one, unless the configuration's own does. Research "
                    "software: not for clinical care.");
}

const struct cmd cmd_plan = {
    "plan", "show how a strategy would take a case, without asking on",
    "mas plan -c demo -q \"24yo woman with a malar rash ...\"\n"
    "mas plan -c configs/llama3_70b.yaml --set planner.selection=logit -f case.txt --json\n",
    run};
