#!/bin/bash
# Joules of an evaluation, from the stub of NVML in place of the driver's library. Without a library, or after a GPU is
# lost, every report says so by name.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
: "${NVML_STUB_DIR:?folder of the stub of NVML}"
data=$MAS_SOURCE/configs/demo/questions.jsonl

json() { python3 -c "import json; d = json.load(open('$1')); print($2)"; }

gpu=(-c demo --strategy direct --set backend=cudahost --set engine.sequences=4) # a GPU's kernels, run by the host
evaluate() { # DIR N [OPTION..]
    "$MAS" eval "${gpu[@]}" --data "$data" --out "$1" --n "$2" "${@:3}"
}

# with SCRIPT COMMAND..: the stub is the library, and its script says what it answers
with() {
    NVML_STUB=$1 NVML_STUB_LOG=$dir/log LD_LIBRARY_PATH=$NVML_STUB_DIR${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "${@:2}"
}

"$MAS" generate -m demo -p x -n 1 --backend cudahost >/dev/null 2>why || {
    cat why
    exit 77
}

# ---- every report has the joules, and all cases together those that the counter gave
expect 0 'J a question' with 'energy_step=5000 reasons=4' evaluate run 4 --quiet
python3 - run log <<'END' || fault "the joules of the reports differ"
import csv, gzip, json, sys
folder, log = sys.argv[1:]
cases = [json.loads(l) for l in gzip.open(folder + "/traces.jsonl.gz", "rt") if l.startswith('{"case"')]
d = json.load(open(folder + "/summary.json"))
first, last, answers = map(int, open(log).read().split())
joules = [c["joules"] for c in cases]
total, q = sum(joules), d["per_question"]
computed = sum(c["prompt_tokens"] - c["cached_tokens"] + c["new_tokens"] for c in cases)
rows = list(csv.DictReader(open(folder + "/results.csv", newline="")))
def same(what, a, b):
    assert abs(a - b) <= 1e-5 * abs(b), (what, a, b)
assert len(joules) == 4 and min(joules) > 0, joules
assert all(c["energy"].startswith("GPU: NVML energy counter; CPU: ") for c in cases), cases
assert 0 < total, total
if "not measured" in cases[0]["energy"]: # the processor of this machine has no counter that adds to the GPU's
    assert total <= (last - first) / 1000, (total, first, last)
same("mean", q["joules"] * q["joules_n"], total)
same("token", q["joules_per_token"], total / computed)
same("price", q["cost_usd"], q["joules"] / 3.6e6 * 0.12)
same("csv", sum(float(r["joules"]) for r in rows), total)
same("csv of a token", float(rows[0]["joules_per_token"]), joules[[c["n"] for c in cases].index(0)] /
     sum(c["prompt_tokens"] - c["cached_tokens"] + c["new_tokens"] for c in cases if c["n"] == 0))
assert d["energy"] == cases[0]["energy"] and d["energy_gap"] is None, d["energy"]
assert d["run"]["sessions"][0]["about"]["energy"] == d["energy"], d["run"]["sessions"]
END
expect 0 'GPU: NVML energy counter; CPU: ' "$MAS" export run

# ---- the progress of a terminal shows joules, memory and throttling, in 80 columns
cat >terminal.py <<'END'
import os, pty, sys
out = bytearray()
def read(fd):
    data = os.read(fd, 65536)
    out.extend(data)
    return data
status = pty.spawn(sys.argv[1:], read)
text = out.decode("utf-8", "replace")
lines = [l.replace("\x1b[K", "").rstrip("\n") for l in text.split("\r") if "tok/s" in l and "ETA" in l]
assert os.waitstatus_to_exitcode(status) == 0, text
assert max(map(len, lines)) <= 80, lines
assert any("J/q" in l for l in lines), lines
assert any("21.3/24.0 GiB" in l for l in lines), lines
assert any("throttled: power" in l for l in lines), lines
END
with 'energy_step=5000 reasons=4' python3 terminal.py "$MAS" eval "${gpu[@]}" --data "$data" --out seen \
    --n 3 >seen.txt 2>&1 || fault "progress: $(cat seen.txt)"

# ---- without the library
expect 0 'not measured: no NVML (libnvidia-ml.so.1: cannot' evaluate none 2 --quiet
expect 0 'not measured: no NVML' "$MAS" export none
[ "$(json none/summary.json 'd["per_question"]["joules"], d["energy"][:38]')" = \
    "None not measured: no NVML (libnvidia-ml.so" ] || fault "none/summary.json: $(tail -n 9 none/summary.json | head -c 600)"

# ---- a folder begun without goes on with it: the mean is over those that have joules
expect 0 'means over 2 of 4 questions; the others: not measured: no NVML' with 'energy_step=5000' evaluate none 4 --quiet
expect 0 '4 done before' evaluate none 4 --quiet # nothing is measured anew, and nothing is lost
[ "$(json none/summary.json 'd["per_question"]["joules_n"], d["energy"][:24], d["energy_gap"][:21]')" = \
    "2 GPU: NVML energy counter not measured: no NVML" ] || fault "continued: $(json none/summary.json 'd["energy"], d["energy_gap"]')"
expect 0 'joules' "$MAS" export run --against none

# ---- a GPU that is lost: its energy is not measured from then on, and never 0
expect 0 'not measured: GPU lost after ' with 'energy_step=5000 lost_after=4' evaluate lost 3 --quiet
[ "$(json lost/summary.json 'd["per_question"]["joules"]')" = None ] || fault "joules of a lost GPU"
zcat lost/traces.jsonl.gz | grep '^{"case"' | grep -vq '"joules": null, .*"energy": "not measured: GPU lost after' &&
    fault "a case of a lost GPU: $(zcat lost/traces.jsonl.gz | grep '^{"case"' | grep -o '"joules.*"shown')"

# ---- a run on the processor does not open NVML
rm -f log
expect 0 'accuracy' with 'energy_step=5000' "$MAS" eval -c demo --data "$data" --strategy direct --set backend=cpu --out cpu --n 2
[ ! -e log ] || fault "NVML was opened without a GPU in use"

# ---- the processor's counter, in a mount namespace of its own, where this machine allows one
cat >namespace.sh <<'END'
mount -t tmpfs none /sys/class || exit 77
d=/sys/class/powercap/intel-rapl:0
mkdir -p "$d" && echo package-0 >"$d/name" && echo 262143328850 >"$d/max_energy_range_uj" && echo 0 >"$d/energy_uj"
for ((i = 0; ; i += 1000000)); do # 1 J every 10 ms
    echo "$i" >"$d/fresh" && mv "$d/fresh" "$d/energy_uj" && sleep 0.01
done &
"$@"
rc=$?
kill %1
exit $rc
END
said=$(unshare -m bash namespace.sh "$MAS" eval -c demo --data "$data" -s cot --set backend=cpu --out rapl --n 60 --quiet 2>&1)
case $? in
0)
    [[ $said == *'J a question, '*'CPU: RAPL, 1 package'* ]] || fault "no joules of the processor: $said"
    [ "$(json rapl/summary.json 'd["per_question"]["joules"] > 0, d["energy"]')" = "True CPU: RAPL, 1 package" ] ||
        fault "the processor's joules: $(json rapl/summary.json 'd["per_question"]')"
    ;;
