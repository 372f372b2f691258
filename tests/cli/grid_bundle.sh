#!/usr/bin/env bash
# mas export --bundle and mas verify of an experiment: all its runs are one file, which is read elsewhere with its own
# questions and prompts; an edit, a swapped or a lost cell is named; a killed experiment is unfinished, not different.
. "$(dirname "$0")/head.bash"
cp "$MAS_SOURCE/configs/demo/questions.jsonl" q.jsonl
cp -r "$MAS_SOURCE/configs/prompts" pr && sed -i 's/physicians/medics/' pr/*/*.txt
cat >grid.yaml <<END
_base: $MAS_SOURCE/configs/demo.yaml
prompts_dir: pr
experiment:
  name: small
  factors:
    strategy: [direct, cot]
    temperature: [0.7]
    threads: [1]
  seeds: [1, 2]
END
grid() { "$MAS" eval -c grid.yaml --data q.jsonl --n 3 --quiet "$@" </dev/null; }
grid --out g >log 2>&1 || fault "no experiment: $(tail -n 3 log)"
one=cot,temperature=0.7,threads=1,seed=1 two=cot,temperature=0.7,threads=1,seed=2
[ -d "g/$one" ] && [ -d "g/$two" ] || fault "other cells: $(ls g)"

# ---- whole ----
expect 0 "same: all figures of the experiment's summary.json" "$MAS" verify g
expect 0 "cell $two: same: all figures of summary.json" "$MAS" verify g
expect 0 "sha256" "$MAS" export g --bundle g.tar.gz
"$MAS" export g --bundle h.tar.gz 2>log || fault "a second bundle: $(cat log)"
cmp g.tar.gz h.tar.gz || fault "two bundles of one experiment differ"
expect 0 "parts are as recorded, 0 are not checked" "$MAS" verify g.tar.gz
mkdir else && tar xzf g.tar.gz -C else || fault "tar cannot unpack the bundle"
cmp "else/g/$one/traces.jsonl.gz" "g/$one/traces.jsonl.gz" || fault "another trace in the bundle"
[ -s else/g/review/report.html ] || fault "no report of the experiment"
[ "$(find else/g -name questions.jsonl | wc -l)" = 1 ] || fault "the questions are packed $(find else/g -name questions.jsonl | wc -l) times"
mv q.jsonl away.jsonl && mv pr away
id=$(sed -n 2p "g/$one/results.csv" | cut -d, -f1)
(
    cd else || exit 1
    expect 0 "the bytes agree" "$MAS" replay "g/$one" --case "$id" --rerun
    expect 0 "0 are not checked" "$MAS" verify g
    expect 0 "by the place" "$MAS" export "g/$one" --orders
    expect 0 "experiment small" "$MAS" export g
    expect 0 "" "$MAS" report g -o page.html
    expect 0 "sha256" "$MAS" export g --bundle again.tar.gz
    cmp again.tar.gz ../g.tar.gz || fault "the bundle of an unpacked bundle differs"
    exit "$bad"
) || bad=1
mv away.jsonl q.jsonl && mv away pr
expect 65 "is not the run's data" "$MAS" export g --bundle x.tar.gz --data grid.yaml
[ ! -e x.tar.gz ] || fault "a refused bundle was written"

# ---- edits ----
# edited FILE OLD NEW TEXT: the difference is named, in the folder and by the manifest
edited() {
    rm -rf edit && cp -r g edit && sed -i "s/$2/$3/" "edit/$1"
    cmp -s "g/$1" "edit/$1" && fault "nothing to edit in $1: $2"
    expect 65 "$4" "$MAS" verify edit
    rm -rf edit && cp -r else/g edit && sed -i "s/$2/$3/" "edit/$1"
    expect 65 "DIFFERS: $1: " "$MAS" verify edit
}
edited grid.json '"done": 3, "total": 3, "correct": [0-9]' '"done": 3, "total": 3, "correct": 7' "questions right, its trace gives"
edited "$one/summary.json" '"ece": [^,]*' '"ece": 0.001' "cell $one: DIFFERS: summary.json: ece is 0.001"
edited "$one/run.json" '"temperature": 0.7' '"temperature": 0.9' "is not of cell $one: temperature is 0.9, the cell has 0.7"
edited summary.json '"accuracy_mean": [^,]*' '"accuracy_mean": 0.123' "DIFFERS: summary.json of the experiment: not what the traces give: settings"
rm -rf edit && cp -r g edit && mv "edit/$one" aside && mv "edit/$two" "edit/$one" && mv aside "edit/$two"
expect 65 "it is cell $two" "$MAS" verify edit
expect 78 "it is cell $two" "$MAS" export edit --bundle x.tar.gz
rm -rf edit && cp -r g edit && rm -r "edit/$two"
expect 65 "DIFFERS: $two: " "$MAS" verify edit
rm -rf edit && cp -r else/g edit && rm "edit/$two/review/config.json"
expect 65 "$two/review/config.json: missing" "$MAS" verify edit

# ---- killed ----
"$MAS" eval -c grid.yaml --data q.jsonl --n 150 --concurrency 1 --out k --quiet </dev/null >log 2>&1 &
pid=$!
for ((i = 0; i < 600; i++)); do
    [ "$(cat k/cot*/traces.jsonl 2>/dev/null | grep -c '^{"case"')" -ge 3 ] && break
    sleep 0.05
done
kill -9 $pid
wait $pid 2>/dev/null
expect 0 "unfinished: grid.json: cell $one is older than its trace" "$MAS" verify k
expect 0 "cell $two: it has not begun" "$MAS" verify k
expect 0 "computed anew" "$MAS" export k --bundle k.tar.gz
expect 0 "cell $one: same: all figures of summary.json" "$MAS" verify k.tar.gz
expect 64 "is of one run, and 2 are given: g, k" "$MAS" export g k --bundle x.tar.gz
exit $bad
