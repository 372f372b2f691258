#!/usr/bin/env bash
# mas on two GPUs that the host runs (--devices 0,1): replies, evaluations and a server with two clients at once give the
# bits of one GPU. Each GPU is seen: in a profiler's ranges, in /metrics, in the energy of a benchmark.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
: "${NVML_STUB_DIR:?folder of the stub of NVML}"
export CUSHIM_DEVICES=3 # made by tests/cudahost
# A part on the CPU has the bits of the CPU. Measured rates would choose such parts on some machines.
one=(--backend cudahost --cpu-layers=0 --kv-bytes 20MiB --ctx 1024 --sequences 4 --batch-tokens 64)
rows=("${one[@]}" --devices '2,0' --vram 22MiB --split rows) # one GPU cannot hold 20 MiB of KV cache
two=("${one[@]}" --devices '2,0' --vram 22MiB --split layers)
"$MAS" generate -m demo -p x -n 1 "${two[@]}" >/dev/null 2>why || {
    cat why
    grep -q 'cannot run CUDA kernels on the host' why && exit 77
    exit 1
}

# with SCRIPT COMMAND..: the stub is NVML, and its script says what it answers
with() {
    NVML_STUB=$1 LD_LIBRARY_PATH=$NVML_STUB_DIR${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "${@:2}"
}

# ---- a generation, and its ranges in a profiler
generate=("$MAS" generate -m demo -p 'The patient has' -n 12 --temp 0.7 --seed 3 --json --quiet)
essence='import json, sys; d = json.load(sys.stdin); print({k: d[k] for k in d if k not in ("first_seconds", "total_seconds")})'
want=$("${generate[@]}" "${one[@]}" | python3 -c "$essence") || fault "one GPU"
got=$(NVTX_INJECTION64_PATH=${NVTX_RECORD:-} NVTX_RECORD_FILE=seen.jsonl "${generate[@]}" "${two[@]}" | python3 -c "$essence")
[ "$got" = "$want" ] || fault "two GPUs: $got, one: $want"
got=$("${generate[@]}" "${rows[@]}" | python3 -c "$essence")
[ "$got" = "$want" ] || fault "two GPUs that share every matrix: $got, one: $want"
[ -z "${NVTX_RECORD:-}" ] || python3 - <<'END' || fault "the ranges of two GPUs"
import collections, json
events = [json.loads(line) for line in open("seen.jsonl")]
names = collections.Counter(e["name"] for e in events if e["call"] in ("push", "mark"))
layers = sorted(n for n in names if n.startswith("layer "))
assert len(layers) == 6 and {l[-8:] for l in layers} == {"on GPU 0", "on GPU 2"}, layers
first = [int(l.split()[1]) for l in layers if l.endswith("GPU 2")] # the first of --devices has the first layers
assert first == list(range(len(first))), layers
assert "embed on GPU 2" in names and "output on GPU 0" in names and "cross on GPU 0" in names, names
for name in "record", "replay", "replayed", "wait":
    assert names[name + " on GPU 0"] > 0 and names[name + " on GPU 2"] > 0 and not names[name], (name, names)
assert not [n for n in names if n.startswith("matmul") and "GPU" in n], "an op has the name of mas bench kernels"
END

# ---- a server with two clients at once, and its figures
cat >clients.py <<'END'
import json, os, sys
sys.path.insert(0, os.environ["MAS_SOURCE"] + "/tests/cli")
import serve_client
prompts = ["The patient has fever and", "A woman has chest pain and", "A man is short of breath", "The child has a rash"]
def ask(server, i, k):
    c = server.post("/v1/completions", {"prompt": prompts[i] + " pain" * k, "max_tokens": 8, "temperature": 0.8, "seed": i,
                                        "logprobs": 2})["choices"][0]
    return c["text"], c["finish_reason"], c["logprobs"]["token_logprobs"], c["logprobs"]["tokens"]
server = serve_client.Server(sys.argv[1], "-m", "demo", *sys.argv[3:])
def client(i):
    return [ask(server, i, k) for k in range(2)]
replies = serve_client.together([lambda: client(0), lambda: client(1)]) + [client(2)]
metrics = server.send("GET", "/metrics").body.decode()
assert server.close() == 0
json.dump({"replies": replies, "metrics": metrics}, open(sys.argv[2], "w"))
END
serve=(timeout 300 python3 clients.py "$MAS")
"${serve[@]}" alone.json "${one[@]}" || fault "a server on one GPU"
with 'energy_step=500 celsius@0=41 celsius@1=73 power@1=310000 used@1=1000' "${serve[@]}" pair.json "${two[@]}" ||
    fault "a server on two GPUs"
python3 - <<'END' || fault "a server on two GPUs"
import json, re
alone, pair = json.load(open("alone.json")), json.load(open("pair.json"))
assert alone["replies"] == pair["replies"], (alone["replies"], pair["replies"])
assert len(pair["replies"]) == 3 and all(len(r) == 2 for r in pair["replies"])
rows, types = {}, []
for line in pair["metrics"].splitlines():
    if line.startswith("# TYPE "):
        types.append(line.split()[2])
    elif not line.startswith("#"):
        m = re.fullmatch(r'(\w+)(?:\{(.*)\})? (\S+)', line)
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m[2] or ""))
        key = (m[1], labels.get("gpu"), labels.get("part"), labels.get("device"))
        if "model" not in labels or labels.get("part"):
            assert key not in rows or m[1] == "mas_http_requests_total", key
        rows[key] = float(m[3])
