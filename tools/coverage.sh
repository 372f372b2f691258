#!/usr/bin/env bash
# Lines and branches that the tests reach, as a table per room and per file below the goal.
# usage: tools/coverage.sh [GOAL_PERCENT]
. "$(dirname "$0")/setup.sh"

goal=${1:-90}
if command -v gcovr >/dev/null; then
    prepare
else
    prepare gcovr
fi
configure coverage
step "building coverage" cmake --build --preset coverage
find build/coverage -name '*.gcda' -delete
step "running all tests" ctest --test-dir build/coverage --output-on-failure -j "$MAS_JOBS"
step "collecting" gcovr --root . --object-directory build/coverage --exclude 'tests/' --exclude 'build/' \
    --csv --output "$MAS_LOGS/coverage.csv" build/coverage

# filename,line_total,line_covered,line_percent,branch_total,branch_covered,...
awk -F, -v goal="$goal" '
    NR == 1 { next }
    {
        split($1, part, "/")
        room = part[1]
        lines[room] += $2; hit[room] += $3; branches[room] += $5; taken[room] += $6
        if ($2 > 0 && 100 * $3 / $2 < goal)
            low[++n] = sprintf("%-40s %6d %6.1f", $1, $2, 100 * $3 / $2)
    }
    END {
        printf "\n%-40s %6s %6s %8s %6s\n", "room", "lines", "%", "branches", "%"
        split("kernels loader runtime agents tools", order, " ")
        for (i = 1; i in order; i++) {
            r = order[i]
            if (lines[r])
                printf "%-40s %6d %6.1f %8d %6.1f\n", r, lines[r], 100 * hit[r] / lines[r],
                    branches[r], branches[r] ? 100 * taken[r] / branches[r] : 100
        }
        if (n)
            printf "\n%-40s %6s %6s\n", "files below " goal " % of lines", "lines", "%"
        for (i = 1; i <= n; i++)
            print low[i]
    }' "$MAS_LOGS/coverage.csv"
