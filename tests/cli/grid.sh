#!/bin/bash
# An experiment with the model inside the program: its cells have the replies of mas eval alone, whatever batches them; it is
# killed and continued; a changed file keeps the cells that are the same; a cell that fails loses no other.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
data=$MAS_SOURCE/configs/demo/questions.jsonl

cat >base.yaml <<EOF
_base: $MAS_SOURCE/configs/demo.yaml
role_tokens: {planner: 160, specialist: 120, aggregator: 120, cot: 120}
EOF
cat >grid.yaml <<EOF
_base: base.yaml
experiment:
  name: try
  factors:
    strategy: [direct, cot, panel]
    temperature: [0, 0.7]
    planner:
      top_k: [2]
  seeds: [1, 2]
  exclude: [strategy=panel & temperature=0, strategy=panel & seed=2]
  data:
    sample: {n: 4, seed: 3}
EOF
grid() { "$MAS" eval -c grid.yaml --data "$data" "$@" </dev/null; }
cells='direct cot,temperature=0,seed=1 cot,temperature=0,seed=2 cot,temperature=0.7,seed=1 cot,temperature=0.7,seed=2
panel,temperature=0.7,planner.top_k=2,seed=1'

# every call's question, role, index, end and reply; every case's answer
essence() {
    zcat "$1/traces.jsonl.gz" | sed -E -n \
        -e 's/^\{("call": "[^"]*", "role": "[^"]*", "index": [0-9]+).*("finish": "[^"]*").*("mean_lp": [^,]*).*("reply": .*), "crc".*/\1 \2 \3 \4/p' \
        -e 's/^\{("case": "[^"]*").*("state": "[^"]*").*("predicted": [^,]*).*/\1 \2 \3/p' | sort
}
same() { # DIR DIR
    [ "$(essence "$1" | wc -l)" -ge 8 ] || fault "nothing to compare in $1"
    [ "$(essence "$1")" = "$(essence "$2")" ] || fault "$1 and $2 differ"
}
json() { python3 -c "import json; d = json.load(open('$1')); print($2)"; }

# ---- the whole, and each of its cells by mas eval alone
expect 0 'experiment try: 6 cells, 4 questions each, 1 model' grid --out whole
for cell in $cells; do
    [ -s "whole/$cell/traces.jsonl.gz" ] || fault "no cell $cell: $(ls whole)"
    [ "$(json "whole/$cell/summary.json" 'd["accuracy"]["n"]')" = 4 ] || fault "$cell is not about 4 records"
done
[ "$(json whole/grid.json '[c["state"] for c in d["cells"]].count("done"), d["points"], d["left_out"], d["merged"]')" = '6 12 3 3' ] ||
    fault "grid.json: $(cat whole/grid.json)"
alone() { # CELL OPTION..
    local cell=$1
    shift
    "$MAS" eval -c base.yaml --data "$data" --sample 4 --sample-seed 3 --quiet --out "alone/$cell" "$@" >alone.log 2>&1 ||
        fault "$cell alone: $(cat alone.log)"
    same "whole/$cell" "alone/$cell"
}
alone direct -s direct --set engine.sequences=1 --concurrency 1
alone cot,temperature=0.7,seed=2 -s cot --set temperature=0.7 --seed 2 --set speculative.lookup=false
alone panel,temperature=0.7,planner.top_k=2,seed=1 -s panel --set temperature=0.7 --seed 1 --set planner.top_k=2 \
    --set engine.prefix_cache=false --concurrency 4
[ "$(essence whole/cot,temperature=0,seed=1)" = "$(essence whole/cot,temperature=0,seed=2)" ] || fault "a seed changed a greedy reply"
[ "$(essence whole/cot,temperature=0.7,seed=1)" != "$(essence whole/cot,temperature=0.7,seed=2)" ] || fault "a seed changed no drawn reply"

# ---- with other streams, concurrency and drafts
expect 0 'experiment try' grid --out other --set engine.sequences=3 --set speculative.lookup=false --concurrency 5 --set threads=1
for cell in $cells; do same "whole/$cell" "other/$cell"; done

# ---- nothing is run twice
before=$(md5sum whole/*/traces.jsonl.gz)
expect 0 '6 cells were finished before' grid --out whole
[ "$(md5sum whole/*/traces.jsonl.gz)" = "$before" ] || fault "a finished cell was written again"

# ---- killed after the last question and before the end
gunzip whole/direct/traces.jsonl.gz
expect 0 '5 cells were finished before' grid --out whole
[ -s whole/direct/traces.jsonl.gz ] || fault "an unsealed cell stays unsealed"
sed -i 's/"status": "complete"/"status": "partial"/' whole/direct/run.json
expect 0 '5 cells were finished before' grid --out whole
[ "$(json whole/direct/run.json 'd["figures"]["status"]')" = complete ] || fault "figures before the end stay"

