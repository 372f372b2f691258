#!/bin/bash
# A case outside the toy model's world is announced first and last, as text and as JSON. A question of its world never is.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"

case="65yo man with chest pain radiating to left arm, diaphoresis"
options="A. GERD||B. Acute MI||C. PE||D. MSK pain"
said="the toy model does not know 7 of this case's 16 words (44 %, limit 8 %): the answer is noise"
field() { python3 -c 'import json, sys; d = json.load(sys.stdin); print(d["noise"] if "noise" in d else "absent")'; }

for how in "run -s panel" "run -s cot" "run -s direct" "run -s direct -c demo" plan; do
    # shellcheck disable=SC2086 # words
    "$MAS" $how -q "$case" -o "$options" >page 2>err
    [ $? -le 1 ] || fault "$how: $(cat err)" # 1: no answer
    for end in head tail; do
        [[ $($end -n 2 page | tr -s ' \n' ' ') == "NOISE $said"* ]] || fault "$how: not in the $end: $($end -n 2 page)"
    done
    # shellcheck disable=SC2086 # words
    "$MAS" $how -q "$case" -o "$options" --json >page 2>err
    [ $? -le 1 ] || fault "$how --json: $(cat err)"
    [ "$(field <page)" = "$said" ] || fault "$how --json: $(cat page)"
    [ "$(grep -c '^NOISE' err)" = 2 ] || fault "$how --json says on standard error: $(cat err)"
done
own="A 53-year-old woman is seen with a strong headache. The physician notes a heart rate of 122/min."
"$MAS" run -s direct -q "$own" -o "A. Graves disease||B. Migraine" >page 2>&1
grep -qi noise page && fault "a case of its own: $(cat page)"
[ "$("$MAS" run -s direct -q "$own" -o "A. Graves disease||B. Migraine" --json 2>err | field)" = None ] || fault "its own as JSON"
grep -qi noise err && fault "its own as JSON: $(cat err)"
# a copy of the model by another path is the same model, any other one is none
cat >copy.yaml <<YAML
_base: demo
model: $MAS_SOURCE/configs/demo/toy_mini.gguf
strategy: direct
YAML
[ "$("$MAS" run -c copy.yaml -q "$case" -o "$options" --json 2>/dev/null | field)" = "$said" ] || fault "toy_mini"
"$MAS" synth --shape tiny --quiet tiny.gguf
sed 's/^model:.*/model: tiny.gguf/' copy.yaml >other.yaml
[ "$("$MAS" run -c other.yaml -q "$case" -o "$options" --json 2>/dev/null | field)" = absent ] || fault "another model"

# ---- evaluations
"$MAS" eval -c demo -s direct --data "$MAS_SOURCE/configs/demo/questions.jsonl" --quiet --out own >page 2>&1 || fault "eval of its own"
grep -qi noise page && fault "eval of its own: $(grep -i noise page)"
"$MAS" eval -c demo -s direct --data "$MAS_SOURCE/configs/demo/handwritten.jsonl" --quiet --out hand >page 2>err || fault "eval: $?"
grep -q 'noise: .* 24 of the 24 questions' err || fault "eval does not say it at the start: $(cat err)"
[[ $(tail -n 2 page | tr -s ' \n' ' ') == "NOISE the toy model does not know more than 8 % of the words of 24 of the 24 questions"* ]] ||
    fault "eval does not say it at the end: $(tail -n 2 page)"

python3 "$MAS_SOURCE/tools/training/demo_model/words.py" | cmp - "$MAS_SOURCE/configs/demo/words.txt" ||
    fault "configs/demo/words.txt is not what tools/training/demo_model/words.py makes of the world"
exit $bad
