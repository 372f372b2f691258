#!/usr/bin/env bash
# Providers openai and ollama against a server with faults: an evaluation ends like that of a good server, or it stops so
# that it can be continued, and run.json has the cause.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm # a thousand synced writes would only measure the disk
. "$(dirname "$0")/head.bash"
. "$MAS_SOURCE/tests/cli/provider.bash"
at=http://127.0.0.1:$port

answers() {
    "$MAS" export "$1" --csv - | python3 -c 'import csv, sys
for r in csv.DictReader(sys.stdin): print(r["trace_id"], r["predicted_answer"], r["is_correct"], r["status"])'
}
json() { python3 -c "import json; d = json.load(open('$1')); print($2)"; }
calls() { zcat -f "$1"/traces.jsonl* | grep '^{"call"'; }
chats() { grep -cE "^$port /$1/(v1/chat/completions|api/chat) " log; }

# mas COMMAND KIND [OPTION..]: on that kind of server
on() {
    local command=$1 kind=$2
    shift 2
    "$MAS" "$command" --set provider=openai --set "remote.base_url=$at/$kind/v1" --set model=tiny --set remote.retry_seconds=0.02 \
        --set remote.timeout_seconds=2 "$@"
}
# eval KIND [OPTION..]: 20 questions into the folder KIND
evaluate() {
    local kind=$1
    shift
    on eval "$kind" --data "$data" --n 20 --out "$kind" --quiet "$@"
}
few=20 # questions that the panel is asked
# right KIND [OPTION..]: the same answers as a good server, by two strategies
right() {
    local kind=$1
    shift
    expect 0 'accuracy' evaluate "$kind" -s cot "$@"
    [ "$(answers "$kind")" = "$(answers ok)" ] || fault "$kind: other answers by cot"
    mv "$kind" "$kind.cot"
    expect 0 'accuracy' evaluate "$kind" -s panel --set planner.top_k=3 --n $few "$@"
    [ "$(answers "$kind")" = "$(answers ok.panel | sed -n "1,${few}p")" ] || fault "$kind: other answers by panel"
}
# server KIND: the findings of its probe
found() { json "$1/run.json" 'd["sessions"][-1]["about"]["server"]'; }

# ---- a good server ------------------------------------------------------------------------------------------------
expect 0 'accuracy' evaluate ok -s panel --set planner.top_k=3
[ "$(chats ok)" -le $((20 * 5 + 8)) ] || fault "$(chats ok) chats for 100 calls and a probe"
mv ok ok.panel
expect 0 'accuracy' evaluate ok -s cot --set remote.price_prompt=2 --set remote.price_completion=10
for text in "$at/ok/v1; owner tests; version 9.9; model tiny; fingerprint v1; schemas: json_schema; log-probabilities: yes" \
    'seeds: yes; echo: no; token counts: yes' "determinism is the server's"; do
    [[ $(found ok) == *"$text"* ]] || fault "run.json lacks '$text': $(found ok)"
done
[ "$(json ok/run.json 'd["identity"]["served"], d["identity"]["context"], d["identity"]["config"]["remote.base_url"]')" = \
    "tiny 4096 $at/ok/v1" ] || fault "the identity: $(head -c 900 ok/run.json)"
[ "$(json ok/summary.json 'd["per_question"]["token_usd"], d["engine"]["usd"], d["engine"]["calls"]')" = '0.0004 0.008 20' ] ||
    fault "costs: $(grep -o '"engine".*' ok/summary.json)"
calls ok | grep -q '"mean_lp": -1,' || fault 'no log-probability'
expect 0 '20 done before' evaluate ok -s cot
expect 78 'config.remote.base_url was' on eval slow --data "$data" --n 20 --out ok -s cot --quiet
[ "$(ls ok.panel/traces.jsonl.gz)" ] || fault 'the panel is not sealed'
expect 0 'accuracy' evaluate slow -s cot --set remote.parallel=3
[ "$(cat most-slow)" -le 3 ] || fault "$(cat most-slow) requests at once, not 3"
expect 0 'triage' on plan ok -q 'chest pain' -o 'A. a||B. b' --out plan

# ---- faults that pass ---------------------------------------------------------------------------------------------
for kind in cut html busy s500 liar empty reset busydate late; do
    [ $kind != liar ] || few=4
    right "$kind"
    grep -q '"retries": [1-9]' <(calls "$kind") || fault "$kind: no call of the trace has a further attempt"
