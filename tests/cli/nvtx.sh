#!/usr/bin/env bash
# The work of a command has names in a profiler. A library that stands for the profiler (tests/nvtx) writes down the ranges:
# their names, payloads, nesting, threads and counts per step. Without the option, or with --no-nvtx, no function is called,
# and the replies stay the same.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
[ -n "${NVTX_RECORD:-}" ] || {
    echo "skipped: this build has no NVTX"
    exit 77
}

# record FILE COMMAND..: the command under the profiler
record() {
    local file=$1
    shift
    NVTX_INJECTION64_PATH=$NVTX_RECORD NVTX_RECORD_FILE=$file "$@"
}

cat >seen.py <<'PY'
import collections, json, re
KINDS = ["step", "phase", "part", "op", "copy", "host", "call"]
PHASES = {"prefill", "decode", "mixed", "verify", "draft"}
OPS = {"embed", "rmsnorm", "matmul", "kv_write", "kv_copy", "attention", "add", "gather", "logprob", "sample"}

class Range:
    def __init__(self, event, around):
        self.kind, self.name, self.payload = KINDS[event["category"] - 1], event["name"], event.get("payload")
        self.around, self.registered, self.inside = around, event["registered"], []

    def within(self, kind):
        return next((r for r in self.around if r.kind == kind), None)

class Seen:
    """The ranges of a file. Asserts what holds for every run."""
    def __init__(self, path):
        self.ranges, self.marks, self.calls, self.threads, self.schema = [], [], [], {}, None
        self.most_calls = 0
        strings, categories, stacks, running = collections.Counter(), {}, collections.defaultdict(list), {}
        events = [json.loads(line) for line in open(path)]
        assert [e["call"] for e in events].count("domain") == 1 and events[0]["call"] == "domain"
        assert events[0]["name"] == "mas" and events[-1]["call"] == "destroy"
        for e in events:
            stack = stacks[e["tid"]]
            if e["call"] == "string":
                strings[e["name"]] += 1
            elif e["call"] == "category":
                categories[e["id"]] = e["name"]
            elif e["call"] == "thread":
                assert e["id"] == e["tid"], "a thread names another one"
                self.threads[e["tid"]] = e["name"]
            elif e["call"] == "schema":
                self.schema = e["entries"]
            elif e["call"] == "push":
                assert e["tid"] in self.threads, "a thread without a name: " + e["name"]
                r = Range(e, list(stack))
                r.thread = self.threads[e["tid"]]
                for outer in stack:
                    outer.inside.append(r)
                stack.append(r)
                self.ranges.append(r)
            elif e["call"] == "pop":
                stack.pop()
            elif e["call"] == "mark":
                self.marks.append((e["name"], e["payload"], stack[-1].name))
            elif e["call"] == "start":
                running[e["id"]] = e["name"]
                self.calls.append(Range(e, []))
                self.most_calls = max(self.most_calls, len(running))
            elif e["call"] == "end":
                del running[e["id"]]
        assert not any(stacks.values()) and not running, "a range has no end"
        assert categories == {i + 1: k for i, k in enumerate(KINDS)}
        assert set(strings.values()) == {1}, "a text is registered twice"
        assert all(r.registered and r.name in strings for r in self.ranges), "a range without a registered name"
        assert not any(c.registered for c in self.calls)
        self.steps = [r for r in self.ranges if r.kind == "step"]
        self.phases = [r for r in self.ranges if r.kind == "phase"]
        self.check_nesting()

    def check_nesting(self):
        for r in self.ranges:
            if r.name == "measured":
                assert r.thread == "main" and not r.around
                continue
            assert r.thread == "engine", r.name
            assert (r.kind == "step") == (not r.around) and (not r.around or r.around[0].kind == "step"), r.name
            if r.kind == "phase":
                assert r.name in PHASES
            if r.kind == "part":
                assert r.within("phase") and re.fullmatch(r"embed|layer \d+|output", r.name), r.name
            if r.kind == "op":
                word = r.name.split()[0]
                assert word in OPS and " " in r.name
                # a page of the cache is copied before the pass, tokens are chosen after it
                assert (r.within("part") is None) == (word in ("sample", "logprob", "kv_copy")), r.name
            if self.schema and r.kind == "op" and word != "kv_copy":
                part = r.within("part")
                layer = int(part.name.split()[1]) if part and part.name.startswith("layer") else -1
                assert r.payload["layer"] == layer and r.payload["rows"] > 0 and r.payload["bytes"] > 0

