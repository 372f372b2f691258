#!/usr/bin/env bash
# mas fit: the 70B on a 24 GB card agrees with the closed forms, in text and JSON; an impossible request is a message.
set -u
: "${MAS:?path of the program}"
fail() { echo "fit: $*" && exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# value KEY PART: a number of the JSON object, of the part named if one is
value() { sed -E "s/.*\"$2\": \{[^}]*\"$1\": ([-0-9.e+]*).*/\1/" "$dir/json"; }
near() { awk -v a="$1" -v b="$2" -v p="$3" 'BEGIN { d = a / b - 1; exit !(d < p && d > -p) }' || fail "$4: $1, not $2"; }

"$MAS" fit --shape llama3-70b --gpu rtx4090 --sequences 143 --json >"$dir/json" || fail "exit $?"
grep -q '"predicted": true, "weight_bytes": 425' "$dir/json" || fail "the 70B is not 42.5 GB"
# 143 sequences share a pass over the streamed weights: 143 x 25 GB/s / 42.5 GB = 84 tokens a second
near "$(value tokens_per_second_batch throughput)" 84 0.05 "143 sequences"
near "$(value hours_medqa_panel throughput)" 10.9 0.05 "hours"
"$MAS" fit --shape llama3-70b --gpu rtx4090 --sequences 1 --json >"$dir/json" || fail "exit $?"
# 19.5 GB are left over: CPU and link together at 65 GB/s
near "$(value tokens_per_second_1 latency)" 3.3 0.05 "one sequence"
# nothing but the link: 19.5 GB at 25 GB/s
"$MAS" fit --shape llama3-70b --gpu rtx4090 --sequences 1 --cpu-layers 0 --json >"$dir/json" || fail "exit $?"
near "$(value tokens_per_second_1 latency)" 1.27 0.05 "one sequence over the link"
# all resident: 4.9 GB at 1,008 GB/s
"$MAS" fit --shape llama3-8b --gpu rtx4090 --sequences 1 --ctx 16 --json >"$dir/json" || fail "exit $?"
near "$(value tokens_per_second_1 throughput)" 195 0.1 "8B"

"$MAS" fit --shape llama3-70b --gpu rtx4090 --ram 64GiB >"$dir/text" || fail "exit $?"
for text in "latency" "throughput  <-- best for a batch" "VRAM \[W" "what would help most" "a link twice as fast" \
    "All figures are predictions"; do
    grep -q "$text" "$dir/text" || fail "no '$text'"
done
awk 'length > 80 { exit 1 }' "$dir/text" || fail "a line is too wide"
"$MAS" fit -m demo --gpu rtx3060 | grep -q "^demo: 3.2 MB, 6 layers, 4.9 million parameters" || fail "a model file"

# a type that lies on the card whole, beside the one that does not
"$MAS" fit --shape llama3-70b --gpu rtx4090 --sequences 1 >"$dir/text" || fail "exit $?"
awk '/^  Q4_K_M +42.5  streamed/ { a = $6 } /^  IQ3_XXS +27.5  streamed/ { b = $6 } /^  IQ2_XS +21.1  whole in VRAM/ { c = $6 }
    END { exit !(a > 1 && b > 3 * a && c > 10 * a) }' "$dir/text" || fail "the types of the 70B: $(cat "$dir/text")"
"$MAS" fit --shape llama3-70b --type IQ2_XS --gpu rtx4090 --sequences 1 --json >"$dir/json" || fail "exit $?"
grep -q '"weight_bytes": 211[0-9]*, ' "$dir/json" && ! grep -q '"types"' "$dir/json" || fail "the 70B in IQ2_XS: $(cat "$dir/json")"

# IQ3 on the CPU is bound by arithmetic, so twice the cores are twice as fast; Q4_K_M is bound by memory
on_cpu() { # TYPE THREADS
    "$MAS" fit --shape llama3-70b --type "$1" --gpu rtx4090 --sequences 1 --cpu-layers 80 --threads "$2" --json >"$dir/json" ||
        fail "exit $?"
    value tokens_per_second_1 latency
}
near "$(awk -v a="$(on_cpu IQ3_XXS 2)" -v b="$(on_cpu IQ3_XXS 4)" 'BEGIN { print b / a }')" 2 0.1 "IQ3 by 2 and 4 cores"
near "$(awk -v a="$(on_cpu Q4_K_M 4)" -v b="$(on_cpu Q4_K_M 8)" 'BEGIN { print b / a }')" 1 0.001 "Q4_K_M by 4 and 8 cores"

# a host without a card: 2 nodes of 200 GB/s read 4.6 GB, and the KV cache of 900 tokens, 85 times a second
on_host() { "$MAS" fit --shape llama3-8b --cpu "$1" --host 200GB/s --isa avx512vnni --json >"$dir/json" || fail "exit $?"; }
on_host 2x64
near "$(value tokens_per_second_1 cpu)" 85.5 0.01 "two nodes"
grep -q '"nodes": 2, "cores": 128, "node_bytes_per_second": 2e+11' "$dir/json" || fail "two nodes: $(cat "$dir/json")"
# 128 cores of 632 GOP/s, 8.03 billion parameters: 5,037 tokens of a prompt a second
near "$(value tokens_per_second_prompt cpu)" 5037 0.01 "prompts on two nodes"
on_host 1x128
near "$(value tokens_per_second_1 cpu)" 42.7 0.01 "one node with as many cores"
on_host 4x8 # 64 sequences are bound by arithmetic: less than prompts
near "$(awk -v a="$(value tokens_per_second_64 cpu)" -v b="$(value tokens_per_second_prompt cpu)" 'BEGIN { print a / b }')" 0.9 0.1 "4x8"
# this host: its best instruction set, which mas bench takes too, and all its cores; a described one: what can be assumed, and says so
best=$("$MAS" bench model -m demo -p 1 -n 0 -r 1 -o json | sed -nE 's/.*"isa": "([a-z0-9]+)".*/\1/p')
case $best in
avx2 | avxvnni | avx512vnni) here="$best;" ;;
amx) best=avx512vnni here="avx512vnni (amx is not measured);" ;;
*) here= ;;
esac
if [ -n "$here" ]; then
    "$MAS" fit --shape llama3-8b --cpu here >"$dir/text" || fail "exit $?"
    grep -q "^on a CPU: [0-9]* node.* cores*, $here\$" "$dir/text" || fail "this host has $best: $(cat "$dir/text")"
    "$MAS" fit --shape llama3-8b --cpu here --json | grep -q "\"isa\": \"$best\".*\"isa_assumed\": false" || fail "this host, JSON"
