#!/usr/bin/env bash
# --isa amx: refused by name where the processor lacks it, and the same replies and probabilities where it has it. mas bench
# tiles prints a table and the rows of tiles_rows.def. The program with tiles in plain C stands for a processor with AMX.
set -u
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
fail() { echo "amx: $*" && exit 1; }
[ -n "${MAS_AMX_TWIN:-}" ] || { echo "skipped: no program with tiles in plain C" && exit 77; }
"$MAS_AMX_TWIN" generate -m demo -p x -n 1 --isa avx512vnni >/dev/null 2>&1 || { echo "skipped: needs AVX-512 VNNI" && exit 77; }

if ! grep -qw amx_int8 /proc/cpuinfo; then
    for words in 'generate -m demo -p x -n 1 --isa amx' 'bench tiles -r 1'; do
        read -ra words <<<"$words"
        "$MAS" "${words[@]}" >"$dir/out" 2>&1
        code=$?
        [ $code = 69 ] || fail "${words[*]}: exit $code: $(cat "$dir/out")"
        grep -q "this processor lacks the instruction set 'amx'; use auto, scalar" "$dir/out" ||
            fail "${words[*]}: $(cat "$dir/out")"
    done
fi

# prompts of hundreds of tokens: every matrix by tiles
for i in $(seq 1 30); do printf 'A patient has had fever and a cough for %d days, with pain in the chest. ' "$i"; done >"$dir/prompt"
for isa in scalar avx512vnni amx; do
    "$MAS_AMX_TWIN" perplexity -m demo -f "$dir/prompt" --ctx 128 --isa $isa --logits-out "$dir/$isa" >"$dir/out" 2>&1 ||
        fail "$isa: $(cat "$dir/out")"
    cmp "$dir/scalar" "$dir/$isa" || fail "logits of $isa are not those of scalar"
done
[ "$(wc -c <"$dir/scalar")" -gt 100000 ] || fail "too few logits"

"$MAS_AMX_TWIN" bench tiles -r 1 --shape 256x32 --rows 4,16,33 >"$dir/table" 2>&1 || fail "bench tiles: $(cat "$dir/table")"
[ "$(grep -c '^| [QI]' "$dir/table")" = 51 ] || fail "not 17 formats with three numbers of rows: $(cat "$dir/table")"
[ "$(grep -cE '^X\([A-Z0-9_]+, ([0-9]+|INT32_MAX), MEASURED\)' "$dir/table")" = 17 ] || fail "not 17 rows: $(cat "$dir/table")"
# the names are those of the table in the source
diff <(grep -oE '^X\(\w+' "$MAS_SOURCE/kernels/cpu/tiles_rows.def" | sort) <(grep -oE '^X\(\w+' "$dir/table" | sort) ||
    fail "other formats than in tiles_rows.def"
refused() { # TEXT WORDS..
    local text=$1
    shift
    "$MAS_AMX_TWIN" bench tiles "$@" >"$dir/out" 2>&1
    [ $? = 64 ] || fail "bench tiles $*: wrong exit code: $(cat "$dir/out")"
    grep -q -- "$text" "$dir/out" || fail "bench tiles $*: no '$text' in $(cat "$dir/out")"
}
refused '--rows has 8 after 16; give rising numbers' --rows 16,8
refused "--fmt is 'F16'; it takes a format with integer kernels" --fmt F16
refused "--shape is '0x4'; it takes INPUTSxOUTPUTS" --shape 0x4
refused 'Q4_K has no rows of 100 elements' --fmt Q4_K --shape 100x32