assert len(types) == len(set(types)), "a family has two heads"
def gauge(name, gpu):
    return rows["mas_gpu_" + name, str(gpu), None, None]
# card 0 of the stub is the first one that is opened: GPU 2
assert (gauge("celsius", 2), gauge("celsius", 0)) == (41, 73), rows
assert (gauge("watts", 2), gauge("watts", 0)) == (200, 310), rows
assert (gauge("vram_used_bytes", 2), gauge("vram_used_bytes", 0)) == (22870491955, 1000), rows
assert gauge("sm_mhz", 2) == gauge("sm_mhz", 0) == 1980 and ("mas_gpu_sm_mhz", "1", None, None) not in rows
for gpu in "2", "0":
    assert rows["mas_energy_joules_total", gpu, None, "gpu"] > 0, rows
    for part in "weights", "kv", "workspace":
        assert rows["mas_device_memory_bytes", gpu, part, None] > 0, rows
    assert rows["mas_device_memory_bytes", gpu, "ring", None] == 0
kv = [rows["mas_device_memory_bytes", gpu, "kv", None] for gpu in ("2", "0")]
assert 19 << 20 < sum(kv) <= 20 << 20, kv
assert not [k for k in rows if k[0] == "mas_device_memory_bytes" and k[1] == "1"]
END

# ---- an evaluation by a strategy of several roles
answers() { # of a folder: every call's reply and every case's answer
    zcat "$1/traces.jsonl.gz" | sed -E -n \
        -e 's/^\{("call": "[^"]*", "role": "[^"]*", "index": [0-9]+).*("finish": "[^"]*").*("mean_lp": [^,]*).*("reply": .*), "crc".*/\1 \2 \3 \4/p' \
        -e 's/^\{("case": "[^"]*").*("state": "[^"]*").*("predicted": [^,]*).*/\1 \2 \3/p' | sort
}
# evaluate NAME SETTING..
evaluate() {
    local set=() key
    for key in backend=cudahost placement.cpu_layers=0 kv.bytes=20MiB max_context_length=1024 engine.sequences=4 engine.batch_tokens=64 \
        role_tokens.debater=64 "${@:2}"; do
        set+=(--set "$key")
    done
    "$MAS" eval -c demo --data "$MAS_SOURCE/configs/demo/questions.jsonl" --n 1 --strategy debate --quiet --out "$1" \
        "${set[@]}" >said 2>&1 || fault "debate, $1: $(tail -n 3 said)"
    answers "$1" >"$1.txt"
}
evaluate one
evaluate two 'devices=[2, 0]' placement.vram=22MiB
[ "$(grep -c '"call"' one.txt)" -ge 2 ] || fault "debate: nothing to compare: $(head -n 3 one.txt)"
cmp one.txt two.txt || fault "debate: other replies on two GPUs"
python3 - <<'END' || fault "the summary does not name both GPUs: $(head -c 2000 two/summary.json)"
import json
about = json.load(open("two/summary.json"))["run"]["sessions"][0]["about"]
assert about["device"].startswith("GPU 2: ") and "; GPU 0: " in about["device"], about
END

# ---- the energy of a benchmark
bench=("$MAS" bench model -m demo -p 8 -n 2 -r 1 --backend cudahost --kv-bytes 20MiB --batch-tokens 64 --devices '2,0'
    --vram 22MiB)
with 'energy_step=500 celsius@1=73 reasons@1=4' "${bench[@]}" -o json >bench.json || fault "bench: exit $?"
python3 - <<'END' || fault "the energy of two GPUs: $(cat bench.json)"
import json
for row in json.load(open("bench.json")):
    a, b = row["health"]
    assert (a["gpu"], b["gpu"]) == (2, 0) and (a["celsius"]["max"], b["celsius"]["max"]) == (45, 73), row["health"]
    assert a["clock_reasons"] == "" and b["clock_reasons"] == "software power cap", row["health"]
    assert abs(a["joules"] + b["joules"] - row["energy"]["gpu_j"]) < 1e-6, row
END
expect 0 'not measured: GPU 0: GPU lost after ' with 'energy_step=500 lost_after@1=2' "${bench[@]}"

# ---- memory that is short is that of a GPU with a number
expect 64 'on all devices together' "$MAS" generate -m demo -p x -n 1 "${one[@]}" --devices 2,0 --vram 9MiB
exit $bad
