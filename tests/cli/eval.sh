#!/bin/bash
# mas eval, export, run and plan with the model inside the program. An evaluation killed and continued ends like an
# uninterrupted one. Every refusal has its exit code and names the cause.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
data=$MAS_SOURCE/configs/demo/questions.jsonl

# what an evaluation found, without its times
answers() {
    "$MAS" export "$1" --csv - | python3 -c 'import csv, sys
for r in csv.DictReader(sys.stdin): print(r["trace_id"], r["predicted_answer"], r["correct_answer"], r["is_correct"])'
}

json() { python3 -c "import json; d = json.load(open('$1')); print($2)"; }

evaluate() {
    "$MAS" eval -c demo --data "$data" --n 10 --strategy direct --quiet "$@"
}

# ---- a whole evaluation
expect 0 "accuracy" evaluate --out whole
for file in run.json traces.jsonl.gz summary.json results.csv; do
    [ -s "whole/$file" ] || fault "no whole/$file"
done
[ "$(answers whole | wc -l)" = 10 ] || fault "10 questions gave $(answers whole | wc -l) rows"
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
expect 0 'whole/old-1' evaluate --out whole --seed 7 --force-new
[ -s whole/old-1/traces.jsonl.gz ] || fault "--force-new lost the former results"

# ---- what may change, because no reply depends on it: recorded as a session of its own
expect 0 'config.isa was "auto", is "scalar"; config.threads was 0, is 1; config.placement.mode was "auto", is "latency"' \
    evaluate --out parts --set isa=scalar --set threads=1 --set engine.sequences=3 --set placement.mode=latency
expect 0 'config.backend was "auto", is "cpu"' evaluate --out parts --set isa=scalar --set threads=1 --set backend=cpu
expect 78 'another run: backend was "cpu", is "ref"' evaluate --out parts --set backend=ref
expect 0 '12 records: 12 questions, strategy direct, 10 done before' "$MAS" eval -c demo --data "$data" --n 12 -s direct \
    --out parts --set isa=scalar --set threads=1
[ "$(json parts/run.json 'len(d["sessions"])')" = 4 ] || fault "sessions: $(json parts/run.json 'd["sessions"]')"
[ "$(json parts/run.json '[s["about"]["config"]["isa"] for s in d["sessions"]]')" = "['auto', 'scalar', 'scalar', 'scalar']" ] ||
    fault "the sessions' settings: $(json parts/run.json 'd["sessions"]')"

# ---- more and fewer records of the same folder: every report is about what was asked for
agree() { # DIR ASKED DONE
    [ "$(json "$1/run.json" 'd["asked"], d["figures"]["records"], d["figures"]["done"]')" = "$2 $2 $3" ] ||
        fault "$1/run.json: not $3 of $2: $(tail -n 1 "$1/run.json")"
    [ "$(json "$1/summary.json" 'd["records"], d["accuracy"]["n"], d["done"], d["run"]["asked"], d["run"]["figures"]["done"]')" = \
        "$2 $2 $3 $2 $3" ] || fault "$1/summary.json: not $3 of $2"
    [ "$(answers "$1" | wc -l)" = "$2" ] || fault "export $1: $(answers "$1" | wc -l) rows, not $2"
    [ "$(tail -n +2 "$1/results.csv" | wc -l)" = "$2" ] || fault "$1/results.csv: not $2 rows"
}
agree parts 12 12
expect 0 '7 more finished questions after the first 5 records: they stay in its traces' \
    "$MAS" eval -c demo --data "$data" --n 5 -s direct --out parts --quiet
agree parts 5 5
expect 0 '12 done before' "$MAS" eval -c demo --data "$data" --n 12 -s direct --out parts --quiet
agree parts 12 12

# ---- a run that is not finished says so wherever it is shown
"$MAS" eval -c demo --data "$data" --n 60 -s cot --out half --concurrency 1 --set engine.sequences=1 >half.txt 2>&1 &
pid=$!
for _ in $(seq 600); do
    [ "$(grep -c '^{"case"' half/traces.jsonl 2>/dev/null || true)" -ge 2 ] 2>/dev/null && break
    sleep 0.05
done
kill -INT "$pid"
wait "$pid"
[ $? = 75 ] || fault "interrupted: exit code"
half=$(zcat -f half/traces.jsonl* | grep -c '^{"case"')
[ "$half" -lt 60 ] || fault "interrupted too late"
grep -q "partial, $half of 60" half.txt || fault "no 'partial, $half of 60' on the terminal: $(cat half.txt)"
[ "$(json half/summary.json 'd["status"]')" = "partial, $half of 60" ] || fault "summary.json: $(head -c 400 half/summary.json)"
agree half 60 "$half"
expect 0 "partial, $half of 60" "$MAS" export half
expect 0 "half (partial, $half of 60)" "$MAS" export parts --against half
expect 0 "half (partial, $half of 60) against parts, $half common questions" "$MAS" export parts --against half

