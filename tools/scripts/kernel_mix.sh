#!/usr/bin/env bash
# The cost of a byte: the instructions of the main loop of the kernels in kernels/cuda/mix.tsv, from machine code. Derives
# for a card the share of its bandwidth within reach, and the bytes in flight against bandwidth times latency. These are
# predictions from counts: nothing is run. 77 when nvcc or nvdisasm is missing.
#   usage: tools/scripts/kernel_mix.sh [--table]     --table: into kernels/CUDA.md
#   environment: NVCC, NVDISASM
set -euo pipefail
export LC_ALL=C

root=$(cd "$(dirname "$0")/../.." && pwd)
rows=$root/kernels/cuda/mix.tsv
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
nvdisasm=${NVDISASM:-$(command -v nvdisasm || echo /usr/local/cuda/bin/nvdisasm)}
for tool in "$nvcc" "$nvdisasm"; do
    if ! [ -x "$tool" ]; then
        echo "skipped: no $(basename "$tool")"
        exit 77
    fi
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# name, cc, SMs, GHz (boost), memory GB/s, registers and KiB of shared memory of an SM, warps, blocks; NVIDIA's data
# sheets of the RTX 4090 and the H200 SXM, CUDA C++ programming guide. Latency under load: 600 and 800 ns.
cards="RTX-4090:89:128:2.52:1008:100:48:24:600 H200:90:132:1.755:4800:228:64:32:800"

for cc in 89 90; do
    for file in matmul_matvec matmul_mma matmul_float_mma attention_mma matmul_wgmma; do
        arch=$cc define=()
        if [[ $file == *_wgmma ]]; then # for Hopper alone
            [ $cc = 90 ] || continue
            arch=90a define=(-DMAS_SM90A)
        fi
        "$nvcc" -std=c++17 -O3 "${define[@]}" -arch=sm_$arch -I"$root/kernels" -I"$root/kernels/core" -I"$root/kernels/quant" \
            -I"$root/kernels/cuda" -Xptxas=-v -cubin "$root/kernels/cuda/$file.cu" -o "$tmp/$file.cubin" \
            2>"$tmp/$file.ptxas"
        awk '/Compiling entry/ { split($0, q, "\047"); name = q[2] }
            /Used [0-9]+ registers/ { regs = $0; sub(/.*Used /, "", regs); sub(/ .*/, "", regs); print name "\t" regs }' \
            "$tmp/$file.ptxas" >>"$tmp/regs.$cc"
        "$nvdisasm" -c "$tmp/$file.cubin" >>"$tmp/sass.$cc"
    done