# ---- killed again and again, then stopped by a signal, then continued
for pause in 0.3 0.6 0.9 0.4 0.8; do
    "$MAS" eval -c grid.yaml --data "$data" --out parts --concurrency 2 >/dev/null 2>&1 </dev/null &
    pid=$!
    sleep "$pause"
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
done
"$MAS" eval -c grid.yaml --data "$data" --out parts --set engine.sequences=1 --concurrency 1 >parts.log 2>&1 </dev/null &
pid=$!
sleep 0.3
kill -INT "$pid" 2>/dev/null
wait "$pid"
code=$?
case $code in
75) grep -q 'continue with the same command' parts.log || fault "stopped: $(cat parts.log)" ;;
0) ;; # it was faster
*) fault "stopped: exit code $code: $(cat parts.log)" ;;
esac
expect 0 'experiment try' grid --out parts
for cell in $cells; do
    same "whole/$cell" "parts/$cell"
    [ "$(essence "parts/$cell" | grep -c '"case"')" = 4 ] || fault "parts/$cell has not 4 cases"
done

# ---- another file: cells that are the same are kept, new ones come, a removed one is named and stays
sed -e 's/\[0, 0.7\]/[0.7, 0.9]/' -e 's/exclude: .*/exclude: [strategy=panel \& temperature=0.9]/' grid.yaml >changed.yaml
expect 0 'the experiment has changed: 4 cells kept, 3 new, 2 removed' "$MAS" eval -c changed.yaml --data "$data" --out parts
expect 0 'cot,temperature=0.7,seed=1' "$MAS" export parts
[ -s parts/cot,temperature=0,seed=1/traces.jsonl.gz ] || fault "a removed cell was deleted"
[ "$(json parts/grid.json '[c["name"] for c in d["removed"]]')" = "['cot,temperature=0,seed=1', 'cot,temperature=0,seed=2']" ] ||
    fault "removed: $(json parts/grid.json 'd["removed"]')"
expect 0 '6 cells were finished before' grid --out parts

# ---- rows and figures of all cells
expect 0 '' "$MAS" export whole --csv rows.csv --summary cells.json
python3 - <<'EOF' || fault "rows and figures disagree"
import csv, json, statistics
rows = list(csv.DictReader(open('rows.csv')))
cells = json.load(open('cells.json'))
assert len(rows) == 24 and list(rows[0])[:5] == ['cell', 'strategy', 'temperature', 'planner.top_k', 'seed'], rows[0]
right = {}
for r in rows:
    right.setdefault(r['cell'], []).append(r['is_correct'] == 'true')
for c in cells['cells']:
    assert c['correct'] == sum(right[c['name']]) and c['n'] == 4, c
    assert abs(c['accuracy'] - c['correct'] / 4) < 1e-9, c
cot = [s for s in cells['settings'] if s['values']['strategy'] == 'cot' and s['values']['temperature'] == '0.7'][0]
over = [sum(v) / 4 for k, v in right.items() if k.startswith('cot,temperature=0.7')]
assert cot['cells'] == 2 and abs(cot['accuracy_mean'] - statistics.mean(over)) < 1e-9, cot
assert abs(cot['accuracy_sd'] - statistics.stdev(over)) < 1e-9, cot
direct = [r for r in rows if r['strategy'] == 'direct']
assert len(direct) == 4 and all(r['seed'] == '' and r['lp_A'] for r in direct), direct
EOF
expect 64 'needs one of its runs' "$MAS" export whole --against whole/direct
expect 64 'would be lost' "$MAS" export whole --csv whole/grid.json
expect 64 'has no such cell' "$MAS" export whole --baseline parts/direct
"$MAS" export whole --baseline whole/cot,temperature=0.7,seed=2 --summary based.json || fault "export --baseline"
"$MAS" export whole -o json >unbased.json || fault "export of the experiment"
python3 - <<'END' || fault "the baseline of an experiment"
import json
a, b = json.load(open("unbased.json"))["compared"], json.load(open("based.json"))["compared"]
names = [[r["name"] for r in c["runs"]] for c in (a, b)]
assert names[1][0] == "cot,temperature=0.7,seed=2" and sorted(names[0]) == sorted(names[1]), names
pair = {(names[k][p["run"]], names[k][0]): p["difference"] for k, c in enumerate((a, b)) for p in c["paired"]}
assert pair[("direct", names[1][0])] == -pair[(names[1][0], "direct")], pair
assert a["together"]["cochran_q"] == b["together"]["cochran_q"]
END

