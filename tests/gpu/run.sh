#!/usr/bin/env bash
# All checks that need a GPU, in one command: do the kernels agree there with the host and the oracle, and how fast
# are they? Needs a build made elsewhere (release preset with nvcc), no compiler. Prints its tables last (DIR/table.md,
# by table.sh). All results go into DIR/result.json, with logs beside it.
#   usage: tests/gpu/run.sh [-b BUILD] [-o DIR] [--pack] [--dry-run] [--70b]
#     -b BUILD     folder of the build (default build/release)
#     -o DIR       folder for the results (default $OUT, else gpu-result)
#     --pack       on the build machine: only copies the libraries that the programs need into BUILD/lib;
#                  BUILD/mas, BUILD/lib and BUILD/tests/t_* can then be carried to a bare machine
#     --dry-run    the same steps with the kernels run by the CPU on a tiny model: tries this script
#     --70b        also the 70B shape (42 GB on the disk and on the GPU)
# Exit 0 all PASS, 1 something failed, 69 no GPU.
set -uo pipefail
export LC_ALL=C
cd "$(dirname "$0")/../.."

build=build/release
out=${OUT:-gpu-result}
kind=cuda
big=no
pack=no
while [ $# -gt 0 ]; do
    case $1 in
    -b) build=$2; shift ;;
    -o) out=$2; shift ;;
    --dry-run) kind=cudahost ;;
    --70b) big=yes ;;
    --pack) pack=yes ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 64 ;;
    esac
    shift
done
if [ $pack = yes ]; then
    mkdir -p "$build/lib"
    ldd "$build/mas" "$build/tests/t_gpu" | awk '$3 ~ /^\// { print $3 }' | sort -u |
        grep -vE '/lib(c|m|dl|rt|pthread)\.so' | xargs cp -Lt "$build/lib"
    du -sh "$build/mas" "$build/tests/t_gpu" "$build/lib"
    exit
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)
build=$(cd "$build" && pwd) || exit 66
[ ! -d "$build/lib" ] || export LD_LIBRARY_PATH=$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
mas=$build/mas
gpu=$build/tests/t_gpu
began=$SECONDS

"$gpu" check "$kind" add >"$out/open.log" 2>&1
case $? in
0 | 1) ;;
*)
    cat "$out/open.log"
    echo "no GPU can be used here"
    exit 69
    ;;
esac

# ---- steps: each has a name, a verdict and the seconds it took ------------------------------------------------
failed=0
names=()
verdicts=()
times=()
note() { # NAME VERDICT SECONDS
    names+=("$1")
    verdicts+=("$2")
    times+=("$3")
    [ "$2" != FAIL ] || failed=1
    printf '%-4s %-28s %4d s\n' "$2" "$1" "$3"
}
step() { # NAME LIMIT_SECONDS COMMAND..: its output goes to NAME.log
    local name=$1 limit=$2 t0=$SECONDS rc=0
    shift 2
    timeout "$limit" "$@" >"$out/$name.log" 2>"$out/$name.err" || rc=$?
    case $rc in
    0) note "$name" PASS $((SECONDS - t0)) ;;
    77) note "$name" SKIP $((SECONDS - t0)) ;;
    *)
        note "$name" FAIL $((SECONDS - t0))
        tail -n 5 "$out/$name.log" "$out/$name.err" | sed 's/^/     /'
        ;;
    esac
    return $rc
}

speed() { # NAME MODEL PREFILL NEW PARALLEL
    step "speed-$1" 180 "$mas" bench model -m "$2" --backend "$kind" --quiet -p "$3" -n "$4" --parallel "$5" \
        -r 2 -o json
}

# ---- correctness ------------------------------------------------------------------------------------------------
layout=$build/tests/t_layout_cuda
[ $kind = cuda ] || layout=$build/tests/cudahost/t_layout_plain
if [ -x "$layout" ]; then
    step layout 60 "$layout"
else
    note layout SKIP 0
fi
step cases 120 "$gpu" check $kind
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
for tool in memcheck racecheck synccheck; do
    if [ -n "$sanitizer" ] && [ $kind = cuda ]; then
        step "sanitizer-$tool" 100 "$sanitizer" --tool $tool --error-exitcode 1 "$gpu" check cuda
    else
        note "sanitizer-$tool" SKIP 0
    fi
