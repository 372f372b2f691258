#!/usr/bin/env bash
# A fact has one place: the names of a list stand in the list, and in few files that are about single names.
#   - number formats: kernels/quant/formats.def and fmt_<x>.{h,c}; mixtures: loader/mixtures.def
# An identifier (FMT_Q4_K) outside the allowed files is a violation, and so is a string with several of the names,
# unless it shows commands ("mas .."). F32 and F16 are types of numbers too: they stand anywhere.
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
defaults='tools/cmd/cmd_(fit|synth)\.c|tools/bench/bench_kernels\.c'
own='kernels/quant/fmt_[a-z0-9_]+\.[ch]|kernels/quant/formats\.def'
# shellcheck disable=SC2086 # one word a name
identifiers FMT "$(any $formats)" "$own|$tables|$defaults" formats.def
# shellcheck disable=SC2086
identifiers MIX "$(any $formats $mixtures)" "loader/mixture\.[ch]|$defaults" mixtures.def
# shellcheck disable=SC2086
lists "$(any $formats $mixtures)" "$own" 'formats.def or mixtures.def'
finish