# ---- rejected records and duplicates are in every figure, and in the exit status
{
    sed -n 1,3p "$data"
    printf '{"question": "no options"}\n'
    sed -n '2p;4p' "$data"
} >mixed.jsonl
expect 1 'mixed.jsonl: 1 of 6 records rejected' "$MAS" eval -c demo --data mixed.jsonl -s direct --out mixed
expect 1 "line 4: key 'options' is missing" "$MAS" eval -c demo --data mixed.jsonl -s direct --out mixed
expect 1 'line 5: the same question as line 2' "$MAS" eval -c demo --data mixed.jsonl -s direct --out mixed
expect 1 '6: 4 questions, 1 duplicates (as what they repeat), 1 rejected' "$MAS" eval -c demo --data mixed.jsonl -s direct --out mixed
agree mixed 6 6
[ "$(json mixed/run.json 'd["data"]["rejected"], d["data"]["duplicates"], d["data"]["first_rejected"][0]["line"], d["data"]["first_duplicates"]')" = \
    "1 1 4 [{'line': 5, 'same_as_line': 2}]" ] || fault "run.json does not name the records: $(cat mixed/run.json)"
grep -q '^,,,,false,,,,4,rejected,' mixed/results.csv || fault "results.csv has no rejected record"
grep -q ',5,duplicate,.*the same question as line 2' mixed/results.csv || fault "results.csv has no duplicate"
expect 0 '3 records' "$MAS" eval -c demo --data mixed.jsonl --n 3 -s direct --out mixed # the rejected one is not asked for

# ---- other orders and subsets pair; runs that share nothing are named and the others compared
tac "$data" | head -n 198 >back.jsonl
"$MAS" eval -c demo --data back.jsonl -s direct --out back --quiet >/dev/null 2>&1 || fault "the file backwards"
head -n 200 "$data" | tail -n 2 >two.jsonl
"$MAS" eval -c demo --data two.jsonl -s direct --out pair --quiet >/dev/null 2>&1 || fault "two questions"
expect 0 ', 10 common questions' "$MAS" export back --against parts
expect 1 '1 of 2 runs have no finished question in common with parts: pair' "$MAS" export parts --against pair --against back
expect 1 'pair against parts: no question in common, not compared' "$MAS" export parts --against pair --against back
expect 1 'back against parts, 10 common questions' "$MAS" export parts --against pair --against back

# ---- the price is the run's own
expect 0 'accuracy' evaluate --out priced --set price_kwh=0.5
[ "$(json priced/run.json 'd["sessions"][-1]["about"]["config"]["price_kwh"]')" = 0.5 ] || fault "run.json does not have the price"

# ---- a folder of another format
sed -i 's/"format": 2/"format": 1/' pair/run.json
expect 78 'was written in format 1, this program reads and writes format 2' "$MAS" export pair
expect 78 'was written in format 1' "$MAS" eval -c demo --data two.jsonl -s direct --out pair

# ---- damage
zcat parts/traces.jsonl.gz | sed '3s/"finish"/"finisx"/' >damaged
rm parts/traces.jsonl.gz && mv damaged parts/traces.jsonl
expect 65 'traces.jsonl:3: damaged at question ' evaluate --out parts
expect 65 'traces.jsonl:3: damaged' "$MAS" export parts
expect 0 'repaired' evaluate --out parts --repair