# ---- a folder that holds another run than its cell gives no figures for it
cp -r whole swapped && one=cot,temperature=0.7,seed=1 two=cot,temperature=0.7,seed=2
mv "swapped/$one" aside && mv "swapped/$two" "swapped/$one" && mv aside "swapped/$two"
expect 1 "is not of cell $one: it is cell $two" "$MAS" export swapped
expect 1 '2 of 6 cells have no figures' "$MAS" export swapped --summary swapped.json
[ "$(json swapped.json '[c.get("n") for c in d["cells"]].count(4)')" = 4 ] || fault "cells of swapped folders: $(cat swapped.json)"
expect 1 '2 of 6 cells have no rows' "$MAS" export swapped --csv swapped.csv
[ "$(wc -l <swapped.csv)" = 17 ] || fault "rows of swapped folders: $(wc -l <swapped.csv)"
expect 78 "is not of cell $one: it is cell $two" "$MAS" report swapped -o swapped.html
expect 1 'config.seed was 2, is 1' grid --out swapped
expect 1 '2 of 6 cells failed' grid --out swapped
rm -r "swapped/$one" && cp -r "swapped/direct" "swapped/$one"
expect 1 "is not of cell $one: it is cell direct" "$MAS" export swapped
rm -r "swapped/$one" && "$MAS" eval -c base.yaml --data "$data" --sample 4 --sample-seed 3 --quiet -s cot --set temperature=0.7 \
    --seed 1 --set role_tokens.cot=100 --out "swapped/$one" >alone.log 2>&1
expect 1 "is not of cell $one: its settings or its data are others" "$MAS" export swapped
rm -rf "swapped/$one" && "$MAS" import whole/direct/results.csv --data "$data" --out "swapped/$one" >alone.log 2>&1
expect 1 "is not of cell $one: its answers were imported" "$MAS" export swapped

# ---- an experiment's folder takes no run
expect 78 'whole is the folder of an experiment (grid.json)' "$MAS" eval -c base.yaml --data "$data" -s direct --out whole
expect 78 'is the folder of an experiment' "$MAS" eval -c base.yaml --data "$data" -s direct --out whole --force-new
expect 78 'is the folder of an experiment' "$MAS" import whole/direct/results.csv --data "$data" --out whole --force-new
[ ! -e whole/run.json ] && [ ! -e whole/old-1 ] || fault "a run was written into an experiment: $(ls whole)"
expect 0 '6 cells were finished before' grid --out whole

# ---- a cell that fails loses no other, is named, and is tried again
cat >faulty.yaml <<EOF
_base: $MAS_SOURCE/configs/demo.yaml
strategy: direct
experiment:
  factors:
    model: [missing.gguf, demo]
    direct.prompt_form: [chat, lm-eval]
  data: {n: 3}
EOF
expect 1 '2 of 4 cells failed' "$MAS" eval -c faulty.yaml --data "$data" --out faulty
[ "$(json faulty/grid.json '[c["state"] for c in d["cells"]]')" = "['failed', 'failed', 'done', 'done']" ] ||
    fault "faulty: $(cat faulty/grid.json)"
expect 0 'missing.gguf' "$MAS" export faulty
"$MAS" synth --help >/dev/null && cp "$MAS_SOURCE/configs/demo/toy_mini.gguf" missing.gguf
expect 0 '2 cells were finished before' "$MAS" eval -c faulty.yaml --data "$data" --out faulty
# another file of the same name: finished cells and new ones must not be of two models
cp "$MAS_SOURCE/configs/demo/toy_clinic.gguf" missing.gguf
expect 1 'the model has changed' "$MAS" eval -c faulty.yaml --data "$data" --out faulty --n 4

# ---- one run at a time, and no run's folder
expect 64 'is the folder of a run' grid --out whole/direct
(
    flock 9
    expect 73 'is being written by process' grid --out whole
    exit "$bad"
) 9>>whole/lock || bad=1

# ---- the choice of questions for one run
"$MAS" export whole/direct --csv - | sed -n '2,3s/,.*//p' >hard.txt
expect 0 '2 of 200 records chosen' "$MAS" eval -c demo --data "$data" -s direct --ids hard.txt --out hard
[ "$(json hard/run.json 'd["asked"], d["identity"]["subset"]["ids"]')" = '2 2' ] || fault "$(cat hard/run.json)"
expect 78 'another run' "$MAS" eval -c demo --data "$data" -s direct --out hard
expect 0 '' "$MAS" export whole/cot,temperature=0.7,seed=1 --wrong wrong.txt
[ "$(wc -l <wrong.txt)" = "$(json 'whole/cot,temperature=0.7,seed=1/summary.json' '4 - d["accuracy"]["correct"]')" ] || fault "wrong: $(cat wrong.txt)"
expect 65 'a sample of 500 records from 200' "$MAS" eval -c demo --data "$data" -s direct --sample 500 --out big

