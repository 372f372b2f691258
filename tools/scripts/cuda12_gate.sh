#!/usr/bin/env bash
# Does everything in kernels/cuda compile with a CUDA 12 toolkit, too? Host code and device code, for sm_80 and what
# Hopper alone has for sm_90a. No budget is checked: registers differ from compiler to compiler (nvcc_gate.sh).
#   environment: NVCC12        nvcc of a CUDA 12 toolkit (default: that of /usr/local/cuda-12*)
#                CLANG, CUDA12 without such an nvcc: a clang++ that knows CUDA, and a folder with CUDA 12's include,
#                              bin/ptxas and nvvm/libdevice (PyPI: nvidia-cuda-{nvcc,runtime,cccl}-cu12)
# Says what was not tried; 77 when nothing could be.
set -uo pipefail
export LC_ALL=C
root=$(cd "$(dirname "$0")/../.." && pwd)
nvcc=${NVCC12:-$(compgen -G '/usr/local/cuda-12*/bin/nvcc' | tail -n 1)}
clang=${CLANG:-}
tree=${CUDA12:-}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
include=(-I"$root/kernels" -I"$root/kernels/core" -I"$root/kernels/quant" -I"$root/kernels/cuda")

if [ -x "$nvcc" ]; then
    with="$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/nvcc \1/p')"
elif [ -n "$clang" ] && [ -e "$tree/include/cuda_runtime_api.h" ]; then
    version=$(sed -n 's/^#define CUDART_VERSION *//p' "$tree/include/cuda_runtime_api.h")
    with="$("$clang" --version | head -n 1), headers and ptxas of CUDA $((version / 1000)).$((version % 1000 / 10))"
    [ $((version / 1000)) = 12 ] || { echo "$tree is CUDA $((version / 1000)), not 12" && exit 1; }
else
    echo "CUDA 12: not tried, no nvcc of it (NVCC12) and no clang++ with a tree of it (CLANG, CUDA12)"
    exit 77
fi
[ -x "$nvcc" ] || echo "nvcc 12: not tried, there is none (NVCC12)"

compile() { # FILE ARCH [FLAG]: prints errors
    if [ -x "$nvcc" ]; then
        "$nvcc" -std=c++17 -O3 ${3:+"$3"} -gencode="arch=compute_$2,code=sm_$2" "${include[@]}" -c "$1" -o "$tmp/o"
        return
    fi
    local flags=(-x cuda --cuda-path="$tree" --cuda-gpu-arch="sm_$2" -std=c++17 -O2 -Wno-unknown-cuda-version
        -Wno-pass-failed ${3:+"$3"} "${include[@]}")
    "$clang" "${flags[@]}" --cuda-host-only -fsyntax-only "$1" &&
        "$clang" "${flags[@]}" --cuda-device-only -c "$1" -o "$tmp/o"
}
n=0
for file in "$root"/kernels/cuda/*.cu "$root/tests/cudahost/t_layout.cu"; do
    case $(basename "$file") in
    *_wgmma.cu | t_layout.cu) arch=90a flag=-DMAS_SM90A ;;
    *) arch=80 flag= ;;
    esac
    compile "$file" $arch $flag >"$tmp/out" 2>&1 || { cat "$tmp/out" && echo "$file does not compile: $with" && exit 1; }
    n=$((n + 1))
done
echo "$n files compile: $with"
