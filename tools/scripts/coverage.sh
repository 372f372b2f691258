#!/usr/bin/env bash
# Lines and branches that the tests reach, as a table per room and of the files below the goal. gcov, which
# comes with gcc, counts over the .c files. Code of a header counts in the file that includes it.
# usage: tools/scripts/coverage.sh [GOAL_PERCENT]
. "$(dirname "$0")/setup.sh"

goal=${1:-90}
rooms=(kernels loader runtime agents tools)
prepare
configure coverage
step "building coverage" cmake --build --preset coverage
find build/coverage -name '*.gcda' -delete
step "running all tests" ctest --test-dir build/coverage --output-on-failure -j "$MAS_JOBS"

counts() {
    local room
    for room in "${rooms[@]}"; do
        find "build/coverage/CMakeFiles/$room.dir" -name '*.c.gcno' -exec gcov -n -b -r -s "$PWD" {} +
    done
}
counts >"$MAS_LOGS/counts" 2>/dev/null

awk -v goal="$goal" -v rooms="${rooms[*]}" '
    # File \047runtime/zio.c\047 / Lines executed:98.1% of 155 / .. / Taken at least once:80.0% of 90
    /^File / { split($0, part, "\047"); file = part[2]; room = file; sub(/\/.*/, "", room); next }
    /^Calls executed|^No calls/ { file = ""; next } # after the last file comes their total
    file !~ /\.c$/ { next }
    /^Lines executed:/ {
        split($0, x, /[:%]/)
        hit[room] += x[2] * $NF / 100; lines[room] += $NF
        if (x[2] + 0 < goal) low[++n] = sprintf("%-40s %7d %6.1f", file, $NF, x[2])
    }
    /^Taken at least once:/ {
        split($0, x, /[:%]/)
        taken[room] += x[2] * $NF / 100; branches[room] += $NF
    }
    END {
        printf "\n%-40s %7s %6s %9s %6s\n", "room", "lines", "%", "branches", "%"
        count = split(rooms, order, " ")
        for (i = 1; i <= count; i++) {
            r = order[i]
            if (lines[r])
                printf "%-40s %7d %6.1f %9d %6.1f\n", r, lines[r], 100 * hit[r] / lines[r],
                    branches[r], branches[r] ? 100 * taken[r] / branches[r] : 100
        }
        if (n)
            printf "\n%-40s %7s %6s\n", "files below " goal " % of lines", "lines", "%"
        for (i = 1; i <= n; i++)
            print low[i]
    }' "$MAS_LOGS/counts"
