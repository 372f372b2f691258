#!/usr/bin/env bash
# mas replay: a case as its trace holds it, and computed again. The bytes agree, or the hash that differs is named.
. "$(dirname "$0")/head.bash"
data=$MAS_SOURCE/configs/demo/questions.jsonl
"$MAS" eval -c demo --data "$data" -n 2 --shuffle --set temperature=0.7 --set planner.top_k=3 --out run --quiet >log 2>&1 ||
    fault "eval: $(tail -n 3 log)"
id=$(sed -n 2p run/results.csv | cut -d, -f1)

# ---- shown ----
expect 0 "case $id, record 1: " "$MAS" replay run --case "$id"
expect 0 "case $id, record 1: " "$MAS" replay run --case "${id:0:9}"
"$MAS" replay run --case "$id" --json 2>/dev/null >lines || fault "replay --json"
[ "$(grep -c '{"call": ' lines)" = 5 ] || fault "not 5 calls: $(grep -c call lines)"
# every line stands in the trace, byte by byte
zcat run/traces.jsonl.gz >trace
sed 's/^"case": //; s/}}$/}/; s/},$/}/' lines | grep -E '^\{"(call|case)": "' | while read -r line; do
    grep -qF -- "$line" trace || echo "not in the trace: ${line:0:60}"
done >lost
[ ! -s lost ] || fault "$(cat lost)"
"$MAS" replay run --case "$id" --role planner 2>/dev/null | grep -q '^planner 0: ' || fault "no planner"
! "$MAS" replay run --case "$id" --role planner 2>/dev/null | grep -q '^specialist' || fault "the role does not select"
expect 64 "its roles: planner, specialist, aggregator" "$MAS" replay run --case "$id" --role nurse
expect 66 "no finished case 'zz'" "$MAS" replay run --case zz
expect 64 "no case" "$MAS" replay run
expect 66 "no folder of a run" "$MAS" replay . --case "$id"
expect 64 "need --rerun" "$MAS" replay run --case "$id" --set seed=3

# ---- computed again ----
expect 0 "the bytes agree: 5 calls and the answer" "$MAS" replay run --case "$id" --rerun
expect 0 "the same model, prompts, data, settings and backend" "$MAS" replay run --case "$id" --rerun
expect 0 "the bytes agree: 3 calls" "$MAS" replay run --case "$id" --rerun --role specialist
expect 1 "config.seed was 42, is 43" "$MAS" replay run --case "$id" --rerun --set seed=43
expect 1 "differs at byte" "$MAS" replay run --case "$id" --rerun --set seed=43
expect 1 "planner 0: reply differs at byte" "$MAS" replay run --case "$id" --rerun --role planner --set temperature=1.5
expect 1 "model_sha256 was" "$MAS" replay run --case "$id" --rerun -m "$MAS_SOURCE/configs/demo/toy_mini.gguf"
mkdir prompts && cp -r "$MAS_SOURCE/configs/prompts/." prompts && sed -i 's/physicians/doctors/' prompts/panel/*.txt
expect 1 "prompts.panel/planner was" "$MAS" replay run --case "$id" --rerun --set prompts_dir=prompts
{ sed -n 1p "$data"; sed -n '2,$p' "$data" | sed 's/woman/man/'; } >other.jsonl
expect 0 "data_sha256 was" "$MAS" replay run --case "$id" --rerun --data other.jsonl
sed 's/heart rate of 1/heart rate of 2/' "$data" >changed.jsonl
expect 65 "has no question $id" "$MAS" replay run --case "$id" --rerun --data changed.jsonl
exit $bad
