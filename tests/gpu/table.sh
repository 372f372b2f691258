#!/usr/bin/env bash
# The tables of a README from the results of tests/gpu/run.sh: one section a result, newest first.
#   usage: tests/gpu/table.sh [--write FILE] RESULT.json..
#     --write FILE   puts them between the lines <!-- table: tests/gpu/table.sh --> and <!-- end of table --> of FILE
# Exit 1 for a result that is not whole or did not pass.
set -euo pipefail
export LC_ALL=C
file=
if [ "${1:-}" = --write ]; then
    file=${2:?--write needs a file} && shift 2
fi
[ $# -gt 0 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" && exit 64; }

# One result. A JSON object of a measurement is one line of it (run.sh).
section() {
    awk '
    function field(key,   at, rest) { # the value after "key": as text, "" when there is none
        at = index($0, "\"" key "\": ")
        if (!at)
            return ""
        rest = substr($0, at + length(key) + 4)
        if (substr(rest, 1, 1) == "\"")
            return substr(rest, 2, index(substr(rest, 2), "\"") - 1)
        sub(/[,}].*/, "", rest)
        return rest
    }
    function rate(v) { return v + 0 >= 100 ? sprintf("%.0f", v) : sprintf("%.1f", v) }
    /^\{"pass": / { pass = field("pass"); emulated = field("backend") != "cuda" }
    /^ "gpu": / { gpu = field("gpu"); driver = field("driver") }
    /^ "program": / { program = field("program"); date = substr(field("date"), 1, 10) }
    /^ "ceiling": \{"bench"/ {
        device = field("device")
        ceiling = sprintf("copy %s GB/s, read %s GB/s, link up %s and down %s GB/s, tensor cores %.0f (f16) and %.0f (int8) x 10^12 operations/s",
            field("copy_gb_s"), field("read_gb_s"), field("up_gb_s"), field("down_gb_s"),
            field("tensor_f16_gop_s") / 1000, field("tensor_int8_gop_s") / 1000)
    }
    /^ "kernels(-8b)?": / { list = $1 }
    /^\}\}$/ { whole = 1 }
    /"build_commit": / {
        model = field("model_filename")
        sub(/.*\//, "", model)
        sub(/\.gguf$/, "", model)
        if (!(model in known)) { known[model] = 1; models[++n_model] = model }
        n = field("n_prompt") > 0 ? "prompt of " field("n_prompt") : field("n_parallel") + 0
        if (!(n in asked)) { asked[n] = 1; columns[++n_column] = n }
        tokens[model, n] = field("median_ts")
    }
    /^  \{"op": / && field("picked") == "true" {
        row = sprintf("| %s | %s | `%s` | %s | %s | %s | %.0f %%%s |", field("op"), field("case"), field("kernel"),
            rate(field("us")), rate(field("gb_s")), rate(field("gop_s") / 1000), 100 * field("share"),
            field("noisy") == "true" ? " (noisy)" : "")
        shown[list, ++n_row[list]] = row
    }
    /^  \{"op": / && field("best") == "true" && field("picked") != "true" { wrong[list]++ }
    END {
        if (!whole || pass != "true" || !device || !n_model || !n_row["\"kernels\":"]) {
            printf "not a whole result that passed: %s, pass %s, device \"%s\", %d models, %d kernels\n", whole ? "whole" : "its end is missing", pass, device,
                n_model, n_row["\"kernels\":"] > "/dev/stderr"
            exit 1
        }
        printf "**%s**%s, %s, %s%s. Ceilings of the same run: %s.\n\n", device, emulated ? " (emulated: times mean nothing)" : "",
            date, program, driver ? ", driver " driver : "", ceiling
        printf "| tokens/s (median) |"
        for (i = 1; i <= n_column; i++)
            printf columns[i] ~ /prompt/ ? " %s |" : columns[i] == 1 ? " %s sequence |" : " %s together |", columns[i]
        printf "\n|---|"
        for (i = 1; i <= n_column; i++)
            printf "---:|"
        for (m = 1; m <= n_model; m++) {
            printf "\n| %s |", models[m]
            for (i = 1; i <= n_column; i++)
                printf " %s |", (models[m], columns[i]) in tokens ? rate(tokens[models[m], columns[i]]) : "-"
        }
        list = n_row["\"kernels-8b\":"] ? "\"kernels-8b\":" : "\"kernels\":"
        printf "\n\n| op | case | kernel taken | us | GB/s | 10^12 operations/s | of the ceiling |\n|---|---|---|---:|---:|---:|---:|\n"
        for (i = 1; i <= n_row[list]; i++)
            print shown[list, i]
        printf "\nAnother kernel was faster in %d of %d cases.\n\n", wrong[list], n_row[list]
    }' "$1"
}

tables=$(mktemp)
trap 'rm -f "$tables"' EXIT
while read -r result; do
    section "$result" >>"$tables" || { echo "$result: see above" >&2 && exit 1; }
done < <(printf '%s\n' "$@" | sort -r)
if [ -z "$file" ]; then
    cat "$tables"
    exit
fi
grep -q '^<!-- table: tests/gpu/table.sh' "$file" || { echo "$file has no line <!-- table: tests/gpu/table.sh -->" >&2 && exit 1; }
awk -v tables="$tables" '
    /^<!-- table: tests\/gpu\/table.sh/ {
        print $0 "\n"
        while ((getline line < tables) > 0)
            print line
        skip = 1
    }
    /^<!-- end of table -->/ { skip = 0 }
    !skip' "$file" >"$tables.new"
cat "$tables.new" >"$file"
rm -f "$tables.new"
