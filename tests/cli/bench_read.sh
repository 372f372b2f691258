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
expect 0 '4 only in one file' "$MAS" bench compare q6.json ncu_raw.json

expect 64 'a file is needed' "$MAS" bench read
expect 64 "bad -o 'html'" "$MAS" bench read -o html "$golden/ncu_raw.csv"
expect 66 'nowhere.csv' "$MAS" bench read nowhere.csv
head -c 700 "$golden/nsys_stats.csv" >cut.csv
expect 65 'cut.csv: line 7 has no line end; is the file cut off' "$MAS" bench read cut.csv
: >empty.csv
expect 65 'empty.csv has no report of nsys stats' "$MAS" bench read empty.csv
exit $bad
