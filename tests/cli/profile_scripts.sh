#!/usr/bin/env bash
# The usage of scripts. Then tools/scripts/profile_nsys.sh and profile_ncu.sh against stand-ins for nsys and ncu. These
# check their arguments, run the program that they profile, and give the samples of tests/golden/nsight.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
: "${MAS_SOURCE:?folder of the sources}"
export GOLDEN=$MAS_SOURCE/tests/golden/nsight NVTX_RECORD=${NVTX_RECORD:-}
scripts=$MAS_SOURCE/tools/scripts
mkdir bin
export PATH=$dir/bin:$PATH

# Arguments are written one a line. COUNTERS=no: the driver keeps them to itself. NO_RANGE: the range is never met.
cat >bin/nsys <<'SH'
#!/usr/bin/env bash
set -eu
verb=$1
shift
case $verb in
profile)
    if [ "$*" = --gpu-metrics-devices=help ]; then
        [ "${COUNTERS:-yes}" = yes ] || { echo "Insufficient privilege, see https://developer.nvidia.com/ERR_NVGPUCTRPERM"; exit 1; }
        printf 'Possible --gpu-metrics-devices values are:\n    0: NVIDIA H200 PCI[0000:01:00.0]\n    all: Select all supported GPUs\n'
        exit 0
    fi
    while [[ ${1:-} == --* ]]; do
        echo "$1" >>options
        [[ $1 != --output=* ]] || to=${1#--output=}
        shift
    done
    echo "$*" >>commands
    export NVTX_INJECTION64_PATH=$NVTX_RECORD NVTX_RECORD_FILE=$to.jsonl
    "$@"
    [ -n "${NO_RANGE:-}" ] || ! grep -q '"measured"' "$to.jsonl" || echo report >"$to.nsys-rep"
    ;;
stats)
    echo "$*" >>stats
    for a; do
        case $a in
        --report=*) reports=${a#--report=} ;;
        --*) ;;
        *) [ -e "$a" ] || exit 1 ;;
        esac
    done
    # the reports that were asked for, out of the sample
    awk -v RS= -v want=",$reports," '{
        name = $0; sub(/\.py\].*/, "", name); sub(/.*\//, "", name)
        if (index(want, "," name ",")) print $0 "\n" }' "$GOLDEN/nsys_stats.csv"
    ;;
*) exit 1 ;;
esac
SH
cat >bin/ncu <<'SH'
#!/usr/bin/env bash
set -eu
while [[ ${1:-} == --* ]]; do
    echo "$1" >>options
    case $1 in
    --page | --print-units | --clock-control | --metrics | --nvtx-include) echo "$2" >>options && shift ;;
    --log-file) log=$2 && shift ;;
    esac
    shift
done
echo "$*" >>commands
NVTX_INJECTION64_PATH=$NVTX_RECORD NVTX_RECORD_FILE=ncu.jsonl "$@"
if [ "${COUNTERS:-yes}" = yes ]; then
    cp "$GOLDEN/ncu_raw.csv" "$log"
else
    echo '==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters' >"$log"
fi
SH
chmod +x bin/nsys bin/ncu

for script in profile_nsys profile_ncu; do
    expect 64 'no model; usage' bash "$scripts/$script.sh"
    for help in -h --help; do
        expect 0 "tools/scripts/$script.sh [-o folder]" bash "$scripts/$script.sh" $help
        expect 0 'Exit status 69: no n' bash "$scripts/$script.sh" $help
    done
    expect 64 "$script.sh: unknown option -x; -h shows the usage" bash "$scripts/$script.sh" -x demo
    expect 64 "$script.sh: -o needs a value; -h" bash "$scripts/$script.sh" -o
    expect 64 "$script.sh: unknown option --out=x; -h" bash "$scripts/$script.sh" --out=x demo
    ! bash "$scripts/$script.sh" -o x --help | grep -E '^(#|set|export)' || fault "$script.sh: code in its usage"
    expect 66 'no program /no/mas' env MAS=/no/mas bash "$scripts/$script.sh" demo
done
for script in bench_batch bench_peers; do
    for help in -h --help; do
        expect 0 "tools/scripts/$script.sh " bash "$scripts/$script.sh" $help
    done
    expect 64 "$script.sh: unknown option -x; -h shows the usage" bash "$scripts/$script.sh" -x
    expect 64 "$script.sh: -n needs a value; -h" bash "$scripts/$script.sh" -n
done
for help in -h --help; do
    expect 0 'usage: tests/gpu/run.sh A|B' bash "$MAS_SOURCE/tests/gpu/run.sh" $help
    expect 0 '--pack  ' bash "$MAS_SOURCE/tests/gpu/run.sh" A $help
