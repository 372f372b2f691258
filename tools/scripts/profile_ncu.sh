#!/usr/bin/env bash
# Measures the kernels of one layer with Nsight Compute, once in a prefill of one token and in one decode step, and prints
# them in mas's own table: time, bytes of the GPU's memory, share of its peak rate.
#
#   tools/scripts/profile_ncu.sh [-o folder] [-l layer] MODEL [options of mas bench model]
#
# ncu runs each kernel several times by itself, so times are of kernels alone and the clocks are those of the moment
# (--clock-control none). Steps are not recorded (--no-graphs): a kernel is found by the NVTX range of its layer. The layer is
# 1 (default), counted from 0; its kernels in the warm-up are measured too.
#
# The folder (default profile-ncu) gets layer.csv, layer.json for mas bench compare, layer.md and the output of the
# programs in layer.log. MAS and NCU name other programs than build/release/mas and ncu. Exit status 69: no ncu.
set -euo pipefail
export LC_ALL=C

out=profile-ncu layer=1
usage() { # the head comment
    sed -n '2,12s/^# \{0,1\}//p' "$0"
}
while getopts :o:l:h-: flag; do
    case $flag in
    o) out=$OPTARG ;;
    l) layer=$OPTARG ;;
    *)
        case $flag${OPTARG:-} in
        h | -help) usage && exit 0 ;;
        -*) echo "profile_ncu.sh: unknown option --$OPTARG; -h shows the usage" >&2 ;;
        \?*) echo "profile_ncu.sh: unknown option -$OPTARG; -h shows the usage" >&2 ;;
        *) echo "profile_ncu.sh: -$OPTARG needs a value; -h shows the usage" >&2 ;;
        esac
        exit 64
        ;;
    esac
done
shift $((OPTIND - 1))
[ $# -ge 1 ] || {
    echo "profile_ncu.sh: no model; usage: profile_ncu.sh [-o folder] [-l layer] MODEL [options of mas bench model]" >&2
    exit 64
}
[[ $layer =~ ^[0-9]+$ ]] || {
    echo "profile_ncu.sh: bad layer '$layer': must be a whole number from 0" >&2
    exit 64
}
model=$1
shift
mas=${MAS:-$(cd "$(dirname "$0")/../.." && pwd)/build/release/mas} ncu=${NCU:-ncu}
command -v "$ncu" >/dev/null || {
    echo "profile_ncu.sh: no program $ncu; install Nsight Compute (it comes with the CUDA toolkit), or name it by NCU" >&2
    exit 69
}
command -v "$mas" >/dev/null || {
    echo "profile_ncu.sh: no program $mas; build it, or name it by MAS" >&2
    exit 66
}
mkdir -p "$out"
metrics=gpu__time_duration.sum,dram__bytes_read.sum,dram__bytes_write.sum
metrics+=,dram__throughput.avg.pct_of_peak_sustained_elapsed
"$ncu" --csv --page raw --print-units base --clock-control none --metrics "$metrics" --nvtx \
    --nvtx-include "mas@layer $layer/" --log-file "$out/layer.csv" \
    "$mas" bench model -m "$model" -p 0 -n 2 -r 1 --no-graphs --quiet --nvtx "$@" >"$out/layer.log" 2>&1 || {
    echo "profile_ncu.sh: ncu failed:" >&2
    cat "$out/layer.log" "$out/layer.csv" 2>/dev/null | tail -n 5 >&2
    exit 1
}
if grep -q ERR_NVGPUCTRPERM "$out/layer.csv" "$out/layer.log"; then
    echo "profile_ncu.sh: the driver keeps the GPU's counters for root: run as root, or load the driver with" \
        "NVreg_RestrictProfilingToAdminUsers=0" >&2
    exit 1
fi
"$mas" bench read "$out/layer.csv" -o json >"$out/layer.json"
"$mas" bench read "$out/layer.csv" | tee "$out/layer.md"
