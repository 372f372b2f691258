#!/bin/bash
# Shards of a run and of an experiment, merged, are the run of one process: the same replies, rows and figures but for times.
# Missing, unfinished and foreign shards are named. A stopped and a killed shard go on.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
demo=$MAS_SOURCE/configs/demo/questions.jsonl
# two duplicates and a record without options
(
    head -12 "$demo"
    head -2 "$demo"
    echo '{"question": "no options"}'
    sed -n 13,30p "$demo"
) >data.jsonl
one() { "$MAS" eval -c demo --data data.jsonl -s cot --set role_tokens.cot=64 --set temperature=0.7 --quiet -n 20 "$@" </dev/null; }
# every call and every case, without times, tokens from the cache and the checksum
essence() {
    zcat "$1/traces.jsonl.gz" | sed -E -e 's/, "(seconds|first_seconds|ended|joules|joules_per_token)": [^,]*//g' \
        -e 's/, "(n_cached|cached_tokens|n_pass|n_drafted|n_accepted)": [0-9]+//g' -e 's/, "energy": "[^"]*"//' \
        -e 's/, "crc": "[0-9a-f]*"//' | sort
}
rows() { cut -d, -f1 "$1/results.csv" && python3 - "$1/results.csv" <<'PY'; }
import csv, sys
for r in csv.DictReader(open(sys.argv[1])):
    print([v for k, v in r.items() if 'time' not in k and 'seconds' not in k and 'computed' not in k and 'joule' not in k and 'latency' not in k])
PY
figures() { python3 - "$1/summary.json" <<'PY'; }
import json, sys
d = json.load(open(sys.argv[1]))
for k in ('engine', 'engine_covers'):
    d.pop(k, None)
d['run'].pop('sessions')
def bare(x):
    if isinstance(x, dict):
        return {k: bare(v) for k, v in x.items() if 'second' not in k and 'cached' not in k and 'joule' not in k and k != 'computed'}
    return [bare(v) for v in x] if isinstance(x, list) else x
print(json.dumps(bare(d)))
PY
same() { # DIR DIR
    [ "$(essence "$1" | wc -l)" -ge 6 ] || fault "nothing to compare in $1"
    [ "$(essence "$1")" = "$(essence "$2")" ] || fault "$1 and $2: other replies"
    [ "$(rows "$1")" = "$(rows "$2")" ] || fault "$1 and $2: other rows: $(diff <(rows "$1") <(rows "$2") | head -4)"
    [ "$(figures "$1")" = "$(figures "$2")" ] || fault "$1 and $2: other figures"
    cmp "$1/records.jsonl" "$2/records.jsonl" || fault "$1 and $2: other records"
    [ "$(sed -n '2p' "$1/run.json")" = "$(sed -n '2p' "$2/run.json")" ] || fault "$1 and $2: other identities"
}

# ---- one run
expect 1 '1 of 20 records were rejected' one --out whole
for i in 3 1 2; do one --out study --shard $i/3 >"$i.log" 2>&1 || [ $? = 1 ] || fault "shard $i: $(cat "$i.log")"; done
[ "$(cat study/shard-*/records.jsonl | wc -l)" = 20 ] || fault "the shards have $(cat study/shard-*/records.jsonl | wc -l) records"
expect 64 'run: mas merge study' "$MAS" export study
expect 64 'mas merge study' "$MAS" verify study
expect 64 'mas merge study' one --out study
expect 1 '3 shards merged into study' "$MAS" merge study
same whole study
expect 0 '' "$MAS" export study --csv again.csv
expect 0 'same: checksums' "$MAS" verify study
expect 0 '' "$MAS" export study/shard-1-of-3
expect 1 'merged' "$MAS" merge study
expect 1 'merged into other' "$MAS" merge study -o other
same whole other