done
# Mangled name, the name as in kernels/CUDA.md, the name as in gate.tsv (formats by number)
cut -f1 "$tmp/regs.90" | sort -u >"$tmp/mangled"
c++filt <"$tmp/mangled" | sed -E 's/\(([a-z]+ )?fmt\)/#/g; s/\([^()]*\)//g; s/^void //; s/[A-Za-z_0-9]+:://g; s/ //g' |
    paste "$tmp/mangled" - |
    awk -F'\t' '
        NR == FNR { if (sub(/^X\(/, "")) { sub(/,.*/, ""); fmt[n++] = $0 } next }
        {
            plain = pretty = $2; gsub(/#/, "", plain)
            while (match(pretty, /#[0-9]+/))
                pretty = substr(pretty, 1, RSTART - 1) fmt[substr(pretty, RSTART + 1, RLENGTH - 1)] \
                    substr(pretty, RSTART + RLENGTH)
            print $1 "\t" pretty "\t" plain
        }' "$root/kernels/quant/formats.def" - >"$tmp/names"

# ---- the loops: kernel, cc, turns' instructions by class ---------------------------------------------------
# A loop is what lies between a label and a branch back to it. The main loop: the smallest that multiplies and
# copies; what lies in loops inside it counts as often as mix.tsv says.
for cc in 89 90; do
    awk -F'\t' -v cc=$cc '
        FILENAME ~ /names$/ { pretty[$1] = $2; next }
        FILENAME ~ /mix.tsv$/ { if ($0 !~ /^#/) { wanted[$1] = 1; inner[$1] = $5; copy[$1] = $6 } next }
        function class(o) {
            if (o ~ /^(LDS|LDSM|STS)/) return "shared"
            if (o ~ /^(LD|ST)/) return "global"
            if (o ~ /^(IDP|IMMA|HMMA|IGMMA)/) return "product"
            if (o ~ /^(SHFL|REDUX)/) return "shuffle"
            if (o ~ /^(FADD|FFMA|FMUL|FMNMX|FSEL|FSETP|I2F|F2F|F2FP|HADD2|HFMA2|HMUL2|MUFU)/) return "float"
            if (o ~ /^(BRA|BAR|BSYNC|BSSY|WARPSYNC|DEPBAR|NOP|EXIT|BREAK|YIELD|ERRBAR|MEMBAR|CCTL|WARPGROUP|FENCE)/) return "control"
            return "integer"
        }
        function finish(   i, j, a, b, best, size, k, c, n, times) {
            if (!(name in wanted)) return
            best = 0; size = 1e9
            for (i = 1; i <= n_loop; i++) {
                a = from[i]; b = to[i]; k = 0; c = 0
                for (j = a; j <= b; j++) { if (op[j] ~ /^(IDP|IMMA|HMMA|IGMMA)/) k++; if (op[j] ~ /^LDGSTS/) c++ }
                if (k && c && b - a < size) { best = i; size = b - a }
            }
            if (!best) { print "no loop found in " name > "/dev/stderr"; exit 1 }
            split("", sum)
            ends_of_rows(best)
            for (j = from[best]; j <= to[best]; j++) {
                times = rare[j] ? 0 : 1
                for (i = 1; times && i <= n_loop; i++)
                    if (i != best && from[i] >= from[best] && to[i] <= to[best] && j >= from[i] && j <= to[i])
                        times = kind[i] == "p" ? inner[name] : kind[i] == "c" ? copy[name] : times
                sum[class(op[j])] += times; sum["all"] += times
            }
            printf "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, cc, sum["all"], sum["product"], sum["shared"], \
                sum["global"], sum["integer"], sum["float"], sum["shuffle"] + 0, sum["control"]
        }
        # Blocks of instructions that do nothing but copy with zero fill are run at the end of a row only.
        function ends_of_rows(best,   a, b, j, fill, other) {
            split("", rare)
            for (a = from[best]; a <= to[best]; a = b + 1) {
                fill = other = 0
                for (b = a; ; b++) {
                    if (op[b] ~ /ZFILL/) fill++
                    else if (op[b] ~ /^(LDGSTS|IDP|IMMA|HMMA|IGMMA)/) other++
                    if (op[b] ~ /^BRA/ || (b + 1) in start || b == to[best]) break
                }
                for (j = a; fill && !other && j <= b; j++) rare[j] = 1
            }
        }
        function loops(   i, j) {
            for (i = 1; i <= n_loop; i++) {
                kind[i] = "o"
                for (j = from[i]; j <= to[i]; j++) {
                    if (op[j] ~ /^LDGSTS/) kind[i] = "c"
                }
                for (j = from[i]; j <= to[i]; j++) if (op[j] ~ /^(IDP|IMMA|HMMA|IGMMA)/) kind[i] = "p"
            }
        }
        /^\.text\./ {
            if (name != "") { loops(); finish() }
            name = $0; sub(/^\.text\./, "", name); sub(/:.*/, "", name); name = pretty[name]
            n = 0; n_loop = 0; split("", at); split("", start); split("", from); split("", to); split("", op); next
        }
        /^\.L_/ { l = $0; sub(/:.*/, "", l); at[l] = n + 1; start[n + 1] = 1; next }
        name != "" && match($0, /\/\*[0-9a-f]+\*\/ +/) {
            t = substr($0, RSTART + RLENGTH); sub(/^@!?U?P[T0-9]+ +/, "", t)
            if (index($0, "@!PT ")) next # never runs
            o = t; sub(/[ .;].*/, "", o); op[++n] = o
            if (o == "BRA" && match(t, /\.L_[A-Za-z0-9_]+/)) {
                l = substr(t, RSTART, RLENGTH)
                if (l in at) { n_loop++; from[n_loop] = at[l]; to[n_loop] = n }
            }
        }
        END { loops(); finish() }' "$tmp/names" "$rows" "$tmp/sass.$cc"
done >"$tmp/loops"

# ---- the table -------------------------------------------------------------------------------------------------
# A scheduler issues one instruction a clock, an SM has four. In flight: blocks that fit (registers, shared memory of
# gate.tsv, warps, blocks) x warps x what each has asked for.
awk -F'\t' -v cards="$cards" '
    function least(a, b) { return a < b ? a : b }
    function blocks(cc, regs, smem, threads, kib, warps, most,   n) {
        n = least(int(warps / (threads / 32)), most)
        n = least(n, int(65536 / (int((regs * 32 + 255) / 256) * 256 * (threads / 32))))
        return least(n, int(kib * 1024 / (smem + 1024)))
    }
    FILENAME ~ /names$/ { pretty[$1] = $2; plain[$2] = $3; next }
    FILENAME ~ /regs\.[0-9]+$/ { cc = FILENAME; sub(/.*\./, "", cc); regs[pretty[$1], cc] = $2; next }
    FILENAME ~ /gate.tsv$/ { if ($0 !~ /^#/) { pat[++n_pat] = "^" $1 "$"; dyn[n_pat] = $4 } next }
    FILENAME ~ /mix.tsv$/ { if ($0 !~ /^#/) { order[++n_row] = $1; bytes[$1] = $2; macs[$1] = $3 * 1000; ahead[$1] = $4 } next }
    { total[$1, $2] = $3; product[$1, $2] = $4; shared[$1, $2] = $5 }
    END {
        n_card = split(cards, card, " ")
        printf "| kernel | bytes a turn | instructions a turn: multiplying + shared + other | instructions a byte |"
        for (c = 1; c <= n_card; c++) {
            split(card[c], f, ":"); gsub(/-/, " ", f[1])
            printf " %s: bandwidth within reach | in flight on an SM (wanted) | 10^12 ops/s within reach |", f[1]
        }
        printf "\n|---|---|---|---|"
        for (c = 1; c <= n_card; c++) printf "---|---|---|"
        printf "\n"
        for (i = 1; i <= n_row; i++) {
            k = order[i]
            if (!((k, 90) in total) || (!((k, 89) in total) && k !~ /wgmma/)) {
                print "mix.tsv: " k " is in no file that was compiled" > "/dev/stderr"; exit 1
            }
            for (p = 1; p <= n_pat; p++) if (plain[k] ~ pat[p]) break
            threads = k ~ /matvec|wgmma/ ? 256 : k ~ /attention_mma<.*,1,(true|false)>$/ ? 32 : 128
            printf "| `%s` | %d | %d + %d + %d | %.3f |", k, bytes[k], product[k, 90], shared[k, 90],
                total[k, 90] - product[k, 90] - shared[k, 90], total[k, 90] / bytes[k]
            for (c = 1; c <= n_card; c++) {
                split(card[c], f, ":") # name cc sms ghz gbs kib warps blocks ns
                if (!((k, f[2]) in total)) { printf " - | - | - |"; continue }
                issue = f[3] * 4 * f[4] * 1e9
                reach = issue / (total[k, f[2]] / bytes[k]) / (f[5] * 1e9) * 100
                n = blocks(f[2], regs[k, f[2]], dyn[p], threads, f[6], f[7], f[8])
                printf " %s %% | %.1f KB (%.1f) | %.0f |", (reach > 100 ? "100" : sprintf("%.0f", reach)),
                    n * threads / 32 * ahead[k] / 1024, f[5] * f[9] / f[3] / 1024, 2e-12 * macs[k] / total[k, f[2]] * issue
            }
            printf "\n"
        }
    }' "$tmp/names" "$tmp/regs.89" "$tmp/regs.90" "$root/kernels/cuda/gate.tsv" "$rows" \
    "$tmp/loops" >"$tmp/table"
if [ "${1:-}" != --table ]; then
    cat "$tmp/table"
    exit
fi
awk -v table="$tmp/table" '
    /^<!-- table: tools\/scripts\/kernel_mix.sh/ { print; print ""; while ((getline line < table) > 0) print line; print ""; skip = 1; next }
    /^<!-- end of table -->/ { skip = 0 }
    !skip { print }' "$root/kernels/CUDA.md" >"$tmp/doc"
cp "$tmp/doc" "$root/kernels/CUDA.md"
echo "kernels/CUDA.md: $(($(wc -l <"$tmp/table") - 2)) kernels"
