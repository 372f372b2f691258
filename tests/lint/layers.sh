#!/usr/bin/env bash
# The laws of the house that a script can check. usage: layers.sh [TREE]
. "$(dirname "$0")/lint.bash"

rooms=(kernels loader runtime agents tools)
mapfile -t program < <(sources "${rooms[@]}")
mapfile -t everything < <(sources "${rooms[@]}" tests)
lines=$(code "${program[@]}")
all_lines=$(code "${everything[@]}")

# grep_code TEXT PATTERN MESSAGE [ALLOWED]: each line of code with the pattern (extended regular
# expression), outside the files that match ALLOWED, is a violation.
grep_code() {
    local hits
    hits=$(grep -E "^[^:]*:[0-9]+:.*($2)" <<<"$1" | grep -vE "^(${4:-nothing is allowed}):" || true)
    [ -z "$hits" ] || bad_lines < <(sed -E "s|^([^:]*:[0-9]+):.*|\1: $3|" <<<"$hits")
}

# ---- 1. arrows point down ----------------------------------------------------------------------------
# A header is known by its file name, which is unique in the tree.
bad_lines < <(grep -E '^[^:]*:[0-9]+:[[:space:]]*#[[:space:]]*include[[:space:]]*"' <<<"$all_lines" |
    awk -F: -v files="$(printf '%s\n' "${everything[@]}")" '
    function room(path) { sub(/\/.*/, "", path); return path }
    function own(path) { return path ~ /^runtime\/(config\/(config|option)|zio)\.h$|^runtime\/config\/sampling\.def$|^loader\/(sha256|outfile)\.h$|^kernels\/core\// }
    BEGIN {
        split("kernels loader runtime agents tools tests", order, " ")
        for (i in order) rank[order[i]] = i + 0
        n = split(files, file, "\n")
        for (i = 1; i <= n; i++) { base = file[i]; sub(/.*\//, "", base); home[base] = file[i] }
    }
    {
        header = $3; sub(/^[^"]*"/, "", header); sub(/".*/, "", header); sub(/.*\//, "", header)
        from = room($1)
        if (!(header in home)) { print $1 ":" $2 ": includes \"" header "\", which is not in the tree"; next }
        to = room(home[header])
        if (rank[to] > rank[from])
            print $1 ":" $2 ": " from " includes " home[header] ": arrows point from " to " to " from
        # 4. agents see the model only through agents/llm.h; provider_local.c opens an engine for llm_local.c
        else if (from == "agents" && to != "agents" && $1 !~ /^agents\/(llm|provider)_local\.c$/ && !own(home[header]))
            print $1 ":" $2 ": agents include " home[header] ": the model is reached through llm.h only"
    }')

# ---- 2. CUDA and C++ have one home -------------------------------------------------------------------
grep_code "$all_lines" '#[[:space:]]*include[[:space:]]*[<"](cuda|cublas|curand|cufft|cub/|mma\.h)' \
    'CUDA header outside kernels/cuda and tests/cudahost' '(kernels/cuda|tests/cudahost)/[^:]*'
bad_lines < <(printf '%s\n' "${everything[@]}" | grep -E '\.(cu|cuh|cc|cpp|hpp)$' |
    grep -vE '^(kernels/cuda|tests/cudahost)/' | sed 's/$/:1: C++ or CUDA outside kernels\/cuda and tests\/cudahost/')

# ---- 3. one dependency, one home ---------------------------------------------------------------------
library() { # HEADER HOME
    grep_code "$lines" "#[[:space:]]*include[[:space:]]*<$1" "library header <$1> outside $2" "$2"
}
library 'yaml\.h' 'runtime/config/config.c'
library 'zlib\.h' 'runtime/zio.c'
library 'openssl/' 'loader/sha256.c'
grep_code "$lines" '#[[:space:]]*include[[:space:]]*<dlfcn\.h' 'library header <dlfcn.h>: NVML and cuBLAS alone are found at run time' \
    'kernels/(health/nvml\.c|cuda/matmul_blas\.cu)'
library 'nvtx3/' 'kernels/nvtx.c'
# one_home ROOM HEADER: at most one file of the room (all: '') includes the header
one_home() {
    local homes
    homes=$(grep -E "^$1[^:]*:[0-9]+:.*#[[:space:]]*include[[:space:]]*<$2" <<<"$lines" | cut -d: -f1 | sort -u || true)
    [ "$(wc -w <<<"$homes")" -le 1 ] || bad "${homes%%$'\n'*}:1: library <$2> has a second home:" "${homes##*$'\n'}"
}
one_home '' 'microhttpd'
for room in "${rooms[@]}"; do # pull and providers fetch in rooms of their own
    one_home "$room/" 'curl/'
done

# ---- 5. loader and runtime name no backend -----------------------------------------------------------
above=$(grep -E '^(loader|runtime)/' <<<"$lines" || true)
grep_code "$above" '\<(ops|device)_(ref|cpu|cuda|cudahost)\>|\<(ops|device)_(ref|cpu|cuda|cudahost)[_.]' \
    'names a backend; ops_open is the only chooser'

# ---- the façade is for the rooms above ----------------------------------------------------------------
# Parts of the engine include request.h, engine_stats.h and each other, never the header over all of them.
grep_code "$(grep -E '^runtime/' <<<"$lines" || true)" '#[[:space:]]*include[[:space:]]*"engine\.h"' \
    'the runtime includes engine.h, the header of its callers; include request.h' 'runtime/engine/engine\.c'

# ---- 6. the process belongs to tools -----------------------------------------------------------------
grep_code "$lines" '(^|[^A-Za-z0-9_.>])(getenv|secure_getenv|setenv|exit|_exit|quick_exit|abort)[[:space:]]*\(' \
    'getenv, exit or abort outside tools and core/check.c' '(tools/[^:]*|kernels/core/check\.c)'

# Memory comes from mem.h, which tests can make fail.
grep_code "$lines" '(^|[^A-Za-z0-9_.>])(malloc|calloc|realloc|aligned_alloc|posix_memalign|strdup|strndup|asprintf|alloca)[[:space:]]*\(' \
    'allocation outside core/mem.c' 'kernels/core/mem\.c'

# Files are written by outfile.c, which never replaces a device or a link; a run's trace is appended to by trace.c in a folder that folder.c locks; node_copy.c has a lock. What
# kernels open are files of /proc and /sys.
grep_code "$lines" '(^|[^A-Za-z0-9_.>])(creat|rename|renameat2?|mkstemp|mkostemp|tmpfile|freopen)[[:space:]]*\(|O_CREAT|O_TMPFILE|O_TRUNC' \
    'writes a file outside loader/outfile.c' '(loader/outfile\.c|agents/(trace|folder)\.c|loader/node_copy\.c|tools/predict/fit_simulate\.c)'
grep_code "$lines" '(^|[^A-Za-z0-9_.>])fopen[[:space:]]*\(' 'fopen outside kernels: read by zio_read, write by outfile.h' \
    'kernels/[^:]*'

# Writable variables: what the compiler put into .data and .bss. Sanitizers and gcov add their own.
for lib in kernels loader runtime agents; do
    archive=$build/lib$lib.a
    [ -f "$archive" ] || continue
    bad_lines < <(objdump -t "$archive" 2>/dev/null | awk -v lib="$lib" '
        /file format/ { object = $1; sub(/:$/, "", object); sub(/\.o$/, "", object) }
        {
            for (i = 2; i < NF; i++)
                if ($i ~ /^(\.data|\.bss|\.tdata|\.tbss|\*COM\*)/ && $i !~ /^\.data\.rel\.ro/ &&
                    $NF != $i && $NF !~ /^(__gcov|__odr_asan|\.LASAN|__asan|_GLOBAL_)/ &&
                    !(object == "log.c" && $NF == "log_threshold") &&
                    !(object == "nvtx.c" && $NF ~ /^(nvtx|InitializeInjectionNvtx)/)) # the state of the library NVTX
                    print lib "/" object ":1: writable variable " $NF " in " $i
        }')
done

# ---- file names: none twice, except run.sh, which starts all of its folder -------------------------------
bad_lines < <(find kernels loader runtime agents tools tests -type f \( -name '*.[ch]' -o -name '*.cu' \
    -o -name '*.cuh' -o -name '*.def' -o -name '*.sh' -o -name '*.py' \) 2>/dev/null |
    grep -vE '^tests/(golden|fuzz/corpus)/|/run\.sh$' |
    awk -F/ '{ if ($NF in seen) print $0 ":1: a second file named " $NF ", beside " seen[$NF]; seen[$NF] = $0 }')

# ---- what the host shim cannot run -------------------------------------------------------------------
grep_code "$all_lines" '(^|[^A-Za-z0-9_])(asm|__asm|__asm__)([^A-Za-z0-9_]|$)' 'inline assembly outside ptx.cuh, vnni512.h and amx_tile.h' \
    'kernels/(cuda/ptx\.cuh|cpu/(vnni512|amx_tile)\.h)'
grep_code "$all_lines" '<<<' 'a launch with <<<; use LAUNCH'

finish