# ---- faults
expect 64 'is no shard' one --out x --shard 4/3
expect 64 'needs --out' one --shard 1/3
expect 64 '--curve does not go with --shard' one --out x --shard 1/3 --curve x.svg
one --out named --shard 1/3 --isa auto --ctx 512 >named.log 2>&1 || fault "the first task: $(cat named.log)"
expect 78 "--isa auto --ctx 512'" one --out named --shard 1/4 --isa auto --ctx 512
expect 64 'is the folder of a run' one --out whole --shard 1/3
expect 66 'holds no shards' "$MAS" merge whole
expect 78 'it has 3 tasks, and mas eval --shard says 4' one --out study --shard 1/4
expect 78 'config.seed was 42, is 7' one --out study --shard 1/3 --seed 7
expect 78 'it has 20 records, and this command asks for 19' one --out study --shard 1/3 -n 19
mv study/shard-2-of-3 kept
expect 75 'shard 2 of 3: it has not begun; run: mas eval --shard 2/3 --out study -c demo' "$MAS" merge study
expect 75 'of 3 shards, 1 is missing' "$MAS" merge study
mv study 'stu dy'
expect 75 "mas eval --shard 2/3 --out 'stu dy' -c demo" "$MAS" merge 'stu dy' # the folder that is merged, not that of the first start
mv 'stu dy' study
cp -r study/shard-1-of-3 study/shard-2-of-3
expect 78 'it is shard 1 of 3' "$MAS" merge study
rm -r study/shard-2-of-3
cp -r kept study/shard-2-of-3
sed -i 's/"specialties_sha256": "..../"specialties_sha256": "0000/' study/shard-2-of-3/run.json
expect 78 'specialties_sha256 was' "$MAS" merge study
rm -r study/shard-2-of-3
cp -r kept study/shard-2-of-3
zcat kept/traces.jsonl.gz | sed '1s/"parsed": false/"parsed": true/' | gzip >study/shard-2-of-3/traces.jsonl.gz
expect 65 'shard 2 of 3: study/shard-2-of-3/traces.jsonl.gz:1: damaged' "$MAS" merge study
one --out study --shard 2/3 --repair >repair.log 2>&1 || [ $? = 1 ] || fault "repair: $(cat repair.log)"
one --out study --shard 1/3 --force-new >again.log 2>&1 || [ $? = 1 ] || fault "--force-new: $(cat again.log)"
[ -s study/shard-1-of-3/old-1/traces.jsonl.gz ] || fault "--force-new keeps nothing: $(ls study/shard-1-of-3)"
expect 1 'the former results are in study/old-1' "$MAS" merge study
expect 1 'merged' "$MAS" merge study
[ ! -e study/old-2 ] || fault 'equal cases are taken as changed'
same whole study

# ---- a study that changes after its merge; folders that hold something else
cp -r study changed
one --out changed --shard 1/3 --force-new >again.log 2>&1 || [ $? = 1 ] || fault "--force-new: $(cat again.log)"
expect 1 'the shards have changed since the last merge into changed' "$MAS" merge changed # its times are others; retry_failed.sh has other answers
[ -s changed/old-2/results.csv ] || fault "the former merge is lost: $(ls changed)"
same whole changed
mkdir vary_shards && cp study/shards.json study/records.jsonl vary_shards
one --out lone >lone.log 2>&1 || [ $? = 1 ] || fault "a run: $(cat lone.log)"
cp -r lone lone.was
expect 73 'lone holds another run' "$MAS" merge study -o lone
expect 73 'holds another run' "$MAS" merge study -o study/shard-1-of-3
expect 73 'holds another run (shards.json)' "$MAS" merge study -o vary_shards
diff -r lone lone.was >diff.log || fault "a refused merge changed the folder: $(cat diff.log)"
rm -r lone lone.was changed

# ---- a merge while another process holds the folder of the result
mkdir held
(flock 9; sleep 3) 9>held/lock &
pid=$!
sleep 0.3
expect 73 'held is being written by process' "$MAS" merge study -o held
wait $pid
expect 1 'merged into held' "$MAS" merge study -o held

# ---- a run that writes into the folder of the result
one --out busy --concurrency 1 -s panel >busy.log 2>&1 &
pid=$!
for _ in $(seq 100); do
    [ -s busy/run.json ] && break
    sleep 0.05
done
expect 73 'busy holds another run' "$MAS" merge study -o busy
wait $pid || [ $? = 1 ] || fault "a merge disturbed a run: $(cat busy.log)"

# ---- lost and damaged files of a study; another model for one shard
cp -r study broken
rm broken/records.jsonl
expect 66 'start any task again' "$MAS" merge broken
one --out broken --shard 1/3 >again.log 2>&1 || [ $? = 1 ] || fault "lost records: $(cat again.log)"
expect 1 'merged' "$MAS" merge broken
printf x >broken/shards.json
expect 65 'remove a damaged one' "$MAS" merge broken
expect 65 'remove it' one --out broken --shard 1/3
rm broken/shards.json
expect 64 'is the folder of a run' one --out broken --shard 1/3
rm broken/run.json
one --out broken --shard 1/3 >again.log 2>&1 || [ $? = 1 ] || fault "damaged shards.json: $(cat again.log)"
expect 1 'merged' "$MAS" merge broken
printf '\377' | dd of=broken/shard-2-of-3/traces.jsonl.gz bs=1 seek=300 conv=notrunc 2>/dev/null
expect 65 'mend it: mas eval' "$MAS" merge broken
one --out broken --shard 2/3 --repair >again.log 2>&1 || [ $? = 1 ] || fault "a byte of a packed trace: $(cat again.log)"
expect 1 'merged' "$MAS" merge broken
same whole broken
rm -r broken
cp "$MAS_SOURCE/configs/demo/toy_mini.gguf" one.gguf
swap() { "$MAS" eval -c demo -m one.gguf --data data.jsonl -s direct --quiet -n 6 --out swap --shard "$1" </dev/null; }
expect 0 'shard 1 of 2' swap 1/2
cp "$MAS_SOURCE/configs/demo/toy_clinic.gguf" one.gguf
expect 78 'shard 1 of this study was computed with other parts, and the merge would refuse both: model_sha256' swap 2/2

