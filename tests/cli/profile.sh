#!/usr/bin/env bash
# mas profile: table, JSON, CSV and trace are whole and agree, mas bench compare reads the JSON, bad input is a message.
# Checks no speed.
set -u
: "${MAS:?path of the program}" "${MAS_SOURCE:?root of the sources}"
fail() { echo "profile: $*" && exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
profile=("$MAS" profile -m demo -p 24 -n 6 -r 2 -t 2)

"${profile[@]}" -o json --trace "$dir/trace" --html "$dir/page" >"$dir/json" || fail "exit $?"
python3 - "$dir/json" <<'PY' || fail "the JSON is not right"
import json, sys
d = json.load(open(sys.argv[1]))
assert d["bench"] == "kernels" and d["format"] == 1 and d["threads"] == 2 and d["ceiling"] is None
p = d["profile"]
assert [t["test"] for t in p["tests"]] == ["pp24", "tg6"] and [t["tokens"] for t in p["tests"]] == [24, 6]
assert all(t["recorded_s"] > 0 and abs(t["recorded_s"] / t["plain_s"] - 1 - t["overhead"]) < 1e-4 for t in p["tests"])
assert p["dropped"] == 0 and not p["device_timed"] and "profile -m demo" in p["command"]
steps = {s["step"]: s for s in p["steps"]}
assert set(steps) == {"prefill", "decode"}
assert steps["prefill"]["steps"] == 2 and steps["prefill"]["rows"] == 48
assert steps["decode"]["steps"] == steps["decode"]["rows"] == 12
for s in steps.values():
    assert abs(sum(x["ms"] for x in s["pieces"]) - s["wall_ms"]) < 1e-3
    assert abs(sum(x["share"] for x in s["pieces"]) - 1) < 1e-3
    assert [l["layer"] for l in s["layers"]] == list(range(6))
    assert all(0 < l["us_min"] <= l["us"] <= l["us_max"] for l in s["layers"])
    assert [w["worker"] for w in s["workers"]] == [0, 1] and all(w["busy_ms"] >= 0 and w["waits_ms"] > 0 for w in s["workers"])
assert abs(sum(s["wall_ms"] for s in steps.values()) - p["wall_ms"]) < 1e-3
for kind in steps:
    # the pieces of ops are the ops of the rows
    rows = [r for r in d["rows"] if r["step"] == kind]
    piece = sum(x["ms"] for x in steps[kind]["pieces"] if x["kind"] == "op")
    assert abs(sum(r["ms"] for r in rows) - piece) < 0.01 * piece
    n = steps[kind]["steps"]
    assert sum(r["calls"] for r in rows if r["op"] == "matmul") == n * (6 * 4 + 1)
    assert sum(r["calls"] for r in rows if r["op"] == "attention") == n * 6
assert len([r for r in d["rows"] if r["op"] == "attention"]) == 2
for r in d["rows"]:
    assert r["kernel"] and 0 < r["us_p5"] <= r["us"] <= r["us_p95"] and r["imbalance"] >= 0
    assert r["share"] is r["warm_us"] is r["noisy"] is r["best"] is r["picked"] is r["error"] is None
    assert r["op"] == "sample" or abs(r["gb_s"] - r["bytes"] / r["us"] / 1e3) < 0.02 * r["gb_s"] + 0.001
PY
python3 "$MAS_SOURCE/tools/scripts/trace_check.py" "$dir/trace" --profile "$dir/json" >"$dir/check" ||
    fail "the trace: $(head -n 5 "$dir/check")"

grep -q '</html>' "$dir/page" && grep -q '<svg' "$dir/page" && ! grep -q 'src=' "$dir/page" || fail "the page"

# rows of a profile lie beside those of mas bench kernels
case='Q4_K 1x256->512 swiglu norm'
python3 - "$dir" "$case" <<'PY' || fail "no row to compare"
import json, sys
d = json.load(open(sys.argv[1] + "/json"))
row = [r for r in d["rows"] if r["case"] == sys.argv[2]][0]
other = {k: row[k] for k in ("op", "case", "kernel", "us", "us_p5", "us_p95")}
json.dump({"bench": "kernels", "format": 1, "rows": [other]}, open(sys.argv[1] + "/kernels", "w"))
PY
"$MAS" bench compare "$dir/kernels" "$dir/json" >"$dir/compare" || fail "compare: exit $?"
grep -q "^| matmul *| $case *|.*| *1.000 |" "$dir/compare" || fail "compare: $(cat "$dir/compare")"

"$MAS" synth --shape tiny --type Q4_K_M --vocab shape --quiet "$dir/tiny.gguf" || fail "exit $?"
"$MAS" profile -m "$dir/tiny.gguf" -p 0 -n 2 -r 1 -t 1 --no-plain -o json >"$dir/json" || fail "exit $?"
kernel=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["rows"][0]["kernel"])' <"$dir/json")
"$MAS" bench kernels --shape tiny --variant "$kernel" -r 1 -t 1 -o json >"$dir/kernels" || fail "exit $?"
"$MAS" bench compare "$dir/kernels" "$dir/json" >"$dir/compare"
grep -q '^| matmul .* norm ' "$dir/compare" && ! grep -q '^| matmul .*only in' "$dir/compare" ||
    fail "cases of the model and of the benchmark differ: $(cat "$dir/compare")"

