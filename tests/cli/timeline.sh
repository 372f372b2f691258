#!/usr/bin/env bash
# --timeline of mas run and mas eval: a right trace with every case, call and arrow; the answers stay.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"

command -v python3 >/dev/null || {
    echo "skipped: no python3"
    exit 77
}
check=$MAS_SOURCE/tools/scripts/trace_check.py
eval=("$MAS" eval -c demo --data "$MAS_SOURCE/configs/demo/questions.jsonl" --n 3 --strategy panel --quiet)

"${eval[@]}" --out plain >/dev/null 2>&1 || fault "eval: exit $?"
"${eval[@]}" --out seen --timeline t.json >/dev/null 2>&1 || fault "eval --timeline: exit $?"
expect 0 "t.json: right; " "$check" t.json
python3 - <<'EOF' || fault "answers differ, or the timeline lacks calls"
import collections, csv, json

def answers(folder):
    return [(r["trace_id"], r["predicted_answer"]) for r in csv.DictReader(open(folder + "/results.csv"))]

assert answers("plain") == answers("seen")
doc = json.load(open("t.json"))
events = doc["traceEvents"]
kinds = collections.Counter((e["ph"], e.get("cat")) for e in events)
calls = [e for e in events if e["ph"] == "X" and e.get("cat") == "call"]
assert kinds["b", "case"] == kinds["e", "case"] == 3
assert len({e["args"]["question"] for e in calls}) == 3
assert {e["name"] for e in calls} >= {"planner", "specialist", "aggregator"}, {e["name"] for e in calls}
assert kinds["s", "call"] == kinds["f", "call"] == len(calls)
steps = {e["ts"]: e["dur"] for e in events if e["ph"] == "X" and e.get("cat") == "step"}
start = {e["id"]: e["ts"] for e in events if e["ph"] == "s" and e["cat"] == "call"}
for e in events:
    if e["ph"] in "tf" and e["cat"] == "call":
        assert e["ts"] in steps and e["ts"] >= start[e["id"]]
assert doc["otherData"]["command"].startswith("mas eval -c demo"), doc["otherData"]["command"]
assert doc["otherData"]["dropped"] == 0
EOF

"$MAS" run -c demo -q "65yo man with chest pain" -o "A. GERD||B. MI" --out one --quiet --timeline run.json >/dev/null 2>&1
expect 0 "run.json: right; " "$check" run.json
expect 73 "cannot create" "${eval[@]}" --out other --timeline absent/t.json
[ ! -e other ] || fault "a bad path of the timeline is found only after the run has begun"
exit $bad