done
expect 64 "run.sh: unknown argument '-x'" bash "$MAS_SOURCE/tests/gpu/run.sh" -x
expect 64 'run.sh: give A, B or --pack' bash "$MAS_SOURCE/tests/gpu/run.sh"
expect 69 'install Nsight Systems' env NSYS=no-nsys bash "$scripts/profile_nsys.sh" demo
expect 69 'install Nsight Compute' env NCU=no-ncu bash "$scripts/profile_ncu.sh" demo
expect 64 "bad layer 'x'" bash "$scripts/profile_ncu.sh" -l x demo
[ -n "$NVTX_RECORD" ] || {
    echo "skipped in part: this build has no NVTX"
    exit "$bad"
}

# ---- nsys: two captures, the second without recordings ------------------------------------------------------------------
bash "$scripts/profile_nsys.sh" -o p demo -t 1 >out 2>err || fault "exit $?: $(cat err)"
for option in --trace=cuda,nvtx,osrt --cuda-graph-trace=node --capture-range=nvtx --nvtx-capture=measured@mas \
    --capture-range-end=stop --gpu-metrics-devices=all --output=p/kernels --output=p/ops; do
    grep -qxF -- "$option" options || fault "nsys gets no $option: $(cat options)"
done
[ "$(cat commands)" = "$MAS bench model -m demo -p 0 -n 32 -r 1 --quiet --nvtx -t 1
$MAS bench model -m demo -p 0 -n 32 -r 1 --quiet --nvtx --no-graphs -t 1" ] || fault "the commands: $(cat commands)"
grep -q -- '--report=cuda_gpu_kern_sum --format=csv' stats && grep -q -- '--report=nvtx_gpu_proj_sum,nvtx_kern_sum ' stats ||
    fault "nsys stats: $(cat stats)"
grep -q '^## kernels' out && grep -q '^| matmul .*| mma<Q4_K, 2, 1> ' out && grep -q '^| matmul    | Q4_K 1x4096->4096 store ' out ||
    fault "the tables: $(cat out)"
python3 - <<'PY' || fault "the files of profile_nsys.sh"
import json
kernels, ops = (json.load(open(f"p/{n}.json"))["rows"] for n in ("kernels", "ops"))
assert {r["report"] for r in kernels} == {"cuda_gpu_kern_sum"}
assert {r["report"] for r in ops} == {"nvtx_gpu_proj_sum", "nvtx_kern_sum"}
# 32 steps lie in the range that nsys captures
names = [json.loads(l).get("name") for l in open("p/ops.jsonl") if '"push"' in l]
assert names[names.index("measured"):].count("step") == 32
PY
rm -f options
COUNTERS=no bash "$scripts/profile_nsys.sh" -o p demo -t 1 >/dev/null 2>err || fault "exit $?: $(cat err)"
grep -q 'counters left out: Insufficient privilege' err && ! grep -q gpu-metrics options || fault "counters: $(cat err)"
expect 1 "it met no range 'measured'" env NO_RANGE=1 bash "$scripts/profile_nsys.sh" -o p demo -t 1
expect 1 "the capture 'kernels' failed" bash "$scripts/profile_nsys.sh" -o p none.gguf

# ---- ncu: one layer -----------------------------------------------------------------------------------------------------
rm -f options commands
bash "$scripts/profile_ncu.sh" -o q -l 2 demo -t 1 >out 2>err || fault "exit $?: $(cat err)"
for option in --csv raw base none --nvtx 'mas@layer 2/'; do
    grep -qxF -- "$option" options || fault "ncu gets no $option: $(cat options)"
done
grep -q '^gpu__time_duration.sum,dram__bytes_read.sum' options || fault "ncu's metrics: $(cat options)"
[ "$(cat commands)" = "$MAS bench model -m demo -p 0 -n 2 -r 1 --no-graphs --quiet --nvtx -t 1" ] || fault "$(cat commands)"
grep -q '"layer 2"' ncu.jsonl || fault "no range has the name that ncu is told"
grep -q '^| matmul .* 1870.59 |   79.0 |' out && cmp -s out q/layer.md || fault "the table: $(cat out)"
"$MAS" bench compare q/layer.json p/kernels.json >beside || fault "exit $?: $(cat beside)"
expect 1 'NVreg_RestrictProfilingToAdminUsers=0' env COUNTERS=no bash "$scripts/profile_ncu.sh" -o q demo -t 1
expect 1 'ncu failed' bash "$scripts/profile_ncu.sh" -o q none.gguf
exit $bad
