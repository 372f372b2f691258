#!/usr/bin/env bash
# Failed questions are asked again on request: of a run, of shards that were merged before, of an experiment. The others are not
# asked again, nothing of the former traces is lost, and the figures are those of a run that never failed. run.json, tables, pages
# and bundles say how many attempts were replaced.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm
. "$(dirname "$0")/head.bash"
. "$MAS_SOURCE/tests/cli/provider.bash"
chats() { grep -c "^$port /third/v1/chat" log; }
rows() { python3 - "$1/results.csv" <<'PY'; }
import csv, sys
for r in csv.DictReader(open(sys.argv[1])):
    print(r["trace_id"], r["predicted_answer"], r["is_correct"], r["status"])
PY
failed() { rows "$1" | grep -c ' failed$'; }
# Questions asked again and replaced attempts: in run.json, in summary.json, and as its reasons add up; former traces.
again() { python3 - "$1" <<'PY'; }
import json, sys
run, summary = (json.load(open(f"{sys.argv[1]}/{name}.json")) for name in ("run", "summary"))
none = {"questions": 0, "attempts": 0, "reasons": [], "replaced": {}, "files": {}}
a, b = run.get("retried", none), summary.get("retried", none)
assert len(a["replaced"]) == a["attempts"] and len({k.split("/")[0] for k in a["replaced"]}) == a["questions"], a
assert "replaced" not in b or b is none, b
print(a["questions"], a["attempts"], b["questions"], b["attempts"], sum(r["attempts"] for r in b["reasons"]), len(a["files"]))
PY


expect 1 '--retry-failed asks failed ones again' ask --out run
lost=$(failed run)
[ "$lost" -ge 3 ] && [ "$lost" -le 17 ] || fault "$lost of 20 questions failed; the test needs some"
ask --out study --shard 1/2 >s1.log 2>&1; ask --out study --shard 2/2 >s2.log 2>&1
expect 1 '2 shards merged' "$MAS" merge study
[ "$(failed study)" = "$lost" ] || fault "shards: $(failed study) failed, the run had $lost"
expect 1 '--retry-failed' grid --out grid
expect 1 "failed: $lost " ask --out run
expect 1 '20 done before' ask --out run # without the option nothing is asked again
[ "$(failed run)" = "$lost" ] || fault 'a continuation asked failed questions'
[ "$(again run)" = '0 0 0 0 0 0' ] || fault "nothing was asked again: $(again run)"
for name in part twice; do ask --out $name >first.log 2>&1; [ "$(failed $name)" = "$lost" ] || fault "$name: other failures"; done
expect 1 "$lost failed questions are asked again" ask --out twice --retry-failed # and fail again
before=$(chats)
touch well-third
expect 0 "asked again     $lost questions; $lost failed attempts were replaced: $lost" ask --out run --retry-failed
after=$(chats)
[ $((after - before)) -le $((lost + 8)) ] || fault "$((after - before)) chats for $lost questions and a probe"
[ "$(failed run)" = 0 ] || fault "$(failed run) questions are failed still"
[ "$(zcat run/traces.jsonl.gz.old | grep -c '^{"case"')" = 20 ] || fault 'the former trace is lost'
expect 0 'same: checksums' "$MAS" verify run
expect 0 '20 done before' ask --out run --retry-failed # nothing is left to do
expect 0 '' ask --out clean
[ "$(rows run)" = "$(rows clean)" ] || fault "other answers than a run that never failed: $(diff <(rows run) <(rows clean) | head -4)"

