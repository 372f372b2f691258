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

# the timeline of a run is not replaced by that of its repetition
unchanged() { # file, command: the command ran and left the file alone
    [ "$(sha256sum <"$1")" = "$before" ] || fault "$2: changed $1"
}
earlier="exists and is the timeline of an earlier part of this run; choose another name"
before=$(sha256sum <t.json)
said_before=$(sha256sum <seen/run.json)
expect 64 "t.json $earlier" "${eval[@]}" --out seen --timeline t.json
unchanged t.json "a repeated eval"
[ "$(sha256sum <seen/run.json)" = "$said_before" ] || fault "a refused eval changed run.json"
expect 64 "t.json $earlier" "${eval[@]}" --n 4 --out seen --timeline ./t.json
unchanged t.json "a continued eval"
cp -r seen broken
gzip -dc seen/traces.jsonl.gz | sed '2s/case/cAse/' >broken/traces.jsonl
rm broken/traces.jsonl.gz
expect 64 "t.json $earlier" "${eval[@]}" --repair --out broken --timeline t.json
unchanged t.json "a repaired eval"
rm broken/records.jsonl
expect 64 "t.json $earlier" "${eval[@]}" --repair --out broken --timeline t.json
expect 0 "" "${eval[@]}" --out seen --timeline more.json
expect 0 "" "${eval[@]}" --out seen --force-new --timeline t.json
expect 0 "t.json: right; " "$check" t.json
before=$(sha256sum <run.json)
expect 73 "holds the answer" "$MAS" run -c demo -q "65yo man with chest pain" -o "A. GERD||B. MI" --out one --timeline run.json
unchanged run.json "a repeated run"
mkdir strange
echo '{}' >strange/summary.json
expect 78 "of no run" "${eval[@]}" --out strange --timeline run.json
unchanged run.json "a refused eval"

# inputs and other files stay
before=$(sha256sum <"$MAS_SOURCE/configs/demo/questions.jsonl")
cp "$MAS_SOURCE/configs/demo/questions.jsonl" q.jsonl
expect 64 "q.jsonl exists and is no timeline of mas; choose another name" \
    "$MAS" eval -c demo --data q.jsonl --n 1 --out q --timeline q.jsonl
unchanged q.jsonl "eval --timeline"
[ ! -e q ] || fault "the timeline is refused only after the run has begun"
echo "a case" >case.txt
before=$(sha256sum <case.txt)
expect 64 "case.txt exists and is no timeline of mas" "$MAS" run -c demo -f case.txt --timeline case.txt
expect 64 "case.txt exists and is no timeline of mas" "$MAS" plan -c demo -f case.txt --timeline case.txt
unchanged case.txt "run --timeline"
expect 64 "--timeline needs a file name" "$MAS" run -c demo -f case.txt --timeline=
mkdir inside
expect 64 "is no timeline of mas" "${eval[@]}" --out inside --timeline inside/records.jsonl
expect 64 "both name" "${eval[@]}" --out curved --curve c.svg --timeline ./c.svg
exit $bad
