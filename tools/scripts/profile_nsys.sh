#!/usr/bin/env bash
# Profiles the decode steps of a model with Nsight Systems, and prints time by op and by kernel in mas's own table.
#
#   tools/scripts/profile_nsys.sh [-o folder] MODEL [options of mas bench model]
#
# Two captures after a warm-up, each of the range "measured" of 32 steps (-n and -r in the options change that):
#   kernels   recorded steps as they run, with --cuda-graph-trace=node: nsys shows each kernel of a CUDA graph
#   ops       steps that are not recorded (--no-graphs): each op's range holds its kernels. A range of a recorded
#             step is that of the recording; a replay has the one range "replay"
# Operating-system calls are traced. GPU and PCIe counters are sampled where the driver allows it.
#
# The folder (default profile-nsys) gets NAME.nsys-rep for nsys-ui, NAME.csv, NAME.json for mas bench compare, NAME.md, and
# the output of the programs as NAME.log. MAS and NSYS name other programs than build/release/mas and nsys.
# Exit status 69: no nsys.
set -euo pipefail
export LC_ALL=C

out=profile-nsys
usage() { # the head comment
    sed -n '2,14s/^# \{0,1\}//p' "$0"
}
while getopts :o:h-: flag; do
    case $flag in
    o) out=$OPTARG ;;
    *)
        case $flag${OPTARG:-} in
        h | -help) usage && exit 0 ;;
        -*) echo "profile_nsys.sh: unknown option --$OPTARG; -h shows the usage" >&2 ;;
        \?*) echo "profile_nsys.sh: unknown option -$OPTARG; -h shows the usage" >&2 ;;
        *) echo "profile_nsys.sh: -$OPTARG needs a value; -h shows the usage" >&2 ;;
        esac
        exit 64
        ;;
    esac
done
shift $((OPTIND - 1))
[ $# -ge 1 ] || {
    echo "profile_nsys.sh: no model; usage: profile_nsys.sh [-o folder] MODEL [options of mas bench model]" >&2
    exit 64
}
model=$1
shift
mas=${MAS:-$(cd "$(dirname "$0")/../.." && pwd)/build/release/mas} nsys=${NSYS:-nsys}
command -v "$nsys" >/dev/null || {
    echo "profile_nsys.sh: no program $nsys; install Nsight Systems (package nsight-systems-cli of NVIDIA's repository)," \
        "or name it by NSYS; mas profile needs no nsys" >&2
    exit 69
}
command -v "$mas" >/dev/null || {
    echo "profile_nsys.sh: no program $mas; build it, or name it by MAS" >&2
    exit 66
}
mkdir -p "$out"

# nsys refuses a whole capture when it may not read the counters; so ask first.
counters=()
allowed=$("$nsys" profile --gpu-metrics-devices=help 2>&1 || true)
if grep -qE '^ *[0-9]+:' <<<"$allowed"; then
    counters=(--gpu-metrics-devices=all)
else
    echo "GPU and PCIe counters left out: $(grep -m 1 . <<<"$allowed" || echo 'nsys lists no device')" >&2
fi

# capture NAME REPORTS OPTION..
capture() {
    local name=$1 reports=$2 to=$out/$1
    shift 2
    rm -f "$to.nsys-rep" "$to.sqlite"
    "$nsys" profile --output="$to" --force-overwrite=true --trace=cuda,nvtx,osrt --sample=none --cpuctxsw=none \
        --cuda-graph-trace=node "${counters[@]}" --capture-range=nvtx --nvtx-capture=measured@mas --capture-range-end=stop \
        "$mas" bench model -m "$model" -p 0 -n 32 -r 1 --quiet --nvtx "$@" >"$to.log" 2>&1 || {
        echo "profile_nsys.sh: the capture '$name' failed:" >&2
        tail -n 5 "$to.log" >&2
        exit 1
    }
    [ -e "$to.nsys-rep" ] || {
        echo "profile_nsys.sh: nsys wrote no $to.nsys-rep: it met no range 'measured' of the domain mas; see $to.log" >&2
        exit 1
    }
    "$nsys" stats --force-export=true --report="$reports" --format=csv --output=- "$to.nsys-rep" >"$to.csv" 2>>"$to.log" || {
        echo "profile_nsys.sh: nsys stats failed:" >&2
        tail -n 5 "$to.log" >&2
        exit 1
    }
    "$mas" bench read "$to.csv" -o json >"$to.json"
    "$mas" bench read "$to.csv" >"$to.md"
    printf '## %s\n\n' "$name"
    cat "$to.md"
    echo
}

capture kernels cuda_gpu_kern_sum "$@"
capture ops nvtx_gpu_proj_sum,nvtx_kern_sum --no-graphs "$@"
echo "Open $out/*.nsys-rep with nsys-ui. Compare: $mas bench compare $out/ops.json OTHER.json"
