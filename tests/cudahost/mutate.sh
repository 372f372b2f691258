#!/usr/bin/env bash
# Puts the bugs of mutants.tsv into the CUDA kernels, one at a time, and runs the tests of the host builds: the
# plain build, and those with sanitizers and the race checker. It fails when a bug marked killed is not found, or a
# bug marked survives is. Works in a copy of the source tree. All mutants take hours of one core.
#
# usage: tests/cudahost/mutate.sh [-w DIR] [NAME..]
#   -w DIR  keeps the copy and its build there: a second run compiles only changed files. Default: a new directory,
#           removed at the end.
#   NAME    runs only these mutants
set -u
cd "$(dirname "$0")/../.." || exit 2
list=$PWD/tests/cudahost/mutants.tsv
work=
if [ "${1:-}" = -w ]; then
    work=${2:?-w needs a directory} && shift 2
else
    work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
fi

# The ops whose cases use a file of kernels/cuda.
ops_of() {
    case $1 in
    matmul* | ../scratch.c) echo matmul ;;
    attention*) echo attention ;;
    norm.cuh) echo rmsnorm matmul ;;
    rope.cuh) echo kv_write ;;
    kv_write*) echo kv_write ;;
    warp.cuh) echo rmsnorm logprob sample ;;
    row4.cuh) echo add gather rmsnorm logprob sample ;;
    vocab.cuh) echo logprob sample ;;
    kv_page.cuh) echo kv_copy kv_write attention ;;
    *) basename "$1" .cu ;;
    esac
}

# Programs in the order of their runs: the race checker comes first for bugs of ordering.
programs_of() {
    local rows=t_cudahost_rows
    [[ $1 == matmul* || $1 == embed* ]] && rows=t_cudahost_matmul
    case $2 in
    *sync* | *wait*) echo t_cudahost_race t_cudahost "$rows" t_cudahost_asan ;;
    *) echo t_cudahost "$rows" t_cudahost_asan t_cudahost_race ;;
    esac
}

# Builds and runs a program with the ops of a file: 0 found nothing, 1 found something, 2 does not compile.
try() {
    local program=$1 args=()
    case $program in *_rows | *_matmul) ;; *) read -ra args <<<"$(ops_of "$2")" ;; esac
    cmake --build "$work/tree/build/release" --target "$program" >"$work/build.log" 2>&1 || return 2
    (cd "$work/tree/build/release" &&
        ASAN_OPTIONS=detect_leaks=0 timeout 900 "$(find . -type f -name "$program" -perm -u+x | head -n 1)" "${args[@]}") \
        >"$work/run.log" 2>&1 && return 0
    return 1
}

# The first message of a program.
reason() {
    grep -m 1 -aoE 'cushim: .*|ERROR: AddressSanitizer: [a-z-]*|runtime error: .*|: error: .*|[a-z_0-9]+ \[[^]]*\].*' \
        "$work/run.log" | cut -c1-110
}

mkdir -p "$work/tree"
while IFS= read -r -d '' f; do # only files that differ; the copy is newer than the build
    cmp -s "$f" "$work/tree/$f" && continue
    mkdir -p "$work/tree/$(dirname "$f")" && cp "$f" "$work/tree/$f" || exit 2
done < <(git ls-files -z)
if [ ! -e "$work/tree/build/release/build.ninja" ]; then
    # no nvcc: only the host builds are tested
    (cd "$work/tree" && cmake --preset release -DMAS_CUDA=OFF >"$work/build.log" 2>&1) ||
        { tail "$work/build.log"; exit 2; }
fi
for program in t_cudahost t_cudahost_matmul t_cudahost_rows t_cudahost_asan t_cudahost_race; do
    try "$program" all.cu
    [ $? -eq 2 ] && { tail "$work/build.log"; exit 2; }
done

killed=0 survived=0 wrong=0
while IFS=$'\t' read -r name file script want why; do
    case $name in \#* | '') continue ;; esac
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    target=$work/tree/kernels/cuda/$file
    sed -E "$script" "kernels/cuda/$file" >"$target.new"
    if cmp -s "$target" "$target.new"; then
        echo "$name: the script changes nothing in $file"
        wrong=$((wrong + 1)) && rm -f "$target.new" && continue
    fi
    mv "$target.new" "$target"
    got=survives by=
    for program in $(programs_of "$file" "$script"); do
        try "$program" "$file"
        case $? in
        1) got=killed by="$program: $(reason)" && break ;;
        2) got='not compiled' by=$(grep -m 1 -a error: "$work/build.log" | cut -c1-110) && break ;;
        esac
    done
    cp "kernels/cuda/$file" "$target"
    [ "$got" = killed ] && killed=$((killed + 1))
    [ "$got" = survives ] && survived=$((survived + 1))
    mark=
    [ "$got" = "$want" ] || { mark='  <-- expected: '$want && wrong=$((wrong + 1)); }
    printf '%-20s %-12s %s%s\n' "$name" "$got" "$by" "$mark"
done <"$list"
echo "$killed killed, $survived survived, $wrong not as expected"
[ "$wrong" -eq 0 ]
