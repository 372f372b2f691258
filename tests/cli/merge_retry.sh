#!/usr/bin/env bash
# Failed questions are asked again in the folder of a merge. A later merge keeps their answers and the record of the retry, or
# refuses: after a retry that was killed, and when the shards have changed since.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm
. "$(dirname "$0")/head.bash"
. "$MAS_SOURCE/tests/cli/provider.bash"
failed() { grep -c ',failed,' "$1/results.csv"; }
sums() { (cd "$1" && sha256sum run.json summary.json results.csv traces.jsonl.gz); }

for i in 1 2; do ask --out study --shard $i/2 >"s$i.log" 2>&1; done
expect 1 '2 shards merged' "$MAS" merge study
lost=$(failed study)
[ "$lost" -ge 3 ] && [ "$lost" -le 17 ] || fault "$lost of 20 questions failed; the test needs some"
for name in killed changed; do cp -r study $name; done

# ---- a merge of shards that have not changed keeps the retry, and its status is that of the result
touch well-third
expect 0 "$lost failed questions are asked again" ask --out study --retry-failed
before=$(sums study)
expect 0 'study: failed questions were asked again after the merge; their answers stay' "$MAS" merge study
[ "$(sums study)" = "$before" ] || fault "an unchanged merge wrote other files: $(diff <(sums study) <(echo "$before"))"
expect 0 "asked again     $lost questions; $lost failed attempts were replaced" "$MAS" export study
expect 0 "same: 1 former traces with the $lost replaced attempts" "$MAS" verify study

# ---- elsewhere the merge has the failures of the shards, and says so
expect 1 "warning: study has answers to $lost questions that failed in the shards" "$MAS" merge study -o elsewhere
[ "$(failed elsewhere)" = "$lost" ] || fault "elsewhere: $(failed elsewhere) failed"

# ---- a former trace that run.json does not name
cp -r study erased
python3 - erased/run.json <<'PY'
import re, sys
text = open(sys.argv[1]).read()
open(sys.argv[1], "w").write(re.sub(r',\n"retried": .*(?=,\n"figures")', "", text))
PY
expect 65 "traces.jsonl.gz.old: run.json does not name it, and $lost of its failed attempts are in no other file" "$MAS" verify erased

# ---- a retry that was stopped before its end: some questions are missing, as after a kill
ask --out killed --retry-failed >retry.log 2>&1
zcat killed/traces.jsonl.gz >killed/traces.jsonl && rm killed/traces.jsonl.gz
python3 - killed/traces.jsonl <<'PY'
import sys
lines = open(sys.argv[1]).read().splitlines(True)
ends = [i for i, l in enumerate(lines) if l.startswith('{"case"')]
open(sys.argv[1], "w").writelines(lines[: ends[-3] + 1])
PY
expect 75 "and 2 of 20 questions are not finished" "$MAS" merge killed
expect 75 "end the retry by 'mas eval --out killed --set provider=openai" "$MAS" merge killed
[ ! -e killed/traces.jsonl.gz ] || fault 'a refused merge has written'
expect 0 '18 done before' ask --out killed
expect 0 'their answers stay' "$MAS" merge killed

# ---- the shards have changed since, and lack answers
ask --out changed --retry-failed >retry.log 2>&1
before=$(sums changed)
rm well-third
one=$(failed changed/shard-1-of-2) two=$(failed changed/shard-2-of-2)
ask --out changed --shard 1/2 --retry-failed >s1.log 2>&1 # fails again
expect 73 "changed: $((one + two)) questions that failed in the shards were asked again after the merge and have answers here" "$MAS" merge changed
[ "$(sums changed)" = "$before" ] || fault 'a refused merge has written'
touch well-third
for i in 1 2; do ask --out changed --shard $i/2 --retry-failed >"s$i.log" 2>&1; done # as the message says
expect 0 'the shards have changed since the last merge' "$MAS" merge changed
[ "$(failed changed)" = 0 ] || fault "changed: $(failed changed) failed"
expect 0 'former traces with the' "$MAS" verify changed

# ---- an experiment: its table has the answers of the cells
rm well-third
for i in 1 2; do grid --out grid --shard $i/2 >"s$i.log" 2>&1; done
expect 1 '2 shards of 2 cells merged' "$MAS" merge grid
touch well-third
expect 0 '' grid --out grid --retry-failed
cells() { python3 -c 'import json, sys; print([(c["state"], c["done"], c["correct"]) for c in json.load(open(sys.argv[1]))["cells"]])' grid/grid.json; }
before=$(cells)
expect 0 'their answers stay' "$MAS" merge grid
[ "$(cells)" = "$before" ] || fault "the experiment: $(cells), it was $before"
for cell in grid/[a-z]*-*/; do case $cell in grid/shard-*) ;; *) [ "$(failed "$cell")" = 0 ] || fault "$cell: failed questions" ;; esac; done
exit $bad
