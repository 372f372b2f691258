#!/usr/bin/env bash
# Failed questions are asked again on request: of a run, of shards that were merged before, of an experiment. The others are not
# asked again, nothing of the former traces is lost, and the figures are those of a run that never failed.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm
. "$(dirname "$0")/head.bash"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
unset http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY
export no_proxy='*' HOME=$dir/home
data=$MAS_SOURCE/configs/demo/questions.jsonl
python3 "$MAS_SOURCE/tests/cli/provider_server.py" "$dir" >port &
server=$!
trap 'kill $server 2>/dev/null; rm -rf -- "$dir"' EXIT
for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done
read -r port _ <port
ask() { # the server refuses every third question until the file well-third is there
    "$MAS" eval --set provider=openai --set "remote.base_url=http://127.0.0.1:$port/third/v1" --set model=tiny --data "$data" --n 20 -s cot --quiet "$@"
}
chats() { grep -c "^$port /third/v1/chat" log; }
rows() { python3 - "$1/results.csv" <<'PY'; }
import csv, sys
for r in csv.DictReader(open(sys.argv[1])):
    print(r["trace_id"], r["predicted_answer"], r["is_correct"], r["status"])
PY
failed() { rows "$1" | grep -c ' failed$'; }

cat >grid.yaml <<YAML
_base: $MAS_SOURCE/configs/demo.yaml
experiment:
  name: two
  factors:
    strategy: [cot, review]
  data: {n: 20}
YAML
grid() { "$MAS" eval -c grid.yaml --set provider=openai --set "remote.base_url=http://127.0.0.1:$port/third/v1" --set model=tiny --data "$data" --quiet "$@"; }

expect 1 '--retry-failed asks failed ones again' ask --out run
lost=$(failed run)
[ "$lost" -ge 3 ] && [ "$lost" -le 17 ] || fault "$lost of 20 questions failed; the test needs some"
ask --out study --shard 1/2 >s1.log 2>&1; ask --out study --shard 2/2 >s2.log 2>&1
expect 1 '2 shards merged' "$MAS" merge study
[ "$(failed study)" = "$lost" ] || fault "shards: $(failed study) failed, the run had $lost"
expect 1 '--retry-failed' grid --out grid
expect 1 '20 done before' ask --out run # without the option nothing is asked again
[ "$(failed run)" = "$lost" ] || fault 'a continuation asked failed questions'
before=$(chats)
touch well-third
expect 0 "$lost failed questions are asked again" ask --out run --retry-failed
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
exit $bad
