#!/usr/bin/env bash
# All checks that need a GPU, in two commands that end in time by themselves: are the kernels right there, and how
# fast are they? Needs a build made elsewhere and no compiler. README.md beside this file argues each step's time.
#   usage: tests/gpu/run.sh A|B [-b BUILD] [-o DIR] [--limit SECONDS] [--models DIR] [--dry-run]
#          tests/gpu/run.sh --pack [-b BUILD]
#     A            is all right, and how fast is an 8B? at most 300 s
#     B            every kernel, attention, a 70B shape, profiler and memory checker: at most 360 s
#     -b BUILD     folder of the build or of its pack (default build/gpu/pack)
#     -o DIR       folder for result-A.tar or result-B.tar (default $OUT, else gpu-result)
#     --limit S    seconds of the whole command
#     --models DIR folder for the models, kept between A and B (default /dev/shm/mas-gpu, else beside the steps)
#     --dry-run    the same steps with the kernels run by the CPU on tiny models: tries this script
#     --pack       on the build machine: puts stripped programs and their libraries into BUILD/pack, and BUILD/peers
#                  if it exists; fails above 45 MiB
# Every step leaves steps/NN-NAME.json in the tar at once, so that a command that is killed has lost one step.
# Tables: tests/gpu/table.py result-A.tar result-B.tar. Exit 0 nothing failed, 1 something did, 69 no GPU.
set -uo pipefail
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 66
PACK_MOST=$((45 << 20)) # bytes: with the tree that travels along, it fits into 64 MiB

usage() {
    sed -n '4,15s/^# \{0,1\}//p' tests/gpu/run.sh
}
part=
build=
out=${OUT:-gpu-result}
kind=cuda
limit=
models=
while [ $# -gt 0 ]; do
    case $1 in
    A | B) part=$1 ;;
    -b) build=${2:-} && shift ;;
    -o) out=${2:-} && shift ;;
    --limit) limit=${2:-} && shift ;;
    --models) models=${2:-} && shift ;;
    --dry-run) kind=cudahost ;;
    --pack) part=pack ;;
    -h | --help) usage && exit 0 ;;
    *) echo "run.sh: unknown argument '$1'; -h shows the usage" >&2 && exit 64 ;;
    esac
    shift
done
[ -n "$part" ] || { echo "run.sh: give A, B or --pack; -h shows the usage" >&2 && exit 64; }

# ---- pack --------------------------------------------------------------------------------------------------------
if [ $part = pack ]; then
    build=${build:-build/gpu}
    pack=$build/pack
    rm -rf "$pack" && mkdir -p "$pack/lib" || exit 1
    for program in mas tests/t_gpu tests/t_layout_cuda; do
        strip -o "$pack/$(basename $program)" "$build/$program" || exit 1
    done
    [ ! -d "$build/peers" ] || cp -rL "$build/peers" "$pack/"
    # the preset's programs look into lib beside them; other programs of that machine keep to their own libraries
    ldd "$build/mas" "$build/tests/t_gpu" | awk '$3 ~ /^\// { print $3 }' | sort -u |
        grep -vE '/lib(c|m|dl|rt|pthread)\.so' | xargs cp -Lt "$pack/lib" || exit 1
    bytes=$(find "$pack" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }')
    find "$pack" -type f -printf '%s %P\n' | sort -rn
    echo "$bytes bytes in $pack, at most $PACK_MOST"
    if [ "$bytes" -gt $PACK_MOST ]; then
        echo "$pack is too large to be carried: build fewer MAS_CUDA_ARCHS" >&2
        exit 1
    fi
    exit 0
fi

# ---- the place ---------------------------------------------------------------------------------------------------
began=${EPOCHREALTIME/./}
[ -n "$limit" ] || limit=$([ $part = A ] && echo 300 || echo 360)
[ -n "$build" ] || build=build/gpu/pack
build=$(cd "$build" && pwd) || exit 66
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 73
work=$(mktemp -d) && mkdir "$work/steps" "$work/logs" || exit 73
program() { # NAME: in a pack, or in the folder of a build
    local at
    for at in "$build/$1" "$build/tests/$1" "$build/tests/cudahost/$1"; do
        [ ! -x "$at" ] || { echo "$at" && return; }
    done
}
mas=$(program mas)
gpu=$(program t_gpu)
layout=$(program t_layout_cuda)
[ $kind = cuda ] || layout=$(program t_layout_plain)
[ -n "$mas" ] && [ -n "$gpu" ] || { echo "$build holds no mas and t_gpu: run --pack, or give -b" >&2 && exit 66; }
export mas gpu kind

