#!/usr/bin/env bash
# The first choices of the speakers of a case, and alpha, again from the calls of the trace. Options are shuffled, so that
# a letter as shown and the option in the file's order differ.
. "$(dirname "$0")/head.bash"
data=${MAS_SOURCE:?root of the source tree}/configs/demo/questions.jsonl

cat >again.py <<'END'
import gzip, json, math, sys
run, role, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
calls, cases, held = {}, {}, []
for l in gzip.open(run + '/traces.jsonl.gz', 'rt'):
    d = json.loads(l)
    if 'case' in d:
        cases[d['case']] = d
        calls[d['case']], held = held, []
    else:
        held.append(d)
key = 'votes' if role == 'voter' else 'choices'
units = []
for id, case in cases.items():
    if 'choices' not in case: # it ended before anybody had spoken
        assert case['state'] != 'answered', case
        continue
    said = sorted((c['index'], c) for c in calls[id] if c['role'] == role and (role == 'voter' or c['index'] < first))
    if role == 'voter':
        said = said[:len(case['choices'])]
    row = ''
    for _, c in said:
        if not c['parsed']:
            row += '-'
            continue
        d = json.loads(c['reply'])
        row += {'agree': 'Y', 'disagree': 'N'}[d['vote']] if role == 'voter' else case['shown'][ord(d['final_answer']) - 65]
    assert case['choices'] == row, (id, case['choices'], row)
    units.append(row.replace('-', ''))
units = [u for u in units if len(u) > 1]
values = ''.join(units)
n = len(values)
observed = sum(sum(a != b for a in u for b in u) / (len(u) - 1) for u in units) / n
expected = sum(a != b for a in values for b in values) / (n * (n - 1))
f = json.load(open(run + '/summary.json'))[key]
assert f['questions'] == len(units) and f['n'] == n, (f, units)
assert math.isclose(f['observed'], observed, rel_tol=1e-8) and math.isclose(f['expected'], expected, rel_tol=1e-8), f
assert math.isclose(f['alpha'], 1 - observed / expected, rel_tol=1e-8, abs_tol=1e-9), f
END

ask() { # NAME ROLE FIRST SETTING..
    local name=$1 role=$2 first=$3
    shift 3
    "$MAS" eval -c demo --data "$data" --n 8 -s "$name" --shuffle --set temperature=1.2 "$@" --out "$name" --quiet >log 2>&1
    [ $? -le 1 ] || fault "$name: $(tail -n 3 log)"
    python3 again.py "$name" "$role" "$first" || fault "other figures of $name"
}
ask debate debater 3 --set debate.agents=3
ask sc answer 5
ask mdagents expert 5 --set mdagents.complexity=moderate
ask medagents voter 0
grep -q 'first votes     alpha' log || fault "the table has no votes: $(cat log)"

# ---- a table of synonyms of one's own
"$MAS" eval -c demo --data "$data" --n 3 -s panel --out panel --quiet >log 2>&1 || fault "panel: $(tail -n 3 log)"
grep -q 'with synonyms, over 3 questions' log || fault "no agreement with synonyms: $(cat log)"
printf 'names:\n  - [one, two]\n' >own.yaml
expect 0 "3 done before" "$MAS" eval -c demo --data "$data" --n 3 -s panel --out panel --quiet --set synonyms=own.yaml
printf 'names:\n  - [one, two]\n  - [two, three]\n' >own.yaml
expect 78 "'two' stands twice in names" "$MAS" eval -c demo --data "$data" --n 3 -s panel --out other --quiet --set synonyms=own.yaml
exit $bad