# ---- more shards than records; a shard with one rejected record alone
for i in 1 2 3 4 5; do
    "$MAS" eval -c demo --data data.jsonl -s direct --quiet -n 3 --out few --shard $i/5 >few.log 2>&1 </dev/null ||
        fault "shard $i of 5 with 3 records: $(cat few.log)"
done
expect 0 '5 shards merged' "$MAS" merge few
expect 0 '' "$MAS" eval -c demo --data data.jsonl -s direct --quiet -n 3 --out few_whole
same few few_whole

# ---- variants of questions are divided like questions
vary() { "$MAS" eval -c demo --data data.jsonl -s direct --quiet -n 3 --permute cyclic "$@" </dev/null; }
for i in 1 2; do vary --out vary --shard $i/2 >vary.log 2>&1 || fault "variants, shard $i: $(cat vary.log)"; done
expect 78 'variants was' "$MAS" eval -c demo --data data.jsonl -s direct --quiet -n 3 --out vary --shard 1/2
expect 0 '2 shards merged' "$MAS" merge vary
expect 0 '' vary --out vary_whole
same vary vary_whole

# ---- stopped by SIGTERM, killed, held by another process
"$MAS" eval -c demo --data data.jsonl -s panel --set planner.top_k=2 --out stop --shard 1/2 --concurrency 1 >stop.log 2>&1 </dev/null &
pid=$!
for _ in $(seq 100); do
    [ -s stop/shard-1-of-2/traces-0001.jsonl ] && break
    sleep 0.1
done
expect 73 "is held by process $pid on host" "$MAS" eval -c demo --data data.jsonl -s panel --set planner.top_k=2 --out stop --shard 1/2
kill -STOP $pid
expect 73 "is held by process $pid on host" "$MAS" eval -c demo --data data.jsonl -s panel --set planner.top_k=2 --out stop --shard 1/2
kill -CONT $pid
kill -TERM $pid
wait $pid
code=$?
[ $code = 75 ] || [ $code = 1 ] || fault "stopped by SIGTERM: exit code $code: $(tail -3 stop.log)"
expect 75 'questions are finished; run: ' "$MAS" merge stop
grep -q '"stopped": "stopped"' stop/shard-1-of-2/run.json || fault "a stopped shard does not say so"
"$MAS" eval -c demo --data data.jsonl -s panel --set planner.top_k=2 --out stop --shard 1/2 >stop.log 2>&1 </dev/null &
pid=$!
sleep 0.5
kill -9 $pid
wait $pid 2>/dev/null
for i in 1 2; do
    "$MAS" eval -c demo --data data.jsonl -s panel --set planner.top_k=2 --out stop --shard $i/2 >stop.log 2>&1 </dev/null
    code=$?
    [ $code = 1 ] || [ $code = 0 ] || fault "continued: $code: $(tail -3 stop.log)"
done
expect 1 '2 shards merged' "$MAS" merge stop
expect 1 '' "$MAS" eval -c demo --data data.jsonl -s panel --set planner.top_k=2 --quiet --out stop_whole
same stop stop_whole

# ---- an experiment with two models over three tasks: each loads at most two
cp "$MAS_SOURCE/configs/demo/toy_mini.gguf" mini.gguf
cat >grid.yaml <<YAML
_base: $MAS_SOURCE/configs/demo.yaml
role_tokens: {cot: 64}
experiment:
  name: two
  factors:
    model: [demo, mini.gguf]
    strategy: [direct, cot]
  data: {n: 12}
YAML
grid() { "$MAS" eval -c grid.yaml --data data.jsonl --quiet "$@" </dev/null; }
expect 0 'experiment two: 4 cells' grid --out grid_whole
for i in 1 2 3; do grid --out grid --shard $i/3 >"grid$i.log" 2>&1 || fault "grid shard $i: $(cat "grid$i.log")"; done
[ "$(grep -c 'records, 2 cells of model' grid1.log grid2.log grid3.log | cut -d: -f2 | tr '\n' ' ')" = '1 2 1 ' ] ||
    fault "models of the tasks: $(grep -h 'cells of model' grid?.log)"