save() { # everything so far as one tar, whole at any time
    local new=$out/.result-$part.tar.$BASHPID
    tar -C "$work" -cf "$new" steps logs 2>/dev/null
    if [ $? -le 1 ]; then # 1: a log has grown meanwhile
        mv "$new" "$out/result-$part.tar"
    else
        rm -f "$new"
    fi
}
children=()
finish() {
    local rc=$?
    trap - EXIT
    [ ${#children[@]} = 0 ] || kill "${children[@]}" 2>/dev/null
    save
    rm -rf "$work"
    exit $rc
}
trap finish EXIT
trap 'exit 143' TERM INT HUP
(
    trap 'kill $! 2>/dev/null; exit' TERM
    while sleep 30 & wait $! && kill -0 $$ 2>/dev/null; do save; done
) >/dev/null 2>&1 &
children+=($!)

# ---- steps -------------------------------------------------------------------------------------------------------
# A step has the seconds that it is expected to take and the most that it may take. One that is not expected to fit
# into the rest is recorded as not run.
elapsed_ms() { echo $(((${EPOCHREALTIME/./} - began) / 1000)); }
quote() { # TEXT: as a JSON string
    printf '"%s"' "$(tr -d '\000-\037' <<<"$1" | iconv -c -f utf-8 -t utf-8 | sed 's/[\\"]/\\&/g')"
}
number=0
failed=0
last_rc=0 # exit status of the last step's command
record() { # NAME VERDICT MS LIMIT MESSAGE DATA_FILE
    local id data=null first last
    id=$(printf '%02d-%s' $number "$1")
    if [ -s "${6:-}" ]; then
        first=$(head -c 1 "$6")
        last=$(tail -c 2 "$6" | tr -d "\n" | tail -c 1)
        [[ $first$last != "{}" && $first$last != "[]" ]] || data=$(cat "$6")
    fi
    printf '{"step": "%s", "part": "%s", "verdict": "%s", "seconds": %d.%03d, "limit": %d, "message": %s,\n"data": %s}\n' \
        "$1" $part "$2" $(($3 / 1000)) $(($3 % 1000)) "$4" "$(quote "$5")" "$data" >"$work/steps/.$id"
    mv "$work/steps/.$id" "$work/steps/$id.json"
    save
    [ "$2" != FAIL ] || failed=1
    printf '%-7s %-20s %4d s%s\n' "$2" "$1" $(($3 / 1000)) "$([ "$2" = PASS ] || echo "  $5")"
}
# Exit 0 of a command is PASS, 77 SKIP, anything else FAIL. Its output goes to logs/; output that is JSON becomes the
# step's data if the command ended by itself. Its message is the last line of its errors.
step() { # NAME EXPECTED LIMIT COMMAND..
    local name=$1 expected=$2 most=$3 t0 rest rc=0 log verdict message
    shift 3
    number=$((number + 1))
    t0=$(elapsed_ms)
    rest=$((limit - 2 - t0 / 1000)) # 2 s to pack and to leave
    if [ $rest -lt "$expected" ]; then
        record "$name" "NOT RUN" 0 "$most" "no time: $expected s expected, $rest s left"
        return 1
    fi
    [ $rest -gt "$most" ] || most=$rest
    log=$work/logs/$(printf '%02d-%s' $number "$name")
    timeout -k 2 "$most" "$@" >"$log.out" 2>"$log.err" </dev/null || rc=$?
    last_rc=$rc
    message=$(grep -v '^ *$' "$log.err" | tail -n 1 | cut -c 1-400)
    [ -n "$message" ] || [ $rc = 0 ] || message=$(grep -v '^ *$' "$log.out" | tail -n 1 | cut -c 1-400)
    case $rc in
    0) verdict=PASS ;;
    77) verdict=SKIP ;;
    124 | 137) verdict=FAIL message="stopped after $most s; $message" ;;
    *) verdict=FAIL message="exit $rc: $message" ;;
    esac
    if [ $rc = 124 ] || [ $rc = 137 ]; then
        record "$name" $verdict $(($(elapsed_ms) - t0)) "$most" "$message"
    else
        record "$name" $verdict $(($(elapsed_ms) - t0)) "$most" "$message" "$log.out"
    fi
    [ $verdict = PASS ]
}
skip() { # NAME MESSAGE
    number=$((number + 1))
    record "$1" SKIP 0 0 "$2"
}
# Makes a model of random weights in the background; model_ready waits for it.
synth() { # NAME ARGUMENTS..
    local file=$models/$1.gguf
    shift
    [ ! -e "$file" ] || return 0
    (
        trap 'kill $! 2>/dev/null; exit' TERM
        "$mas" synth "$@" --quiet "$file.part" >"$file.err" 2>&1 &
        if wait $!; then mv "$file.part" "$file"; else touch "$file.failed"; fi
    ) >/dev/null 2>&1 &
    children+=($!)
}
model_ready() { # NAME: within the step's limit
    until [ -e "$models/$1.gguf" ]; do
        [ ! -e "$models/$1.gguf.failed" ] || { cat "$models/$1.gguf.err" >&2 && return 1; }
        sleep 0.2
    done
}
export -f model_ready

