#!/usr/bin/env bash
# mas is a provider of mas: scores over the server are those of the engine in the program; a strategy that the server
# cannot serve is refused; chats work.
. "$(dirname "$0")/head.bash"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
export no_proxy='*'
head -n 20 "$MAS_SOURCE/configs/demo/questions.jsonl" >q.jsonl
"$MAS" serve -m demo --port 0 --threads 1 >out 2>err &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf -- "$dir"' EXIT
for _ in $(seq 200); do
    at=$(sed -n 's/^listening on //p' out)
    [ -n "$at" ] && break
    sleep 0.05
done
remote=(--set provider=openai --set model=demo --set "remote.base_url=$at/v1" --data q.jsonl --quiet)

expect 78 'goes on from a given beginning' "$MAS" eval "${remote[@]}" -s direct --out chat
[ ! -e chat/traces.jsonl ] || fault 'a refused strategy asked something'
for form in lm-eval lm-eval-bos; do
    expect 0 'accuracy' "$MAS" eval "${remote[@]}" -s direct --prompt-form $form --out "far-$form"
    expect 0 'accuracy' "$MAS" eval -m demo --data q.jsonl --quiet -s direct --prompt-form $form --out "near-$form"
    python3 - "far-$form" "near-$form" <<'PY' || fault "$form: the scores differ"
import csv, sys
far, near = (list(csv.DictReader(open(d + "/results.csv"))) for d in sys.argv[1:])
assert len(far) == len(near) == 20
for a, b in zip(far, near):
    for k in ("lp_A", "lp_B", "lp_C", "lp_D"):
        assert a[k] and abs(float(a[k]) - float(b[k])) < 1e-4, (k, a[k], b[k])
    assert a["predicted_answer"] == b["predicted_answer"]
PY
done
expect 0 'accuracy' "$MAS" eval "${remote[@]}" -s cot --n 4 --out cot

# ---- mas probe scores prompts over the server, too
head -n 4 q.jsonl >p.jsonl
expect 0 "file's order first" "$MAS" probe "${remote[@]:0:6}" --data p.jsonl --quiet -o far.jsonl
expect 0 'min-k above other' "$MAS" probe -m demo --data p.jsonl --quiet -o near.jsonl
python3 - <<'PY' || fault "other figures over the server"
import json
far, near = ([json.loads(l) for l in open(f)] for f in ('far.jsonl', 'near.jsonl'))
assert len(far) == len(near) == 4
for a, b in zip(far, near):
    for k in ('text', 'other'):
        for f in ('tokens', 'ngrams', 'exact'):
            assert a[k][f] == b[k][f], (k, f, a, b)
        for f in ('mean_lp', 'min_k'):
            assert abs(a[k][f] - b[k][f]) < 1e-4, (k, f, a, b)
    assert all(abs(x - y) < 1e-3 for x, y in zip(a['order_lp'], b['order_lp'])) and a['first'] == b['first'], (a, b)
PY
exit $bad