else
    "$MAS" fit --shape llama3-8b --cpu here >"$dir/text" 2>&1 && fail "nothing is measured for $best"
    grep -q "of this processor is $best, and nothing is measured" "$dir/text" || fail "$best: $(cat "$dir/text")"
fi
"$MAS" fit --shape llama3-8b --cpu 2x16 >"$dir/text" || fail "exit $?"
grep -q "^on a CPU: 2 nodes of memory, 55 GB/s each, in all 32 cores, avx2;\$" "$dir/text" &&
    grep -qx "  RAM 68.7 GB; 900 tokens a sequence, KV cache Q8_0" "$dir/text" &&
    grep -qx "  assumed: --host 55GB/s, --isa avx2, --ram 64GiB" "$dir/text" || fail "2x16: $(cat "$dir/text")"
"$MAS" fit --shape llama3-8b --cpu 2x16 --host 60GB/s --isa avx2 --ram 80GB >"$dir/text" || fail "exit $?"
! grep -q assumed "$dir/text" && grep -q "^  RAM 80.0 GB;" "$dir/text" || fail "all is given: $(cat "$dir/text")"
# this host has its own memory, unless --ram describes another one; what does not fit is said
if [ -n "$here" ]; then
    total=$(awk '/^MemTotal:/ { print $2 * 1024 }' /proc/meminfo)
    "$MAS" fit -m demo --cpu here --json >"$dir/json" || fail "exit $?"
    awk -v a="$(sed -E 's/.*"ram_bytes": ([0-9]+).*/\1/' "$dir/json")" -v most="$total" \
        'BEGIN { exit !(a > 0 && a < most && a != 64 * 2^30) }' && grep -q '"ram_bytes_assumed": false' "$dir/json" ||
        fail "this host has $total bytes of memory: $(cat "$dir/json")"
    "$MAS" fit -m demo --cpu here | grep -q "^  RAM [0-9.]* GB available; " || fail "this host's memory in the text"
    "$MAS" fit -m demo --cpu here --ram 1TB | grep -q "^  RAM 1000.0 GB; " || fail "--cpu here --ram"
    if [ "$total" -lt 42000000000 ]; then
        "$MAS" fit --shape llama3-70b --cpu here >"$dir/text" 2>&1 && fail "42 GB in $total bytes: $(cat "$dir/text")"
        grep -q "take 42.[0-9] GB, this process may take [0-9.]* GB; take a smaller --type or --ctx, or give the --ram" "$dir/text" ||
            fail "$(cat "$dir/text")"
    fi