# ---- a server lists the runs of an experiment, and shows their cases
PYTHONPATH=$MAS_SOURCE/tests/cli no_proxy='*' timeout 100 python3 - "$MAS" "$dir" <<'EOF' || fault "a server and an experiment"
import sys, urllib.parse
from serve_client import Server
s = Server(sys.argv[1], "-c", "demo", "--set", "logging.traces_dir=" + sys.argv[2])
try:
    runs = {r["id"]: r for r in s.send("GET", "/runs").json()["runs"]}
    of_whole = sorted(i for i in runs if i.startswith("whole.."))
    assert len(of_whole) == 6 and "hard" in runs and "whole" not in runs, sorted(runs)
    one = "whole..cot,temperature=0.7,seed=2"
    assert runs[one]["strategy"] == "cot" and runs[one]["asked"] == 4 and runs[one]["state"] == "complete", runs[one]
    assert len(s.send("GET", "/runs/" + one).json()["cases"]) == 4
    assert s.send("GET", "/runs/" + urllib.parse.quote(one, safe="") + "/cases/0").json()["case"]["step"] is not None
    for none in ("whole..", "whole...", "whole..none", "..whole", "whole....", "whole..direct..x", "whole"):
        assert s.send("GET", "/runs/" + none).status == 404, none
    reply = s.send("POST", "/runs/" + one + "/resume") # a cell has a choice of records; it is finished
    assert reply.status == 202 and reply.json()["done"] == reply.json()["questions"] == 4, reply.body
finally:
    s.close()
EOF

# ---- the tokens of another run: by the question alone, whatever else is in flight
matched() { "$MAS" eval -c base.yaml --data "$data" --n 4 --set temperature=0.7 --set role_tokens.sc=120 --quiet --match-tokens target "$@"; }
expect 0 accuracy "$MAS" eval -c base.yaml --data "$data" --n 4 -s panel --set planner.top_k=2 --quiet --out target
expect 0 'in target: ' matched -s sc --out matched
expect 0 'in target: ' matched -s sc --out matched_alone --concurrency 1 --set engine.sequences=1 --set speculative.lookup=false
same matched matched_alone
zcat target/traces.jsonl.gz matched/traces.jsonl.gz | python3 -c '
import json, sys
spent = {}
for line in sys.stdin:
    d = json.loads(line)
    if "case" in d:
        spent.setdefault(d["case"], []).append((d["new_tokens"], d["calls"]))
assert len(spent) == 4 and all(len(v) == 2 for v in spent.values()), spent
for (given, _), (took, calls) in spent.values():
    assert took <= given + 2 * 120 and (took >= given * 0.5), spent
    assert took / calls * 0.9 < 120 and calls > 1, spent
mean = [sum(v[i][0] for v in spent.values()) for i in (0, 1)]
assert abs(mean[1] / mean[0] - 1) < 0.25, mean
' || fault "sc does not keep to the tokens of another run"
first=$(sed -n '2s/,.*//p' matched/results.csv)
expect 0 'the same model, prompts, data, settings and backend' "$MAS" replay matched --case "$first" --rerun
expect 0 'the bytes agree' "$MAS" replay matched --case "$first" --rerun
first=$(sed -n '2s/,.*//p' whole/direct/results.csv)
expect 0 'the same model, prompts, data, settings and backend' "$MAS" replay whole/direct --case "$first" --rerun
expect 78 'another run' matched -s sc --out matched --set sc.vote=confidence
expect 0 'not within 2 %' matched -s cot --out limited
expect 78 "strategy direct cannot be given another run's tokens; these can: cot, sc" matched -s direct --out no
expect 65 'target has not finished 1 of 5 questions' matched -s sc --out no --n 5
expect 65 'generated no token' "$MAS" eval -c demo --data "$data" --n 3 -s cot --match-tokens whole/direct --out no
expect 64 'is for one run' grid --out no --match-tokens target

# ---- refusals
expect 64 'the experiment varies temperature' grid --out no --set temperature=0.1
expect 64 'the experiment varies strategy' grid --out no -s cot
expect 64 'has its own seeds' grid --out no --seed 7
expect 64 'an experiment has several' grid --out no --curve x.svg
expect 64 'set experiment.data' grid --out no --sample 3
expect 64 'which mas eval alone runs' "$MAS" run -c grid.yaml -q x
expect 64 'which mas eval alone runs' "$MAS" serve -c grid.yaml
exit $bad
