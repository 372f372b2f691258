#!/usr/bin/env bash
# tests/gpu/run.sh without a GPU: a failing op fails alone, a killed command has lost one step, the limit holds, and
# the tables are made from whatever there is. usage: dry_run.sh BUILD
set -uo pipefail
build=$(cd "${1:?folder of the build}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export TMPDIR=$dir
fail() { echo "dry_run: $*" && exit 1; }
run() { bash "$here/run.sh" "$@" --dry-run -b "$build"; }

# a planted fault of one op: that step fails, the others pass
began=$SECONDS
T_GPU_FAIL=rmsnorm run A -o "$dir/a" >"$dir/a.out" 2>&1
[ $? = 1 ] || fail "a failing op is no failure: $(cat "$dir/a.out")"
mkdir "$dir/a.x" && tar -xf "$dir/a/result-A.tar" -C "$dir/a.x" || fail "the tar of A"
python3 - "$dir/a.x/steps" <<'PY' || fail "steps of A: $(cat "$dir/a.out")"
import json, os, sys
steps = [json.load(open(os.path.join(sys.argv[1], f))) for f in sorted(os.listdir(sys.argv[1]))]
bad = [s for s in steps if s["verdict"] != "PASS"]
assert [s["step"] for s in bad] == ["op-rmsnorm"] and "planted" in bad[0]["message"], bad
assert bad[0]["data"]["failed"] == 1
assert {"environment", "op-matmul", "op-sample", "ceiling", "logits-8b", "speed-8b-eager"} <= {s["step"] for s in steps}
assert all(s["seconds"] <= s["limit"] + 3 for s in steps)
PY
echo "A: $((SECONDS - began)) s"

# killed with -9 in the middle: the tar has every step that had been reported
began=$SECONDS
: >"$dir/k.out"
T_GPU_FAIL=embed setsid bash "$here/run.sh" A -o "$dir/k" --dry-run -b "$build" >"$dir/k.out" 2>&1 & # a session of its own
pid=$!
until [ "$(grep -c '^[A-Z]' "$dir/k.out")" -ge 6 ]; do
    kill -0 $pid 2>/dev/null || fail "A ended before it was killed: $(cat "$dir/k.out")"
    sleep 0.05
done
pkill -9 -s $pid # with its steps and models: none writes into the tar any more
wait $pid 2>/dev/null
while pgrep -s $pid >/dev/null; do sleep 0.05; done
tar -tf "$dir/k/result-A.tar" >"$dir/k.list" || fail "the tar of a killed command cannot be read"
said=$(grep -cE '^(PASS|FAIL|SKIP|NOT RUN) ' "$dir/k.out")
have=$(grep -c '^steps/[0-9].*json$' "$dir/k.list")
[ "$have" -ge "$said" ] && [ "$have" -lt 19 ] || fail "$have steps in the tar, $said were reported"
python3 "$here/table.py" "$dir/k/result-A.tar" >"$dir/k.md" || fail "no table of a killed command"
grep -q '^| A | op-embed | FAIL ' "$dir/k.md" && grep -q "^$have steps: 1 FAIL" "$dir/k.md" || fail "$(cat "$dir/k.md")"
echo "killed: $((SECONDS - began)) s"

# too little time: steps that do not fit are not run, and the command ends in time
began=$SECONDS
run A -o "$dir/l" --limit 12 >"$dir/l.out" 2>&1
[ $((SECONDS - began)) -le 14 ] || fail "$((SECONDS - began)) s with a limit of 12"
grep -q '^NOT RUN logits-8b .*no time: 15 s expected' "$dir/l.out" || fail "a limit of 12 s: $(cat "$dir/l.out")"

# kernels that were stopped: the times that they had printed are in the table
mkdir -p "$dir/s/steps" "$dir/s/logs"
printf '{"step": "kernels-8b", "part": "B", "verdict": "FAIL", "seconds": 9, "limit": 9, "message": "stopped", "data": null}\n' \
    >"$dir/s/steps/01-kernels-8b.json"
{
    "$build/mas" bench kernels --backend cudahost --op add -r 1 -o json | head -n 4
    printf '  {"op": "add", "case": "3x'
} >"$dir/s/logs/01-kernels-8b.out" 2>"$dir/s.err"
tar -C "$dir/s" -cf "$dir/s.tar" steps logs
python3 "$here/table.py" "$dir/s.tar" >"$dir/s.md" && grep -q '^| add | 1x1 | `flat` ' "$dir/s.md" || fail "$(cat "$dir/s.md")"

# B, whole; then both as a kept file, and the table inside another text
began=$SECONDS
run B -o "$dir/b" >"$dir/b.out" 2>&1 || fail "B: $(cat "$dir/b.out")"
grep -q '^SKIP    ncu ' "$dir/b.out" && grep -q '^PASS    70b-10-draft ' "$dir/b.out" || fail "B: $(cat "$dir/b.out")"
echo "B: $((SECONDS - began)) s"
kept=$(python3 "$here/keep.py" -o "$dir/kept" "$dir/a/result-A.tar" "$dir/b/result-B.tar") || fail "keep.py"
printf 'before\n<!-- table: tests/gpu/table.py -->\nold\n<!-- end of table -->\nafter\n' >"$dir/text"
python3 "$here/table.py" --write "$dir/text" "$kept" || fail "table.py --write"
grep -q '^| A | op-rmsnorm | FAIL ' "$dir/text" && grep -q '70b-10-throughput' "$dir/text" || fail "$(cat "$dir/text")"
[ "$(head -n 1 "$dir/text") $(tail -n 1 "$dir/text")" = "before after" ] && ! grep -q '^old$' "$dir/text" ||
    fail "the text around the table: $(cat "$dir/text")"
echo "dry run: PASS"