fi
"$MAS" fit -m demo --cpu 1x1 --isa avxvnni >"$dir/text" || fail "exit $?"
for text in "^demo: 3.2 MB, 6 layers, 4.9 million parameters\$" "^on a CPU: 1 node of memory, 55 GB/s, 1 core, avxvnni;\$" \
    "^   1 sequence  *[0-9.]* tok/s\$" "^   8 sequences  *[0-9.]* tok/s together\$"; do
    grep -q "$text" "$dir/text" || fail "1x1: no '$text' in $(cat "$dir/text")"
done
"$MAS" fit --shape llama3-8b --gpu rtx4090 >"$dir/text" || fail "exit $?"
grep -q "^  CPU 55 GB/s, 8 cores, avx2; 900 tokens a sequence, KV cache Q8_0\$" "$dir/text" &&
    grep -qx "  assumed: --host 55GB/s, --threads 8, --isa avx2, --ram 64GiB" "$dir/text" || fail "the CPU beside a card"
grep -q "MedQA, 1,273 x 7 calls: [1-5]\?[0-9]\.[0-9] minutes\$" "$dir/text" || fail "less than an hour: $(cat "$dir/text")"
# fewer threads than cores; more are refused with both numbers
"$MAS" fit --shape llama3-8b --cpu 1x16 -t 4 | grep -q " 4 cores, avx2" || fail "-t 4"
"$MAS" fit --shape llama3-8b --cpu 1x16 -t 16 | grep -q " 16 cores, avx2" || fail "-t 16"
# the inputs of a prediction stand in it
"$MAS" fit --shape llama3-8b --type Q6_K --gpu rtx4090,rtx3090 --link 20GB/s --host 70GB/s --ctx 1234 --kv-type f16 --isa avxvnni \
    -t 6 --sequences 5 --split layers --cpu-layers 2 --ram 48GiB --json >"$dir/json" || fail "exit $?"
"$MAS" fit -m demo --cpu 2x4 --host 70GB/s --json >"$dir/host.json" || fail "exit $?"
python3 - "$dir/json" "$dir/host.json" <<'PY' || fail "inputs: $(cat "$dir/json" "$dir/host.json")"
import json, sys
card, host = (json.load(open(f))["inputs"] for f in sys.argv[1:])
assert [c.pop("vram_bytes") > 2e10 and c.pop("vram_bytes_per_second") for c in card["cards"]] == [1.008e12, 9.36e11], card
assert card == {"model": None, "shape": "llama3-8b", "type": "Q6_K", "context": 1234, "kv_type": "f16", "ram_bytes": 48 << 30,
                "sequences": 5, "placement": "auto", "split": "layers", "cpu_layers": 2,
                "host": {"nodes": None, "cores": 6, "isa": "avxvnni", "bytes_per_second": 7e10, "ram_bytes_assumed": False,
                         "cores_assumed": False, "isa_assumed": False, "bytes_per_second_assumed": False},
                "cards": [{"name": n, "link_bytes_per_second": 2e10, "peer_bytes_per_second": None} for n in ("rtx4090", "rtx3090")]}, card
