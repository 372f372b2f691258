#!/usr/bin/env bash
# The pack of a build with CUDA (run.sh --pack) is small enough to be carried, and whole.
# usage: pack.sh BUILD. Exit 77 for a build without CUDA: the preset gpu is the one that is carried.
set -uo pipefail
build=$(cd "${1:?folder of a build}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
fail() { echo "pack: $*" && exit 1; }
[ -x "$build/tests/t_layout_cuda" ] || { echo "skipped: $build has no CUDA (cmake --preset gpu)" && exit 77; }
out=$(bash "$here/run.sh" --pack -b "$build") || fail "$(tail -n 3 <<<"$out")"
for program in mas t_gpu; do
    [[ $(ldd "$build/pack/$program") == *"$build/pack/lib/libjansson"* ]] || fail "$program does not take its libraries along"
done
ldd "$build/pack/t_layout_cuda" | grep 'not found' && fail "t_layout_cuda lacks a library"
"$build/pack/mas" version >/dev/null || fail "the packed mas does not start"
[ "$("$build/pack/t_gpu" ops | wc -l)" -ge 10 ] || fail "the packed t_gpu does not start"
[[ $(readelf -S "$build/pack/mas") == *.nv_fatbin* ]] || fail "the packed mas has no machine code for a GPU"
tail -n 1 <<<"$out"
