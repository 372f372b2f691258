#!/bin/bash
# The NEON kernels on a machine that is no ARM: kernels/ and ops/t_ops.c compiled for aarch64, run by qemu's user mode.
# Every op in the scalar text and with NEON: the oracle's numbers, and the same bits in both. 77 = skipped.
# usage: neon.sh [FOLDER]   FOLDER (default: a new one) gets the build
set -eu
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
cc=aarch64-linux-gnu-gcc
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)
if [ "$(uname -m)" = aarch64 ] || ! command -v $cc >/dev/null || [ -z "$qemu" ]; then
    echo "skipped: needs $cc and qemu-aarch64 on another processor (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user-static)"
    exit 77
fi
out=${1:-$(mktemp -d)}
mkdir -p "$out"
[ $# -gt 0 ] || trap 'rm -rf "$out"' EXIT
cd "$source_dir"
flags=(-std=c11 -O2 -D_DEFAULT_SOURCE -D_POSIX_C_SOURCE=200809L -DMAS_HAVE_CUDA=0 -DMAS_HAVE_CUDAHOST=0
    -Wall -Wextra -Wshadow -Werror -Wno-maybe-uninitialized -Wno-format-truncation -ffp-contract=off -fno-math-errno
    -Ikernels -Ikernels/core -Ikernels/quant -Ikernels/cases -Ikernels/cpu -Ikernels/ref -Ikernels/sim -Itests/cross -Itests/help)
files=(kernels/*.c kernels/core/*.c kernels/quant/*.c kernels/cpu/*.c kernels/ref/*.c kernels/sim/*.c kernels/cases/*.c tests/ops/t_ops.c)
files=("${files[@]/kernels\/core\/embed.c/}") # its table comes from a generator
compile() { # one file
    local extra=()
    [[ $1 != *_neon.c ]] || extra=(-march=armv8.2-a+dotprod)
    "$cc" "${flags[@]}" "${extra[@]}" -c "$1" -o "$out/$(echo "${1%.c}" | tr / _).o"
}
jobs_left=0
for f in ${files[@]}; do
    compile "$f" &
    jobs_left=$((jobs_left + 1))
    if [ $jobs_left -ge 2 ]; then
        wait -n
        jobs_left=$((jobs_left - 1))
    fi
done
while [ $jobs_left -gt 0 ]; do
    wait -n
    jobs_left=$((jobs_left - 1))
done
"$cc" -static "$out"/*.o -o "$out/t_ops" -lm -pthread
aarch64-linux-gnu-objdump -d "$out/kernels_cpu_cpu_kernel_neon.o" | awk '/sdot/ {n++} END {print n + 0, "sdot instructions"; exit n < 500}'
"$qemu" -cpu max "$out/t_ops" neon