assert host == {"model": "demo", "shape": None, "type": None, "context": 900, "kv_type": "q8_0", "ram_bytes": 64 << 30,
                "sequences": 0, "placement": "auto", "split": "auto", "cpu_layers": None,
                "host": {"nodes": 2, "cores": 8, "isa": "avx2", "bytes_per_second": 7e10, "ram_bytes_assumed": True,
                         "cores_assumed": False, "isa_assumed": True, "bytes_per_second_assumed": False}, "cards": []}, host
PY
"$MAS" fit --shape llama3-70b --cpu 1x8 --ram 48GB | grep -q "64 sequences      do not fit into --ram" || fail "48 GB"
refused() { # TEXT OPTIONS..
    local text=$1 rc=0
    shift
    "$MAS" fit --shape llama3-70b "$@" >"$dir/text" 2>&1 || rc=$?
    [ "$rc" = 64 ] && grep -q -- "$text" "$dir/text" || fail "$*: exit $rc: $(cat "$dir/text")"
}
refused "NODESxCORES" --cpu 0x4
refused "NODESxCORES" --cpu 2x4x
refused "NODESxCORES" --cpu here2
refused "--gpu with --cpu" --cpu 2x4 --gpu rtx4090
refused "--simulate with --cpu" --cpu 2x4 --simulate "$dir/none.svg"
refused "isa is 'neon'; it takes one of auto|avx2|avxvnni|avx512vnni" --cpu 2x4 --isa neon
refused "threads 64 with --cpu 1x16: that host has 16 cores; give no more threads" --cpu 1x16 -t 64
refused "threads 17 with --cpu 1x16: that host has 16 cores" --cpu 1x16 -t 17
cores=$("$MAS" fit --shape llama3-8b --cpu here --isa avx2 | sed -nE 's/.* ([0-9]+) cores?, avx2;.*/\1/p')
[ "$cores" -ge 256 ] || refused "threads $((cores + 1)) with --cpu here: this process may use $cores core" --cpu here --isa avx2 -t $((cores + 1))
# without --ctx a model of a short context has its own limit; a given --ctx is never lowered
short=(-m "$(dirname "$0")/../golden/logits_llama_2.gguf" --cpu 1x1 --isa avx2 --kv-type f16)
"$MAS" fit "${short[@]}" | grep -q "; 512 tokens a sequence, " || fail "the limit of a short model"
"$MAS" fit "${short[@]}" --ctx 900 >"$dir/text" 2>&1 && fail "--ctx 900 was lowered: $(cat "$dir/text")"
grep -q -- "--ctx 900: must be 1 to 512, the model's own limit" "$dir/text" || fail "$(cat "$dir/text")"
refused "--ctx 8193: must be 1 to 8192, the model's own limit; lower --ctx" --cpu 2x4 --ctx 8193
refused "--ctx 100000: must be 1 to 8192, the model's own limit" --gpu rtx4090 --ctx 100000
refused "--ram is 32.0 GB" --cpu 2x4 --ram 32GB

# a shape and a file of that shape are the same model, tied or not
for shape in llama3.2-3b llama3-8b; do
    "$MAS" synth --shape $shape --hollow --quiet "$dir/$shape.gguf" || fail "synth: exit $?"
    "$MAS" fit --shape $shape --gpu rtx3060 --json >"$dir/shape" || fail "exit $?"
    "$MAS" fit -m "$dir/$shape.gguf" --gpu rtx3060 --json >"$dir/file" || fail "exit $?"
    # all but the name of the model
    sed -i -E 's/"inputs": \{"model": [^,]*, "shape": [^,]*, "type": [^,]*, //' "$dir/shape" "$dir/file"
    cmp -s "$dir/shape" "$dir/file" || fail "a file of $shape: $(diff "$dir/shape" "$dir/file")"
    rm "$dir/$shape.gguf"
done

