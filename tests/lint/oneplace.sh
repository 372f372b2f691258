#!/usr/bin/env bash
# A fact has one place: the names of a list stand in the list, and in few files that are about single names.
#   - number formats: kernels/quant/formats.def and fmt_<x>.{h,c}; mixtures: loader/mixtures.def
#   - strategies: agents/strategies.def; their roles: agents/strategy_<x>.c
# An identifier (FMT_Q4_K) outside the allowed files is a violation, and so is a string with several of the names,
# unless it shows commands ("mas .."). F32 and F16 are types of numbers too: they stand anywhere.
# A strategy stands in no other file of runtime, agents and tools as strategy_<x>, as a whole string, or with another
# strategy in a string. A role stands there neither as a word of a string nor as an identifier; "answer" may, being a key
# of files.
# JSON has no NaN: a measured number is written by str_add_number, which knows that, and not by a format of printf.
# usage: oneplace.sh [TREE]
. "$(dirname "$0")/lint.bash"

# names FILE MACRO: the first argument of each row, one a line
names() { [ ! -f "$1" ] || grep -oP "^$2\(\K\w+" "$1" || true; }
# any NAME..: a regular expression
any() { local IFS='|'; printf '(%s)' "$*"; }

mapfile -t files < <(sources kernels loader runtime agents tools)

# identifiers PREFIX NAMES ALLOWED HOME: PREFIX_<name> stands in files that match ALLOWED only
identifiers() {
    [ "$2" != '()' ] || return 0
    bad_lines < <(code "${files[@]}" | grep -vE "^($3):" | grep -oE "^[^:]*:[0-9]+:|\b$1_$2\b" |
        awk -v home="$4" '/:$/ { at = $0; next } { print at " " $0 "; derive it from " home }')
}

# lists NAMES ALLOWED HOME: no string has two of the names, in capitals or not
lists() {
    [ "$1" != '()' ] || return 0
    bad_lines < <(literals "${files[@]}" | grep -vE "^($2):" | awk -v names="^$1\$" -v home="$3" '
        {
            if (/mas /) next
            split($0, at, ":"); text = toupper(substr($0, length(at[1] at[2]) + 3)); n = 0
            k = split(text, word, /[^A-Z0-9_]+/)
            for (i = 1; i <= k; i++) if (word[i] ~ names && !(word[i] in seen)) { seen[word[i]]; n++ }
            for (w in seen) delete seen[w]
            if (n > 1) print at[1] ":" at[2] ": a string with " n " names of a list; derive it from " home
        }')
}

formats=$(names kernels/quant/formats.def X | grep -vxE 'F32|F16' || true)
mixtures=$(names loader/mixtures.def M)
# tables of fast kernels and of their cases, of random blocks and of packed ones; the rules of mixtures; defaults
tables='kernels/(cpu|cuda|cases)/[^:]*|kernels/quant/(fmt_random|lanes)\.c|kernels/scratch\.c|loader/mixture\.c'
defaults='tools/cmd/(fit_plan|cmd_fit|cmd_synth)\.c|tools/bench/bench_kernels\.c'
own='kernels/quant/fmt_[a-z0-9_]+\.[ch]|kernels/quant/formats\.def'
# shellcheck disable=SC2086 # one word a name
identifiers FMT "$(any $formats)" "$own|$tables|$defaults" formats.def
# shellcheck disable=SC2086
identifiers MIX "$(any $formats $mixtures)" "loader/mixture\.[ch]|$defaults" mixtures.def
# shellcheck disable=SC2086
lists "$(any $formats $mixtures)" "$own" 'formats.def or mixtures.def'

# ---- strategies and roles ----------------------------------------------------------------------------
mapfile -t clinic < <(sources runtime agents tools)
# the default strategy is the value of a row
clinic_own='agents/strategies\.def|agents/strategy_[a-z0-9_]+\.[ch]|agents/agent_options\.def'
strategies=$(names agents/strategies.def X | paste -sd'|')
roles=$(for file in agents/strategy_*.[ch]; do
    [ ! -f "$file" ] || grep -oP '\.name = "\K[a-z_]+' "$file" || true
done | sort -u | grep -vxE "answer|${strategies:-none}" | paste -sd'|' || true)
if [ -n "$strategies" ]; then
    # a string that shows a command ("mas ..") may name any
    bad_lines < <(literals "${clinic[@]}" | grep -vE "^($clinic_own):" |
        awk -v strategies="^($strategies)\$" -v roles="^(${roles:-none})\$" '
        {
            split($0, at, ":"); text = substr($0, length(at[1] at[2]) + 3); n = 0; name = ""
            if (text ~ /mas /) next
            k = split(text, word, /[^a-z0-9_]+/)
            for (i = 1; i <= k; i++) {
                if (word[i] ~ roles) { name = word[i]; break }
                if (word[i] ~ strategies && !(word[i] in seen)) { seen[word[i]]; n++; last = word[i] }
            }
            for (w in seen) delete seen[w]
            if (name == "" && (n > 1 || (n == 1 && last == text))) name = last
            if (name != "")
                print at[1] ":" at[2] ": a string names " name "; strategies and roles stand in strategy_<x>.c"
        }')
    bad_lines < <(code "${clinic[@]}" | grep -vE "^($clinic_own):" |
        grep -oE "^[^:]*:[0-9]+:|\bstrategy_($strategies)\b|\b(${roles:-none})\b" |
        awk '/:$/ { at = $0; next } { print at " " $0 "; strategies and roles stand in strategy_<x>.c" }')
fi
# ---- numbers of JSON ---------------------------------------------------------------------------------
# requests to servers have settings alone, which are checked when they are read
mapfile -t measured < <(sources agents tools/report | grep -vE '^agents/form_[a-z]+\.c$' || true)
bad_lines < <(literals "${measured[@]}" | grep -E '\\":? ?%[.0-9*]*l?[gGeE]|%[.0-9*]*l?[gGeE][]}]' | cut -d: -f1,2 |
    sed 's/$/: a number of JSON by printf may be nan; write it by str_add_number/')
finish
