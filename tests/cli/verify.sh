#!/usr/bin/env bash
# mas export --bundle and mas verify: the same run gives the same bytes; a changed byte in run, records, trace, table,
# prompt, catalogue, questions, page or model is named with its place.
. "$(dirname "$0")/head.bash"
cp "$MAS_SOURCE/configs/demo/questions.jsonl" questions.jsonl
"$MAS" eval -c demo --data questions.jsonl -n 3 --set planner.top_k=3 --set temperature=0.3 --out run --quiet >log 2>&1 ||
    fault "eval: $(tail -n 3 log)"

# flip FILE OFFSET: changes one bit of that byte
flip() {
    local was
    was=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf "\\$(printf %03o $((was ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
# at FILE TEXT: the offset of the text
at() { grep -obaF -m 1 -- "$2" "$1" | head -n 1 | cut -d: -f1; }

# ---- whole ----
expect 0 "9 parts are as recorded, 1 are not checked" "$MAS" verify run
expect 0 "sha256" "$MAS" export run --bundle a.tar.gz
"$MAS" export run --bundle b.tar.gz 2>log || fault "a second bundle: $(cat log)"
cmp a.tar.gz b.tar.gz || fault "two bundles of one run differ"
expect 0 "10 parts are as recorded, 0 are not checked" "$MAS" verify a.tar.gz
mv questions.jsonl moved.jsonl
expect 0 "10 parts are as recorded" "$MAS" verify a.tar.gz # the bundle has its questions
expect 0 "not checked: data: " "$MAS" verify run
expect 0 "same: data: moved.jsonl" "$MAS" verify run --data moved.jsonl
mv moved.jsonl questions.jsonl
cp -r "$MAS_SOURCE/configs/prompts" pr && sed -i 's/physicians/medics/' pr/panel/*.txt
"$MAS" eval -c demo --data questions.jsonl -n 1 --set planner.top_k=3 --set prompts_dir=pr --out of-dir --quiet >log 2>&1 ||
    fault "eval with a folder of prompts: $(tail -n 3 log)"
expect 0 "sha256" "$MAS" export of-dir --bundle dir.tar.gz
mkdir whole && tar xzf a.tar.gz -C whole || fault "tar cannot unpack the bundle"
cmp whole/run/traces.jsonl.gz run/traces.jsonl.gz || fault "the trace in the bundle differs"
expect 64 "name it .tar.gz" "$MAS" export run --bundle a.tar.zst
expect 64 "no run" "$MAS" verify
expect 66 "run.json" "$MAS" verify whole
ls "${TMPDIR:-/tmp}"/mas-verify-* 2>/dev/null && fault "unpacked folders are left"

# ---- an unpacked bundle is read with its own questions and prompts ----
mkdir elsewhere && cp -r whole/run elsewhere/run && mkdir elsewhere/mine && cp -r "$MAS_SOURCE/configs/prompts/." elsewhere/mine
sed -i 's/physicians/doctors/' elsewhere/mine/panel/*.txt
id=$(sed -n 2p run/results.csv | cut -d, -f1)
(
    cd elsewhere || exit 1
    expect 0 "the bytes agree" "$MAS" replay run --case "$id" --rerun
    expect 1 "prompts.panel/planner was" "$MAS" replay run --case "$id" --rerun --set prompts_dir=mine
    expect 0 "" "$MAS" export run --lm-eval harness
    ls harness/samples_questions_* >/dev/null || fault "another name of the task: $(ls harness)"
    expect 0 "by the place" "$MAS" export run --orders
    expect 0 "10 parts are as recorded, 0 are not checked" "$MAS" verify run
    expect 0 "" "$MAS" report run -o report.html
    cmp report.html run/review/report.html || fault "the report of an unpacked bundle is another one"
    expect 0 "sha256" "$MAS" export run --bundle again.tar.gz
    cmp again.tar.gz ../a.tar.gz || fault "the bundle of an unpacked bundle differs"
    # a run whose prompts were a folder that is now another one
    tar xzf ../dir.tar.gz && rm -rf pr && mkdir pr
    expect 0 "the bytes agree" "$MAS" replay of-dir --case "$id" --rerun
    exit "$bad"
) || bad=1
# questions that have moved
mv questions.jsonl moved.jsonl
expect 0 "not in the bundle" "$MAS" export run --bundle less.tar.gz
expect 0 "sha256" "$MAS" export run --bundle more.tar.gz --data moved.jsonl
cmp more.tar.gz a.tar.gz || fault "a bundle with --data differs"
sed 's/heart/hart/' moved.jsonl >other.jsonl
expect 65 "is not the run's data" "$MAS" export run --bundle more.tar.gz --data other.jsonl
mv moved.jsonl questions.jsonl

# a strategy with forms that it shares with others; prompts of a folder
cp -r "$MAS_SOURCE/configs/prompts" mine && sed -i 's/physicians/doctors/' mine/panel/*.txt
for strategy in $("$MAS" run -c demo -s none -q x 2>&1 | sed -n 's/.*there are //p' | tr -d ','); do
    "$MAS" eval -c demo -s "$strategy" --data questions.jsonl -n 1 --set planner.top_k=3 --set prompts_dir=mine --out "of-$strategy" \
        --quiet >log 2>&1 || fault "eval -s $strategy: $(tail -n 3 log)"
    "$MAS" export "of-$strategy" --bundle s.tar.gz 2>log || fault "bundle of $strategy: $(cat log)"
    (cd "$(mktemp -d -p .)" && expect 0 "(review/prompts)" "$MAS" verify ../s.tar.gz && exit "$bad") || bad=1
    strategies=${strategies:-}+
done
[ "${#strategies}" -ge 3 ] || fault "fewer than three strategies were packed: $("$MAS" run -c demo -s none -q x 2>&1)"

# ---- one changed byte in each part of the bundle ----
# changed FILE OFFSET TEXT: the byte is named
changed() {
    rm -rf part && cp -r whole part
    flip "part/run/$1" "$2"
    expect 65 "$3" "$MAS" verify part/run
    expect 65 "DIFFERS: $1: " "$MAS" verify part/run # by the manifest, too
}
for name in $(cd whole/run && find . -type f | sed 's,^\./,,' | sort); do
    [ "$name" = review/manifest.json ] || [ "$name" = run.json ] || changed "$name" 30 "DIFFERS: $name"
done
changed review/questions.jsonl "$(at whole/run/review/questions.jsonl heart)" "review/questions.jsonl:"
changed review/prompts/panel/planner.txt 200 "prompt panel/planner: its hash is"
changed review/prompts/panel/planner.json "$(at whole/run/review/prompts/panel/planner.json maxLength)" "prompt"
changed review/specialties.yaml "$(at whole/run/review/specialties.yaml resuscitation)" "catalogue of specialties: sha256"
changed records.jsonl "$(at whole/run/records.jsonl year-old)" "records.jsonl is not the file that run.json names"
changed results.csv "$(at whole/run/results.csv year-old)" "results.csv:2: byte"
changed run.json $(($(at whole/run/run.json '"model_sha256": "') + 20)) "DIFFERS: model: demo has sha256"
rm -rf part && cp -r whole part && flip part/run/run.json $(($(at whole/run/run.json '"seed": 42') + 9))
expect 65 "seed 42, run.json says 43" "$MAS" verify part/run
expect 65 "its identity is not the manifest's" "$MAS" verify part/run
rm -rf part && cp -r whole part && flip part/run/review/manifest.json "$(at whole/run/review/manifest.json '"sha256": "')"
expect 65 "review/manifest.json" "$MAS" verify part/run
rm -rf part && cp -r whole part && rm part/run/review/prompts/panel/system.txt
expect 65 "system.txt: missing" "$MAS" verify part/run

# ---- the trace: the line and the question ----
cp -r run plain && gunzip plain/traces.jsonl.gz
expect 0 "9 parts" "$MAS" verify plain
id=$(grep -m 1 '^{"case": ' plain/traces.jsonl | cut -d'"' -f4) # the first that ended
line=$(grep -n "{\"case\": \"$id\"" plain/traces.jsonl | cut -d: -f1)
flip plain/traces.jsonl $(($(at plain/traces.jsonl "{\"case\": \"$id\"") + 60))
expect 65 "plain/traces.jsonl:$line: damaged at question $id" "$MAS" verify plain
sed -i "${line}d" plain/traces.jsonl
expect 65 "calls without their case" "$MAS" verify plain
cp -r run twice && gunzip -c run/traces.jsonl.gz >twice/traces.jsonl && rm twice/traces.jsonl.gz
grep "\"$id\"" twice/traces.jsonl >again && cat again >>twice/traces.jsonl
expect 65 "the question was finished before" "$MAS" verify twice

# ---- every figure, and the settings that the trace records ----
# edited FILE OLD NEW TEXT: the difference is named
edited() {
    rm -rf edit && cp -r run edit
    sed -i "s/$2/$3/" "edit/$1"
    cmp -s "run/$1" "edit/$1" && fault "nothing to edit in $1: $2"
    expect 65 "$4" "$MAS" verify edit
}
edited summary.json '"ece": [^,]*' '"ece": 0.001' "DIFFERS: summary.json: ece is 0.001 (the trace gives "
edited summary.json '"brier": [^,]*' '"brier": 0.001' "brier is 0.001"
edited summary.json '"by_step": {' '"by_step": {"other": 1, ' "by_step is another value"
edited summary.json '"new_tokens": [0-9.]*, "seconds_mean"' '"new_tokens": 1, "seconds_mean"' "per_question is another value"
edited summary.json '"by_role": {"planner": {"calls": 3' '"by_role": {"planner": {"calls": 2' "by_role is another value"
edited summary.json '"unparsed": [0-9]*' '"unparsed": 77' "unparsed is 77"
edited summary.json '"aurc"' '"aurk"' "aurk is "
edited summary.json '"seed": 42' '"seed": 43' "the identity of its run is not that of run.json"
edited run.json '"calls_closed": [0-9]*' '"calls_closed": 77' "DIFFERS: run.json: calls_closed is 77"
edited run.json '\("figures": .*"low": \)[^,]*' '\10.01' "DIFFERS: run.json: accuracy is another value"
edited run.json '"temperature": 0.3' '"temperature": 1.5' ", the settings of run.json give 1.5"
edited run.json '"role_tokens.planner": [0-9]*' '"role_tokens.planner": 3' "max_tokens 160, the settings of run.json give 3"
edited run.json '"strategy": "panel"' '"strategy": "cot"' "strategy cot of run.json has none such"

# ---- a run that was killed: its figures are older than its trace, which is no difference ----
"$MAS" eval -c demo -s cot --data "$MAS_SOURCE/configs/demo/questions.jsonl" -n 200 --concurrency 1 --out killed --quiet >log 2>&1 &
pid=$!
for ((i = 0; i < 600; i++)); do
    [ "$(grep -c '^{"case"' killed/traces.jsonl 2>/dev/null)" -ge 3 ] 2>/dev/null && break
    sleep 0.05
done
kill -9 $pid
wait $pid 2>/dev/null
[ -s killed/traces.jsonl ] && [ ! -e killed/traces.jsonl.gz ] || fault "the run was not killed in time: $(ls killed)"
for part in "run.json: its figures are older than the trace: of 0 cases of" "summary.json: its figures are older" "results.csv: it is older"; do
    expect 0 "unfinished: $part" "$MAS" verify killed
done
printf '{"call": "torn' >>killed/traces.jsonl
expect 0 "unfinished: killed/traces.jsonl: 14 bytes of a case" "$MAS" verify killed
expect 0 "the figures in the bundle are computed anew" "$MAS" export killed --bundle killed.tar.gz
expect 0 "parts are as recorded, 0 are not checked" "$MAS" verify killed.tar.gz
mkdir open && tar xzf killed.tar.gz -C open
"$MAS" export killed --csv killed.csv 2>/dev/null
cmp killed.csv open/killed/results.csv || fault "the table of a killed run in its bundle is not that of its trace"
expect 0 "all figures of summary.json" "$MAS" verify open/killed
sed -i '3s/,not run,/,answered,/' killed/results.csv
expect 65 "DIFFERS: results.csv:" "$MAS" verify killed
sed -i 's/"answered": 0/"answered": 1/' killed/summary.json
expect 65 "DIFFERS: summary.json: answered is 1 (the trace gives 0)" "$MAS" verify killed

# ---- the model and the archive ----
cp "$MAS_SOURCE/configs/demo/toy_clinic.gguf" model.gguf
expect 0 "same: model: model.gguf" "$MAS" verify run -m model.gguf
flip model.gguf $(($(stat -c %s model.gguf) - 100))
expect 65 "DIFFERS: model: model.gguf has sha256" "$MAS" verify run -m model.gguf
expect 65 "DIFFERS: model: " "$MAS" verify run -m no.gguf
flip a.tar.gz 3000
expect 65 "a.tar.gz" "$MAS" verify a.tar.gz
head -c 5000 b.tar.gz >short.tar.gz
expect 65 "inside the gzip member" "$MAS" verify short.tar.gz
tar czf other.tar.gz run
expect 65 "not as mas export writes it" "$MAS" verify other.tar.gz
mkdir -p evil/x && echo 1 >evil/x/y && tar czPf up.tar.gz --transform='s,evil,run/..,' evil
expect 65 "byte 0" "$MAS" verify up.tar.gz
exit $bad
