#!/usr/bin/env bash
# mas bench read: the samples of nsys and ncu become rows of mas bench kernels, in its three forms, and mas bench compare takes
# the JSON on either side. A bad file is a message with its line.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
: "${MAS_SOURCE:?folder of the sources}"
golden=$MAS_SOURCE/tests/golden/nsight

for sample in nsys_stats nsys_old ncu_raw ncu_details; do
    "$MAS" bench read "$golden/$sample.csv" -o json >"$sample.json" || fault "$sample: exit $?"
done
"$MAS" bench read -o json - <"$golden/nsys_stats.csv" >stdin.json || fault "standard input: exit $?"
python3 - "$golden" <<'PY' || fault "the JSON"
import csv, json, sys
d = json.load(open("nsys_stats.json"))
assert d["bench"] == "kernels" and d["format"] == 1 and d["ceiling"] is None and d["left_out"] == {"rows": 3, "us": 50}
assert d["rows"] == json.load(open("stdin.json"))["rows"] and len(d["rows"]) == 16
ops = [r for r in d["rows"] if r["report"] == "nvtx_gpu_proj_sum"]
assert [(r["op"], r["case"].split()[:2]) for r in ops] == [
    ("matmul", ["Q4_K", "1x4096->14336"]), ("matmul", ["Q4_K", "1x4096->4096"]), ("attention", ["F16", "1"]),
    ("kv_write", ["F16", "1"])]
# names that the samples hold, and sums: those of the reports, added up here
want = {}
for row in csv.DictReader(l for l in open(sys.argv[1] + "/nsys_stats.csv").read().split("gpu_kern_sum.py]... \n")[1]
                          .split("\n\n")[0].splitlines()):
    if "cuda_dev::k_" in row["Name"]:
        want[row["Name"]] = int(row["Total Time (ns)"]) / 1e3
assert {r["function"]: r["total_us"] for r in d["rows"] if r["report"] == "cuda_gpu_kern_sum"} == want
for r in d["rows"]:
    assert r["us_p5"] is r["warm_us"] is r["bytes"] is r["picked"] is None and r["us"] > 0
    assert r["part"] == (r["function"] is not None)
r = [r for r in json.load(open("ncu_raw.json"))["rows"] if r["launch"] == "132x1x1 of 128x1x1"][0]
assert (r["op"], r["kernel"], r["instance"], r["calls"]) == ("matmul", "mma", "Q4_K, 2, 1", 2)
assert abs(r["gb_s"] - 9.54e6 / 5.1e-6 / 1e9) < 1e-4 and r["share"] == 0.79
PY

"$MAS" bench read "$golden/ncu_raw.csv" "$golden/ncu_details.csv" -o csv >out.csv || fault "csv: exit $?"
python3 - <<'PY' || fault "the CSV"
import csv
rows = list(csv.DictReader(open("out.csv")))
assert len(rows) == 5 and {r["op"] for r in rows} == {"matmul", "attention", "add", "gather"}
assert all(r["function"].startswith(("void cuda_dev::k_", "k_")) and r["case"] == "" and r["error"] == "" for r in rows)
PY
head -n 1 out.csv | grep -q '^op,case,kernel,us,us_p5,us_p95,warm_us,gb_s,gop_s,share,noisy,best,picked,error,' ||
    fault "the CSV's head is not that of bench kernels"

"$MAS" bench read "$golden/nsys_stats.csv" >md || fault "md: exit $?"
grep -q '^| matmul    |  *| mma<Q4_K, 2, 1>  ' md || fault "no row in $(cat md)"
grep -q '^| step  *|     1990.0 |       4 |      8.000 |' md || fault "no ranges in $(cat md)"
grep -q '^Left out, .*: 3, 0.050 ms' md || fault "nothing left out in $(cat md)"
"$MAS" bench read "$golden/nsys_old.csv" | grep -q '| *6.0 m |' || fault "a mean is not marked"

# a file beside itself; nsys beside ncu and beside bench kernels: no interval, and no verdict on a kernel beside a call
"$MAS" bench compare nsys_stats.json nsys_stats.json >same || fault "a file differs from itself: $(cat same)"
grep -q '^0 faster, 0 slower, 16 the same' same || fault "$(tail -n 1 same)"
[ "$(grep -c 'no interval' same)" = 16 ] || fault "quantiles from nowhere: $(cat same)"
"$MAS" bench compare nsys_stats.json ncu_raw.json >beside || fault "exit $?: $(cat beside)"
grep -q 'no interval *| part ' beside || fault "a kernel beside a call: $(cat beside)"
python3 - <<'PY'
import json
d = json.load(open("nsys_stats.json"))
d["rows"] = [r for r in d["rows"] if r["report"] == "nvtx_gpu_proj_sum"]
json.dump(d, open("ops.json", "w"))
for r in d["rows"]:
    r["us"] *= 3