done
grep -q '"retried": ".*answers 429 (too many requests): slow down"' <(calls busy) || fault 'busy: the trace lacks the cause'
grep -q '"retried": ".*not a reply of provider openai"' <(calls html) || fault 'html: the trace lacks the cause'
grep -q '"retried": ".*no reply within 2 s' <(calls late) || fault 'late: the trace lacks the cause'

# ---- what a server lacks --------------------------------------------------------------------------------------------
right guided
[[ $(found guided) == *'schemas: guided_json'* ]] || fault "guided: $(found guided)"
right none
[[ $(found none) == *'schemas: none (in the prompt, one repair)'* ]] || fault "none: $(found none)"
grep -q '"repairs": 1' <(calls none) || fault 'none: no repair in the trace'
[ "$(json none/summary.json 'd["engine"]["repairs"], d["engine"]["calls"]')" = '20 20' ] || fault 'none: repairs not counted'
expect 0 '20 unparsed' evaluate stubborn -s cot # after one repair the reply stays
right someschema
grep -q '"retried": ".*uniqueItems is not permitted' <(calls someschema) || fault 'someschema: the trace lacks the cause'
right twice
[ "$(json twice/summary.json 'd["engine"]["repairs"]')" = 4 ] || fault 'twice: a specialty selected twice was not repaired'
right nologprobs
[[ $(found nologprobs) == *'log-probabilities: no'* ]] || fault "nologprobs: $(found nologprobs)"
right plain
[[ $(found plain) == *'top_k and min_p: not taken'* ]] || fault "plain: $(found plain)"
expect 78 'takes neither top_k nor min_p' evaluate plain2 -s cot --set "remote.base_url=$at/plain/v1" --set top_k=5
expect 0 'accuracy' evaluate noseed -s cot
[[ $(found noseed) == *'seeds: no'* ]] || fault "noseed: $(found noseed)"
right nolist
expect 0 'of thinking' evaluate think -s cot
calls think | grep -q '"n_think": 5, .*"thinking": "Let me see."' || fault 'the thinking is not in the trace'
expect 78 'needs for its role answer an llm that scores options' evaluate direct -s direct --set "remote.base_url=$at/ok/v1"
# a chat's text is the server's own: scores are of raw prompts alone
expect 78 'goes on from a given beginning; provider openai does not; choose another strategy or provider, or set direct.prompt_form' \
    evaluate chatscore -s direct --set "remote.base_url=$at/echo/v1"
expect 0 'accuracy' evaluate echo -s direct --prompt-form lm-eval
[[ $(found echo) == *'echo: yes, BOS by request'* ]] || fault "echo: $(found echo)"
calls echo | grep -q '"option_lp": \[-[0-9.]*, -' || fault 'echo: no scores'

# ---- calls that fail, and no other ----------------------------------------------------------------------------------
expect 0 'unparsed' evaluate length -s cot --set remote.parallel=1
[ "$(json length/summary.json 'd["calls_cut"] > 3')" = True ] || fault 'length: no call is cut'
expect 1 'questions failed' evaluate refusal -s cot
calls refusal | grep -q '"why": "answer: the model refuses: I cannot help with that."' || fault "refusal: $(calls refusal | head -c 500)"
expect 1 '20 of 20 questions failed' evaluate long -s cot
calls long | grep -q 'maximum context length is 64 tokens' || fault 'long: the trace lacks the cause'
expect 1 'questions failed' evaluate one500 -s cot --set remote.retries=2 --set remote.parallel=4
calls one500 | grep -q 'a bug that this prompt finds; given up after 3 attempts' || fault 'one500: the trace lacks the cause'

# ---- a run that stops and is continued --------------------------------------------------------------------------------
# stops KIND CAUSE [OPTION..]: exit 75, the cause in run.json; once the server is well, the same answers
stops() {
    local kind=$1 cause=$2
    shift 2
    expect 75 "$cause" evaluate "$kind" -s cot "$@"
    [[ $(json "$kind/run.json" 'd["figures"]["stopped"]') == *"$cause"* ]] || fault "$kind: run.json lacks the cause: $(tail -1 "$kind/run.json")"
    touch "well-$kind"
    expect 0 'accuracy' evaluate "$kind" -s cot "$@"
    [ "$(answers "$kind")" = "$(answers ok)" ] || fault "$kind: other answers after a stop"
    ! grep -q '"stopped"' "$kind/run.json" || fault "$kind: run.json still says that it stopped"
}
stops model "replied as model 'tiny' and now replies as 'tiny-v2'" --set remote.parallel=2
stops down 'answers 503: loading model; given up after 3 attempts' --set remote.retries=2
stops rest 'answers 503: loading model; given up after 1 attempts'
stops busylong 'answers 429 (too many requests): quota used up'
stops odd400 'the moon is in the wrong phase' # no reply at all before the end
stops print "its fingerprint was 'v1', is 'v2'" --set remote.parallel=2
[ "$(json print/run.json 'len(d["sessions"])')" = 2 ] || fault 'print: the new fingerprint is no session of its own'
expect 0 'accuracy' evaluate print2 -s cot --set remote.changes=record
calls print2 | grep -q '"fingerprint": "v2"' || fault 'print2: the change is not in the trace'
began=$(date +%s)
expect 75 'connect to server' evaluate none2 -s cot --set remote.base_url=http://127.0.0.1:1/v1 --set remote.retries=2
expect 75 'no reply within' on run never -q x -o 'A. a||B. b' -s cot \
    --set remote.timeout_seconds=0.1 --set remote.deadline_seconds=0.3 --set remote.retries=1
