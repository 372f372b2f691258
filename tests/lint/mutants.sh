#!/usr/bin/env bash
# Every row of tests/cudahost/mutants.tsv still changes its file: an edit of the kernels can move the line that it means.
# usage: mutants.sh [TREE]
. "$(dirname "$0")/lint.bash"

list=tests/cudahost/mutants.tsv
row=0
while IFS=$'\t' read -r name file script _; do
    row=$((row + 1))
    case $name in \#* | '') continue ;; esac
    if [ ! -f "kernels/cuda/$file" ]; then
        bad "$list:$row: $name: there is no kernels/cuda/$file"
    elif sed -E "$script" "kernels/cuda/$file" | cmp -s - "kernels/cuda/$file"; then
        bad "$list:$row: $name changes nothing in kernels/cuda/$file"
    fi
done < <([ ! -f "$list" ] || cat "$list")
finish