# one sequence with a draft of 1B that is right four times of eight: five tokens a pass of about 0.34 s
"$MAS" fit --shape llama3-70b --gpu rtx4090 --sequences 1 --draft llama3.2-1b --json >"$dir/json" || fail "exit $?"
near "$(value tokens_per_second_1 draft)" 14.7 0.1 "with a draft"
# a pass verifies all drafted rows, also on a card whose plan leaves little for the cache: less memory is not faster
rate=$(value tokens_per_second_1 draft)
"$MAS" fit --shape llama3-70b --gpu rtx4090 --vram 22GiB --sequences 1 --draft llama3.2-1b --json >"$dir/json" || fail "exit $?"
awk -v a="$(value tokens_per_second_1 draft)" -v b="$rate" 'BEGIN { exit !(a <= b) }' ||
    fail "a draft on 22 GiB: $(value tokens_per_second_1 draft), on 23: $rate"
"$MAS" fit --shape llama3-70b --gpu rtx4090 --draft llama3-70b | grep -q "the draft needs 4" || fail "a draft that does not fit"

"$MAS" fit --shape llama3-70b --gpu rtx4090 --draft gemma3-270m | grep -q "it has 262144 tokens and the model has 128256" ||
    fail "a draft of another vocabulary is predicted"

# the engine on a simulated card says the same, and is drawn
"$MAS" fit --shape llama3-70b --gpu rtx4090 --sequences 64 --simulate "$dir/steps.svg" >"$dir/text" || fail "exit $?"
awk '/^  (latency|throughput) +[0-9]+ / { n++; if ($3 / $4 > 1.05 || $3 / $4 < 0.95 || ($1 == "throughput" && $7 < 97)) bad = 1 }
    END { exit bad || n != 2 }' "$dir/text" || fail "simulated and predicted: $(tail -n 4 "$dir/text")"
grep -q "</svg>" "$dir/steps.svg" && grep -q "llama3-70b Q4_K_M, throughput: " "$dir/steps.svg" || fail "no picture"
"$MAS" fit -m demo --gpu rtx3060 --ctx 200 --simulate "$dir/demo.svg" | grep -q "^  resident " || fail "a model file, simulated"
# a draft that is right four times of eight: three to five tokens a pass, and a third timeline
"$MAS" fit --shape llama3-70b --gpu rtx4090 --draft llama3.2-1b --simulate "$dir/draft.svg" >"$dir/text" || fail "exit $?"
awk '/^  with draft +1 / { n++; bad = $4 / $5 > 1.05 || $4 / $5 < 0.8 } / tokens a pass$/ { n++; bad += $1 < 3 || $1 > 5.2 }
    END { exit bad || n != 2 }' "$dir/text" || fail "a simulated draft: $(tail -n 5 "$dir/text")"
grep -q "latency, draft llama3.2-1b: " "$dir/draft.svg" || fail "no picture of the draft"
mkdir "$dir/tmp"
TMPDIR=$dir/tmp "$MAS" fit --shape llama3-8b --gpu rtx4090 --draft llama3.2-1b --simulate "$dir/8b.svg" >/dev/null || fail "exit $?"
[ -z "$(ls "$dir/tmp")" ] || fail "a file was left behind"

# several cards: the 70B lies whole on two of 24 GiB, and on four of 12
whole_on() { # CARDS LEAST: tokens a second of one sequence
    "$MAS" fit --shape llama3-70b --gpu "$1" --sequences 1 --json >"$dir/json" || fail "exit $?"
    awk -v a="$(value tokens_per_second_1 latency)" -v b="$2" 'BEGIN { exit !(a >= b) }' || fail "$1: $(cat "$dir/json")"
    [ "$(value stream_bytes latency)" = 0 ] || fail "$1: something is streamed"
}
whole_on rtx4090,rtx4090 19
whole_on rtx3090,rtx3090 19
whole_on rtx4090,rtx3090 19
whole_on rtx3060,rtx3060,rtx3060,rtx3060 8
grep -q '"devices": \[{"name": "rtx3060", "first_layer": 0, "layers": ' "$dir/json" || fail "no devices: $(cat "$dir/json")"
# one sequence on a pair: every matrix is shared, and both ways are shown
"$MAS" fit --shape llama3-70b --gpu rtx4090,rtx4090 --sequences 1 --json >"$dir/json" || fail "exit $?"
for split in auto rows layers; do
    "$MAS" fit --shape llama3-70b --gpu rtx4090,rtx4090 --sequences 1 --split $split --simulate "$dir/one.svg" >"$dir/text" || fail "exit $?"
    for text in '  runs of layers: 2[0-9.]* tok/s for 1 sequence' '  tensor parallel: 3[0-9.]* tok/s for 1 sequence' \
        "  chosen: $([ $split = layers ] && echo runs of layers || echo tensor parallel)"; do
        grep -q "$text" "$dir/text" || fail "--split $split: no '$text'"
    done
    [ $split = layers ] || grep -q '  1 rtx4090, 1/2 of every matrix' "$dir/text" || fail "--split $split: no share"
    awk '/^  resident +1 / { n++; if ($3 / $4 > 1.05 || $3 / $4 < 0.95) bad = 1 } END { exit bad || n != 1 }' "$dir/text" ||
        fail "--split $split, simulated and predicted: $(tail -n 4 "$dir/text")"