# ---- the machine -------------------------------------------------------------------------------------------------
# The library is loaded when its kernel is first forced; a package of Python may hold it, too.
blas_folder() {
    local name=libcublas.so.13 at
    at=$(ldconfig -p 2>/dev/null | awk -v n="$name" '$1 == n { print $NF; exit }')
    [ -n "$at" ] || at=$(compgen -G "/usr/local/cuda*/lib64/$name" | head -n 1)
    [ -n "$at" ] || at=$(timeout 10 python3 -c 'import glob, sys
for p in sys.path:
    for f in glob.glob(p + "/nvidia/*/lib/" + sys.argv[1]):
        print(f)' "$name" 2>/dev/null | head -n 1)
    [ -z "$at" ] || dirname "$at"
}
query() { nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null | head -n 1; }
tool() { # NAME: its path
    command -v "$1" || compgen -G "/usr/local/cuda*/bin/$1" | head -n 1 ||
        compgen -G "/opt/nvidia/*/*/$1" | head -n 1
}
environment() {
    local rc=0 opened key
    opened=$("$gpu" open "$kind" 2>&1) || rc=$?
    printf '{"opened": %s' "$(quote "$opened")"
    for key in name driver_version clocks.sm clocks.mem clocks.max.sm clocks.max.mem power.limit memory.total \
        pcie.link.gen.current pcie.link.width.current mig.mode.current; do
        printf ', "%s": %s' $key "$(quote "$(query $key)")"
    done
    for key in nvidia-smi ncu nsys compute-sanitizer python3; do
        printf ', "%s": %s' $key "$(quote "$(tool $key)")"
    done
    printf ', "cublas": %s, "program": %s, "date": "%s"' "$(quote "$(blas_folder)")" \
        "$(quote "$("$mas" version | head -n 1)")" "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    printf ', "cpu": %s, "cores": %d, "memory": %s, "models": %s, "kind": "%s"}' \
        "$(quote "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)")" "$(nproc)" \
        "$(quote "$(sed -n 's/^MemAvailable: *//p' /proc/meminfo)")" \
        "$(quote "$models $(df -h --output=avail "$models" | tail -n 1)")" $kind
    [ $rc = 0 ] || echo "$opened" >&2
    return $rc
}
if [ -z "$models" ]; then # memory serves faster than a disk, if there is enough for 70B beside what the program pins
    models=$work/models
    free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
    if [ $kind = cuda ] && [ "${free:-0}" -gt $((60 << 20)) ]; then
        models=/dev/shm/mas-gpu
    fi
fi
mkdir -p "$models" || exit 73
rm -f "$models"/*.failed "$models"/*.part "$models"/*.none
export models
export -f environment blas_folder query tool quote
blas=$(blas_folder)
[ -z "$blas" ] || export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$blas

if [ $kind = cuda ]; then
    synth 8b --shape llama3-8b --vocab shape -t 4
    wide="-p 512 -n 64" decode=-n\ 64 rows=64 parallel=1,8,64 repeats=3 few=-n\ 16 fewer=2
    stream="--parallel 1,8,64"
else
    synth 8b --shape tiny --layers 1 --type Q8_0
    wide="-p 4 -n 1" decode=-n\ 1 rows=4 parallel=1,2 repeats=1 few=-n\ 1 fewer=1
    stream="--parallel 1 -n 1 -r 1"
fi
step environment 1 20 bash -c environment
[ $last_rc != 69 ] || exit 69 # no GPU: the message has told why
has_model() { # STEP MODEL: records the step as not run without it
    [ ! -e "$models/$2.gguf" ] || return 0
    number=$((number + 1))
    record "$1" "NOT RUN" 0 0 "there is no model $2"
    return 1
}
speed() { # NAME EXPECTED LIMIT MODEL ARGUMENTS..
    local name=$1 expected=$2 most=$3 model=$4
    shift 4
    has_model "$name" "$model" || return
    # shellcheck disable=SC2086
    step "$name" "$expected" "$most" "$mas" bench model -m "$models/$model.gguf" --backend "$kind" --quiet \
        -r $repeats -o json "$@"
}
kernels() { # NAME EXPECTED LIMIT ARGUMENTS..
    local name=$1 expected=$2 most=$3
    shift 3
    step "$name" "$expected" "$most" "$mas" bench kernels --backend "$kind" -r $repeats -o json "$@"
}

# ---- A -----------------------------------------------------------------------------------------------------------
part_a() {
    local op
    if [ -n "$layout" ]; then
        step layout 2 20 "$layout"
    else
        skip layout "no t_layout_cuda in $build"
    fi
    for op in $("$gpu" ops); do
        if [ $kind = cuda ]; then
            step "op-$op" 2 30 "$gpu" check "$kind" "$op"
        else
            step "op-$op" 1 30 "$gpu" check "$kind" "$op/16"
        fi
    done
    step ceiling 5 20 "$mas" bench ceiling --backend "$kind" -o json
    step logits-demo 5 20 "$gpu" logits "$kind" demo $((rows * 4))
    step model-8b 1 60 bash -c 'model_ready 8b'
    if has_model logits-8b 8b; then
        step logits-8b 15 60 "$gpu" logits "$kind" "$models/8b.gguf" $rows
    fi
    # shellcheck disable=SC2086
    speed speed-8b 10 40 8b $wide --parallel $parallel
    # shellcheck disable=SC2086
    speed speed-8b-eager 8 40 8b -p 0 $decode --parallel $parallel --no-graphs
    for op in $("$gpu" ops); do # matmul and attention are B's
        case $op in
        matmul | attention) ;;
        *) [ $kind = cudahost ] && [ "$op" != add ] || kernels "kernels-$op" 3 15 --op "$op" ;;
        esac
    done
}

# ---- B -----------------------------------------------------------------------------------------------------------
# ncu reads one launch of a kernel, memcheck runs small cases. A tool that cannot be used here is no fault of ours.
profile() { # FOLDER: the output of ncu as CSV, one kernel after the other; prints them as mas bench reads them
    local ncu rc=0 kernel shape read=()
    ncu=$(tool ncu)
    [ -n "$ncu" ] || { echo "no ncu" >&2 && return 77; }
    while read -r kernel shape; do
        timeout 15 "$ncu" --clock-control none --set detailed --csv -k "regex:$kernel" --launch-count 1 --kill yes \
            "$mas" bench kernels --backend cuda $shape -r 1 >"$1/ncu-$kernel.csv" 2>"$1/ncu-$kernel.err"
        if ! grep -q '"Metric Name"' "$1/ncu-$kernel.csv"; then
            grep -h '==ERROR==\|==WARNING==' "$1/ncu-$kernel.csv" "$1/ncu-$kernel.err" >&2
            echo "ncu made no figures of $kernel" >&2
            rc=77
        else
            read+=("$1/ncu-$kernel.csv")
        fi
    done <<'KERNELS'
k_matmul_matvec --op matmul --shape 1x4096x14336 --variant matvec_rows
k_matmul_mma --op matmul --shape 16x4096x14336 --variant mma
k_matmul_wgmma --op matmul --shape 512x4096x14336 --variant wgmma
k_matmul_norm_quantise --op matmul --fmt Q4_K --variant mma
k_attention_mma --op attention --variant mma_split
k_sample --op sample
KERNELS
    [ ${#read[@]} = 0 ] || "$mas" bench read -o json "${read[@]}" || return 1
    return $rc
}
memcheck() { # OP[/N]..
    local sanitizer rc=0 op
    sanitizer=$(tool compute-sanitizer)
    [ -n "$sanitizer" ] || { echo "no compute-sanitizer" >&2 && return 77; }
    for op in "$@"; do
        "$sanitizer" --tool memcheck "$gpu" check cuda "$op" >"$log-$(tr / - <<<"$op").txt" 2>&1
        if grep -q 'ERROR SUMMARY: 0 errors' "$log-$(tr / - <<<"$op").txt"; then
            continue
        elif grep -qE 'ERROR SUMMARY: [1-9]' "$log-$(tr / - <<<"$op").txt" &&
            grep -qE 'Invalid __|Misaligned' "$log-$(tr / - <<<"$op").txt"; then
            grep -m 3 -E 'Invalid __|Misaligned| at ' "$log-$(tr / - <<<"$op").txt" >&2
            return 1
        fi
        tail -n 3 "$log-$(tr / - <<<"$op").txt" >&2
        rc=77
    done
    return $rc
}
export -f profile memcheck
part_b() {
    local slice narrow=1,2,4,8,16 wider=64,128,512
    if [ $kind = cuda ]; then
        synth 70b-10 --shape llama3-70b --layers 10 --vocab shape -t 4
        synth draft --shape llama3.2-1b --vocab shape -t 4
        # 24 GB are to 80 layers as these are to 10, beside the embedding and the output
        slice="--vram 4500MB --link-limit 25GB/s"
        kernels kernels-8b 35 55 --shape 8b --columns $narrow --refcheck
        kernels kernels-8b-wide 18 35 --shape 8b --columns $wider
        kernels attention 8 25 --op attention --refcheck
        kernels kernels-70b 50 70 --shape 70b --columns $narrow --refcheck
        kernels kernels-70b-wide 29 45 --shape 70b --columns $wider
    else
        synth 70b-10 --shape tiny --layers 30 --type Q8_0
        synth draft --shape tiny --layers 1 --type Q8_0
        slice="--vram 18MB --link-limit 25GB/s"
        kernels kernels-8b 1 30 --shape 2x256x64 --refcheck
        kernels attention 1 30 --op kv_copy --refcheck
    fi
    step model-70b-10 1 60 bash -c 'model_ready 70b-10 && model_ready draft'
    # shellcheck disable=SC2086
    speed 70b-10-resident 8 25 70b-10 $wide --parallel ${parallel%,*}
    # the whole 70B is made from here on, so that it does not disturb the kernels' times
    if [ $kind = cuda ]; then
        free=$(df --output=avail -k "$models" | tail -n 1)
        if [ "$free" -gt $((45 << 20)) ] || [ -e "$models/70b.gguf" ]; then
            synth 70b --shape llama3-70b --vocab shape -t 8
        else
            touch "$models/70b.none"
        fi
    fi
    # A step of these copies gigabytes over the link: few tokens.
    repeats=$fewer
    # shellcheck disable=SC2086
    {
        speed 70b-10-latency 10 25 70b-10 -p 0 $few --parallel 1 $slice --placement latency
        speed 70b-10-streamed 12 25 70b-10 -p 0 $few --parallel 1 $slice --placement latency --cpu-layers 0
        speed 70b-10-throughput 20 35 70b-10 -p 0 $few --parallel $parallel $slice --placement throughput
        speed 70b-10-draft 14 25 70b-10 -p 0 $few --parallel 1 $slice --placement latency --cpu-layers 0 \
            --draft-model "$models/draft.gguf"
    }
    # shellcheck disable=SC2086
    if has_model stream 70b-10; then
        step stream 15 30 "$mas" bench stream -m "$models/70b-10.gguf" --backend "$kind" $slice --cpu-layers 0 \
            $stream -o json
    fi
    log=$work/logs/$(printf '%02d-memcheck' $((number + 1)))
    export log
    if [ $kind = cuda ]; then
        step memcheck 15 30 bash -c 'memcheck kv_write attention/4 sample/2 matmul/16'
        step ncu 15 45 bash -c "profile $work/logs"
        if [ -x "$build/peers/llama-bench" ] && [ -e "$models/8b.gguf" ]; then
            step llama-bench 12 30 "$build/peers/llama-bench" -m "$models/8b.gguf" -p 512 -n 64 -r 2 -o json
        else
            skip llama-bench "no peers/llama-bench was carried"
        fi
        repeats=1
        [ ! -e "$models/70b.none" ] || {
            skip model-70b "no room for 42.5 GB in $models"
            return
        }
        step model-70b 1 40 bash -c 'model_ready 70b'
        speed 70b-latency 35 90 70b -p 0 -n 8 --parallel 1 --vram 24GB --link-limit 25GB/s --placement latency
    else
        skip memcheck "no compute-sanitizer in a dry run"
        skip ncu "no ncu in a dry run"
    fi
}
if [ $part = A ]; then part_a; else part_b; fi

seconds=$(($(elapsed_ms) / 1000))
if command -v python3 >/dev/null; then
    save
    python3 tests/gpu/table.py "$out/result-$part.tar" >"$work/logs/table.md" 2>"$work/logs/table.err" ||
        echo "no table: $(tail -n 1 "$work/logs/table.err")"
    cat "$work/logs/table.md"
fi
echo "$([ $failed = 0 ] && echo PASS || echo FAIL) in $seconds s: $out/result-$part.tar"
exit $failed