*) [[ $said == *accuracy* ]] && fault "with a counter of the processor: $said" || echo "no mount namespace here: RAPL is not tried" ;;
esac

# ---- one case
q='A 50-year-old woman has a fever.'
expect 0 'energy        ' with 'energy_step=5000' "$MAS" run "${gpu[@]}" -q "$q" -o 'A. one||B. two' --out one
expect 0 'energy        not measured: no NVML' "$MAS" run "${gpu[@]}" -q "$q" -o 'A. one||B. two' --out plain
expect 0 '"energy": "not measured: no NVML' "$MAS" run "${gpu[@]}" -q "$q" -o 'A. one||B. two' \
    --out two --json

# ---- benchmarks
model=(bench model -m demo -p 16 -n 4 -r 2 --backend cudahost)
kernels=(bench kernels --backend cudahost --op add -r 2)
with 'energy_step=5000 reasons=4' "$MAS" "${model[@]}" -o json >model.json || fault "bench model: exit $?"
with 'energy_step=5000 reasons=4' "$MAS" "${kernels[@]}" -o json >kernels.json || fault "bench kernels: exit $?"
python3 - <<'END' || fault "the energy of benchmarks"
import json
kernels = json.load(open("kernels.json"))
for row, tokens in zip(json.load(open("model.json")) + [kernels], (32, 8, None)):
    e, h = row["energy"], row["health"]
    assert e["gpu_j"] >= 5 and e["gpu"] == "NVML energy counter", e
    assert tokens is None and e["j_per_token"] is None or abs(e["j_per_token"] * tokens - e["joules"]) < 1e-6 * e["joules"], e
    assert h["sm_mhz"] == {"min": 1980, "max": 1980} and h["celsius"]["max"] == 45, h
    assert h["vram_used_bytes"]["max"] == 22870491955 and h["clock_reasons"] == "software power cap", h
END
expect 0 'J a token, ' with 'energy_step=5000 reasons=4' "$MAS" "${model[@]}"
expect 0 'temperature 45 C, power 200 W, throttled: power' with 'energy_step=5000 reasons=4' "$MAS" "${kernels[@]}"
expect 0 'energy: not measured: no NVML (libnvidia-ml.so.1: ' "$MAS" "${model[@]}"
expect 0 'energy: not measured: no NVML (libnvidia-ml.so.1: ' "$MAS" "${kernels[@]}"
"$MAS" synth --shape tiny --layers 6 --type F16 --quiet m.gguf || fault "synth"
stream=(bench stream -m m.gguf --backend cudahost -t 1 -r 1 -n 2 --vram 11MiB --parallel 1 --quiet)
with 'energy_step=5000' "$MAS" "${stream[@]}" -o json >stream.json || fault "bench stream: exit $?"
[ "$(json stream.json 'd["energy"]["gpu_j"] >= 5, d["energy"]["gpu"], d["health"]["clock_reasons"]')" = \
    "True NVML energy counter " ] || fault "bench stream: $(tail -n 1 stream.json)"
expect 0 'energy: not measured: no NVML (libnvidia-ml.so.1: ' "$MAS" "${stream[@]}"
exit $bad