done
last() { sed -E "s/.*\"$1\": ([-0-9.e+]*).*/\1/" "$dir/json"; }
awk -v a="$(last rows_tokens_per_second_1)" -v b="$(last layers_tokens_per_second_1)" \
    'BEGIN { exit !(a > 1.3 * b && a < 2 * b) }' || fail "rows and layers: $(cat "$dir/json")"
grep -q '"split": "rows", "because": "runs of layers would take 1' "$dir/json" || fail "no split: $(cat "$dir/json")"
# 128 sequences: at least 1.8 times of one card, which streams the rest
"$MAS" fit --shape llama3-70b --gpu rtx4090 --sequences 128 --placement throughput --json >"$dir/json" || fail "exit $?"
one=$(value tokens_per_second_batch throughput)
"$MAS" fit --shape llama3-70b --gpu rtx4090,rtx4090 --sequences 128 --placement throughput --json >"$dir/json" || fail "exit $?"
awk -v a="$(value tokens_per_second_batch throughput)" -v b="$one" 'BEGIN { exit !(a >= 1.8 * b) }' || fail "a pair against $one"
"$MAS" fit --shape llama3-70b --gpu rtx4090,rtx3090 --sequences 16 --split layers --placement latency --simulate "$dir/two.svg" >"$dir/text" ||
    fail "exit $?"
for text in "  0 rtx4090, layers 0 to" "  1 rtx3090, layers " "a token from card 0 to 1, through main memory" \
    "  chosen: runs of layers (--split layers); tensor parallel would take" "link 25 GB/s each"; do
    grep -q "$text" "$dir/text" || fail "two cards: no '$text'"
done
awk 'length > 80 { exit 1 }' "$dir/text" || fail "a line about two cards is too wide"
awk '/^  (resident|latency) +16 / { n++; if ($3 / $4 > 1.05 || $3 / $4 < 0.95) bad = 1 } END { exit bad || n != 1 }' "$dir/text" ||
    fail "two cards, simulated and predicted: $(tail -n 4 "$dir/text")"
# the table has the predictions of the printed plans, the clock agrees, and a second run has the same bytes
agrees() { # SHARE ARGS..
    local share=$1
    shift
    for i in 1 2; do
        "$MAS" fit "$@" --simulate "$dir/steps.svg" >"$dir/text.$i" || fail "mas fit $*: exit $?"
        mv "$dir/steps.svg" "$dir/steps.$i"
    done
    cmp -s "$dir/text.1" "$dir/text.2" && cmp -s "$dir/steps.1" "$dir/steps.2" || fail "mas fit $*: two runs differ: $(diff "$dir/text."?)"
    awk -v p="$share" '/^  predicted: / { seqs[++m] = 1; rate[m] = $2; seqs[++m] = $10; rate[m] = $7 }
        /^  (resident|latency|throughput) +[0-9]+ / { n++; said = 0
            for (i = 1; i <= m; i++) said += seqs[i] == $2 && rate[i] - $4 < 0.051 && $4 - rate[i] < 0.051
            if (!said) { print "not said:", $0; bad = 1 }
            if ($3 / $4 > 1 + p || $3 / $4 < 1 - p) { print "off:", $0; bad = 1 } }
        END { exit bad || !n }' "$dir/text.1" || fail "mas fit $*: simulated and predicted: $(cat "$dir/text.1")"
}
if [ -n "${FIT_LONG:-}" ]; then # a minute under sanitizers
    agrees 0.05 --shape llama3.2-1b --gpu rtx4090
    agrees 0.05 --shape llama3-8b --gpu rtx4090,rtx4090
    agrees 0.05 --shape llama3-8b --gpu h200,h200,h200,h200,h200,h200,h200,h200
