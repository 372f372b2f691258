#!/usr/bin/env bash
# Compares the memory traffic of every kernel's warps with kernels/cuda/sectors.tsv. The race build measures it on
# the host, over all cases. It fails when a kernel has become worse or is missing in the file.
# usage: tests/cudahost/sectors.sh PROGRAM [--write]     PROGRAM: t_cudahost_race; --write: writes the file anew
set -u
export LC_ALL=C
root=$(cd "$(dirname "$0")/../.." && pwd)
file=$root/kernels/cuda/sectors.tsv
program=${1:?which t_cudahost_race?}
out=$("$program" -s) || { echo "$out"; exit 1; }
rows=$(grep '^k_' <<<"$out")
[ -n "$rows" ] || { echo "$program -s prints no kernels"; exit 1; }
if [ "${2:-}" = --write ]; then
    {
        sed '/^#/!d' "$file"
        echo "$rows"
    } >"$file.new" && mv "$file.new" "$file"
    echo "kernels/cuda/sectors.tsv: $(wc -l <<<"$rows") kernels"
    exit
fi
# 5 % for another compiler, which may load a constant once or twice
awk -F'\t' '
    /^#/ { next }
    NR == FNR { for (i = 2; i <= 7; i++) want[$1, i] = $i; known[$1] = 1; next }
    !($1 in known) { print $1 " is not in sectors.tsv: tests/cudahost/sectors.sh PROGRAM --write"; bad = 1; next }
    {
        seen[$1] = 1
        for (i = 2; i <= 6; i += 2) {
            if (($i == "-") != (want[$1, i] == "-") || $i > want[$1, i] * 1.05 + 0.02) {
                print $1 ": " (i == 2 ? "load" : i == 4 ? "store" : "shared") " takes " $i ", sectors.tsv has " want[$1, i]
                bad = 1
            }
        }
    }
    END {
        for (k in known) {
            n++
            if (!(k in seen)) { print k " is in sectors.tsv and was not run"; bad = 1 }
        }
        print n " kernels" (bad ? "" : ": none worse than sectors.tsv")
        exit bad
    }' "$file" - <<<"$rows"
