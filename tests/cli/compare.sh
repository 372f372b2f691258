#!/bin/bash
# mas export with several runs: the figures of the comparison against plain definitions, computed from the runs' CSV.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
data=$MAS_SOURCE/configs/demo/questions.jsonl

for seed in 1 2 3; do
    expect 0 accuracy "$MAS" eval -c demo --data "$data" --n 24 -s cot --set temperature=1.5 --seed $seed --quiet --out cot-$seed
done
expect 0 accuracy "$MAS" eval -c demo --data "$data" --n 20 -s direct --quiet --out direct

expect 0 '4 runs, 20 questions that all have finished, 4 left out' "$MAS" export cot-1 cot-2 cot-3 direct
expect 0 'cot-1 (seeds 1, 2, 3)' "$MAS" export cot-1 cot-2 cot-3
expect 0 '3 runs, 24 questions that all have finished, 0 left out' "$MAS" export cot-1 cot-2 --against cot-3
expect 0 'p Holm: adjusted for the 3 comparisons' "$MAS" export cot-1 cot-2 cot-3 direct
expect 0 '"paired": [' "$MAS" export cot-1 cot-2 -o json
expect 0 '"brier": ' "$MAS" export direct -o json
expect 64 'no such format; text or json' "$MAS" export direct -o xml
expect 0 'by probability of the answer' "$MAS" export direct
expect 0 '    3 points       1742       78.7 %' "$MAS" export --power 20
expect 0 '        1273    3.5 points' "$MAS" export --power 20
expect 64 'a percentage above 0, at most 100' "$MAS" export --power 0
expect 64 '--power plans a study and reads no folder' "$MAS" export direct --power 20
"$MAS" export direct -o json >one.json && "$MAS" export direct --summary two.json && cmp one.json two.json ||
    fault "-o json of one run is not its summary"
cp -r cot-1 copy && ln -s cot-1 link
for twice in cot-1 cot-1/ "$PWD/cot-1" link; do
    expect 0 "$twice is the folder cot-1 again; the run is taken once" "$MAS" export cot-1 "$twice" cot-2 direct
    expect 0 "$twice is the folder cot-1 again; the run is taken once" "$MAS" report cot-1 "$twice" -o twice.html
done
expect 0 'copy is a copy of the run in cot-1; it is taken once' "$MAS" export cot-1 direct copy
expect 0 'copy is a copy of the run in cot-1; it is taken once' "$MAS" report cot-1 direct copy -o twice.html
grep -q '>2 runs,' twice.html || fault "a copy is a run of the page"
"$MAS" export cot-1 copy link direct cot-2 -o json 2>said >copies.json && "$MAS" export cot-1 direct cot-2 -o json >once.json &&
    cmp copies.json once.json || fault "copies change the figures"
expect 0 '3 comparisons' "$MAS" export cot-1 cot-2 direct --baseline cot-3
expect 0 'cot-2 against direct, ' "$MAS" export cot-1 cot-2 direct --baseline ./direct/
expect 0 'cot-1 against direct, ' "$MAS" export cot-1 --baseline direct
"$MAS" report cot-1 cot-2 direct --baseline direct -o base.html 2>said && grep -q '<b>1</b> direct<' base.html ||
    fault "the page has another run 1: $(cat said)"
expect 64 'name the runs to compare with it' "$MAS" export --baseline direct
expect 66 'nowhere' "$MAS" export cot-1 --baseline nowhere
if "$MAS" export cot-1 cot-1 | grep -q setting; then fault "a run beside itself counts as two seeds"; fi

"$MAS" export cot-1 cot-2 cot-3 direct -o json >all.json || fault "export -o json"
for run in cot-1 cot-2 cot-3 direct; do "$MAS" export "$run" --csv "$run.csv" || fault "export $run --csv"; done
python3 - <<'END' || fault "the comparison differs from plain definitions"
import csv
import json
import math
from fractions import Fraction
from statistics import mean, stdev

names = ["cot-1", "cot-2", "cot-3", "direct"]
doc = json.load(open("all.json"), parse_constant=lambda s: 1 / 0)
rows = [{r["trace_id"]: r for r in csv.DictReader(open(n + ".csv")) if r["status"] != "not run"} for n in names]


def near(what, got, want):
    if not (math.isclose(got, want, rel_tol=1e-8, abs_tol=1e-9)):
        raise SystemExit(f"{what}: {got}, by definition {want}")


def right(i, q):
    return rows[i][q]["is_correct"] == "true"


p = []
for k, pair in enumerate(doc["paired"], 1):
    both = [q for q in rows[0] if q in rows[k]]
    b = sum(right(0, q) and not right(k, q) for q in both)
    c = sum(right(k, q) and not right(0, q) for q in both)
    near("n", pair["n"], len(both))
    near("difference", pair["difference"], (c - b) / len(both))
    tail = sum(Fraction(math.comb(b + c, i), 2 ** (b + c)) for i in range(min(b, c) + 1))
    p.append(float(min(1, 2 * tail)))
    near("McNemar", pair["p"], p[-1])