# ---- files that would be lost
before=$(sha256sum whole/*.json* whole/lock | sha256sum)
for own in run.json records.jsonl traces.jsonl.gz; do
    expect 64 "is $own of the run itself" "$MAS" export whole --csv "whole/$own"
    expect 64 "is $own of the run itself" "$MAS" export parts --against whole --csv "$PWD/whole/$own"
done
ln -s whole/run.json link.json
expect 64 'is run.json of the run itself' "$MAS" export whole --summary link.json
expect 64 '--csv and --summary both name same' "$MAS" export whole --csv same --summary same
expect 64 '--csv and --summary both name -' "$MAS" export whole --csv - --summary -
[ "$before" = "$(sha256sum whole/*.json* whole/lock | sha256sum)" ] || fault "export changed the run that it reads"
mkdir mine && echo mine >mine/results.csv && echo mine >mine/summary.json
expect 78 'of no run (there is no run.json)' evaluate --out mine
[ "$(cat mine/results.csv mine/summary.json)" = "mine
mine" ] || fault "files of the user's own are lost"

# ---- usage, missing and bad input
expect 64 'no questions; give a file with --data' "$MAS" eval -c demo
# a message names settings that the command has
expect 64 'raise kv.bytes, or lower max_context_length or kv.type q8_0 (a configuration' evaluate --set kv.bytes=1KiB
expect 64 'raise kv.bytes, or lower max_context_length' "$MAS" run -c demo -q X --set kv.bytes=1KiB
expect 64 'raise --kv-bytes, or lower --ctx or --kv-type' "$MAS" generate -m demo -p X --kv-bytes 1KiB
expect 64 'lower --ctx, --sequences or --kv-type, or raise --vram or --ram' \
    "$MAS" fit --shape llama3-70b --gpu rtx4090 --vram 1GiB --ram 1GiB
expect 64 "unexpected argument 'x'" "$MAS" eval -c demo x
expect 66 '/nowhere.jsonl' "$MAS" eval -c demo --data /nowhere.jsonl
printf '{}\n' >empty.jsonl
expect 65 "no usable question, 1 rejected; line 1: key 'question' is missing" "$MAS" eval -c demo --data empty.jsonl
expect 78 "no strategy 'oracle'; there are panel, direct, cot" "$MAS" run -c demo -q X -s oracle
expect 1 'strategy sc draws 3 samples at temperature 0: all are the same' "$MAS" run -c demo -s sc --set sc.samples=3 -q "Chest pain?" -o "A. x||B. y" --out twins
expect 66 'run.json' "$MAS" export nowhere
expect 64 'no folder of a run' "$MAS" export
expect 64 "option 2 must begin with 'B.'" "$MAS" run -c demo -q X -o "A. a||C. c"
expect 73 'cannot create' evaluate --out /proc/nowhere

# ---- one case
expect 0 '' "$MAS" run -c demo -s direct -q "Chest pain?" -o "A. x||B. y" -t 1 --out cores
grep -q '"threads": 1, ' cores/run.json || fault '-t 1 has no effect'
expect 78 "--set threads=300: threads is '300'; it takes a whole number from 0 to 256" "$MAS" run -c demo -q X --threads 300
expect 0 'research software: not for clinical care' "$MAS" run -c demo -s direct -q "Chest pain?" -o "A. x||B. y" --out one
expect 0 '"state": "answered"' "$MAS" run -c demo -s direct -q "Chest pain?" -o "A. x||B. y" --json --out two
"$MAS" run -c demo -s direct -q "Chest pain?" -o "A. x||B. y" --json --out three 2>/dev/null |
    python3 -c 'import json, sys; json.load(sys.stdin)' || fault "--json is no JSON"
expect 65 'strategy direct needs options; choose another strategy' "$MAS" run -c demo -s direct -q "Chest pain?" --out open
expect 64 '--prompt-form is of strategy direct, the strategy is panel' "$MAS" run -c demo --prompt-form lm-eval -q X
expect 78 "direct.prompt_form is 'x'" "$MAS" run -c demo -s direct --prompt-form x -q X
expect 0 accuracy "$MAS" eval -c demo --data "$data" --n 2 -s direct --prompt-form lm-eval --quiet --out plain
grep -q ',lp_A,lp_B,lp_C,lp_D' plain/results.csv || fault "results.csv has no log-probabilities of the options"
[ ! -e open ] || fault "a case that direct does not take left a folder"
expect 0 'asked' "$MAS" plan -c demo --set planner.selection=logit -q "Chest pain?"
expect 0 'asked' "$MAS" plan -c demo --set strategy=cot --set planner.selection=logit -q "Chest pain?"
expect 78 'strategy cot makes no plan; these do: panel' "$MAS" plan -c demo -s cot -q "Chest pain?"
expect 78 'strategy direct makes no plan; these do: panel' "$MAS" run -c demo -s direct --plan-only -q "Chest pain?"
[ "$("$MAS" plan -c demo -q "Chest pain?" --out plan-a 2>&1)" = "$("$MAS" run -c demo -q "Chest pain?" --plan-only --out plan-b 2>&1)" ] ||
    fault "mas plan and mas run --plan-only differ"
expect 73 'plan-a holds the answer to this case already' "$MAS" plan -c demo -q "Chest pain?" --out plan-a
expect 0 'one of panel, direct' "$MAS" eval --help
expect 0 'exact McNemar' "$MAS" export whole --against whole/old-1
expect 0 'parts ' "$MAS" export whole --against parts --against whole/old-1
exit $bad
