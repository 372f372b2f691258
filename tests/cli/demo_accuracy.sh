#!/usr/bin/env bash
# The model inside the program knows its toy world: 200 questions of the test split by direct, and 24 by the panel,
# whose seven calls quote, choose and decide. A wrong kernel, number format, cache or prompt shows here as lost accuracy;
# a changed hash would say only that something changed. Measured: 100 and 99.4 % (Q4_K_M, the file inside, 1,000
# questions); chance is 25 %. N, N_PANEL, LEAST and BACKEND can be set from outside.
set -u
: "${MAS:?path of the program}"
n=${N:-200} panel=${N_PANEL:-24} least=${LEAST:-95}
data=$MAS_SOURCE/configs/demo/questions.jsonl
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
bad=0

# accuracy STRATEGY N LEAST: evaluates and compares, in percent
accuracy() {
    local summary=$out/$1/summary.json share
    "$MAS" eval -c demo --data "$data" --n "$2" --strategy "$1" --quiet --out "$out/$1" --set "backend=${BACKEND:-auto}" \
        >"$out/$1.log" 2>&1
    share=$(sed -n 's/^{"accuracy": {"correct": \([0-9]*\), "n": \([0-9]*\),.*/\1 \2/p' "$summary" 2>/dev/null |
        awk -v n="$2" '$2 == n { printf "%.1f", 100 * $1 / $2 }')
    echo "$1: ${share:-no result} % of $2, at least $3 are wanted"
    awk -v a="${share:--1}" -v b="$3" 'BEGIN { exit !(a + 0 >= b + 0) }' && return
    tail -n 12 "$out/$1.log"
    bad=1
}

accuracy direct "$n" "$least"
[ "$panel" -eq 0 ] || accuracy panel "$panel" "$least"
exit $bad
