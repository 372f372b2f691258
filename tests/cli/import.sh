#!/bin/bash
# Questions in the forms of public sets, and predictions of other programs as a run. Both are exported and compared like
# any run; refusals name the cause.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
data=$MAS_SOURCE/configs/demo/questions.jsonl

json() { python3 -c "import json; d = json.load(open('$1')); print($2)"; }

# ---- questions as CSV without names: the group is the file's name
printf '%s\n' 'Which vitamin prevents scurvy?,A,B12,C,D,C' '"Which organ, of these, makes bile?",Spleen,Liver,Lung,Skin,B' \
    'Broken,1,2' >anatomy_test.csv
expect 1 "anatomy_test.csv: 1 of 3 records rejected" "$MAS" eval -c demo --data anatomy_test.csv -s direct --out mmlu --quiet
expect 0 "anatomy " "$MAS" export mmlu
expect 65 "3 rejected" "$MAS" eval -c demo --data anatomy_test.csv --data-format medxpertqa -s direct --out other --quiet
expect 64 "there are medqa-hf, medmcqa" "$MAS" eval -c demo --data anatomy_test.csv --data-format mmlv -s direct --out other --quiet
expect 65 "3 rejected" "$MAS" eval -c demo --data anatomy_test.csv --set data_format=medqa -s direct --out other --quiet

# ---- a run's own results.csv comes back as the same answers
"$MAS" eval -c demo --data "$data" --n 20 -s direct --out own --quiet >/dev/null 2>&1 || fault "no run to import"
expect 0 "20 predictions in the form csv" "$MAS" import own/results.csv --data "$data" --out again --name 'a "name"'
[ "$(json again/summary.json 'd["accuracy"]["correct"], d["answered"], d["not_run"] > 0')" = \
    "$(json own/summary.json 'd["accuracy"]["correct"], d["answered"], True')" ] || fault "the imported answers are others"
[ "$(json again/summary.json 'd["per_question"]["calls"], d["per_question"]["new_tokens"], d["per_question"]["seconds_mean"]')" = \
    "None None None" ] || fault "an imported run has calls, tokens or seconds"
[ "$(json again/run.json 'd["identity"]["imported"]["file_sha256"]')" = "$(sha256sum own/results.csv | cut -d' ' -f1)" ] ||
    fault "run.json does not name the imported file"
expect 0 "20 common questions" "$MAS" export again --against own
expect 0 "p = 1" "$MAS" export again --against own
expect 0 "again holds these predictions already" "$MAS" import own/results.csv --data "$data" --out again --name 'a "name"'
expect 78 "again holds another run" "$MAS" import own/results.csv --data "$data" --out again --name other
expect 78 "own holds another run" "$MAS" import own/results.csv --data "$data" --out own
expect 78 "again holds another run" "$MAS" eval -c demo --data "$data" --n 20 -s direct --out again
"$MAS" export again --csv again.csv || fault "no CSV of an imported run"
[ "$(head -21 again.csv | cut -d, -f1)" = "$(head -21 own/results.csv | cut -d, -f1)" ] ||
    fault "the CSV of the imported run has other rows"

# ---- so does that of a run with a duplicate, a rejected record and a question that was not run; with its probabilities
{ sed -n '1,6p;2p' "$data"; echo '{"question": "broken"}'; } >mixed.jsonl
"$MAS" eval -c demo --data mixed.jsonl -s direct --out mixed --quiet >/dev/null 2>&1
python3 -c 'import csv
rows = list(csv.DictReader(open("mixed/results.csv")))
for r in rows[4:6]:
    for k in r:
        r[k] = r[k] if k in ("trace_id", "question", "correct_answer", "line") else ""
    r["is_correct"], r["status"] = "false", "not run"
out = csv.DictWriter(open("fewer.csv", "w"), rows[0])
out.writeheader()
out.writerows(rows)'
expect 0 "form csv" "$MAS" import mixed/results.csv --data mixed.jsonl --out mixed-again
expect 0 "form csv" "$MAS" import fewer.csv --data mixed.jsonl --out fewer-again
grep -q 'not run' fewer.csv || fault "no row of a question that was not run: $(cat fewer.csv)"
[ "$(json mixed-again/summary.json 'd["accuracy"], d["answered"], d["not_run"], d["ece_n"], d["brier_options_n"]')" = \
    "$(json mixed/summary.json 'd["accuracy"], d["answered"], d["not_run"], d["ece_n"], d["brier_options_n"]')" ] || fault "a run with a duplicate came back as another"
python3 -c 'import json
a, b = (json.load(open(n + "/summary.json")) for n in ("mixed", "mixed-again"))
assert a["ece"] is not None and all(abs(a[k] - b[k]) < 1e-7 for k in ("ece", "brier", "brier_options", "aurc")), (a, b)' ||
    fault "other probabilities came back"
[ "$(json fewer-again/summary.json 'd["not_run"], d["unparsed"], d["accuracy"]["n"]')" = "2 0 8" ] || fault "questions that were not run came back as answers"

# ---- an imported run is checked, packed and shown like any run
expect 0 "not checked: prompts: the answers were imported, so the run had none" "$MAS" verify again
expect 0 "" "$MAS" export again --bundle again.tar.gz
expect 0 "" "$MAS" verify again.tar.gz
expect 0 "1 runs, 200 questions" "$MAS" report again -o again.html

