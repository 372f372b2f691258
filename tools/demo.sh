#!/usr/bin/env bash
# Installs missing packages, builds, and shows the program at work with the toy model inside. One case goes through
# the panel, then 60 questions go through three strategies, side by side. Needs no GPU, no network beyond the
# packages, and no data beyond this repository. usage: tools/demo.sh
. "$(dirname "$0")/scripts/setup.sh"

prepare
configure release
step "building release" cmake --build --preset release --target mas

mas=build/release/mas
# Status 1 says that some cases have no answer, which is a result too.
show() { "$@" || [ $? -eq 1 ]; }
out=runs/demo-$(date +%Y%m%d-%H%M%S)
questions=configs/demo/questions.jsonl

say
say "The model inside the program is a toy: 5 million parameters, trained on an invented world of 88 conditions"
say "(configs/demo/README.md). It answers questions of that world, and those below are from its test split."
say "Anything else, real examination questions included, runs through just the same, but the answers mean"
say "nothing. Research software, not for clinical care."
say
say "== one case through the panel: planner, specialists side by side, aggregator"
show "$mas" run -c demo \
    -q "A 46-year-old woman sees a physician with strong pain in the chest and sudden sweating. Examination \
shows a rub heard on leaning forward. The results include widespread ST elevation with PR depression. What is \
the underlying mechanism?" \
    -o "A. Venous thrombus lodged in a pulmonary artery||B. Viral inflammation of the pericardial layers||C. Tear \
of the intima with blood between the layers of the aorta||D. Rupture of a coronary plaque with an occluding thrombus" \
    --out "$out/case"
for strategy in direct cot panel; do
    say
    say "== 60 questions, strategy $strategy"
    show "$mas" eval -c demo --data "$questions" --n 60 --strategy "$strategy" --out "$out/$strategy"
done
say
say "== side by side"
"$mas" export "$out/direct" --against "$out/cot" --against "$out/panel" | sed '/common questions$/,$d'
say
say "traces:   $out/panel/traces.jsonl.gz (one line a call, one line a case), $out/panel/run.json (the settings)"
say "as CSV:   $mas export $out/panel --csv results.csv"
say "tests:    $mas export $out/direct --against $out/panel (McNemar, bootstrap)"
say "continue: $mas eval with the same --out picks up where an interrupted one stopped"
say "next:     $mas help; README.md; a real model goes into configs/llama3_8b.yaml"
