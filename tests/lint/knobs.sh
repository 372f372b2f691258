#!/usr/bin/env bash
# A row of a table of options is read by code, and configs/llama3_70b.yaml, the reference for users, has its key.
# tests/MATRIX.md says which test exercises which setting: the key and the flag of each row of a table of options, and each
# member of struct engine_options has a row there, and each test of the row exists and names one of the row's settings.
# usage: knobs.sh [TREE]
# shellcheck disable=SC2016 # back quotes are Markdown here
. "$(dirname "$0")/lint.bash"

matrix=tests/MATRIX.md
mapfile -t tables < <(sources runtime agents tools | xargs -r grep -lE '\bX\([a-z][A-Za-z_0-9 *]*, *[a-z_]+, *[A-Z_]+,' || true)
table=$(option_rows "${tables[@]}")
engine=$(option_rows runtime/engine/options.def)
keys=$(cut -d' ' -f2 <<<"$table")
options=$(awk '$3 != "NULL" { print "--" $3 }' <<<"$table" | sort -u; echo --quiet)
fields=$(cut -d' ' -f1 <<<"$engine"; awk '
    /^struct engine_options \{/ { inside = 1; next }
    inside && /^};/ { exit }
    inside && !/^#/ {
        s = comment $0; comment = ""
        gsub(/\/\*([^*]|\*[^\/])*\*\//, "", s)
        if (match(s, /\/\*/)) { comment = "/*"; s = substr(s, 1, RSTART - 1) }
        if (match(s, /\(\*[a-z_]+\)/)) print substr(s, RSTART + 2, RLENGTH - 3)
        else if (match(s, /[a-z_0-9]+(\[[^]]*\])?;/)) { f = substr(s, RSTART, RLENGTH); sub(/(\[.*)?;$/, "", f); print f }
    }' runtime/engine/engine_options.h)
# Who reads a row? Code takes the member of a struct, or asks for the key.
mapfile -t users < <(sources runtime agents tools | grep '\.c$')
reads=$(code "${users[@]}" | grep -oP '(?<=[\w)\]])(?:\.|->)\K\w+(?!\w)(?!\s*=[^=])' | sort -u || true)
asked=$(literals "${users[@]}" | cut -d: -f3- | sort -u || true)
while read -r member key _; do
    [ -n "$member" ] || continue
    grep -qx -- "$member" <<<"$reads" || grep -qxF -- "$key" <<<"$asked" ||
        bad "tests/lint/knobs.sh:1: nothing reads $key (member $member); remove the row or use it"
done <<<"$table"
# t_config compares the reference with the rows word by word.
reference=configs/llama3_70b.yaml
for key in $keys; do
    case $key in
    *.*) pattern="^  ${key#*.}:" ;;
    *) pattern="^$key:" ;;
    esac
    grep -q -- "$pattern" "$reference" || bad "$reference:1: no key $key"
done
for list in keys options fields; do
    [ -n "${!list}" ] || bad "tests/lint/knobs.sh:1: found no $list: has their file another form?"
done

# The four cells of each row of the matrix: "line|keys|options|fields|tests".
rows=$(awk -F'|' '
    /^\| configuration \| option \| engine_options \| tests \|/ { inside = 1; getline; next }
    inside && !/^\|/ { exit }
    inside { for (i = 2; i <= 5; i++) gsub(/[ ,]+/, " ", $i); print NR "|" $2 "|" $3 "|" $4 "|" $5 }' "$matrix")
[ -n "$rows" ] || bad "$matrix:1: no table 'configuration | option | engine_options | tests'"

# need COLUMN NAME KIND: the name stands in that column of a row.
need() {
    cut -d'|' -f"$1" <<<"$rows" | tr ' ' '\n' | grep -qxF -- "$2" || bad "$matrix:1: no row for $3 $2"
}
for name in $keys; do need 2 "$name" 'the key'; done
for name in $options; do need 3 "$name" 'the option'; done
for name in $fields; do need 4 "$name" 'the field'; done

# known NAME LIST: a name of the matrix that the program does not have is an old one.
known() { grep -qxF -- "$1" <<<"$2" || bad "$matrix:$line: the program has no $1"; }

# files TEST: the sources of a test.
files() {
    case $1 in
    differ_engine) echo tests/differential/{differ_engine,crowd,crowd_draw}.[ch] ;;
    differ_mas) echo tests/differential/{differ_mas,mas_trial}.[ch] ;;
    *) echo tests/*/"$1".c tests/*/"$1".sh ;;
    esac
}

while IFS='|' read -r line key option field tests; do
    [ -n "$line" ] || continue
    for name in $key; do known "$name" "$keys"; done
    for name in $option; do known "$name" "$options"; done
    for name in $field; do known "$name" "$fields"; done
    [ -n "${tests// /}" ] || bad "$matrix:$line: no test for$key$option$field"
    pattern=$(for name in $key $option $field; do printf '%s\n' "$name"; done | sed 's/[.]/\\./g' | paste -sd'|')
    for test in $tests; do
        found_files=()
        for f in $(files "$test"); do [ ! -f "$f" ] || found_files+=("$f"); done
        if [ ${#found_files[@]} -eq 0 ]; then
            bad "$matrix:$line: there is no test $test"
        elif ! grep -qE -- "(^|[^A-Za-z0-9_])($pattern)([^A-Za-z0-9_]|\$)" "${found_files[@]}"; then
            bad "$matrix:$line: $test names none of$key$option$field"
        fi
    done
done <<<"$rows"
finish
