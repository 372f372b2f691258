#!/bin/bash
# Several worker processes give the replies of one process, also when workers are killed again and again, when the run is stopped
# by a signal, and when its parent is killed. The long run: N KILLS PAUSE (seconds between kills) SETS (options of eval).
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
n=${N:-32} kills=${KILLS:-4} pause=${PAUSE:-0.4}
sets=${SETS:--s cot --set role_tokens.cot=120 --set temperature=0.7}
begin() { # takes the place of the shell
    # shellcheck disable=SC2086 # the options are words
    exec "$MAS" eval -c demo --data "$MAS_SOURCE/configs/demo/questions.jsonl" -n "$n" $sets --quiet "$@" </dev/null
}
one() { (begin "$@"); }
essence() {
    { [ ! -f "$1/traces.jsonl.gz" ] || zcat "$1/traces.jsonl.gz"; } | sed -E -n \
        -e 's/^\{("call": "[^"]*", "role": "[^"]*", "index": [0-9]+).*("finish": "[^"]*").*("mean_lp": [^,]*).*("reply": .*), "crc".*/\1 \2 \3 \4/p' \
        -e 's/^\{("case": "[^"]*").*("state": "[^"]*").*("predicted": [^,]*).*/\1 \2 \3/p' | sort
}
same() {
    [ "$(essence "$1" | grep -c '"case"')" = "$n" ] || fault "$2: $(essence "$1" | grep -c '"case"') cases, want $n"
    [ "$(essence "$1")" = "$(essence whole)" ] || fault "$2: other replies than one process"
}
workers_of() { pgrep -P "$1" 2>/dev/null; }

expect 0 '' one --out whole
expect 0 "$n questions, 2 workers, 0 done before" one --out two --workers 2
same two "two workers"
expect 0 "$n done before" one --out two --workers 2
expect 0 "$n done before" one --out two
expect 0 '3 workers' one --out three --workers 3 --concurrency 3 --set threads=1
same three "three workers on the same cores"
mkdir cache
cp "$MAS_SOURCE/configs/demo/toy_clinic.gguf" toy.gguf
expect 0 '2 workers' one --out packed --workers 2 -m toy.gguf --set placement.packed_cache=cache
same packed "two workers that share packed weights"
grep -qwE 'avx2|asimddp' /proc/cpuinfo && [ "$(ls cache)" != "$(cd cache && ls toy.gguf.*.packed)" ] && fault "packed weights: $(ls cache)"

# ---- workers are killed; the run goes on by itself
(begin --out killed --workers 2 --concurrency 2 >killed.log 2>&1) &
pid=$!
done_kills=0
while [ $done_kills -lt "$kills" ] && kill -0 $pid 2>/dev/null; do
    sleep "$pause"
    for w in $(workers_of $pid | shuf -n 1); do kill -9 "$w" 2>/dev/null && done_kills=$((done_kills + 1)); done
done
wait $pid
code=$?
[ $code = 0 ] || fault "killed workers: exit code $code: $(tail -3 killed.log)"
same killed "$done_kills workers killed"
[ "$done_kills" = 0 ] || grep -q 'ended by signal 9 with' killed.log || fault "deaths are not said: $(cat killed.log)"

# ---- stopped by a signal to the whole group, then its parent is killed, then it goes on
# shellcheck disable=SC2086
setsid bash -c 'echo $$ >group; exec "$@"' - "$MAS" eval -c demo --data "$MAS_SOURCE/configs/demo/questions.jsonl" -n "$n" $sets --quiet \
    --out stopped --workers 2 --concurrency 2 >stopped.log 2>&1 </dev/null &
pid=$!
for _ in $(seq 100); do
    [ -s stopped/traces.jsonl ] && break
    sleep 0.05
done
kill -TERM -- "-$(cat group)" 2>/dev/null
wait $pid
code=$?
case $code in
75) grep -q 'continue with the same command' stopped.log || fault "stopped: $(cat stopped.log)" ;;
0) ;; # it was faster
*) fault "stopped: exit code $code: $(cat stopped.log)" ;;
esac
(begin --out stopped --workers 2 --concurrency 2 >stopped.log 2>&1) &
pid=$!
for _ in $(seq 100); do
    left=$(workers_of $pid)
    [ -n "$left" ] && break
    sleep 0.05
done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
for w in $left; do
    for _ in $(seq 50); do
        kill -0 "$w" 2>/dev/null || break
        sleep 0.1
    done
    kill -0 "$w" 2>/dev/null && fault "worker $w outlives its parent"
done
expect 0 '2 workers' one --out stopped --workers 2
same stopped "stopped and continued"

# ---- combinations without a sense, and errors of the workers
expect 64 'does not go with --workers' one --out x --workers 2 --shard 1/2
expect 64 'does not go with --workers' one --out x --workers 2 --curve x.svg
echo "$n questions, $done_kills workers killed: equal"
expect 64 'does not go with --workers' one --out x --workers 2 --match-tokens whole
expect 64 'answers from a server' one --out x --workers 2 --set provider=ollama
expect 66 'worker' one --out x --workers 2 -m missing.gguf
expect 78 'another run' one --out two --workers 2 --seed 9
exit $bad
