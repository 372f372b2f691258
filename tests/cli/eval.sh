#!/bin/bash
# mas eval, export, run and plan with the model inside the program: an evaluation killed and continued ends
# as an uninterrupted one; every refusal has its exit code and names the cause.
set -u
dir=$(mktemp -d "${TMPDIR:-/tmp}/mas-test-XXXXXX")
trap 'rm -rf -- "$dir"' EXIT
cd "$dir" || exit 1
bad=0
data=$MAS_SOURCE/configs/demo/questions.jsonl

fault() {
    echo "FAILED: $*"
    bad=1
}

# expect CODE TEXT COMMAND..: exit code, and TEXT in what it says
expect() {
    local code=$1 text=$2 said got
    shift 2
    said=$("$@" 2>&1)
    got=$?
    [ "$got" = "$code" ] || fault "$*: exit code $got, want $code: $said"
    case $said in
    *"$text"*) ;;
    *) fault "$*: no '$text' in: $said" ;;
    esac
}

# what an evaluation found, without its times
answers() {
    "$MAS" export "$1" --csv - | tr -d '\r' | awk -F, '{ print $1 "," $(NF-5) "," $(NF-4) "," $(NF-3) }'
}

evaluate() {
    "$MAS" eval -c demo --data "$data" --n 10 --strategy direct --quiet "$@"
}

# ---- a whole evaluation
expect 0 "accuracy" evaluate --out whole
for file in run.json traces.jsonl.gz summary.json results.csv; do
    [ -s "whole/$file" ] || fault "no whole/$file"
done
[ "$(answers whole | wc -l)" = 11 ] || fault "10 questions gave $(answers whole | wc -l) rows"
figures() { sed -n 's/^ "engine": //p' "$1/summary.json"; }
engine=$(figures whole)
[[ $engine == *'"prompt_tokens_cached": '[1-9]* ]] || fault "summary.json does not say what the engine did: $engine"
expect 0 "10 done before" evaluate --out whole
[ "$(figures whole | tr -d ' ,')" = "$(tr -d ' ,' <<<"$engine")" ] || fault "engine's figures lost by a second look"
python3 -c 'import json; json.load(open("whole/summary.json")); json.load(open("whole/run.json"))' ||
    fault "summary.json or run.json is no JSON"
grep -q '"placement": "all resident; KV cache of' whole/run.json || fault "run.json does not say where the weights lay"

# ---- killed at five moments, then stopped by a signal, then continued
for i in 1 2 3 4 5; do
    "$MAS" eval -c demo --data "$data" --n 10 -s direct --out parts --concurrency 2 >/dev/null 2>&1 &
    pid=$!
    for _ in $(seq 200); do
        [ "$(grep -c '^{"case"' parts/traces.jsonl 2>/dev/null || true)" -ge "$i" ] 2>/dev/null && break
        kill -0 "$pid" 2>/dev/null || break
    done
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
done
expect 0 "accuracy" evaluate --out parts
[ "$(answers whole)" = "$(answers parts)" ] || fault "killed and continued differs: $(answers parts)"

# ---- what must not change
expect 78 'config.seed was 42, is 7' evaluate --out whole --seed 7
expect 78 'shuffle was false, is true' evaluate --out whole --shuffle
expect 78 'config.strategy was "direct", is "cot"' "$MAS" eval -c demo --data "$data" --n 10 -s cot --out whole
sed 's/58-year-old/59-year-old/' "$data" >other.jsonl
expect 78 'data_sha256 was' "$MAS" eval -c demo --data other.jsonl --n 10 -s direct --out whole
expect 78 'not among the 5 asked for' "$MAS" eval -c demo --data "$data" --n 5 -s direct --out whole
expect 0 'whole/old-1' evaluate --out whole --seed 7 --force-new
[ -s whole/old-1/traces.jsonl.gz ] || fault "--force-new lost the former results"

# ---- damage
zcat parts/traces.jsonl.gz | sed '3s/"finish"/"finisx"/' >damaged
rm parts/traces.jsonl.gz && mv damaged parts/traces.jsonl
expect 65 'traces.jsonl:3: damaged at question 0' evaluate --out parts
expect 65 'traces.jsonl:3: damaged' "$MAS" export parts
expect 0 'repaired' evaluate --out parts --repair

# ---- usage, missing and bad input
expect 64 'no questions; give a file with --data' "$MAS" eval -c demo
expect 64 "unexpected argument 'x'" "$MAS" eval -c demo x
expect 66 '/nowhere.jsonl' "$MAS" eval -c demo --data /nowhere.jsonl
printf '{}\n' >empty.jsonl
expect 65 "no usable question, 1 rejected; line 1: key 'question' is missing" "$MAS" eval -c demo --data empty.jsonl
expect 78 "no strategy 'oracle'; there are panel, direct, cot" "$MAS" run -c demo -q X -s oracle
expect 66 'run.json' "$MAS" export nowhere
expect 64 'no folder of a run' "$MAS" export
expect 64 "option 2 must begin with 'B.'" "$MAS" run -c demo -q X -o "A. a||C. c"
expect 73 'cannot create' evaluate --out /proc/nowhere

# ---- one case
expect 0 'research software: not for clinical care' "$MAS" run -c demo -s direct -q "Chest pain?" -o "A. x||B. y" --out one
expect 0 '"state": "answered"' "$MAS" run -c demo -s direct -q "Chest pain?" -o "A. x||B. y" --json --out two
"$MAS" run -c demo -s direct -q "Chest pain?" -o "A. x||B. y" --json --out three 2>/dev/null |
    python3 -c 'import json, sys; json.load(sys.stdin)' || fault "--json is no JSON"
expect 0 'asked' "$MAS" plan -c demo --set planner.selection=logit -q "Chest pain?"
expect 0 'exact McNemar' "$MAS" export whole --against whole/old-1
expect 0 'parts ' "$MAS" export whole --against parts --against whole/old-1
exit $bad
