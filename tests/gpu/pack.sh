#!/usr/bin/env bash
# The pack of a build with CUDA (run.sh --pack) is small enough to be carried, and whole.
# usage: pack.sh BUILD. Exit 77 for a build without CUDA: the preset gpu is the one that is carried.
set -uo pipefail
build=$(cd "${1:?folder of a build}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
fail() { echo "pack: $*" && exit 1; }
[ -x "$build/tests/t_layout_cuda" ] || { echo "skipped: $build has no CUDA (cmake --preset gpu)" && exit 77; }
out=$(bash "$here/run.sh" --pack -b "$build") || fail "$(tail -n 3 <<<"$out")"
export LD_LIBRARY_PATH=$build/pack/lib
for program in mas t_gpu t_layout_cuda; do
    ldd "$build/pack/$program" | grep 'not found' && fail "$program lacks a library"
done
"$build/pack/mas" version >/dev/null || fail "the packed mas does not start"
[ "$("$build/pack/t_gpu" ops | wc -l)" -ge 10 ] || fail "the packed t_gpu does not start"
readelf -S "$build/pack/mas" | grep -q '\.nv_fatbin' || fail "the packed mas has no machine code for a GPU"
tail -n 1 <<<"$out"