json.dump(d, open("slow.json", "w"))
row = {"op": "matmul", "case": "Q4_K 1x4096->4096 store", "kernel": "mma", "us": 8.5, "us_p5": 7, "us_p95": 9}
def rows(name, *of):
    json.dump({"bench": "kernels", "format": 1, "rows": [dict(row, **r) for r in of]}, open(name, "w"))
rows("one.json", {})
rows("picked.json", {"picked": True}, {"kernel": "matvec", "picked": False})
rows("unpicked.json", {}, {"kernel": "matvec"})
rows("q6.json", {"case": "Q6_K 1x256->1 store"})
PY
expect 1 '4 kernels of slow.json: less than' "$MAS" bench compare ops.json slow.json
# the op and its case are the same; the kernel is the only one, the one that a call takes, or one of two
expect 0 '1 faster, 0 slower, 0 the same within 0.95, 3 only' "$MAS" bench compare slow.json one.json
expect 0 '0 slower, 1 the same within 0.95, 3 only in one file, 1 not judged' "$MAS" bench compare ops.json picked.json
expect 0 '0 slower, 0 the same within 0.95, 3 only in one file, 2 not judged' "$MAS" bench compare ops.json unpicked.json
expect 0 '| mix ' "$MAS" bench compare ops.json unpicked.json
expect 0 '0 slower, 1 the same within 0.95' "$MAS" bench compare one.json one.json
# a kernel of Q4_K is none of Q6_K
expect 65 '4 only in one file' "$MAS" bench compare q6.json ncu_raw.json
expect 65 'nothing to compare: no row of q6.json (1) is in ncu_raw.json (3); measure' "$MAS" bench compare q6.json ncu_raw.json

# nothing to compare, or files that are no results: by name, and before a table
cat >rows.py <<'PY'
import json
def write(name, doc):
    json.dump(doc, open(name, "w"))
row = {"op": "add", "case": "c", "kernel": "k", "us": 2}
def rows(*of, **more):
    return {"bench": "kernels", "format": 1, "rows": list(of), **more}
write("none.json", rows())
write("good.json", rows(row, dict(row, case="d")))
write("zero.json", rows(row, dict(row, case="d", us=0)))
write("failed.json", rows(dict(row, failed="why")))
write("one_good.json", rows(row))
write("text.json", rows("row"))
write("new.json", rows(row, format=2))
write("format.json", rows(row, format="1"))
write("stream.json", {"bench": "stream", "format": 1, "rows": []})
write("no_rows.json", {"bench": "kernels", "format": 1})
write("model.json", [{"avg_ts": 1}])
write("list.json", [1])
write("trace.json", {"traceEvents": []})
PY
python3 rows.py
mkdir folder
: >empty.json
echo '{"rows": [' >broken.json
both() { # CODE TEXT FILE: as A and as B
    expect "$1" "$2" "$MAS" bench compare "$3" good.json
    expect "$1" "$2" "$MAS" bench compare good.json "$3"
}
both 65 'nothing to compare: none.json has no rows (A has ' none.json
both 65 'zero.json: add [d] k: "us" must be a time above 0' zero.json
"$MAS" bench compare good.json zero.json 2>/dev/null | grep . && fault "a table before an error"
expect 65 'nothing to compare: each kernel of both files failed (1)' "$MAS" bench compare failed.json failed.json
expect 1 '1 kernel of failed.json failed, which runs in one_good.json' "$MAS" bench compare one_good.json failed.json
both 65 'text.json: row 1 of 1 is no JSON object' text.json
both 65 'new.json has format 2, this program reads format 1' new.json
both 65 'format.json has no whole number "format"' format.json
both 65 'stream.json is a result of mas bench stream; name one of mas bench kernels, mas bench read and mas profile, -o' stream.json
both 65 'no_rows.json has no array "rows"' no_rows.json
both 65 'model.json is an array: a result of mas bench model; name a result of' model.json
both 65 'list.json is an array; name a result of' list.json
both 65 'trace.json is a timeline (mas profile --trace)' trace.json
both 65 'empty.json is empty' empty.json
both 65 'broken.json is no JSON: line ' broken.json
both 66 "cannot open 'nowhere.json'" nowhere.json
"$MAS" bench compare folder good.json >out 2>&1 && fault "a folder is a result"
grep -q 'folder.*directory' out && ! grep -q 'line' out || fault "a folder: $(cat out)"
expect 0 'mas profile with -o json' sh -c '"$1" bench compare --help | tr -s " \n" " "' - "$MAS"

expect 64 'a file is needed' "$MAS" bench read
expect 64 "-o is 'html'; it takes one of md|csv|json" "$MAS" bench read -o html "$golden/ncu_raw.csv"
expect 66 'nowhere.csv' "$MAS" bench read nowhere.csv
head -c 700 "$golden/nsys_stats.csv" >cut.csv
expect 65 'cut.csv: line 7 has no line end; is the file cut off' "$MAS" bench read cut.csv
: >empty.csv
expect 65 'empty.csv has no report of nsys stats' "$MAS" bench read empty.csv
exit $bad