done

# ---- models: logits and the best token of every row as the CPU has them, then speed --------------------------
model() { # NAME FILE ROWS PREFILL NEW PARALLEL
    step "logits-$1" 150 "$gpu" logits $kind "$2" "$3"
    speed "$1" "$2" "$4" "$5" "$6"
}
synth() { # NAME SHAPE: a file of random weights
    step "synth-$1" 200 "$mas" synth --shape "$2" --type Q4_K_M --quiet "$out/$1.gguf"
}
if [ $kind = cuda ]; then
    model demo demo 256 512 64 1,8,64
    synth 8b llama3-8b && model 8b "$out/8b.gguf" 64 512 64 1,8,64
    rm -f "$out/8b.gguf"
    if [ $big = yes ]; then
        synth 70b llama3-70b && model 70b "$out/70b.gguf" 16 512 32 1,8
        rm -f "$out/70b.gguf"
    fi
else
    model demo demo 24 32 4 1,2
fi

# ---- every kernel beside the ceilings of the same run; pages with roofline and curves -----------------------------
page() { # NAME SECONDS ARGUMENTS..: DIR/NAME.html
    local name=$1
    step "$@" -o html && mv "$out/$name.log" "$out/$name.html"
}
bench=("$mas" bench kernels --backend "$kind")
if [ $kind = cuda ]; then
    step ceiling 60 "$mas" bench ceiling --backend cuda -o json
    step kernels 240 "${bench[@]}" -r 9 -o json
    step kernels-8b 180 "${bench[@]}" --shape 8b --columns 1,4,8,16,32,64,128 -r 9 -o json
    page page-8b 180 "${bench[@]}" --shape 8b --columns 1,4,8,16,32,64,128 -r 5
else
    step ceiling 60 "$mas" bench ceiling --backend $kind -o json
    step kernels 60 "${bench[@]}" --op add -r 1 -o json
    page page 60 "${bench[@]}" --shape 2x256x64 -r 1
fi

# ---- the result -----------------------------------------------------------------------------------------------
quote() { # text as a JSON string
    printf '"%s"' "$(tr -d '\000-\037' <<<"$1" | sed 's/[\\"]/\\&/g')"
}
lines() { # FILE..: JSON objects, one a line, as a list
    printf '['
    cat "$@" 2>/dev/null | grep '^{' | sed '$!s/$/,/'
    printf ']'
}
query() {
    command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null | head -n 1
}
{
    printf '{"pass": %s, "backend": "%s",\n' "$([ $failed = 0 ] && echo true || echo false)" $kind
    printf ' "gpu": %s, "driver": %s, "clocks": %s,\n' "$(quote "$(query name)")" \
        "$(quote "$(query driver_version)")" "$(quote "$(query clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem)")"
    printf ' "program": %s, "date": "%s", "seconds": %d,\n' "$(quote "$("$mas" version | head -n 1)")" \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" $((SECONDS - began))
    printf ' "steps": ['
    for i in "${!names[@]}"; do
        [ "$i" = 0 ] || printf ', '
        printf '{"step": "%s", "verdict": "%s", "seconds": %d}' "${names[i]}" "${verdicts[i]}" "${times[i]}"
    done
    printf '],\n "logits": '
    lines "$out"/logits-*.log
    for file in ceiling kernels kernels-8b; do
        [ ! -s "$out/$file.log" ] || printf ',\n "%s": %s' $file "$(cat "$out/$file.log")"
    done
    printf ',\n "speed": {'
    first=yes
    for file in "$out"/speed-*.log; do
        [ -s "$file" ] || continue
        [ $first = yes ] || printf ', '
        first=no
        name=${file##*/speed-}
        printf '"%s": ' "${name%.log}"
        cat "$file"
    done
    printf '}}\n'
} >"$out/result.json"

echo
if [ $failed = 0 ]; then
    bash tests/gpu/table.sh "$out/result.json" | tee "$out/table.md" || failed=1
fi
if [ $failed = 0 ]; then
    echo "PASS in $((SECONDS - began)) s: $out/result.json"
else
    echo "FAIL in $((SECONDS - began)) s: $out/result.json"
fi
exit $failed
