#!/usr/bin/env bash
# An experiment on variants of its questions: each cell is the run that mas eval gives with the same option. It is continued,
# divided into shards, merged, exported and verified. Other variants are other cells.
. "$(dirname "$0")/head.bash"
data=${MAS_SOURCE:?root of the source tree}/configs/demo/questions.jsonl
grid() { # VARIANTS NAME OPTION..
    local variants=$1 name=$2
    shift 2
    cat >"$name.yaml" <<END
_base: $MAS_SOURCE/configs/demo.yaml
role_tokens: {cot: 120}
experiment:
  name: $name
  factors: {strategy: [direct, cot]}
  seeds: [1, 2]
  data: {sample: {n: 4}$variants}
END
    "$MAS" eval -c "$name.yaml" --data "$data" --out "$name" "$@" </dev/null
}
answers() { cut -d, -f1-5 "$1/results.csv"; }
same() { # DIR DIR: answers, states, calls and replies
    [ "$(answers "$1")" = "$(answers "$2")" ] && [ "$(answers "$1" | wc -l)" -gt 4 ] || fault "$1 and $2 differ"
    [ "$(replies "$1")" = "$(replies "$2")" ] && [ -n "$(replies "$1")" ] || fault "$1 and $2 have other replies"
}
replies() { zcat "$1/traces.jsonl.gz" | sed -En 's/^\{("call": "[^"]*", "role": "[^"]*", "index": [0-9]+).*("reply": .*), "crc".*/\1 \2/p' | sort; }

# ---- all orders: each cell is the run of mas eval --permute
expect 0 'experiment orders: 3 cells, 16 questions each, 1 model' grid ', permute: cyclic' orders
"$MAS" eval -c demo --data "$data" --sample 4 --permute cyclic -s cot --set role_tokens.cot=120 --seed 2 --quiet --out alone >/dev/null 2>&1 ||
    fault "no run alone"
same orders/cot,seed=2 alone
expect 0 '3 cells were finished before' grid ', permute: cyclic' orders
expect 0 'cot,seed=1        16          4 ' "$MAS" export orders
expect 0 'variants of 4 questions' "$MAS" export orders/direct orders/cot,seed=1
python3 - <<'END' || fault "other figures in summary.json"
import json
cells = json.load(open('orders/summary.json'))['cells']
for c in cells:
    own = json.load(open('orders/%s/summary.json' % c['name']))['variants']
    assert (c['variants'], c['questions'], c['n']) == (16, 4, 16), c
    assert c['same_answer'] == own['same_answer']['accuracy'] and c['low'] == own['low'] and c['high'] == own['high'], (c, own)
assert json.load(open('orders/grid.json'))['data']['variants'] == {'kind': 'cyclic', 'of': 4, 'questions': 16}
END

# ---- stopped and continued
sed 's/name: orders/name: stopped/' orders.yaml >stopped.yaml
"$MAS" eval -c stopped.yaml --data "$data" --out stopped >/dev/null 2>&1 &
pid=$!
for _ in $(seq 500); do
    grep -qs '"case"' stopped/*/traces.jsonl && break
    sleep 0.01
done
kill -9 "$pid" || fault "it ended before it was stopped"
wait "$pid" 2>/dev/null
expect 0 'experiment stopped' grid ', permute: cyclic' stopped
for cell in direct cot,seed=1 cot,seed=2; do same "orders/$cell" "stopped/$cell"; done

# ---- shards, merged
for i in 3 1 2; do grid ', permute: cyclic' parts --shard $i/3 >part.log 2>&1 || fault "shard $i: $(cat part.log)"; done
expect 0 '3 shards of 3 cells merged' "$MAS" merge parts
for cell in direct cot,seed=1 cot,seed=2; do same "orders/$cell" "parts/$cell"; done
expect 78 'variants.kind was' grid ', none_of_the_above: true' parts --shard 1/3
expect 0 'are as recorded' "$MAS" verify parts

# ---- other variants are other cells; the command's option replaces the experiment's
expect 0 '0 cells kept, 3 new, 3 removed' grid ', permute: cyclic' orders --none-of-the-above
expect 0 'direct-2  ' "$MAS" export orders
expect 0 '3 cells kept, 0 new, 3 removed' grid ', permute: cyclic' orders
rm -r orders/direct
cp -r orders/direct-2 orders/direct
expect 1 'is not of cell direct: it is cell direct-2' "$MAS" export orders

# ---- a run without variants is no cell of an experiment with them
expect 0 'experiment plain: 3 cells, 4 questions each' grid '' plain
rm -r stopped/direct
cp -r plain/direct stopped/direct
expect 1 'is not of cell direct' "$MAS" export stopped

# ---- other words: every cell keeps the file
id=$(sed -n 2p plain/direct/results.csv | cut -d, -f1)
printf '{"id": "%s", "question": "Somebody in other words."}\n' "$id" >words.jsonl
for i in 1 2; do grid ", paraphrases: words.jsonl" words --shard $i/2 >part.log 2>&1 || fault "words, shard $i: $(cat part.log)"; done
expect 0 '2 shards of 3 cells merged' "$MAS" merge words
expect 0 'experiment words2: 3 cells, 5 questions each' grid '' words2 --paraphrases words.jsonl
for cell in direct cot,seed=1 cot,seed=2; do
    same "words/$cell" "words2/$cell"
    cmp words.jsonl "words/$cell/paraphrases.jsonl" || fault "$cell has no copy of the paraphrases"
done
"$MAS" export words --bundle words.tar.gz 2>/dev/null || fault "no bundle"
expect 0 'are as recorded' "$MAS" verify words.tar.gz
"$MAS" report words/*/ -o page.html 2>/dev/null && [ -s page.html ] || fault "no report"
sed -i 's/other/new/' words/direct/paraphrases.jsonl
expect 65 'DIFFERS: variants of the data: words/direct/paraphrases.jsonl' "$MAS" verify words

# ---- errors
expect 64 'give one of' grid ', permute: cyclic, none_of_the_above: true' two
expect 78 "data.permute: 'all' is not known; write cyclic" grid ', permute: all' bad
expect 66 'nowhere.jsonl' grid ', paraphrases: nowhere.jsonl' bad
exit $bad