"${profile[@]}" >"$dir/md" || fail "exit $?"
for text in '^## prefill: 2 steps, 24.0 rows each' '^## decode: 12 steps, 1.0 rows each' '^| pp24 ' '^| tg6 .*\( %\|in the noise\)' \
    '^| matmul  .*Q6_K 1x256->5120 store norm' '^| between ' '^| sum .*100.0 %' '^6 layers: ' '^| *1 |.* %' ' pass between steps'; do
    grep -q -- "$text" "$dir/md" || fail "no '$text' in $(cat "$dir/md")"
done
"${profile[@]}" --no-plain -p 0 --parallel 3 -o csv >"$dir/csv" || fail "exit $?"
[ "$(head -n 1 "$dir/csv" | tr , '\n' | wc -l)" = 13 ] || fail "the CSV's head"
awk -F , 'NR > 1 && $1 != "decode" { exit 1 }' "$dir/csv" || fail "only decode steps: $(cat "$dir/csv")"
grep -q 'Q4_K 3x256->512 swiglu norm' "$dir/csv" || fail "no row of three sequences: $(cat "$dir/csv")"

if "$MAS" generate -m demo -p x -n 1 --backend cudahost >/dev/null 2>&1; then
    "$MAS" profile -m demo -p 4 -n 5 -r 1 --no-plain --backend cudahost -o json --trace "$dir/trace" >"$dir/json" ||
        fail "exit $?"
    python3 - "$dir/json" <<'PY' || fail "cudahost: the JSON is not right"
import json, sys
d = json.load(open(sys.argv[1]))
assert d["emulated"] and d["profile"]["device_timed"] and d["profile"]["tests"][0]["overhead"] is None
decode = [s for s in d["profile"]["steps"] if s["step"] == "decode"][0]
assert {"replay", "upload", "deliver"} <= {x["name"] for x in decode["pieces"]} | {"replay"} and not decode["workers"]
assert sum(r["calls"] for r in d["rows"] if r["op"] == "matmul" and r["step"] == "decode") == 5 * (6 * 4 + 1)
PY
    python3 "$MAS_SOURCE/tools/scripts/trace_check.py" "$dir/trace" --profile "$dir/json" >"$dir/check" ||
        fail "the trace of cudahost: $(head -n 5 "$dir/check")"
fi