order, most = sorted(range(len(p)), key=lambda i: p[i]), 0
for rank, i in enumerate(order):
    most = max(most, min(1, (len(p) - rank) * p[i]))
    near("Holm", doc["paired"][i]["p_holm"], most)

common = [q for q in rows[0] if all(q in r for r in rows)]
k = len(names)
columns = [sum(right(i, q) for q in common) for i in range(k)]
lines = [sum(right(i, q) for i in range(k)) for q in common]
below = k * sum(lines) - sum(x * x for x in lines)
near("common", doc["together"]["n"], len(common))
if below:
    near("Cochran", doc["together"]["cochran_q"], (k - 1) * (k * sum(x * x for x in columns) - sum(columns) ** 2) / below)
answers = [[rows[i][q]["predicted_answer"] for i in range(k)] for q in common]
seen = [mean((sum(x == y for x in a for y in a) - k) / (k * (k - 1)) for a in [one]) for one in answers]
chance = sum((sum(a.count(x) for a in answers) / (k * len(common))) ** 2 for x in {x for a in answers for x in a})
near("kappa", doc["together"]["fleiss_kappa"], (mean(seen) - chance) / (1 - chance))

seeds = doc["settings"][0]
near("runs of a setting", len(seeds["runs"]), 3)
accuracy = [mean(right(i, q) for q in rows[0]) for i in range(3)]
near("mean", seeds["mean"], mean(accuracy))
near("sd", seeds["sd"], stdev(accuracy))
if not seeds["low"] <= mean(accuracy) <= seeds["high"]:
    raise SystemExit("the interval over seeds lies elsewhere")
sums = [3 * right(3, q) - sum(right(i, q) for i in range(3)) for q in common]
near("difference of settings", doc["settings"][1]["difference"], sum(sums) / 3 / len(common))
ways = {0: 1}
for x in map(abs, sums):
    if x:
        ways = {t: ways.get(t - x, 0) + ways.get(t + x, 0) for t in {u + s for u in ways for s in (x, -x)}}
near("randomisation test", doc["settings"][1]["p"],
     float(Fraction(sum(w for t, w in ways.items() if abs(t) >= abs(sum(sums))), sum(ways.values()))))

sure = [(math.exp(float(r["lp_" + r["predicted_answer"]])) / sum(math.exp(float(r["lp_" + x])) for x in "ABCD" if r["lp_" + x]),
         r["is_correct"] == "true") for r in rows[3].values() if r["predicted_answer"]]
summary = doc["runs"][3]["summary"]
near("answers with a probability", summary["ece_n"], len(sure))
options = [[(float(r["p_" + x]) - (x == r["correct_answer"])) ** 2 for x in "ABCD" if r["p_" + x]] for r in rows[3].values()]
near("Brier over the options", summary["brier_options"], mean(sum(x) for x in options))
near("Brier", summary["brier"], mean((x - c) ** 2 for x, c in sure))
near("AURC", summary["aurc"], mean(1 - mean(c for y, c in sure if y >= x) for x, _ in sure))
bins = {}
for x, c in sure:
    bins.setdefault(min(9, int(x * 10)), []).append(x - c)
near("ECE", summary["ece"], sum(abs(sum(b)) for b in bins.values()) / len(sure))
END
# ---- several runs: one table with a column; options of one run are refused by name
expect 0 "" "$MAS" export cot-1 direct/ --csv two.csv
python3 - <<'EOF' || fault "rows of two runs"
import csv
rows = list(csv.DictReader(open('two.csv')))
for run in ('cot-1', 'direct'):
    own = list(csv.DictReader(open(run + '.csv')))
    both = [r for r in rows if r['run'] == run]
    assert len(own) == len(both) > 0 and all(r[k] == o[k] for o, r in zip(own, both) for k in o), run
EOF
for one in "--summary x.json" "--wrong x.txt" "--lm-eval x" "--inspect x.json" --orders "--bundle x.tar.gz"; do
    # shellcheck disable=SC2086
    expect 64 "${one%% *} is of one run, and 3 are given: cot-1, cot-2, .." "$MAS" export cot-1 cot-2 cot-3 $one
done
ls x* 2>/dev/null && fault "an option of one run has written something"

# ---- the size of a study, for programs
"$MAS" export --power 20 -o json >size.json
python3 - "$("$MAS" export --power 20)" <<'EOF' || fault "the size of a study: $(cat size.json)"
import json, re, sys
d = json.load(open('size.json'))
rows = {float(a) / 100: (int(b), float(c)) for a, b, c in re.findall(r'([0-9]+) points +([0-9]+) +([0-9.]+) %', sys.argv[1])}
assert d['discordant'] == 0.2 and len(rows) == len(d['needed']) >= 8, (d, rows)
for r in d['needed']:
    assert rows[r['difference']][0] == r['questions'] and abs(rows[r['difference']][1] / 100 - r['exact_power']) < 6e-4, (r, rows)
assert [r['questions'] for r in d['found']][:2] == [100, 200]
EOF
exit $bad
