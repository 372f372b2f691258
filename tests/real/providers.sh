#!/usr/bin/env bash
# A real llama-server as a provider: 20 questions by two strategies, a run that is stopped with its server and continued, and
# the probe's findings. Opt-in. usage: LLAMA_SERVER=PROGRAM tests/real/providers.sh MODEL.gguf [QUESTIONS.jsonl [DIR]]
# N=3 asks fewer questions. MODEL: an instruct model, such as the cache of tests/real/run.sh has. DIR gets the folders of the runs. Exit 77: skipped.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mas=${MAS:-$root/build/release/mas}
[ -n "${LLAMA_SERVER:-}" ] || { echo 'skipped: LLAMA_SERVER does not name the program'; exit 77; }
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 64; }
model=$(realpath "$1")
data=$(realpath "${2:-$root/configs/demo/questions.jsonl}")
keep=${3:-}
dir=$(mktemp -d "${TMPDIR:-/tmp}/mas-real-XXXXXX")
n=${N:-20}
port=$((20000 + RANDOM % 20000))
server=
bad=0
stop() { [ -z "$server" ] || { kill "$server" && wait "$server"; server=; } 2>/dev/null; }
trap 'stop; rm -rf -- "$dir"' EXIT
cd "$dir" || exit 1

fault() {
    echo "FAILED: $*"
    bad=1
}
start() {
    "$LLAMA_SERVER" -m "$model" -a tested --host 127.0.0.1 --port $port -c 16384 -np 4 -t "${THREADS:-1}" >server.log 2>&1 &
    server=$!
    for _ in $(seq 300); do
        curl -sf "http://127.0.0.1:$port/health" >/dev/null && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.2
    done
    tail -5 server.log
    echo 'FAILED: llama-server does not start'
    exit 1
}
evaluate() { # FOLDER STRATEGY [OPTION..]
    local out=$1 strategy=$2
    shift 2
    "$mas" eval --set provider=openai --set "remote.base_url=http://127.0.0.1:$port/v1" --set model=tested --set remote.parallel=4 \
        --data "$data" --n "$n" --out "$out" -s "$strategy" --quiet "$@"
}
json() { python3 -c "import json; d = json.load(open('$1')); print($2)"; }

start
for strategy in cot panel; do
    began=$SECONDS
    evaluate $strategy $strategy >$strategy.txt 2>&1 || fault "$strategy: exit code $?: $(tail -3 $strategy.txt)"
    cat $strategy.txt
    echo "$strategy: $((SECONDS - began)) s; $(json $strategy/summary.json 'd["engine"]')"
    [ "$(json $strategy/summary.json 'd["done"], d["failed"]')" = "$n 0" ] || fault "$strategy: not $n questions without a failure"
done
found=$(json cot/run.json 'd["sessions"][-1]["about"]["server"]')
echo "$found"
for text in 'owner llamacpp' 'schemas: json_schema' 'log-probabilities: yes' 'seeds: yes' 'echo: no' 'token counts: yes'; do
    [[ $found == *"$text"* ]] || fault "the probe did not find '$text'"
done
evaluate direct direct >direct.txt 2>&1
[ $? = 78 ] && grep -q 'an llm that scores options' direct.txt || fault "direct: $(cat direct.txt)"
json cot/run.json 'd["identity"]["context"]' | grep -qx 4096 || fault 'the context is not that of a slot'

# the server dies in the middle; a new one goes on
evaluate parts cot --set remote.retries=1 --concurrency 1 >parts.txt 2>&1 &
run=$!
for _ in $(seq 3000); do
    [ "$(grep -c '^{"case"' parts/traces.jsonl 2>/dev/null)" -ge 1 ] 2>/dev/null && break
    kill -0 $run 2>/dev/null || break
    sleep 0.1
done
stop
wait $run
[ $? = 75 ] || fault "a dead server: not exit code 75: $(tail -3 parts.txt)"
json parts/run.json 'd["figures"]["stopped"]' || fault 'run.json lacks the cause'
start
evaluate parts cot --set remote.retries=1 >parts.txt 2>&1 || fault "continued: $(tail -3 parts.txt)"
[ "$(zcat parts/traces.jsonl.gz | grep -c '^{"case"')" = "$n" ] || fault 'a question is missing or stands twice'
[ -z "$keep" ] || cp -r cot panel parts "$keep"
[ $bad = 0 ] && echo 'ok: llama-server'
exit $bad