# ---- files for other programs: the same bytes each time, and samples that come back as the same answers
for n in 1 2; do
    "$MAS" export own --lm-eval "harness$n" --inspect "log$n.json" || fault "no files for other programs"
done
diff -r harness1 harness2 >/dev/null || fault "two exports differ"
cmp -s log1.json log2.json || fault "two logs differ"
samples=$(echo harness1/samples_questions_*.jsonl)
results=$(echo harness1/results_*.json)
[ "$(json "$results" 'float(d["results"]["questions"]["acc,none"]), d["n-samples"]["questions"]["effective"]')" = \
    "$(json own/summary.json 'float(d["accuracy"]["accuracy"]), d["accuracy"]["n"]')" ] || fault "the results are others: $(cat "$results")"
[ "$(json log1.json 'd["status"], len(d["samples"]), float(d["results"]["scores"][0]["metrics"]["accuracy"]["value"])')" = \
    "success 20 $(json own/summary.json 'float(d["accuracy"]["accuracy"])')" ] || fault "the log says something else"
expect 0 "20 predictions in the form lm-eval" "$MAS" import "$samples" --data "$data" --out back
[ "$(json back/summary.json 'd["so_far"]["correct"], d["ece"]')" = "$(json own/summary.json 'd["so_far"]["correct"], d["ece"]')" ] ||
    fault "the samples came back with other answers or probabilities"
tac "$data" >back.jsonl
sed 's/-year-old/-year-young/' "$data" >other.jsonl
expect 65 "other.jsonl has no question" "$MAS" export own --inspect - --data other.jsonl
expect 0 '"status": "success"' "$MAS" export own --inspect - --data back.jsonl
cp "$data" moved.jsonl
"$MAS" eval -c demo --data moved.jsonl --n 2 -s direct --out moved --quiet >/dev/null 2>&1 || fault "no run to move"
rm moved.jsonl
expect 66 "give them with --data FILE" "$MAS" export moved --inspect -
expect 64 "--data is for --lm-eval, --inspect, --orders and --bundle" "$MAS" export own --data "$data"
expect 64 "own/run.json is run.json of the run itself" "$MAS" export own --inspect own/run.json

# ---- variants: all orders of the options, and none of the other answers
printf '%s\n' '{"question": "P?", "options": ["a", "b", "c"], "answer_idx": "B", "meta_info": "s"}' \
    '{"question": "broken"}' '{"question": "Q?", "options": ["yes", "no"], "answer_idx": "A"}' >two.jsonl
expect 0 "1 rejected records and 0 duplicates left out" "$MAS" vary two.jsonl --permute cyclic -o cyclic.jsonl
[ "$(python3 -c 'import json
for l in open("cyclic.jsonl"):
    d = json.loads(l)
    print("".join(d["options"].values()), d["answer_idx"], d["meta_info"])')" = "abc B s
bca A s
cab C s
yesno A 
noyes B " ] || fault "other orders: $(cat cyclic.jsonl)"
"$MAS" vary two.jsonl --none-of-the-above >none.jsonl 2>/dev/null || fault "no variant"
[ "$(python3 -c 'import json
for l in open("none.jsonl"):
    d = json.loads(l)
    print(d["options"][d["answer_idx"]], len(d["options"]))')" = "None of the other answers 3
None of the other answers 2" ] || fault "other variants: $(cat none.jsonl)"
expect 64 "give one of --permute cyclic, --none-of-the-above and --paraphrases" "$MAS" vary two.jsonl
printf 'id,pred\n0,B\n1,A\n2,C\n3,A\n4,A\n' >answers.csv # b in all orders of P?, another one for each of Q?
"$MAS" import answers.csv --data cyclic.jsonl --out orders >/dev/null 2>&1 || fault "no run of the orders"
expect 0 "same answer      50.0 %  1/2" "$MAS" export orders --orders
"$MAS" export orders --orders -o json >orders.json
[ "$(json orders.json 'd["same_answer"]["correct"], d["same_answer"]["n"], d["right_in_all"]["correct"], d["without_order"]')" = "1 2 1 5" ] ||
    fault "orders as JSON: $(cat orders.json)"
expect 0 "right in all     50.0 %  1/2" "$MAS" export orders --orders
expect 0 "5 questions without a recorded order" "$MAS" export orders --orders
"$MAS" vary "$data" --permute cyclic -o all.jsonl || fault "no orders of the demo's questions"
"$MAS" eval -c demo --data all.jsonl --n 22 -s direct --out cyclic --shuffle --quiet >/dev/null 2>&1 || fault "no run in all orders"
said=$("$MAS" export cyclic --orders)
[[ $said == *"1 groups not finished"* ]] || fault "5 whole groups of 22 questions: $said"
keys=$(sed -n 's,^  [A-D] .*% *[0-9]*/\([0-9]*\) .*,\1,p' <<<"$said" | paste -sd+)
[ "$((keys))" = 22 ] || fault "the keys of 22 questions are at $keys places: $said"

# ---- refusals
printf 'id,pred,gold\n0,A,A\n1,A,A\n2,A,A\n3,A,A\n' >wrong.csv
expect 65 "these are other questions, or another order" "$MAS" import wrong.csv --data back.jsonl --out none
[ ! -e none ] || fault "a refused file has left a folder"
expect 64 "give those of the predictions with --data" "$MAS" import wrong.csv --out none
expect 64 "give one with --out" "$MAS" import wrong.csv --data "$data"
expect 66 "missing.csv" "$MAS" import missing.csv --data "$data" --out none
exit $bad
