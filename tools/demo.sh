#!/usr/bin/env bash
# Installs what is missing, builds, and shows the program at work: one case through the panel, then an
# evaluation of 20 questions, both with the tiny synthetic model inside the program. No GPU, no network
# beyond the packages, no data but what is in this repository. usage: tools/demo.sh
. "$(dirname "$0")/setup.sh"

prepare
configure release
step "building release" cmake --build --preset release --target mas

mas=build/release/mas
# Status 1 says that some cases have no answer, which may happen to a model without sense.
show() { "$@" || [ $? -eq 1 ]; }
out=runs/demo-$(date +%Y%m%d-%H%M%S)
questions=configs/demo/questions.jsonl

say
say "The model inside the program is synthetic: random weights. Its answers mean nothing; what you see"
say "is that the machinery works. Research software, not for clinical care."
say
say "== one case through the panel: planner, specialists side by side, aggregator"
show "$mas" run -c configs/demo.yaml \
    -q "A 63-year-old woman has had crushing chest pain for two hours that spreads to her left arm. She \
sweats and is nauseated. The ECG shows ST elevation in leads II, III and aVF. What is the diagnosis?" \
    -o "A. Acute pericarditis||B. Inferior myocardial infarction||C. Pulmonary embolism||D. Oesophageal spasm"
say
say "== evaluation of 20 questions with strategy panel"
show "$mas" eval -c configs/demo.yaml --data "$questions" --n 20 --strategy panel --out "$out"
say
say "traces:   $out/traces.jsonl* (one line a call, one line a case), $out/run.json (the settings)"
say "as CSV:   $mas export $out --csv results.csv"
say "continue: $mas eval with the same --out picks up where an interrupted one stopped"
say "next:     $mas help; README.md; a real model goes into configs/llama3_8b.yaml"
