#!/usr/bin/env bash
# mas bench kernels, ceiling, compare, stream: tables and JSON are whole, kernels agree with the oracle, compare
# finds a slower kernel, bad input is a message. Checks no speed.
set -u
: "${MAS:?path of the program}"
fail() { echo "bench: $*" && exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
kernels=("$MAS" bench kernels -r 2 -t 1)

"${kernels[@]}" --shape 3x512x64 --refcheck -o json >"$dir/a.json" || fail "exit $?"
python3 - "$dir/a.json" <<'PY' || fail "a row of the JSON is not right"
import json, sys
d = json.load(open(sys.argv[1]))
assert d["bench"] == "kernels" and d["format"] == 1 and not d["emulated"] and d["ceiling"]["read_gb_s"] > 0
rows = d["rows"]
assert {"scalar"} <= {r["kernel"] for r in rows} and all(r["case"] == "Q4_K 3x512->64 store" for r in rows)
assert sum(r["best"] for r in rows) == 1 and sum(r["picked"] for r in rows) == 1
for r in rows:
    assert 0 <= r["error"] <= 1 and 0 < r["us_p5"] <= r["us"] <= r["us_p95"] and r["warm_us"] > 0
    assert r["bytes"] == 64 * 2 * 144 + 3 * 4 * (512 + 64) and r["ops"] == 2 * 3 * 512 * 64
    assert abs(r["gb_s"] - r["bytes"] / r["us"] / 1e3) < 0.01 * r["gb_s"] + 0.001
PY
kernels+=(--no-ceiling) # one run has the memory's rates; the others need not wait for them
"${kernels[@]}" --shape 1x256x32 --fmt Q8_0 --variant scalar >"$dir/md" || fail "exit $?"
grep -q '^rates of the memory not measured$' "$dir/md" && grep -q ' |      - |        |' "$dir/md" ||
    fail "--no-ceiling: $(cat "$dir/md")"
grep -q '^| matmul    | Q8_0 1x256->32 store  ' "$dir/md" || fail "no row in $(cat "$dir/md")"
[ "$(grep -c '^| matmul' "$dir/md")" = 1 ] || fail "--variant is not one kernel"
[ "$("${kernels[@]}" --shape 1x256x32 -o csv | head -n 1 | tr , '\n' | wc -l)" = 15 ] || fail "the CSV's head"
# of a large matrix the oracle computes 64 results of each row, in every epilogue
"${kernels[@]}" --shape 3x512x1000 --refcheck -o json >"$dir/large.json" || fail "exit $?"
# a case that cannot be made is reported, the JSON is whole, and the exit status says it
"${kernels[@]}" --shape 1x16777216x16777216 -o json >"$dir/failed.json" 2>"$dir/failed.err" && fail "a failure is no failure"
python3 - "$dir/large.json" "$dir/failed.json" <<'PY' || fail "$(cat "$dir/failed.err" "$dir/failed.json")"
import json, sys
large, failed = (json.load(open(f)) for f in sys.argv[1:])
assert large["rows"] and all(0 < r["error"] <= 1 for r in large["rows"])
assert len(failed["rows"]) == 1 and "memory" in failed["rows"][0]["failed"]
PY
"${kernels[@]::${#kernels[@]}-1}" --shape 2x256x32 -o html >"$dir/page" || fail "exit $?"
grep -q '</html>' "$dir/page" && [ "$(grep -c '<svg' "$dir/page")" = 1 ] && ! grep -q 'http' "$dir/page" || fail "the page"
if "$MAS" generate -m demo -p x -n 1 --backend cudahost >/dev/null 2>&1; then
    "${kernels[@]}" --backend cudahost --op add --refcheck >"$dir/host" || fail "exit $?"
    grep -q 'say nothing about a GPU' "$dir/host" && grep -q '^| add .*| flat ' "$dir/host" || fail "cudahost"
fi

# the calls of a model, with their norms and formats
"${kernels[@]}" --shape tiny --columns 2 --variant scalar --refcheck -o json >"$dir/tiny" || fail "exit $?"
python3 - "$dir/tiny" <<'PY' || fail "a model's calls: $(grep -o '"case": "[^"]*"' "$dir/tiny")"
import json, sys
rows = {r["case"]: r for r in json.load(open(sys.argv[1]))["rows"]}
assert {"Q4_K 2x256->256 add", "Q4_K 2x256->512 swiglu norm", "Q6_K 2x256->4096 store norm"} <= set(rows)
assert any(c.endswith("2x256->256+128+128 store norm") for c in rows) and all(0 <= r["error"] <= 1 for r in rows.values())
PY
"${kernels[@]}" --shape tiny --variant scalar --fmt Q8_0 -o csv >"$dir/csv" || fail "exit $?"
[ "$(grep -c '^matmul,Q8_0 1x' "$dir/csv")" = 5 ] || fail "one format: $(cat "$dir/csv")"

# the same against itself; against itself made slower; with a row of its own
"$MAS" bench compare "$dir/a.json" "$dir/a.json" >"$dir/same" || fail "a file differs from itself"
grep -q '^0 faster, 0 slower' "$dir/same" || fail "$(tail -n 1 "$dir/same")"
python3 - "$dir" <<'PY'
import json, sys
d = json.load(open(sys.argv[1] + "/a.json"))
for r in d["rows"]:
    for k in ("us", "us_p5", "us_p95"):
        r[k] *= 30
d["rows"][0]["kernel"] = "other"
json.dump(d, open(sys.argv[1] + "/b.json", "w"))
d["rows"] = d["rows"][:1]
d["rows"][0]["kernel"] = "scalar"
json.dump(d, open(sys.argv[1] + "/c.json", "w"))
PY
"$MAS" bench compare "$dir/c.json" "$dir/a.json" >"$dir/fast" || fail "faster is no failure"
grep -q '^1 faster, 0 slower' "$dir/fast" || fail "$(tail -n 1 "$dir/fast")"
"$MAS" bench compare "$dir/a.json" "$dir/c.json" >"$dir/slow" 2>&1
[ $? = 1 ] && grep -q 'less than 0.95 of the speed' "$dir/slow" || fail "slower is not found: $(cat "$dir/slow")"
"$MAS" bench compare "$dir/a.json" "$dir/b.json" 2>&1 | grep -q 'only in' || fail "a row of one file"

# the ceiling of reading is the best of several ways, and which one is said
"$MAS" bench ceiling -t 1 -o json >"$dir/ceiling" || fail "exit $?"
python3 - "$dir/ceiling" "$dir/a.json" <<'PY' || fail "ceiling: $(cat "$dir/ceiling")"
import json, sys
d = json.load(open(sys.argv[1]))
reads = d["reads"]
assert d["bench"] == "ceiling" and d["read_gb_s"] == max(reads.values()) == reads[d["read_how"]] > 0 < d["read_one_gb_s"]
want = {f"{n} stream{'s' * (n > 1)}{ahead}{pages}" for n in range(1, 5) for ahead in ("", ", prefetch")
        for pages in ("", ", huge pages")}
assert set(reads) == want
assert json.load(open(sys.argv[2]))["ceiling"]["read_how"] in want
PY
peak=$(sed -E 's/.*"int8_gop_s": ([0-9.]+).*/\1/' "$dir/ceiling")
isa=$(sed -E 's/.*"isa": "([a-z0-9]+)".*/\1/' "$dir/ceiling")
# without vector instructions; the best set of this processor is several times as fast
"$MAS" bench ceiling -t 1 -v --isa scalar >"$dir/ceiling" || fail "exit $?"
awk -F'|' -v isa="$isa" -v peak="$peak" '/int8/ { n++; bad = isa == "" || (isa != "scalar" && $3 * 2 > peak) }
    END { exit bad || n != 1 }' "$dir/ceiling" || fail "--isa $isa: $peak; --isa scalar: $(cat "$dir/ceiling")"
[ "$(grep -c 'stream.* | *[0-9.]* |$' "$dir/ceiling")" = 17 ] || fail "ceiling -v: $(cat "$dir/ceiling")"
grep -q '^| read, all threads: [1-4] stream' "$dir/ceiling" || fail "ceiling says not how: $(cat "$dir/ceiling")"

# streamed weights: copies, steps and computation of one run fit together
if "$MAS" generate -m demo -p x -n 1 --backend cudahost >/dev/null 2>&1; then
    "$MAS" synth --shape tiny --layers 6 --type F16 --quiet "$dir/m.gguf" || fail "synth"
    stream=("$MAS" bench stream -m "$dir/m.gguf" --backend cudahost -t 1 -r 1 -n 2 --vram 11MiB)
    "${stream[@]}" --link-limit 25MB --parallel 1,2 --cpu-layers 2 -o json >"$dir/stream" 2>"$dir/out" || fail "stream: $(cat "$dir/out")"
    python3 - "$dir/stream" <<'PY' || fail "stream: $(cat "$dir/stream")"
import json, sys
d = json.load(open(sys.argv[1]))
assert d["bench"] == "stream" and d["format"] == 1 and d["emulated"] and d["pinned"] and d["kept"]
assert d["link_limit_gb_s"] == 0.025 and d["step_bytes"] > 1e6 and [r["parallel"] for r in d["rows"]] == [1, 2]
for r in d["rows"]:
    step, copy, compute = r["step_ms"], r["copy_ms"], r["compute_ms"]
    assert 0.02 < r["copy_gb_s"] < 0.0255 and abs(r["copy_gb_s"] * copy * 1e6 / d["step_bytes"] - 1) < 0.01
    assert abs(r["step_gb_s"] * step * 1e6 / d["step_bytes"] - 1) < 0.02 and compute > 0 and step > 0.97 * copy
    small = min(copy, compute) < 0.05 * step # noise would decide
    assert r["overlap"] is None if small else abs(r["overlap"] - (copy + compute - step) / min(copy, compute)) < 0.01
    assert abs(r["link_share"] - r["step_gb_s"] / r["copy_gb_s"]) < 0.01
    assert abs(r["tokens_s"] * step / 1e3 / r["parallel"] - 1) < 0.01
    assert r["cpu_bytes"] > 2 * 2 * 3 * 256 * 512 and r["cpu_gb_s"] > 0 < r["cpu_alone_gb_s"]
PY
    "${stream[@]}" --parallel 1 -o csv >"$dir/stream" 2>/dev/null || fail "stream: exit $?"
    [ "$(wc -l <"$dir/stream")" = 2 ] && [ "$(tr -cd ',\n' <"$dir/stream" | uniq | wc -l)" = 1 ] || fail "stream, CSV: $(cat "$dir/stream")"
    "${stream[@]}" --parallel 1 --quiet >"$dir/stream" 2>"$dir/out" || fail "stream: exit $?"
    grep -q '^|         1 |.*|         - |$' "$dir/stream" && grep -q 'say nothing about a GPU' "$dir/stream" || fail "stream, md: $(cat "$dir/stream")"
fi

# refused CODE TEXT ARGS..
refused() {
    local code=$1 text=$2
    shift 2
    "$MAS" bench "$@" >"$dir/out" 2>&1
    [ $? -eq "$code" ] || fail "mas bench $*: wrong exit code: $(cat "$dir/out")"
    grep -q -- "$text" "$dir/out" || fail "mas bench $*: no '$text' in $(cat "$dir/out")"
}
refused 64 "leave out --no-ceiling" kernels --no-ceiling -o html
refused 64 "--shape is '9b'; it takes 8b, 70b or" kernels --shape 9b
refused 64 "-o is 'xml'; it takes one of md|csv|json|html" kernels -o xml
refused 64 "-o is 'csv'; it takes one of md|json" ceiling -o csv
# after tokens of context, which the time leaves out: as fast as a step of their length, not as their prompt
"$MAS" bench model -m demo -p 16 -n 4 -r 2 -d 0,1024 --parallel 1,2 -t 1 -o json >"$dir/depth" || fail "-d: exit $?"
python3 - "$dir/depth" <<'PY' || fail "tests with context: $(cat "$dir/depth")"
import json, sys
rows = json.load(open(sys.argv[1]))
assert [(r["n_prompt"], r["n_gen"], r["n_parallel"], r["n_depth"]) for r in rows] == [
    (p, n, k, d) for d in (0, 1024) for p, n, k in ((16, 0, 1), (0, 4, 1), (0, 4, 2))]
prompt, context = rows[0]["median_ts"], rows[4]["median_ts"]
assert 1024 / prompt > 4 / context, "4 tokens take longer than a prompt of 1,024: the context is in their time"
PY
"$MAS" bench model -m demo -p 0 -n 4 -r 1 -d 64 -t 1 | grep -q '| *tg4 @ d64 |' || fail "the name of a test with context"
refused 64 "-d 33 is no multiple of 32, the tokens of a page of the KV cache; give 32 or 64" model -m demo -n 4 -d 33
refused 64 "-d 96 is no multiple of 64, .*; give 64 or 128" model -m demo -n 4 -d 96 --page-tokens 64
"$MAS" bench --help | tr -s ' \n' ' ' | grep -q "a multiple of --page-tokens" || fail "--help of -d"
# on a terminal the progress of the context is a line, which the result replaces
terminal() { python3 -c 'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))' "$@" </dev/null; }
terminal "$MAS" bench model -m demo -p 0 -n 4 -r 1 -d 64 -t 1 --parallel 2 >"$dir/out" || fail "on a terminal: exit $?"
grep -q "context of 2 x 64 tokens:   0 %" "$dir/out" || fail "no progress: $(cat "$dir/out")"
terminal "$MAS" bench model -m demo -p 0 -n 4 -r 1 -d 64 -t 1 --parallel 2 --quiet >"$dir/out" || fail "on a terminal: exit $?"
! grep -q "context" "$dir/out" || fail "progress in spite of --quiet: $(cat "$dir/out")"
# only what helps is named: no memory makes a model's context longer, and a test takes a token more than its length
limit=$("$MAS" inspect -m demo --json | sed -n 's|.*"llama.context_length".*"value": \([0-9]*\).*|\1|p')
own="must be 1 to $limit, the model's own limit; lower"
refused 64 "$own -p $limit: a test takes one token more\$" model -m demo -p "$limit" -n 0
refused 64 "$own -n 99999: a test takes one token more\$" model -m demo -n 99999
refused 64 "$own -d 64 or -p $limit: a test takes both and one token more\$" model -m demo -p "$limit" -d 0,64
"$MAS" profile -m demo -p "$limit" -n 0 >"$dir/out" 2>&1
grep -q "$own -p $limit: a test takes one token more\$" "$dir/out" || fail "profile: $(cat "$dir/out")"
refused 64 "1000 were asked for; raise --kv-bytes, or lower -d/-p/-n or --kv-type q8_0\$" model -m demo -p 8 -n 0 --kv-bytes 1KB
refused 64 "available; lower -d/-p/-n, --parallel or --kv-type q8_0, or raise --ram where it is set\$" \
    model -m demo -p 8 -n 0 --ram 1MiB --parallel 2
# all sequences begin in the first step; when the cache has no room for them, and only then, the options that help are said
together=("$MAS" bench model -m demo -p 0 -n 8 -r 3 --parallel '8,32' -t 1)
"${together[@]}" -o json >"$dir/json" 2>"$dir/out" || fail "--parallel: exit $?"
[ ! -s "$dir/out" ] || fail "advice without a reason: $(cat "$dir/out")"
page=$(python3 - "$dir/json" <<'PY'
import json, sys
rows = json.load(open(sys.argv[1]))
assert [r["mean_parallel"] for r in rows] == [8, 32], rows
print(rows[0]["kv_bytes"] // 32) # room for 32 sequences of a page
PY
) || fail "sequences do not run together"
"${together[@]}" --kv-bytes $((4 * page)) >/dev/null 2>"$dir/out" || fail "--kv-bytes: exit $?"
for n in 8 32; do
    grep -q "tg8 x $n: on average 4.0 of $n sequences ran together: they need $n pages of 32 tokens, and the KV cache has 4;\
 raise --kv-bytes or --ram\$" "$dir/out" || fail "a cache of 4 pages: $(cat "$dir/out")"
done
# a result says what was measured: every setting that changes the speed, in CSV and JSON alike
settings=(bench model -m demo -p 8 -n 4 -r 1 -b 64 -t 1 --isa scalar --kv-type q8_0 --map-weights --page-tokens 64 --lookup --max-draft 3
    --backend cpu)
"$MAS" "${settings[@]}" -o json >"$dir/json" || fail "exit $?"
"$MAS" "${settings[@]}" -o csv >"$dir/csv" || fail "exit $?"
"$MAS" bench model -m demo -p 8 -n 4 -r 1 -o json >"$dir/plain" || fail "exit $?"
python3 - "$dir/json" "$dir/csv" "$dir/plain" <<'PY' || fail "the settings of a result: $(cat "$dir/json" "$dir/csv" "$dir/plain")"
import csv, json, re, sys
given, plain = (json.load(open(sys.argv[i])) for i in (1, 3))
table = list(csv.DictReader(open(sys.argv[2])))
want = {"isa": "scalar", "n_batch": 64, "n_threads": 1, "type_k": "q8_0", "type_v": "q8_0", "page_tokens": 64, "map_weights": True, "split": "",
        "lookup": True, "max_draft": 3, "max_branches": 0, "draft_model": "", "packed_cache": "", "devices": "", "placement": "auto",
        "graphs": True, "backends": "cpu", "mean_parallel": 1}
assert len(given) == len(table) == 2
for row, line in zip(given, table):
    assert {k: row[k] for k in want} == want, row
    assert set(row) - {"energy", "health"} == set(line), set(row) ^ set(line)
    for k, v in want.items():
        assert line[k] == (str(v).lower() if isinstance(v, bool) else str(v)), (k, line[k])
    for r in (row, line):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", r["test_time"]) and r["build_commit"] and r["cpu_info"]
    assert float(line["avg_ts"]) > 0 and int(line["kv_bytes"]) > 0
for row in plain:
    assert row["type_k"] == "f16" and not row["map_weights"] and not row["lookup"] and row["max_draft"] == 0
    assert row["isa"] not in ("", "auto") and row["n_batch"] == 512 and row["n_threads"] >= 1
PY
# each -m is measured, in one table; a command for one model refuses a second one
cp -r "$(dirname "$0")/../../configs/demo/toy_mini.gguf" "$dir/mini.gguf" || fail "no second model"
two=(bench model -m demo -m "$dir/mini.gguf" -p 4 -n 2 -r 1 -t 1)
"$MAS" "${two[@]}" -o json >"$dir/json" || fail "two models: exit $?"
"$MAS" "${two[@]}" -o csv >"$dir/csv" || fail "two models: exit $?"
"$MAS" "${two[@]}" >"$dir/md" || fail "two models: exit $?"
python3 - "$dir/json" "$dir/csv" <<'PY' || fail "two models: $(cat "$dir/json" "$dir/csv")"
import csv, json, sys
rows, lines = json.load(open(sys.argv[1])), list(csv.DictReader(open(sys.argv[2])))
assert [(r["n_prompt"], r["n_gen"]) for r in rows] == [(4, 0), (0, 2)] * 2 and len(lines) == 4, rows
names = [r["model_filename"] for r in rows]
assert names[0] == names[1] != names[2] == names[3] and names[3].endswith("mini.gguf"), names
PY
[ "$(grep -c '^| ' "$dir/md")" = 6 ] && [ "$(grep -c '; steps of at most 512 tokens; mas ' "$dir/md")" = 2 ] || fail "two models: $(cat "$dir/md")"
"$MAS" bench model -m demo -m "$dir/none.gguf" -p 4 -n 0 -r 1 -t 1 -o json >"$dir/json" 2>"$dir/out"
[ $? = 66 ] && grep -q none.gguf "$dir/out" && python3 -c 'import json, sys; assert len(json.load(open(sys.argv[1]))) == 1' "$dir/json" ||
    fail "a second model that is missing: $(cat "$dir/json" "$dir/out")"
for command in "generate -p x -n 1" "perplexity -p abcdefgh" "profile"; do
    read -ra words <<<"$command"
    "$MAS" "${words[@]}" -m demo -m "$dir/mini.gguf" >"$dir/out" 2>&1
    [ $? = 64 ] && grep -q -- "-m $dir/mini.gguf after -m demo: this command takes at most 1" "$dir/out" || fail "$command: $(cat "$dir/out")"
done
# a step has a token of each sequence; steps of prompts are not made larger for that
refused 64 "--parallel 65 with steps of at most 64 tokens: .*raise --batch-tokens to 65 or lower --parallel" \
    model -m demo -b 64 -p 8 -n 2 --parallel 2,65
refused 64 "--parallel 600 with steps of at most 512 tokens" model -m demo -p 8 -n 2 --parallel 600
"$MAS" bench model -m demo -b 64 -p 8 -n 0 -r 1 -t 1 --parallel 65 -o json | grep -q '"n_batch": 64,' || fail "-b with prompts alone"
# the table's last line names what differs from the defaults; no column contradicts another
"$MAS" bench model -m demo -p 4 -n 0 -r 1 -t 1 >"$dir/md" && grep -q '; steps of at most 512 tokens; mas ' "$dir/md" ||
    fail "the defaults: $(cat "$dir/md")"
mkdir "$dir/pk" || exit 1
kept=(bench model -m demo -p 4 -n 0 -r 1 -t 1 --packed-cache "$dir/pk" --map-weights --page-tokens 64 --kv-swap off)
"$MAS" "${kept[@]}" >"$dir/md" 2>/dev/null || fail "exit $?"
for text in "--packed-cache $dir/pk" --map-weights "--page-tokens 64" "--kv-swap off"; do
    grep -q -- "; steps of at most 512 tokens;.* $text.*; mas " "$dir/md" || fail "no '$text': $(cat "$dir/md")"
done
"$MAS" "${kept[@]}" -o json 2>/dev/null | grep -q '"split": "", .*"map_weights": false, .*"packed_cache": "/' || fail "columns contradict each other"
# the oracle has one thread and no instruction sets; more threads than cores are said
"$MAS" bench model -m demo -p 4 -n 0 -r 1 --backend ref -t 2 -o json 2>"$dir/out" | grep -q '"n_threads": 1,' && [ ! -s "$dir/out" ] ||
    fail "threads of ref: $(cat "$dir/out")"
refused 64 "--isa avx2 with --backend ref: .*leave out --isa" model -m demo -p 4 --backend ref --isa avx2
refused 64 "it takes one of auto|cpu|cuda|cudahost" ceiling --backend ref
if "$MAS" generate -m demo -p x -n 1 --backend cudahost >/dev/null 2>&1; then
    refused 64 "--isa scalar with backend cuda.*leave out --isa" ceiling --backend cudahost --isa scalar
fi
cores=$(nproc)
if [ "$cores" -lt 256 ]; then
    "$MAS" bench model -m demo -p 4 -n 0 -r 1 -t 256 >/dev/null 2>"$dir/out" || fail "exit $?"
    grep -q "^mas: 256 threads share [0-9]* cores*, so they wait" "$dir/out" || fail "-t 256: $(cat "$dir/out")"
fi
"$MAS" bench model -m demo -p 4 -n 0 -r 1 -t 1 >/dev/null 2>"$dir/out" && [ ! -s "$dir/out" ] || fail "-t 1: $(cat "$dir/out")"
refused 64 "-p is '16,,32'; a number is missing" model -m demo -p 16,,32
# llama-bench's options of several letters are not read as bundles of mas' own
refused 64 "-pg is llama-bench's; give -p and -n" -m demo -pg 512,128
refused 64 "-ngl is llama-bench's; .*--cpu-layers" -m demo -p 8 -ngl 99
refused 64 "-fa is llama-bench's; .*leave it out" -m demo -fa 1
refused 64 "-ctk is llama-bench's; .*--kv-type" model -m demo -ctk q8_0
refused 64 "nothing to measure: -p and -n are both 0" -m demo -p 0 -n 0
refused 64 "nothing to measure: -p and -n are both 0" -m demo -p 0,0 -n 0 -o json
refused 64 "must be a multiple of 256" kernels --shape 1x100x10
refused 64 "unknown --op 'foo'; ops: embed, .*matmul, .*attention" kernels --op foo
refused 64 "unknown --fmt 'Q9'; formats: F32, .*Q4_K, .*IQ2_S" kernels --fmt Q9
refused 64 "unknown --variant 'none'; kernels of matmul on backend cpu: scalar" kernels --variant none --shape 1x256x1
refused 64 "unknown --variant 'none'; kernels of all ops on backend cpu: scalar" kernels --variant none
refused 64 "and --op is add" kernels --op add --shape 8b
refused 64 "Q4_K has no rows of 100 elements" kernels --shape 1x100x10 --fmt q4_k
refused 64 "1 to 65536 columns" kernels --shape 0x256x1
refused 64 "no case and kernel" kernels --op add --fmt Q4_K
# the ceiling alone takes seconds: a bad value ends before it
for bad in '--shape 9b' '--shape 1x100x10' '--shape 8b --op add' '--op foo' '--fmt Q9' '--variant none'; do
    read -ra words <<<"$bad"
    (ulimit -t 1 && exec "$MAS" bench kernels "${words[@]}" >"$dir/out" 2>&1)
    [ $? = 64 ] || fail "bench kernels $bad measures first: $(cat "$dir/out")"
done
if "$MAS" generate -m demo -p x -n 1 --backend cudahost >/dev/null 2>&1; then
    refused 64 "unknown --variant 'none'; kernels of add on backend cudahost: flat" kernels --backend cudahost --op add --variant none
fi
refused 64 "two files are needed" compare "$dir/a.json"
refused 66 "cannot open" compare "$dir/a.json" "$dir/none"
refused 65 "is not a result" compare "$dir/a.json" <(echo '{}')
refused 64 "there are: model, kernels" nothing
refused 64 "nothing is streamed on backend cpu" stream -m demo --backend cpu
refused 64 "it takes one of md|csv|json" stream -m demo -o html
refused 64 "name the model with -m" stream demo
refused 64 "no model" stream
if "$MAS" generate -m demo -p x -n 1 --backend cudahost >/dev/null 2>&1; then
    refused 64 "nothing is streamed to" stream -m demo --backend cudahost --quiet
fi
exit 0
