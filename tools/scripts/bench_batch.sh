#!/usr/bin/env bash
# A whole evaluation again and again: cases in flight x prefix cache x KV type, as a table of generated tokens a second.
#
#   tools/scripts/bench_batch.sh [-c config] [-d questions] [-n questions] [-r rounds] [-j "1 4 16 64 256"] [-o folder] [-- --set ..]
#
# Each round runs every combination once, in turn; the table has medians. Each case in flight gives the engine at most 5
# sequences (the panel's specialists), 256 in all. The folder gets one picture of each combination: tokens a second and use
# of the KV cache over time. The first row of the table is the baseline: one case after the other, one call after the other,
# no cache. MAS names another program than build/release/mas.
set -euo pipefail
cd "$(dirname "$0")/../.."

mas=${MAS:-build/release/mas} config=demo data=configs/demo/questions.jsonl n=64 rounds=3 flights="1 4 16 64 256" out=''
usage() { # the head comment
    sed -n '2,9s/^# \{0,1\}//p' tools/scripts/bench_batch.sh
}
while getopts :c:d:n:r:j:o:h-: flag; do
    case $flag in
    c) config=$OPTARG ;;
    d) data=$OPTARG ;;
    n) n=$OPTARG ;;
    r) rounds=$OPTARG ;;
    j) flights=$OPTARG ;;
    o) out=$OPTARG ;;
    *)
        case $flag${OPTARG:-} in
        h | -help) usage && exit 0 ;;
        -*) echo "bench_batch.sh: unknown option --$OPTARG; -h shows the usage" >&2 ;;
        \?*) echo "bench_batch.sh: unknown option -$OPTARG; -h shows the usage" >&2 ;;
        *) echo "bench_batch.sh: -$OPTARG needs a value; -h shows the usage" >&2 ;;
        esac
        exit 64
        ;;
    esac
done
shift $((OPTIND - 1))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -n "$out" ] && mkdir -p "$out"

# one NAME OPTION..: adds "name<TAB>tokens a second<TAB>% of prompt tokens from the cache<TAB>most pages in use"
one() {
    local name=$1
    shift
    rm -rf "$work/run"
    if ! "$mas" eval -c "$config" --data "$data" --n "$n" --out "$work/run" --curve "$work/curve.svg" "$@" >"$work/log" 2>&1; then
        echo "bench_batch.sh: $name failed: $(tail -n 1 "$work/log")" >&2
        exit 1
    fi
    [ -n "$out" ] && cp "$work/curve.svg" "$out/$name.svg"
    sed -n -E "s/^engine: ([0-9]+) tok.* prompt tokens, ([0-9.]+) %.*most pages in use ([0-9]+) of ([0-9]+).*/$name\t\1\t\2\t\3 of \4/p" "$work/log" >>"$work/seen"
}

for ((round = 1; round <= rounds; round++)); do
    echo "round $round of $rounds" >&2
    one today --concurrency 1 --set engine.sequences=1 --set engine.prefix_cache=false --set speculative.lookup=false "$@"
    for j in $flights; do
        sequences=$((j * 5 < 256 ? j * 5 : 256))
        for cache in false true; do
            for kv in f16 q8_0 q4_0; do
                one "$j-$cache-$kv" --concurrency "$j" --set engine.sequences=$sequences --set engine.prefix_cache=$cache \
                    --set kv.type=$kv --set kv.bytes=256MiB "$@"
            done
        done
    done
done

value() { # NAME FIELD: median
    awk -F'\t' -v name="$1" -v field="$2" '$1 == name { print $field }' "$work/seen" | sort -n |
        awk '{ v[NR] = $0 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}
today=$(value today 2)
echo "one call after the other, nothing kept: $today tokens a second"
echo
echo "| cases in flight | f16 | q8_0 | q4_0 | f16, prefix cache | q8_0, prefix cache | q4_0, prefix cache | from the cache |"
echo "|---:|---:|---:|---:|---:|---:|---:|---:|"
for j in $flights; do
    row="| $j |"
    for cache in false true; do
        for kv in f16 q8_0 q4_0; do
            v=$(value "$j-$cache-$kv" 2)
            row="$row $v ($(awk -v a="$v" -v b="$today" 'BEGIN { printf "%.1f", a / b }')x) |"
        done
    done
    echo "$row $(value "$j-true-f16" 3) % |"
done