fi
agrees 0.05 --shape llama3-70b --gpu rtx4090,rtx4090
# most weights are read from the disk, by a thread of their own
agrees 0.05 --shape llama3-70b --gpu rtx4090 --ram 20GiB --ctx 200 --sequences 8 2>"$dir/warned"
[ ! -s "$dir/warned" ] || fail "the rate of a disk that is not read: $(cat "$dir/warned")"
# the toy model: a step of 0.4 ms, and the prediction leaves out the 0.06 ms of starting and ending on the card
agrees 0.2 -m demo --gpu rtx3090,rtx3090 --ctx 200
grep -q "1: link, up" "$dir/two.svg" || fail "no picture of the second card"
"$MAS" fit --shape llama3-70b --gpu rtx3090,rtx3090 --peer 56GB/s --sequences 1 --split layers | grep -q "card 0 to 1, directly" ||
    fail "a bridge between cards"
"$MAS" fit --shape llama3-8b --gpu rtx4090,rtx3060 --sequences 1 --ctx 64 | grep -q "  1 rtx3060, not used" ||
    fail "a slow card beside one that is enough"

# names in any case, with blanks, and --gpu once for each card are the same cards; each card has its own memory and link
"$MAS" fit --shape llama3-70b --gpu rtx4090,rtx3090 --json >"$dir/json" || fail "exit $?"
for cards in '--gpu RTX4090, rtx3090' '--gpu rtx4090 --gpu RTX3090'; do
    IFS='|' read -ra words < <(sed 's/ *--gpu /|--gpu|/g; s/^|//' <<<"$cards")
    "$MAS" fit --shape llama3-70b "${words[@]}" --json | cmp -s - "$dir/json" || fail "$cards is another machine"
done
"$MAS" fit --shape llama3-70b --gpu rtx4090,rtx4090 --vram 22GiB,10GiB --link 25GB/s,6GB/s >"$dir/text" || fail "exit $?"
grep -q 'link 25, 6 GB/s' "$dir/text" && grep -q 'VRAM .* 23.6 GB' "$dir/text" && grep -q 'VRAM .* 10.7 GB' "$dir/text" ||
    fail "memory and link of each card: $(cat "$dir/text")"

# two cards one after the other: their times make the step
"$MAS" fit --shape llama3-70b --gpu rtx4090,rtx4090 --sequences 1 --split layers >"$dir/text" || fail "exit $?"
sed -nE 's/^  of a step of ([0-9.]+) ms: .*cards ([0-9.]+) \+ ([0-9.]+), CPU.*hops ([0-9.]+),/\1 \2 \3 \4/p' "$dir/text" |
    awk '{ d = ($2 + $3 + $4 + 0.1) / $1 - 1; bad = d > 0.01 || d < -0.01; exit } END { exit bad || !NR }' || fail "a step: $(cat "$dir/text")"

# more sequences than fit: said, and asking for one more than the best number does not make the plan worse
best() { "$MAS" fit --shape llama3-70b --gpu rtx4090,rtx4090 --sequences "$1" --placement throughput | tee "$dir/text" |
    sed -nE 's/^  predicted: .*, ([0-9.]+) tok.* for ([0-9]+) together/\1 \2/p'; }
[ "$(best 44)" = "$(best 45)" ] || fail "44 sequences: $(best 44); of 45: $(best 45)"
best 1000 >/dev/null
grep -q '1000 sequences were asked for: the KV cache holds [0-9]*; the others wait' "$dir/text" || fail "1000 sequences: $(cat "$dir/text")"

