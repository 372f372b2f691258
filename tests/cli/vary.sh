#!/usr/bin/env bash
# Variants within one run: mas eval --permute cyclic, --none-of-the-above and --paraphrases are what mas vary and
# mas eval give. Continuing, subsets, --orders, report, replay, verify and the bundle know of them.
. "$(dirname "$0")/head.bash"
data=${MAS_SOURCE:?root of the source tree}/configs/demo/questions.jsonl
ask() { "$MAS" eval -c demo --data "$data" --quiet -s direct "$@"; }

# ---- one run of all orders
expect 0 "variants: 5 questions x 4 orders" ask --n 5 --permute cyclic --out one
"$MAS" vary "$data" --permute cyclic -o orders.jsonl 2>/dev/null || fault "no file of orders"
"$MAS" eval -c demo --data orders.jsonl --n 20 -s direct --quiet --out two >/dev/null 2>&1 || fault "no run of the file"
cut -d, -f1,2,3,4,5 one/results.csv >one.csv
cut -d, -f1,2,3,4,5 two/results.csv >two.csv
cmp one.csv two.csv || fault "the run differs from that of the file"
"$MAS" export one --orders >one.txt && "$MAS" export two --orders | cmp - one.txt || fault "other figures of the orders"
grep -q '^  same answer .*/5 ' one.txt || fault "5 groups: $(cat one.txt)"
expect 78 "holds another run" ask --n 5 --out one
expect 0 "40 questions, strategy direct, 20 done before" ask --n 10 --permute cyclic --out one
expect 0 "variants        40 of 10 questions" "$MAS" export one
expect 0 "data: $data, sha256" "$MAS" verify one

# ---- the figures of the groups, again from the trace
expect 0 "variants: 12 questions x 4 orders" ask --sample 12 --permute cyclic --out few -m demo --set strategy=cot -s cot
"$MAS" export few --summary few.json 2>/dev/null
python3 - few <<'END' || fault "other figures of the groups"
import gzip, json, math, sys
run = sys.argv[1]
rows = [json.loads(l) for l in open(run + '/records.jsonl')]
cases = {}
for l in gzip.open(run + '/traces.jsonl.gz', 'rt'):
    d = json.loads(l)
    if 'case' in d and 'state' in d:
        cases[d['case']] = d
groups = {}
for r in rows:
    groups.setdefault(r['of'], []).append(cases[r['id']])
assert len(rows) == 48 and len(groups) == 12
def option(d):
    return None if d['predicted'] is None else (ord(d['predicted']) - ord(d['key'])) % 4
same = sum(len({option(d) for d in g}) == 1 and option(g[0]) is not None for g in groups.values())
right = sum(all(d['correct'] for d in g) for g in groups.values())
v = json.load(open('few.json'))['variants']
assert v['n'] == 48 and v['questions'] == 12 and v['alone'] == v['unfinished'] == 0, v
assert (v['same_answer']['correct'], v['same_answer']['n']) == (same, 12), (v, same)
assert (v['right_in_all']['correct'], v['right_in_all']['n']) == (right, 12), (v, right)
p = sum(d['correct'] for g in groups.values() for d in g) / 48
assert math.isclose(v['accuracy'], p), (v, p)
spread = sum((sum(d['correct'] for d in g) - 4 * p) ** 2 for g in groups.values()) * 12 / (11 * 48 ** 2)
if spread > 0:
    z, n = 2.2009851600916384, p * (1 - p) / spread # Student's quantile of 97.5 %, 11 degrees of freedom
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert math.isclose(v['low'], middle - half, rel_tol=1e-8) and math.isclose(v['high'], middle + half, rel_tol=1e-8), v
END

# ---- the right option replaced
expect 0 "variants: 4 questions, the right option replaced" ask --n 4 --none-of-the-above --out none
id=$(sed -n 2p none/results.csv | cut -d, -f1)
"$MAS" replay none --case "$id" 2>/dev/null | grep -q 'None of the other answers' || fault "no such option in the prompt"
expect 0 "the bytes agree" "$MAS" replay none --case "$id" --rerun

# ---- other words
first=$("$MAS" eval -c demo --data "$data" --n 3 -s direct --quiet --out plain >/dev/null 2>&1; cut -d, -f1 plain/results.csv | sed -n 2p)
printf '{"id": "%s", "question": "%s"}\n' "$first" "A patient in other words." "$first" "The same patient, said in a third way." \
    0123456789abcdef "Somebody else." >words.jsonl
expect 0 "199 questions have no paraphrase and stay alone" ask --n 3 --paraphrases words.jsonl --out said
expect 0 "1 paraphrases are of other questions" ask --n 3 --paraphrases words.jsonl --out said
cmp words.jsonl said/paraphrases.jsonl || fault "the folder has no copy of the paraphrases"
mv words.jsonl away.jsonl # the folder stands alone
expect 0 "0/1 " "$MAS" export said --orders
expect 0 "2 questions in one variant only" "$MAS" export said --orders
other=$(sed -n 3p said/results.csv | cut -d, -f1)
expect 0 "the bytes agree" "$MAS" replay said --case "$other" --rerun
"$MAS" report said plain -o page.html 2>/dev/null && [ -s page.html ] || fault "no report"
expect 0 "are as recorded" "$MAS" verify said
"$MAS" export said --bundle said.tar.gz 2>/dev/null || fault "no bundle"
tar -tzf said.tar.gz | grep -q '/paraphrases.jsonl$' || fault "the bundle has no paraphrases"
expect 0 "are as recorded" "$MAS" verify said.tar.gz
sed -i 's/third/fifth/' said/paraphrases.jsonl
expect 65 "DIFFERS: variants of the data: said/paraphrases.jsonl has sha256" "$MAS" verify said
expect 65 "said/paraphrases.jsonl has sha256" "$MAS" export said --orders
sed '2s/"id": "[^"]*"/"id": "17"/' away.jsonl >bad.jsonl
expect 65 "bad.jsonl:2: '17' is no id of a question" ask --paraphrases bad.jsonl --out bad

# ---- refusals
expect 64 "give one of --permute cyclic, --none-of-the-above and --paraphrases" ask --permute cyclic --none-of-the-above --out bad
expect 66 "missing.jsonl" ask --paraphrases missing.jsonl --out bad
[ ! -e bad ] || fault "a refused run has left a folder"
exit $bad