[ $(($(date +%s) - began)) -lt 30 ] || fault 'the limits of time are not kept'
"$MAS" eval --set provider=openai --set "remote.base_url=$at/slow/v1" --set model=tiny --set remote.parallel=2 \
    --data "$data" --n 200 --out killed -s cot --quiet >/dev/null 2>&1 &
pid=$!
for _ in $(seq 200); do [ "$(grep -c '^{"case"' killed/traces.jsonl 2>/dev/null)" -ge 5 ] 2>/dev/null && break; sleep 0.05; done
kill -INT "$pid"
wait "$pid"
[ $? = 75 ] || fault 'SIGINT: exit code'

# ---- settings ---------------------------------------------------------------------------------------------------------
expect 78 "has no model 'tiny2'; it has: other, tiny" evaluate x -s cot --set "remote.base_url=$at/ok/v1" --set model=tiny2
expect 78 'needs remote.base_url' "$MAS" run --set provider=openai -q x --set model=tiny
expect 78 'names a user or a password' evaluate x --set remote.base_url=http://me:pass@127.0.0.1/v1
expect 78 'has a query' evaluate x --set 'remote.base_url=http://127.0.0.1/v1?key=1'
expect 78 'no address of http' evaluate x --set remote.base_url=ftp://127.0.0.1/v1
expect 78 'answers 404: no such path' evaluate x --set "remote.base_url=$at/ok/none"
expect 78 "Incorrect API key provided" evaluate x --set "remote.base_url=$at/key/v1"
expect 78 "has no variable 'MAS_TEST_KEY'" evaluate x --set "remote.base_url=$at/key/v1" --set remote.key_env=MAS_TEST_KEY
export MAS_TEST_KEY=s3cret-key
expect 0 'accuracy' evaluate key -s cot --set remote.key_env=MAS_TEST_KEY
! grep -rqs s3cret-key key || fault 'the key is in the folder of the run'
expect 78 'redirections are not followed' evaluate x --set "remote.base_url=$at/away/v1" --set remote.key_env=MAS_TEST_KEY
! grep -q "^$other " log || fault 'another server was asked'
export MAS_TEST_KEY=$'two\nlines'
expect 78 'byte 4 of the key is 0x0a' evaluate x --set "remote.base_url=$at/key/v1" --set remote.key_env=MAS_TEST_KEY

# ---- Ollama -------------------------------------------------------------------------------------------------------------
ollama() { # KIND [OPTION..]
    local kind=$1
    shift
    "$MAS" eval -c llama3_70b_ollama --set "remote.base_url=$at/$kind" --set model=tiny --set remote.retry_seconds=0.02 \
        --data "$data" --n 20 --out "$kind" --quiet "$@"
}
expect 0 'accuracy' ollama oll -s panel
[[ $(found oll) == *'version 0.99; model tiny; digest abcdef0123456789'*'schemas: format'* ]] || fault "ollama: $(found oll)"
expect 0 'accuracy' ollama othink -s cot
calls othink | grep -q '"thinking": "Hm."' || fault 'ollama: no thinking'
expect 0 'accuracy' ollama othink2 -s cot --set "remote.base_url=$at/othink" --set thinking.budget=0
! grep -q Hm <(calls othink2) || fault 'ollama: thinking with a budget of 0'
expect 1 '20 of 20 questions failed' ollama otrunc -s cot
calls otrunc | grep -q 'the server cut the prompt: it read 40 tokens' || fault 'ollama: a cut prompt is not seen'
expect 78 "has no model 'big'; it has: tiny:latest" ollama x --set model=big
expect 78 'is no server of Ollama' ollama x --set "remote.base_url=$at/ok/v1"
expect 78 'provider openai needs' "$MAS" run -c llama3_70b_vllm --set remote.base_url= -q x
exit $bad
