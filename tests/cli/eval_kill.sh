#!/usr/bin/env bash
# An evaluation that is killed with -9 again and again, and continued, has the replies of an uninterrupted one,
# question by question. Small by default; the variables make it the long run:
#   CONFIG DATA N KILLS PAUSE (most seconds between kills) CONCURRENCY SETS (--set options) OUT (folder to keep)
set -u
: "${MAS:?path of the program}"
config=${CONFIG:-demo} data=${DATA:-$MAS_SOURCE/configs/demo/questions.jsonl} n=${N:-10} kills=${KILLS:-4}
pause=${PAUSE:-2} concurrency=${CONCURRENCY:-2} # of the killed run; the other one decides itself
sets=${SETS:---set planner.top_k=3 --set role_tokens.planner=160 --set role_tokens.specialist=200 --set role_tokens.aggregator=140}
out=${OUT:-$(mktemp -d)}
[ -n "${OUT:-}" ] || trap 'rm -rf "$out"' EXIT
fail() {
    echo "FAILED: $*"
    exit 1
}
# shellcheck disable=SC2086 # the options are words
evaluate() { "$MAS" eval -c "$config" --data "$data" --n "$n" $sets --concurrency "$2" --out "$1" >"$1.log" 2>&1 </dev/null; }
lines() { if [ -f "$1/traces.jsonl.gz" ]; then zcat "$1/traces.jsonl.gz"; fi; cat "$1/traces.jsonl" 2>/dev/null; }
# What must be equal: every call's question, role, index and reply; every case's answer.
essence() {
    lines "$1" | sed -E -n \
        -e 's/^\{("call": "[^"]*", "role": "[^"]*", "index": [0-9]+).*("finish": "[^"]*").*("reply": .*), "crc".*/\1 \2 \3/p' \
        -e 's/^\{("case": "[^"]*").*("state": "[^"]*").*("predicted": [^,]*).*("selected": \[[^]]*\]).*/\1 \2 \3 \4/p' | sort
}

if [ ! -f "$out/whole/summary.done" ]; then
    mkdir -p "$out/whole"
    evaluate "$out/whole" auto || fail "the uninterrupted run: $(tail -n 3 "$out/whole.log")"
    touch "$out/whole/summary.done"
fi

mkdir -p "$out/killed"
done_kills=0
while [ $done_kills -lt "$kills" ]; do
    # shellcheck disable=SC2086
    "$MAS" eval -c "$config" --data "$data" --n "$n" $sets --concurrency "$concurrency" --out "$out/killed" >"$out/killed.log" 2>&1 </dev/null &
    pid=$!
    # between a tenth and all of the pause; the process may also finish before
    sleep "$(awk -v p="$pause" -v r="$RANDOM" 'BEGIN { printf "%.2f", p * (0.1 + 0.9 * r / 32768) }')"
    if kill -9 $pid 2>/dev/null; then
        wait $pid 2>/dev/null
        done_kills=$((done_kills + 1))
    else
        wait $pid
        break
    fi
done
evaluate "$out/killed" "$concurrency" || fail "the last continuation: $(tail -n 3 "$out/killed.log")"

cases=$(lines "$out/killed" | grep -c '^{"case"')
ids=$(lines "$out/killed" | grep -o '^{"case": "[^"]*"' | sort -u | wc -l)
[ "$cases" = "$n" ] && [ "$ids" = "$n" ] || fail "$cases cases of $ids questions after $done_kills kills, wanted $n"
essence "$out/whole" >"$out/whole.txt"
essence "$out/killed" >"$out/killed.txt"
[ "$(wc -l <"$out/whole.txt")" -gt "$n" ] || fail "nothing to compare"
cmp "$out/whole.txt" "$out/killed.txt" || fail "the interrupted run differs"
echo "$n questions, $done_kills kills, $(grep -c '"call"' "$out/whole.txt") calls: equal"
