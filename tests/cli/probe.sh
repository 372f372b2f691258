#!/usr/bin/env bash
# mas probe: the toy model knows the words of its training vignettes better than those of held-out ones, and it knows no
# file's order of options. The figures of the table are those of the lines. Other wordings, faults, refusals.
. "$(dirname "$0")/head.bash"
root=${MAS_SOURCE:?root of the source tree}
command -v python3 >/dev/null || exit 77

for split in train test; do
    python3 "$root/tools/training/demo_model/vignettes.py" --split $split --n 100 --seed 3 --plain >$split.jsonl || fault "no vignettes"
done
"$MAS" probe -m demo --data train.jsonl --reference test.jsonl -o lines.jsonl --quiet >table.txt || fault "no probe"
python3 - <<'END' || fault "other figures: $(cat table.txt)"
import json, math, re
rows = [json.loads(l) for l in open('lines.jsonl')]
sets = {s: [r for r in rows if r['set'] == s] for s in ('data', 'reference')}
assert [len(v) for v in sets.values()] == [100, 100]
table = open('table.txt').read()
parts = table.split('\n\n')
def shown(part, name, form=r'(-?[\d.]+)'):
    return float(re.search(r'^ *' + re.escape(name) + r' +' + form, part, re.M).group(1))
for part, s in ((parts[1], 'data'), (parts[3], 'reference')):
    v = sets[s]
    mean = sum(r['text']['min_k'] for r in v) / 100
    more = sum(r['text']['min_k'] - r['other']['min_k'] for r in v) / 100
    first = sum(r['order_lp'][0] > max(r['order_lp'][1:]) for r in v)
    assert sum(r['first'] for r in v) == first
    p = sum(math.comb(100, k) * 0.25 ** k * 0.75 ** (100 - k) for k in range(first, 101))
    assert abs(shown(part, 'min-k, nats') - mean) < 6e-4, (part, mean)
    assert abs(shown(part, 'min-k above other') - more) < 6e-4, (part, more)
    assert abs(shown(part, "file's order first") - first) < 0.06
    assert math.isclose(shown(part, 'by chance', r'25\.0 %   p = ([\d.e-]+):'), p, rel_tol=1e-3), (part, p)
    assert p > 0.001, 'no order of a file is known to this model'
for name, key in (('min-k', 'min_k'), ('mean of all', 'mean_lp')):
    a, b = ([r['text'][key] for r in sets[s]] for s in ('data', 'reference'))
    area = sum((x > y) + (x == y) / 2 for x in a for y in b) / 1e4
    assert abs(shown(parts[5], name) - area) < 6e-4, (name, area)
    low = shown(parts[5], name, r'[\d.]+   95 % interval ([\d.]+)')
    assert low > 0.5, (name, 'the words of training are no better known')
END

# ---- other words, choices, and what cannot be scored
id=$(sed -n 2p lines.jsonl | sed 's/.*"id": "\([0-9a-f]*\)".*/\1/')
printf '{"id": "%s", "question": "He is short of breath. What is it?"}\n' "$id" >words.jsonl
"$MAS" probe -m demo --data train.jsonl --n 5 --paraphrases words.jsonl -o said.jsonl --quiet >/dev/null || fault "no probe with paraphrases"
[ "$(grep -c other_words said.jsonl)" = 1 ] || fault "one question has a paraphrase: $(cat said.jsonl)"
[ "$(wc -l <said.jsonl)" = 5 ] || fault "five questions: $(cat said.jsonl)"
"$MAS" probe -m demo --data train.jsonl --n 5 -o again.jsonl --quiet --set threads=1 >/dev/null || fault "no second probe"
head -n 5 lines.jsonl | cmp - again.jsonl || fault "other figures with one thread and other questions beside them"
printf '{"question": "%s", "options": ["a", "b"], "answer_idx": "A"}\n' "$(printf 'word %.0s' {1..3000})" >long.jsonl
head -n 2 train.jsonl >>long.jsonl
expect 1 "1 of 3 questions have a text that was not scored" "$MAS" probe -m demo --data long.jsonl -o long.out --quiet --set max_context_length=512 --set max_output_tokens=16
grep -q '"why": ".*512' long.out || fault "the line does not say why: $(head -n 1 long.out)"
expect 0 "on 7 questions of train.jsonl" "$MAS" probe -m demo --data train.jsonl --sample 7 --quiet
expect 64 "no questions" "$MAS" probe -m demo
expect 64 "no model" "$MAS" probe --data train.jsonl
expect 66 "missing.jsonl" "$MAS" probe -m demo --data missing.jsonl
expect 65 "none of 1 paraphrases is of a question" "$MAS" probe -m demo --data test.jsonl --paraphrases words.jsonl
exit $bad
