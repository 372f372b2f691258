#!/usr/bin/env bash
# Checks the kernels without a GPU. Every kernel compiles for each architecture without warnings, spilled registers
# or local memory. It has a row in kernels/cuda/gate.tsv and keeps to its budget: registers, shared memory,
# required and forbidden instructions. A case of the tests runs it (sectors.tsv). 77 when there is no nvcc.
#   usage: tools/scripts/nvcc_gate.sh [--table | FILE.cu..]
#     --table   instead of only checking, writes the figures into the table of kernels/CUDA.md, beside those of
#               kernels/cuda/sectors.tsv (tests/cudahost/sectors.sh)
#   environment: NVCC, MAS_CUDA_ARCHS (default "80 86 89 90", and 120 where the toolkit has it)
set -euo pipefail
export LC_ALL=C

root=$(cd "$(dirname "$0")/../.." && pwd)
budget=$root/kernels/cuda/gate.tsv
sectors=$root/kernels/cuda/sectors.tsv
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
if ! [ -x "$nvcc" ]; then
    echo "skipped: no nvcc"
    exit 77
fi
default="80 86 89 90"
"$nvcc" --list-gpu-arch | grep -qx compute_120 && default+=" 120"
read -ra archs <<<"${MAS_CUDA_ARCHS:-$default}"
ptxas=$(dirname "$(readlink -f "$nvcc")")/ptxas
table=no
if [ "${1:-}" = --table ]; then
    table=yes
    shift
fi
files=("$@")
[ ${#files[@]} -gt 0 ] || files=("$root"/kernels/cuda/*.cu)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# ---- compile: one PTX a file, machine code from it for each architecture, two at a time ------------------
one() { # FILE.cu
    local name archs=("${archs[@]}") define=()
    name=$(basename "$1" .cu)
    if [[ $name == *_wgmma ]]; then # for Hopper alone
        [[ " ${archs[*]} " == *" 90 "* ]] || return 0
        archs=(90a) define=(-DMAS_SM90A)
    fi
    "$nvcc" -std=c++17 -O3 --Werror=all-warnings "${define[@]}" -ptx -arch="compute_${archs[0]}" -I"$root/kernels" \
        -I"$root/kernels/core" -I"$root/kernels/quant" -I"$root/kernels/cuda" "$1" \
        -o "$tmp/$name.ptx" >"$tmp/$name.out" 2>&1 || return 1
    grep -q '\.entry' "$tmp/$name.ptx" || return 0
    for arch in "${archs[@]}"; do
        "$ptxas" -v -warn-spills -warn-lmem-usage -Werror -arch="sm_$arch" "$tmp/$name.ptx" -o /dev/null \
            >"$tmp/$name.${arch%a}.log" 2>&1 || {
            cat "$tmp/$name.${arch%a}.log" >>"$tmp/$name.out"
            return 1
        }
    done
}
export -f one
failed=0
running=0
for file in "${files[@]}"; do
    if [ $running -ge 2 ]; then
        wait -n || failed=1
        running=$((running - 1))
    fi
    one "$file" &
    running=$((running + 1))
done
while [ $running -gt 0 ]; do
    wait -n || failed=1
    running=$((running - 1))
done
if [ $failed -ne 0 ]; then
    cat "$tmp"/*.out
    echo "a kernel does not compile cleanly"
    exit 1
fi

# ---- what ptxas says: arch, kernel, registers, static shared memory, stack + spills -----------------------
for arch in "${archs[@]}"; do
    for log in "$tmp"/*."$arch".log; do
        [ -f "$log" ] || continue
        awk -v arch="$arch" '
            /Compiling entry function/ { split($0, q, "\047"); name = q[2] }
            /stack frame/ { split($0, n, /[^0-9]+/); lost = 0
                for (i in n) if (n[i] != "") lost += n[i] }
            /Used [0-9]+ registers/ {
                regs = $0; sub(/.*Used /, "", regs); sub(/ .*/, "", regs)
                smem = 0
                if ($0 ~ /bytes smem/) { smem = $0; sub(/ bytes smem.*/, "", smem); sub(/.* /, "", smem) }
                print arch "\t" name "\t" regs "\t" smem "\t" lost
            }' "$log"
    done
done >"$tmp/figures"

