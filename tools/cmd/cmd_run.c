/* mas run: takes one case through a strategy and prints plan, reports and decision. */
#include "cmd.h"
#include "one_case.h"

static int run(int argc, char **argv)
{
    return one_case(argc, argv, false,
                    "Takes one case through the strategy of the configuration and prints the "
                    "decision. Research software: not for clinical care.");
}

const struct cmd cmd_run = {
    "run", "take one case through a strategy",
    "mas run -c configs/llama3_8b.yaml -q \"65yo man with crushing chest pain ...\" -o \"A. "
    "GERD||B. Acute MI||C. PE||D. MSK pain\"\n"
    "mas run -c configs/llama3_70b.yaml -f case.txt --strategy cot\n"
    "mas run -c configs/llama3_8b.yaml --set planner.top_k=3 -q \"...\" --json\n",
    run};
