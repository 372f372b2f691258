#!/usr/bin/env bash
# The same evaluation gives the same replies in all these settings: one, seven or 143 cases at a time; other pages, chunks,
# numbers of sequences and threads; with and without prefix cache and speculation; with so little KV cache that sequences
# preempt each other; every instruction set of this processor. (Killed and continued: eval_kill.sh.) 8 questions, so that
# seven at once are fewer than all; N=150 does that for 143.
set -u
: "${MAS:?path of the program}"
n=${N:-8}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
fail() {
    echo "FAILED: $*"
    exit 1
}
essence() { # of the traces in a folder: every call's question, role, index, end and reply; every case's answer
    zcat "$1/traces.jsonl.gz" | sed -E -n \
        -e 's/^\{("call": "[^"]*", "role": "[^"]*", "index": [0-9]+).*("finish": "[^"]*").*("mean_lp": [^,]*).*("reply": .*), "crc".*/\1 \2 \3 \4/p' \
        -e 's/^\{("case": "[^"]*").*("state": "[^"]*").*("predicted": [^,]*).*/\1 \2 \3/p' | sort
}
# run NAME OPTION..
run() {
    local name=$1
    shift
    "$MAS" eval -c demo --data "$MAS_SOURCE/configs/demo/questions.jsonl" --n "$n" --out "$out/$name" --set temperature=0.5 \
        --set planner.top_k=3 --set role_tokens.planner=160 --set role_tokens.specialist=160 --set role_tokens.aggregator=120 \
        "$@" >"$out/$name.log" 2>&1 </dev/null || fail "$name: $(tail -n 3 "$out/$name.log")"
    essence "$out/$name" >"$out/$name.txt"
    case $name in
    alone | isa_auto) ;;
    isa_*) cmp "$out/isa_auto.txt" "$out/$name.txt" || fail "$name differs from the usual instruction set" ;;
    *) cmp "$out/alone.txt" "$out/$name.txt" || fail "$name ($*) differs from one case at a time" ;;
    esac
    grep '^engine' "$out/$name.log" | sed "s/^/$name: /"
}

run alone --concurrency 1 --set engine.sequences=1 --set engine.prefix_cache=false --set speculative.lookup=false
[ "$(grep -c '"call"' "$out/alone.txt")" -eq $((5 * n)) ] || fail "nothing to compare: $(head -n 3 "$out/alone.txt")"
run usual
run seven --concurrency 7 --set kv.page_tokens=64 --set engine.batch_tokens=100 --set engine.sequences=7
run crowd --concurrency 143 --set engine.sequences=143 --set kv.page_tokens=16 --set threads=1 --set kv.bytes=64MiB --set speculative.max_draft=30
run scarce --set kv.bytes=7MiB --set max_context_length=2048 --set engine.batch_tokens=64
# one question by the instruction sets that this processor has: some are slow
n=1
for isa in auto scalar avx2 avxvnni avx512vnni amx neon; do
    [ "$isa" = auto ] || "$MAS" generate -m demo -p x -n 1 --isa "$isa" >/dev/null 2>&1 || continue
    run "isa_$isa" --set isa="$isa" --strategy cot --set role_tokens.cot=64
done
[ -s "$out/isa_scalar.txt" ] || fail "the scalar instruction set did not run"
grep -q ' 0 sequences preempted' "$out/scarce.log" && fail "scarce: nothing was preempted: $(grep '^engine' "$out/scarce.log")"
echo "equal"