# ---- what the PTX says: kernel, threads of a block, instructions with their counts ------------------------
# A kernel ends where the next function begins: "}" alone on a line also ends blocks of inline assembly.
awk '
    function flush(   o) {
        for (o in count) print "op\t" name "\t" o "\t" count[o]
        if (name != "") print "threads\t" name "\t" threads
        split("", count); name = ""
    }
    FNR == 1 || /\.func / { flush() }
    /\.entry / {
        flush()
        name = $0; sub(/.*\.entry /, "", name); sub(/[^A-Za-z0-9_].*/, "", name); threads = 0; next
    }
    /^\.maxntid/ { split($0, n, /[ ,]+/); threads = n[2] * n[3] * n[4]; next }
    name != "" && /^[\t {]+(@!?%p[0-9]+ )?[a-z]/ {
        o = $1; if (o ~ /^@/) o = $2
        sub(/^{/, "", o); sub(/;.*/, "", o); if (o != "") count[o]++
    }
    END { flush() }' "$tmp"/*.ptx >"$tmp/ptx"

# The name as written, without namespace, types and arguments: k_matvec<12,4>
cut -f2 "$tmp/ptx" | sort -u >"$tmp/mangled"
c++filt <"$tmp/mangled" | sed -E 's/\(([a-z]+ )?fmt\)/#/g; s/\([^()]*\)//g; s/^void //; s/[A-Za-z_0-9]+:://g; s/ //g' |
    paste "$tmp/mangled" - >"$tmp/names"

# ---- the budget --------------------------------------------------------------------------------------------
whole=$([ $# -eq 0 ] && echo 1 || echo 0)
awk -F'\t' -v whole="$whole" -v rows="$tmp/rows" '
    FILENAME ~ /formats.def$/ {
        if (sub(/^X\(/, "")) { sub(/,.*/, ""); fmt[n_fmt++] = $0 }
        next
    }
    FILENAME ~ /names$/ {
        name[$1] = pretty[$1] = $2
        gsub(/#/, "", name[$1])
        while (match(pretty[$1], /#[0-9]+/)) # a format, by its number
            pretty[$1] = substr(pretty[$1], 1, RSTART - 1) fmt[substr(pretty[$1], RSTART + 1, RLENGTH - 1)] \
                substr(pretty[$1], RSTART + RLENGTH)
        next
    }
    FILENAME ~ /ptx$/ { if ($1 == "threads") threads[$2] = $3; else count[$2, ++n_op[$2]] = $3 "\t" $4; next }
    FILENAME ~ /sectors.tsv$/ { gsub(/FMT_/, "", $1); run[$1] = 1; next }
    FILENAME ~ /gate.tsv$/ {
        if ($0 ~ /^#/ || $0 == "") next
        if (NF != 6) { print "gate.tsv: row " FNR " has " NF " columns, must be 6"; bad = 1; next }
        pat[++n_pat] = $1; regs[n_pat] = $2; smem[n_pat] = $3; dyn[n_pat] = $4; needs[n_pat] = $5
        bans[n_pat] = $6; next
    }
    function found(kernel, what,   i, p, sum) {
        for (i = 1; i <= n_op[kernel]; i++) {
            split(count[kernel, i], p, "\t")
            if (p[1] ~ "^" what) sum += p[2]
        }
        return sum + 0
    }
    function complain(text) { print "sm_" $1 " " name[$2] ": " text; bad = 1 }
    {
        k = 0
        for (i = 1; i <= n_pat && !k; i++) if (name[$2] ~ "^" pat[i] "$") k = i
        if (!k) { complain("has no row in gate.tsv (" $3 " registers, " $4 " bytes of shared memory)"); next }
        if (!(pretty[$2] in run)) complain("is run by no case of the tests: it is not in sectors.tsv")
        used[k] = 1
        if ($3 > regs[k] + 0) complain($3 " registers, budget " regs[k])
        if ($4 > smem[k] + 0) complain($4 " bytes of static shared memory, budget " smem[k])
        if ($5 > 0) complain("uses local memory or spills: " $5 " bytes")
        if (!($2 in threads) || threads[$2] == 0) complain("has no __launch_bounds__")
        n = needs[k] == "-" ? 0 : split(needs[k], list, ",")
        for (i = 1; i <= n; i++) {
            split(list[i], part, "="); least = part[2] ? part[2] : 1
            if (found($2, part[1]) < least)
                complain("has " found($2, part[1]) " of " part[1] ", needs " least)
        }
        n = bans[k] == "-" ? 0 : split(bans[k], list, ",")
        for (i = 1; i <= n; i++)
            if (found($2, list[i])) complain("has " found($2, list[i]) " of the banned " list[i])
        print $1 "\t" pretty[$2] "\t" $3 "\t" $4 "\t" dyn[k] "\t" threads[$2] > rows
        checked++
    }
    END {
        for (i = 1; i <= n_pat && whole; i++)
            if (!used[i]) { print "gate.tsv: no kernel matches " pat[i]; bad = 1 }
        printf "%d kernel builds checked against %d rows%s\n", checked, n_pat, bad ? "" : ": all within budget"
        exit bad
    }' "$root/kernels/quant/formats.def" "$tmp/names" "$tmp/ptx" "$sectors" "$budget" "$tmp/figures"

# ---- the table ---------------------------------------------------------------------------------------------
# Blocks per SM: the least of what registers (256 at a time for a warp), shared memory (1 KiB more a block) and
# threads allow; CUDA C++ programming guide, "technical specifications per compute capability".
[ $table = yes ] || exit 0
awk -F'\t' -v archs="${archs[*]}" '
    function least(a, b) { return a < b ? a : b }
    function blocks(arch, regs, smem, threads,   warps, n, kib) {
        warps = int((threads + 31) / 32)
        n = least(int((arch == 86 || arch == 89 || arch == 120 ? 48 : 64) / warps),
                  arch == 86 ? 16 : arch == 89 || arch == 120 ? 24 : 32)
        n = least(n, int(65536 / (int((regs * 32 + 255) / 256) * 256 * warps)))
        kib = arch == 80 ? 164 : arch == 90 || arch == 100 ? 228 : 100
        return least(n, int(kib * 1024 / (smem + 1024)))
    }
    FILENAME ~ /sectors.tsv$/ {
        if (/^#/ || $0 == "") next
        gsub(/FMT_/, "", $1)
        load[$1] = $2 == "-" ? "-" : $2 " (" $3 ")"
        store[$1] = $4 == "-" ? "-" : $4 " (" $5 ")"
        shared[$1] = $6 == "-" ? "-" : $6 " (" $7 ")"
        next
    }
    {
        if (!($2 in seen)) { seen[$2] = 1; order[++n] = $2 }
        regs[$2, $1] = $3; smem[$2] = $4; dyn[$2] = $5; threads[$2] = $6
        fit[$2, $1] = blocks($1, $3, $4 + $5, $6)
    }
    END {
        n_arch = split(archs, a, " ")
        printf "| kernel | threads | shared memory: static + dynamic | sectors a load | sectors a store | " \
               "wavefronts a shared access |"
        for (i = 1; i <= n_arch; i++) printf " sm_%s: registers, blocks/SM |", a[i]
        printf "\n|---|---|---|---|---|---|"
        for (i = 1; i <= n_arch; i++) printf "---|"
        printf "\n"
        for (k = 1; k <= n; k++) {
            m = order[k]
            printf "| `%s` | %d | %d + %s | %s | %s | %s |", m, threads[m], smem[m], dyn[m],
                   load[m], store[m], shared[m]
            for (i = 1; i <= n_arch; i++)
                if ((m, a[i]) in regs) printf " %d, %d |", regs[m, a[i]], fit[m, a[i]]
                else printf " - |"
            printf "\n"
        }
    }' "$sectors" <(sort -t"$(printf '\t')" -k2,2 -k1,1n "$tmp/rows") >"$tmp/table"
doc=$root/kernels/CUDA.md
awk -v table="$tmp/table" '
    /^<!-- table: tools\/scripts\/nvcc_gate.sh --table -->/ {
        print; print ""
        while ((getline line < table) > 0) print line
        print ""; skip = 1; next
    }
    /^<!-- end of table -->/ { skip = 0 }
    !skip' "$doc" >"$tmp/doc"
cp "$tmp/doc" "$doc"
echo "kernels/CUDA.md: $(($(wc -l <"$tmp/table") - 2)) kernels, $("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/nvcc \1/p')"