expect 64 'mas merge grid' "$MAS" export grid
expect 0 '3 shards of 4 cells merged into grid' "$MAS" merge grid
for cell in grid_whole/*/; do same "$cell" "grid/$(basename "$cell")"; done
expect 0 'mini.gguf' "$MAS" export grid
[ "$("$MAS" export grid | sed 's/ [0-9.]* *$//' | grep -c '12')" -ge 4 ] || fault "table of the merged experiment: $("$MAS" export grid)"
rm -r grid/shard-2-of-3/*cot*
expect 75 'shard 2 of 3, 2 cells, the first is model=' "$MAS" merge grid
expect 75 'of 3 shards, 1 is missing' "$MAS" merge grid
expect 0 'experiment two: 4 cells' grid --out grid --shard 2/3
expect 0 'merged' "$MAS" merge grid

# ---- a cell that failed in a shard: the others are merged, and the merge names it; a later try completes the study
sed 's/mini.gguf/later.gguf/; s/name: two/name: lost/' grid.yaml >lost.yaml
lost() { "$MAS" eval -c lost.yaml --data data.jsonl --quiet --out lost --shard "$1" </dev/null; }
expect 0 '' lost 1/2
expect 75 'shard 2 of 2, 2 cells, the first is model=later.gguf,direct: it has not begun' "$MAS" merge lost
expect 1 '2 of 2 cells failed' lost 2/2
expect 1 '2 of 4 cells failed and are not in the result' "$MAS" merge lost
expect 1 'cell model=later.gguf,cot failed: cannot open model' "$MAS" merge lost
[ -s lost/model=demo,cot/results.csv ] && [ ! -e lost/model=later.gguf,cot ] || fault "cells of the merge: $(ls lost)"
same grid_whole/model=demo,cot lost/model=demo,cot
python3 - <<'PY' || fault "grid.json of a study with failed cells"
import json
cells = json.load(open('lost/grid.json'))['cells']
assert [c['state'] for c in cells] == ['done', 'done', 'failed', 'failed'], cells
assert all('later.gguf' in c['why'] for c in cells[2:]) and [c['done'] for c in cells] == [12, 12, 0, 0], cells
PY
"$MAS" export lost 2>&1 | grep -q 'later.gguf,cot  *failed: cannot open' || fault "the table does not name the failed cell"
cp mini.gguf later.gguf
expect 0 '' lost 2/2
expect 0 '2 shards of 4 cells merged' "$MAS" merge lost

# ---- shards of two versions of the program: the merge, run.json and mas verify say so
expect 0 '2 shards of 4 cells merged' "$MAS" merge lost
"$MAS" merge lost 2>&1 | grep -q 'versions of the program' && fault "one version is said to be several"
sed -i '/^"sessions"/s/"version": "[^"]*"/"version": "0123abcd"/' study/shard-2-of-3/run.json
rm -r study/run.json study/traces.jsonl.gz study/results.csv study/summary.json
expect 1 '2 versions of the program made these shards, and may reply differently: ' "$MAS" merge study
"$MAS" merge study 2>&1 | grep -q ' (shards 1, 3), 0123abcd (shards 2)' || fault "the shards of each version are not named"
[ "$(grep -c '^"versions": \[".*", "0123abcd"\]' study/run.json)" = 1 ] || fault "run.json has no versions: $(grep versions study/run.json)"
[ "$(grep -c '^"versions"' whole/run.json)" = 0 ] || fault "a run of one version names versions"
expect 0 'not checked: versions: 2 versions of the program made this run: ' "$MAS" verify study
"$MAS" verify whole | grep -q 'versions:' && fault "a run of one version is said to have several"

# ---- a study whose first task was mistyped; --dry-run shows the division and the study before
expect 0 'typo holds no study yet' one --out typo --shard 1/3 --dry-run
expect 0 '20 records over 3 of 3 tasks, 6 to 8 each; task 1 has 6' one --out typo --shard 1/3 --dry-run
[ ! -e typo ] || fault "a dry run has written"
one --out typo --shard 1/3 -n 2 >typo.log 2>&1 || fault "the first task: $(cat typo.log)"
expect 78 "it has 2 records, and this command asks for 20 (-n); " one --out typo --shard 2/3
expect 78 "it was begun by 'mas eval -c demo --data data.jsonl" one --out typo --shard 2/3
expect 78 '1 of its 3 shards have a folder; give its options, or choose another --out, or end its tasks, remove typo' one --out typo --shard 2/3
expect 78 'it has 2 records' one --out typo --shard 2/3 --dry-run
expect 0 'typo holds this study: 1 of 3 shards have a folder' one --out typo --shard 2/3 -n 2 --dry-run
[ ! -e typo/shard-2-of-3 ] || fault "a dry run has made a folder"
expect 64 'is the folder of a run' one --out whole --shard 1/3 --dry-run
expect 64 '--dry-run is of --shard' one --out typo --dry-run
expect 0 'model 2 of 2, 2 cells: 12 records over 2 of 3 tasks' grid --out none --shard 2/3 --dry-run
[ ! -e none ] || fault "a dry run of an experiment has written"
exit $bad