def bytes_of(name):
    """Least bytes of a matmul that stores, from its text; None for another op."""
    block = {"Q4_K": (256, 144), "Q6_K": (256, 210), "F16": (1, 2), "F32": (1, 4), "Q8_0": (32, 34)}
    m = re.fullmatch(r"matmul ([\w+]+) (\d+)x(\d+)->([\d+]+) store( norm)?", name)
    if not m:
        return None
    rows, n_in, outs, formats = int(m[2]), int(m[3]), [int(n) for n in m[4].split("+")], m[1].split("+")
    formats = formats if len(formats) > 1 else formats * len(outs)
    weights = sum(n * n_in // block[f][0] * block[f][1] for n, f in zip(outs, formats))
    return weights + 4 * rows * (n_in + sum(outs)) + (4 * n_in if m[5] else 0)
PY

# ---- every step of a generation --------------------------------------------------------------------------------
run=("$MAS" generate -m demo -p hello -n 4 --quiet)
plain=$("${run[@]}") || fault "exit $?"
[ "$(record cpu.jsonl "${run[@]}")" = "$plain" ] || fault "the profiler changes the reply"
layers=$("$MAS" inspect demo | sed -nE 's/^ *llama.block_count .*= ([0-9]+)$/\1/p')
python3 - "$layers" <<'PY' || fault "the ranges of a generation"
import sys
from seen import *
n_layer = int(sys.argv[1])
s = Seen("cpu.jsonl")
assert s.schema == [["layer", 17], ["rows", 17], ["bytes", 18], ["flops", 18]] # INT64 and UINT64
assert sorted(s.threads.values()) == ["engine", "main"] and not s.calls and not s.marks
assert len(s.steps) == 4 and [p.name for p in s.phases] == ["prefill"] + 3 * ["decode"]
for p in s.phases:
    parts = [r.name for r in p.inside if r.kind == "part"]
    assert parts == ["embed"] + [f"layer {i}" for i in range(n_layer)] + ["output"], parts
    ops = [[r.name.split()[0] for r in part.inside] for part in p.inside if part.name.startswith("layer")]
    layer = ["matmul", "kv_write", "attention", "matmul", "matmul", "matmul"]
    # the rest of a prompt's last layer has the rows with logits alone, which are gathered
    last = layer[:3] + (p.name == "prefill") * ["gather", "gather"] + layer[3:]
    assert ops == (n_layer - 1) * [layer] + [last], ops
    rows = {r.payload["rows"] for r in p.inside if r.kind == "op" and r.within("part").name.startswith("layer")}
    assert rows == {p.payload["rows"], 1}
assert sum(r.name.startswith("sample ") for r in s.ranges) == 4
checked = 0
for r in s.ranges:
    want = bytes_of(r.name)
    if want:
        checked += 1
        assert r.payload["bytes"] == want and r.payload["flops"] > 0, (r.name, r.payload, want)
assert checked == 4 * (n_layer + 1) # q, k and v of each layer, and the output
PY

# ---- a profiler without schemas gets the bytes --------------------------------------------------------------------
NVTX_RECORD_PLAIN=1 record old.jsonl "${run[@]}" >/dev/null || fault "exit $?"
python3 - <<'PY' || fault "payloads without schemas"
from seen import *
new, old = Seen("cpu.jsonl"), Seen("old.jsonl")
assert old.schema is None and [r.name for r in old.ranges] == [r.name for r in new.ranges]
for a, b in zip(new.ranges, old.ranges):
    assert b.payload == (a.payload["bytes"] or a.payload["rows"] or None), (b.name, b.payload)
PY

# ---- drafts, agents, benchmarks -----------------------------------------------------------------------------------
record draft.jsonl "$MAS" generate -m demo -p "hello hello hello" -n 8 --draft-model demo --max-draft 4 --quiet >draft.txt ||
    fault "exit $?"
record case.jsonl "$MAS" run -q "A man has chest pain." --quiet >case.txt 2>&1
[ $? -le 1 ] || fault "$(cat case.txt)" # the answer of the built-in model may be none
record bench.jsonl "$MAS" bench model -m demo -p 0 -n 8 -r 3 --quiet >bench.txt || fault "exit $?"
python3 - <<'PY' || fault "the ranges of drafts, agents and benchmarks"
from seen import *
s = Seen("draft.jsonl")
assert {"draft", "verify"} <= {p.name for p in s.phases}
s = Seen("case.jsonl")
roles = collections.Counter(c.name.split()[0] for c in s.calls)
assert roles["planner"] == 1 and roles["specialist"] > 1 and roles["aggregator"] == 1, roles
assert len({c.name.split()[1] for c in s.calls}) == 1, "one question has one name"
assert {c.kind for c in s.calls} == {"call"} and s.most_calls > 1 and s.steps
s = Seen("bench.jsonl")
events = [json.loads(line) for line in open("bench.jsonl")]
names = [e.get("name") for e in events if e["call"] == "push"]
at = names.index("measured")
assert names.count("measured") == 1 and names[at:].count("step") == 3 * 8 and names[:at].count("step") == 8
PY

# ---- the same calls as in the table of mas profile: a warm-up of both tests, then both tests --------------------------
record profile.jsonl "$MAS" profile -m demo -p 6 -n 8 -r 1 --no-plain -t 1 --quiet -o json >profile.json || fault "exit $?"
python3 - <<'PY' || fault "mas profile and the ranges differ"
from seen import *
ranges, calls, moved = collections.Counter(), collections.Counter(), {}
def key(name): # attention's length and bytes grow with the sequence; the table has the longest, a range the next power of two
    return re.sub(r", up to \d+ tokens", "", name)
for r in Seen("profile.jsonl").ranges:
    if r.kind == "op":
        ranges[key(r.name)] += 1
        moved[key(r.name)] = r.payload["bytes"]
        length = re.search(r"up to (\d+) tokens", r.name)
        assert not length or int(length[1]) & (int(length[1]) - 1) == 0, r.name
for row in json.load(open("profile.json"))["rows"]:
    name = key(row["op"] + " " + row["case"])
    calls[name] += row["calls"]
    assert row["op"] == "attention" or abs(moved[name] - row["bytes"]) < 1, row
assert calls and ranges == {name: 2 * n for name, n in calls.items()}, (ranges, calls)
PY

# ---- a GPU's kernels, run by the host: recordings, copies -----------------------------------------------------------
if "$MAS" generate -m demo -p x -n 1 --backend cudahost >/dev/null 2>&1; then
    run=("$MAS" generate -m demo -p hello -n 12 --backend cudahost --quiet)
    plain=$("${run[@]}") || fault "exit $?"
    [ "$(record graph.jsonl "${run[@]}")" = "$plain" ] || fault "the profiler changes the reply of recorded steps"
    record eager.jsonl "${run[@]}" --no-graphs >/dev/null || fault "exit $?"
    record copy.jsonl "$MAS" generate -m demo -p hello -n 2 --backend cudahost --placement throughput --vram 8519680 \
        --kv-bytes 1MiB --ctx 128 --sequences 2 --batch-tokens 64 --quiet >copy.txt 2>&1 || fault "exit $?: $(cat copy.txt)"
    python3 - <<'PY' || fault "the ranges of recordings and copies"
from seen import *
s, eager = Seen("graph.jsonl"), Seen("eager.jsonl")
assert len(s.steps) == len(eager.steps) == 12 and not eager.marks
records = [r for r in s.ranges if r.name == "record"]
replays = [r for r in s.ranges if r.name == "replay"]
assert records and len(replays) > len(records)
keys = {r.payload for r in records}
done = [key for name, key, around in s.marks if name == "replayed"]
assert len(done) == len(s.marks) and set(done) == keys and 0 not in keys and len(keys) == len(records)
# a pass runs its ops, or records them and replays the recording, or replays it
for p in s.phases:
    ran = any(r.kind == "op" and not any(o.name == "record" for o in r.around) for r in p.inside)
    tried = [r for r in p.inside if r.name == "replay"]
    assert ran or tried, p.name
walked = [p for p in s.phases if any(r.kind == "op" for r in p.inside)]
assert len(walked) + len(done) - len(records) == 12
# recorded ops are those of a plain pass
one = [r.name.split()[0] for r in records[0].inside if r.kind == "op"]
assert one == [r.name.split()[0] for r in eager.phases[-1].inside if r.kind == "op"]
s = Seen("copy.jsonl")
copies = [r for r in s.ranges if r.kind == "copy"]
assert copies and all(r.name == "copy" and r.payload["bytes"] > 0 and any(o.name == "weights" for o in r.around)
                      for r in copies)
PY
fi

# ---- off ------------------------------------------------------------------------------------------------------------
for command in "generate -m demo -p hello -n 2" "bench model -m demo -p 0 -n 2 -r 1" "perplexity -m demo -p abcdefgh --ctx 4"; do
    # shellcheck disable=SC2086 # words
    record off.jsonl "$MAS" $command --quiet --no-nvtx >/dev/null 2>&1 || fault "$command: exit $?"
    [ ! -e off.jsonl ] || fault "mas $command --no-nvtx calls NVTX: $(head -n 3 off.jsonl)"
    # shellcheck disable=SC2086
    NVTX_RECORD_FILE=off.jsonl "$MAS" $command --quiet >/dev/null 2>&1 || fault "$command: exit $?"
    [ ! -e off.jsonl ] || fault "mas $command calls NVTX without a profiler"
    # shellcheck disable=SC2086
    expect 69 'no profiler is attached' "$MAS" $command --quiet --nvtx
done
record off.jsonl "$MAS" run -q "A man has chest pain." --quiet --no-nvtx >/dev/null 2>&1
[ ! -e off.jsonl ] || fault "mas run --no-nvtx calls NVTX"
expect 69 'no profiler is attached' "$MAS" run -q "A man has chest pain." --nvtx
said=$(NVTX_INJECTION64_PATH=$dir/none.so "$MAS" generate -m demo -p hello -n 2 --quiet 2>&1) || fault "exit $?"
[[ $said == *"NVTX_INJECTION64_PATH is $dir/none.so"* ]] || fault "a library that is missing is not named: $said"
exit $bad