# the batch in the table of types is that of the better plan
"$MAS" fit --shape llama3-70b --gpu rtx4090,rtx3060 --sequences 1 >"$dir/text" || fail "exit $?"
awk '/^  predicted: / { rate = $7 ? $7 : sprintf("%.1f", $2); if (rate + 0 > best) best = rate + 0 } /^  Q4_K_M / { type = $NF } /^  IQ3_S / { other = $NF }
    END { exit !(best == type && other > type) }' "$dir/text" || fail "the batch of the types: $(cat "$dir/text")"

# refused CODE TEXT ARGS..
refused() {
    local code=$1 text=$2
    shift 2
    "$MAS" fit "$@" >"$dir/out" 2>&1
    [ $? -eq "$code" ] || fail "mas fit $*: wrong exit code"
    grep -q -- "$text" "$dir/out" || fail "mas fit $*: no '$text' in $(cat "$dir/out")"
}
refused 64 "known: rtx3060, rtx3090" --gpu list
refused 64 "unknown --gpu 'rtx1'; known" --gpu rtx4090,rtx1
refused 64 "a name is missing after the last comma" --gpu rtx4090,
refused 64 "a name is missing before a comma" --gpu ,rtx4090
refused 64 "peer is the rate from card to card, and --gpu names one card" --shape llama3-8b --gpu rtx4090 --peer 56GB/s
refused 64 "peer was given twice" --shape llama3-8b --gpu rtx4090,rtx4090 --peer 56GB/s --peer 5GB/s
refused 64 "link was given twice" --shape llama3-8b --gpu rtx4090 --link 56GB/s --link 5GB/s
refused 64 "link has 2 values and --gpu 3 cards" --shape llama3-8b --gpu rtx4090,rtx4090 --gpu rtx4090 --link 25GB/s,5GB/s
refused 64 "vram is 'x'; it takes" --shape llama3-8b --gpu rtx4090,rtx4090 --vram 22GiB,x
refused 64 "more than 8 cards" --gpu rtx3060,rtx3060,rtx3060,rtx3060,rtx3060,rtx3060,rtx3060,rtx3060,rtx3060
refused 64 "available on all devices together" --shape llama3-70b --gpu rtx4090,rtx4090 --vram 500MiB
refused 64 "give the model with -m" --gpu rtx4090
for isa in scalar amx neon; do # they have no rates, and the help does not offer them
    refused 64 "isa is '$isa'; it takes one of auto|avx2|avxvnni|avx512vnni" --shape llama3-8b --gpu rtx4090 --isa "$isa"
    ! "$MAS" fit --help | grep -q "$isa" || fail "--help offers $isa"
done
refused 64 "known: llama3-8b" --shape gpt --gpu rtx4090
refused 64 "needs at least" --shape llama3-70b --gpu rtx4090 --vram 1GiB
refused 64 "it takes a rate such as 25GB/s" --shape llama3-70b --gpu rtx4090 --link 25
refused 73 "cannot create" --shape llama3-8b --gpu rtx4090 --simulate "$dir/none/x.svg"
refused 66 "draft none.gguf: cannot open" --shape llama3-8b --gpu rtx4090 --draft none.gguf
refused 64 "accepted without --draft" --shape llama3-8b --gpu rtx4090 --accepted 3
refused 64 "type with -m" -m demo --gpu rtx4090 --type Q8_0
refused 0 '"draft": {"error": "the draft needs' --shape llama3-8b --gpu rtx4090 --draft llama3-70b --json
refused 64 "cannot divide the matrices among 3 devices: .* form 8 shares, which 3 devices cannot divide evenly; use --split layers" \
    --shape llama3-70b --gpu rtx4090,rtx4090,rtx4090 --split rows --sequences 1
refused 64 "split rows takes several devices" --shape llama3-8b --gpu rtx4090 --split rows
refused 64 "the model has 80" --shape llama3-70b --gpu rtx4090 --cpu-layers 81
exit 0
