#!/usr/bin/env bash
# mas report: the page's figures recomputed from the traces by report_check.py, and hostile texts of questions.
. "$(dirname "$0")/head.bash"
command -v python3 >/dev/null || exit 77
here=$MAS_SOURCE/tests/cli
data=$MAS_SOURCE/configs/demo/questions.jsonl
for strategy in direct cot panel; do
    "$MAS" eval -c demo -s $strategy --data "$data" -n 30 --shuffle --set planner.top_k=3 --set role_tokens.cot=120 \
        --out $strategy --quiet >log 2>&1 || fault "eval -s $strategy: $(tail -n 3 log)"
done

# ---- figures ----
expect 0 "3 runs, 30 questions" "$MAS" report direct cot panel -o r.html
expect 0 "3 runs" "$MAS" report direct cot panel -o r.html # replaces a report
python3 "$here/report_check.py" r.html direct cot panel || fault "figures of the page"
sed 's/data-k="right" data-v="\([0-9]*\)"/data-k="right" data-v="1\1"/' r.html >wrong.html
python3 "$here/report_check.py" wrong.html direct cot panel >/dev/null 2>&1 && fault "the check sees no wrong figure"
"$MAS" report direct cot panel -o - >again.html 2>/dev/null && cmp r.html again.html || fault "two pages differ"

# ---- hostile texts ----
cat >evil.jsonl <<'END'
{"question": "</script><script>alert(1)</script><img src=x onerror=alert(2)> what?", "answer": "\"><svg onload=alert(3)>", "options": {"A": "\"><svg onload=alert(3)>", "B": "<!--slot about-->", "C": "]]>&lt;b&gt;", "D": "javascript:alert(4)"}, "meta_info": "</td><script>alert(5)</script>", "answer_idx": "A"}
{"question": "\u202e\u0007 & ' </style><style>*{display:none}</style>", "answer": "x", "options": {"A": "x", "B": "y"}, "meta_info": "step1", "answer_idx": "B"}
{"question": "bad"}
END
sed -i 's/"answer": "x", "options": {"A": "x", "B": "y"}/"answer": "y", "options": {"A": "x", "B": "y"}/' evil.jsonl
"$MAS" eval -c demo -s cot --data evil.jsonl --set role_tokens.cot=64 --out '<b>evil&' --quiet >log 2>&1
[ $? -le 1 ] || fault "eval of hostile texts: $(tail -n 3 log)"
# .. and of a model, a server and a person who edits run.json: every text of the trace that a page can show
python3 - <<'END' || fault "hostile trace"
import gzip, json, zlib
path = "<b>evil&/traces.jsonl"
out = []
for s in gzip.open(path + ".gz", "rt", encoding="utf-8"):
    d = json.loads(s)
    del d["crc"]
    if "call" in d:
        d.update(reply="</pre><script>alert(6)</script>\0", why="\"><img src=x onerror=alert(7)>", parsed=False, finish="cut",
                 role="<svg onload=alert(8)>", user=d["user"] + "</script><!--", specialty="' onclick='alert(9)")
    else:
        d.update(state="failed", predicted=None, correct=False, cut=d["calls"], closed=0, p=None, why="<iframe src=x></iframe>")
    text = json.dumps(d)[:-1]
    out.append(f'{text}, "crc": "{zlib.crc32(text.encode()):08x}"}}\n')
open(path, "w").writelines(out)
import os
os.remove(path + ".gz")
run = json.load(open("<b>evil&/run.json"))
run["identity"]["config"]["strategy"] = "</td></table><object>"
run["sessions"][-1]["about"]["device"] = "</section><a href='javascript:alert(10)'>"
json.dump(run, open("<b>evil&/run.json", "w"))
END
"$MAS" report '<b>evil&' direct -o evil.html 2>log || fault "report: $(cat log)"
python3 "$here/report_check.py" --hostile evil.html '<b>evil&' direct || fault "hostile texts"
sed 's/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g' evil.html >open.html
python3 "$here/report_check.py" --hostile open.html '<b>evil&' direct >/dev/null 2>&1 && fault "the check sees no hostile text"

# ---- an imported run, and an experiment's folder ----
printf 'id,predicted\n' >p.csv
sed -n '2,9p' direct/results.csv | cut -d, -f1 | sed 's/$/,A/' >>p.csv
"$MAS" import p.csv --data "$data" --out theirs >log 2>&1
[ $? -le 1 ] || fault "import: $(cat log)"
expect 0 "2 runs" "$MAS" report direct theirs -o theirs.html
expect 0 "the same questions: 200 in all, 30 of every run" "$MAS" report direct theirs -o theirs.html
grep -q 'partial run reaches up to' theirs.html || fault "the picture hides the interval of a partial run"
python3 "$here/report_check.py" theirs.html direct theirs || fault "figures of imported answers"
grep -q '<span class="only">partial, 8 of' theirs.html || fault "the page hides that a run is partial"
grep -q 'were not asked the same questions: 200 in all, 30 of them' theirs.html || fault "other questions, and no word"
grep -q 'were not asked the same questions' r.html && fault "a warning about the same questions"
grep -q 'their calls and replies are not known' theirs.html || fault "unknown replies count as good ones"
expect 0 "the answers were imported" "$MAS" verify theirs
"$MAS" export theirs --bundle t.tar.gz 2>log || fault "bundle of an imported run: $(cat log)"
expect 0 "the answers were imported" "$MAS" verify t.tar.gz
sed -e 's/strategy: .*/strategy: [direct, cot, panel]/' -e '/- strategy=[^p]/d' -e /pipeline/d -e "s,\.\./demo,$MAS_SOURCE/configs/demo," \
    "$MAS_SOURCE/configs/experiments/demo.yaml" >grid.yaml
"$MAS" eval -c grid.yaml --data "$data" --out grid --quiet >log 2>&1 ||
    fault "experiment: $(tail -n 3 log)"
expect 0 "7 runs, 12 questions" "$MAS" report grid -o grid.html
expect 0 "7 runs" "$MAS" report grid grid/cot* --baseline grid/direct -o base.html # a cell that is named again
grep -q '<b>1</b> direct<' base.html || fault "the baseline is not run 1"
python3 "$here/report_check.py" grid.html grid ||
    fault "figures of an experiment's page"

# ---- many runs: settings by value, which fits paper and phones, and folded pictures of single runs
expect 0 "10 runs" "$MAS" report grid direct cot panel -o many.html
python3 "$here/report_check.py" many.html grid direct cot panel || fault "figures of the page of many runs"
grep -q '<th scope="col">Setting</th><th scope="col">Runs</th><th scope="col">Value</th>' many.html ||
    fault "many runs have a column each in the settings"
grep -q '<summary>Pictures of 10 runs</summary>' many.html || fault "pictures of many runs are not folded"
grep -A99 'id="setup"' many.html | grep -q 'config.strategy <span class="only">differs</span></th><td>1, 8</td><td>direct<' ||
    fault "runs of a value: $(grep 'config.strategy' many.html)"
grep -q 'class="many"' r.html && fault "three runs have the tables of many"

# ---- use ----
expect 64 "no folder" "$MAS" report -o x.html
expect 64 "-o FILE.html" "$MAS" report direct
expect 66 "run.json" "$MAS" report nowhere -o x.html
echo precious >x.html
expect 64 "is no report of mas" "$MAS" report direct -o x.html
[ "$(cat x.html)" = precious ] || fault "a foreign file was replaced"
exit $bad