for i in 1 2; do ask --out study --shard $i/2 --retry-failed >"s$i.log" 2>&1 || fault "shard $i: $(cat "s$i.log")"; done
expect 0 'the shards have changed since the last merge' "$MAS" merge study
[ "$(rows study)" = "$(rows clean)" ] || fault 'the second merge has the answers of the first'
[ "$(failed study/old-1)" = "$lost" ] || fault "the first merge is lost: $(ls study study/old-1)"
expect 0 '' grid --out grid --retry-failed
for cell in grid/*/; do [ "$(failed "$cell")" = 0 ] || fault "$cell: failed questions"; done
[ "$(again run)" = "$lost $lost $lost $lost $lost 1" ] || fault "run: $(again run)"
[ "$(again clean)" = '0 0 0 0 0 0' ] || fault "a run that never failed: $(again clean)"
[ "$(again study)" = "$lost $lost $lost $lost $lost 2" ] || fault "shards: $(again study)"
expect 0 "$lost questions; $((2 * lost)) failed attempts were replaced" ask --out twice --retry-failed
[ "$(again twice)" = "$lost $((2 * lost)) $lost $((2 * lost)) $((2 * lost)) 2" ] || fault "twice: $(again twice)"
[ "$(rows twice)" = "$(rows clean)" ] || fault 'twice: other answers than a run that never failed'

# ---- failures beyond the records of this start stay: they are neither taken out nor counted
early=$(rows part | head -9 | grep -c ' failed$')
[ "$early" -ge 1 ] && [ "$early" -lt "$lost" ] || fault "$early of $lost failures are in the first 9 records; the test needs some"
expect 0 "$early failed question" ask --out part -n 9 --retry-failed
expect 1 '20 done before' ask --out part
[ "$(failed part)" = $((lost - early)) ] || fault "$(failed part) questions are failed, $((lost - early)) were not asked again"
[ "$(again part)" = "$early $early $early $early $early 1" ] || fault "part: $(again part)"
expect 0 "$((lost - early)) failed question" ask --out part --retry-failed
[ "$(again part)" = "$lost $lost $lost $lost $lost 2" ] || fault "part, the rest: $(again part)"
expect 0 "asked again     $early questions; $early failed attempts were replaced" ask --out part -n 9 # of these records alone
[ "$(again part)" = "$lost $lost $early $early $early 2" ] || fault "part, its begin: $(again part)"
expect 0 'same: all figures of summary.json' "$MAS" verify part

# ---- the reader sees it: in comparisons, the page and the experiment's table; a bundle has the former traces
expect 0 "run, asked again: $lost questions" "$MAS" export run clean
expect 0 '' "$MAS" report run clean -o page.html
grep -q "data-retried=\"0\">Run 1, asked again: $lost questions; $lost failed attempts" page.html || fault 'the page does not say it'
! grep -q 'data-retried="1"' page.html || fault 'the page says it of a run that never failed'
python3 - grid/summary.json <<'PY' || fault 'the cells do not say it'
import json, sys
cells = json.load(open(sys.argv[1]))["cells"]
assert all(c["retried"]["questions"] >= 1 and c["retried"]["attempts"] == c["retried"]["questions"] for c in cells), cells
PY
expect 0 "$lost asked again" "$MAS" export grid
expect 0 '' "$MAS" export run --lm-eval theirs --inspect run.inspect.json
for file in theirs/results_*.json run.inspect.json; do grep -q '"mas_retried"' $file || fault "$file does not say it"; done
for name in run study twice; do
    files=$(($(again $name | cut -d' ' -f6)))
    expect 0 "same: $files former traces with the" "$MAS" verify $name
    expect 0 '' "$MAS" export $name --bundle $name.tar.gz
    [ "$(tar tzf $name.tar.gz | grep -c '\.old')" = $files ] || fault "$name: the bundle has $(tar tzf $name.tar.gz | grep '\.old')"
    expect 0 "same: $files former traces with the" "$MAS" verify $name.tar.gz
done
expect 0 'former traces with the' "$MAS" verify grid
cp -r run lost && rm lost/traces.jsonl.gz.old
expect 65 'traces.jsonl.gz.old: missing' "$MAS" verify lost
cp -r run other && cp clean/traces.jsonl.gz other/traces.jsonl.gz.old
expect 65 'no former trace has it' "$MAS" verify other
sed -i 's/"attempts": [0-9]*/"attempts": 1/' other/summary.json
expect 65 'retried is' "$MAS" verify other
expect 0 'the former results are in' ask --out run --force-new
[ -s run/old-1/traces.jsonl.gz.old ] && [ ! -e run/traces.jsonl.gz.old ] || fault "--force-new leaves former traces: $(ls run run/old-1)"
[ "$(again run)" = '0 0 0 0 0 0' ] || fault "--force-new: $(again run)"
exit $bad