bad() { # exit, text, arguments
    local code=$1 text=$2
    shift 2
    "$MAS" profile "$@" >"$dir/out" 2>&1
    [ $? -eq "$code" ] || fail "mas profile $*: wrong exit code: $(cat "$dir/out")"
    grep -q -- "$text" "$dir/out" || fail "mas profile $*: no '$text' in $(cat "$dir/out")"
}
bad 64 "-o is 'html'; it takes one of md|csv|json" -o html
bad 64 'nothing to profile' -m demo -p 0 -n 0
bad 73 'nowhere' -m demo -p 1 -n 1 --trace "$dir/nowhere/trace"
bad 66 'no-model' -m "$dir/no-model"
bad 73 'nowhere' -m demo -p 1 -n 1 --html "$dir/nowhere/page"
[ ! -e "$dir/nowhere" ] || fail "a folder was made"

# an existing file is replaced only by its like; a refusal comes before the run and changes nothing
bad 64 '--trace needs a file name' -m demo --trace=
bad 64 '--html needs a file name' -m demo --html=
kept() { # file, option, name of the form, arguments: refused, the file stays
    local file=$1 before
    before=$(sha256sum <"$1")
    shift
    bad 64 "exists and is no $2 of mas; choose another name" -p 4 -n 1 -r 1 --no-plain "${@:3}" "$1" "$file"
    [ "$(sha256sum <"$file")" = "$before" ] || fail "$1 changed $file"
}
short=(-m demo -p 4 -n 1 -r 1 --no-plain)
kept "$dir/tiny.gguf" --trace trace -m "$dir/tiny.gguf"
kept "$dir/tiny.gguf" --html page -m "$dir/tiny.gguf"
ln -s tiny.gguf "$dir/link"
kept "$dir/link" --trace trace -m "$dir/tiny.gguf"
kept "$dir/page" --trace trace -m demo
kept "$dir/trace" --html page -m demo
echo '{"traceEvents":[{"ph":"M"}]}' >"$dir/foreign"
kept "$dir/foreign" --trace trace -m demo
echo '<!doctype html>' >"$dir/foreign"
kept "$dir/foreign" --html page -m demo
: >"$dir/empty"
"$MAS" profile "${short[@]}" --trace "$dir/empty" --html "$dir/page" >/dev/null || fail "its like is not replaced: $?"
"$MAS" profile "${short[@]}" --trace "$dir/empty" --html /dev/null >/dev/null || fail "its like is not replaced: $?"
"$MAS" profile "${short[@]}" --trace /dev/null --html /dev/null >/dev/null || fail "/dev/null: $?"
echo text >"$dir/appended"
"$MAS" profile "${short[@]}" --trace /dev/stdout >>"$dir/appended" || fail "/dev/stdout: $?"
[ "$(head -n 1 "$dir/appended")" = text ] && grep -q traceEvents "$dir/appended" || fail "/dev/stdout lost bytes"
mkfifo "$dir/fifo"
cat "$dir/fifo" >"$dir/read" &
"$MAS" profile "${short[@]}" --trace "$dir/fifo" >/dev/null || fail "a FIFO: $?"
wait $!
grep -q traceEvents "$dir/read" || fail "the FIFO got no trace"

both='--trace and --html both name'
bad 64 "$both" "${short[@]}" --trace "$dir/new" --html "$dir/new"
bad 64 "$both" "${short[@]}" --trace "$dir/new" --html "$dir/./new"
(cd "$dir" && "$MAS" profile "${short[@]}" --trace new --html ./new >out 2>&1) && fail "new and ./new are one file"
grep -q -- "$both" "$dir/out" || fail "new and ./new: $(cat "$dir/out")"
[ ! -e "$dir/new" ] || fail "a refused run left a file"
: >"$dir/new"
ln -s new "$dir/other"
bad 64 "$both" "${short[@]}" --trace "$dir/new" --html "$dir/other"
rm "$dir/new"
bad 64 'is no page of mas' "${short[@]}" --trace "$dir/new" --html "$dir/other"
python3 "$MAS_SOURCE/tools/scripts/trace_check.py" "$dir/new" >/dev/null || fail "the page replaced the trace"
echo ok
