# shellcheck shell=bash
# Sourced by the lints. They look at the tree $1 (default: the one under test) and print one line
# "file:line: what is wrong" for each violation; any violation makes them fail.
set -euo pipefail
export LC_ALL=C

tree=${1:-${MAS_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}}
build=$PWD
found=0
cd "$tree"

bad() {
    printf '%s\n' "$*"
    found=$((found + 1))
}

# Reads violations from standard input.
bad_lines() {
    local line
    while IFS= read -r line; do
        bad "$line"
    done
}

# sources FOLDER...: the C, C++ and CUDA files below the folders that exist. tools/training/golden holds programs
# of other projects' libraries, which make golden files and are no part of mas.
sources() {
    local dir
    for dir in "$@"; do
        [ ! -d "$dir" ] || find "$dir" -type f ! -path 'tools/training/golden/*' \( -name '*.[ch]' -o -name '*.def' \
            -o -name '*.cu' -o -name '*.cuh' -o -name '*.cc' -o -name '*.cpp' -o -name '*.hpp' \)
    done | sort
}

# comments FILE...: "file:line: text" of each line that holds a part of a C comment, with that part alone.
comments() {
    [ $# -eq 0 ] || awk '
        FNR == 1 { inside = 0 }
        {
            s = $0; out = ""
            while (s != "") {
                if (inside) {
                    end = index(s, "*/")
                    out = out (end ? substr(s, 1, end - 1) : s) " "
                    s = end ? substr(s, end + 2) : ""
                    inside = !end
                } else if (match(s, /^"([^"\\]|\\.)*"/) || match(s, /^.[^"\/]*/)) {
                    if (substr(s, 1, 2) == "/*") { inside = 1; s = substr(s, 3) }
                    else if (substr(s, 1, 2) == "//") { out = out substr(s, 3); s = "" }
                    else s = substr(s, RLENGTH + 1)
                }
            }
            if (out != "") print FILENAME ":" FNR ": " out
        }' "$@"
}

# code FILE...: "file:line: text" of each line, comments and the insides of strings taken out, so that
# a search finds code only. What an #include names is kept.
code() {
    [ $# -eq 0 ] || awk '
        FNR == 1 { comment = 0 }
        {
            s = $0; out = ""
            if (!comment && s ~ /^[ \t]*#[ \t]*include/) {
                print FILENAME ":" FNR ": " s
                next
            }
            while (s != "") {
                if (comment) {
                    at = index(s, "*/")
                    if (!at) break
                    s = substr(s, at + 2); comment = 0
                } else if (match(s, /\/\*|\/\/|"([^"\\]|\\.)*"|\047([^\047\\]|\\.)+\047/)) {
                    what = substr(s, RSTART, 2)
                    out = out substr(s, 1, RSTART - 1)
                    if (what == "//") { s = ""; break }
                    s = substr(s, RSTART + (what == "/*" ? 2 : RLENGTH))
                    if (what == "/*") comment = 1; else out = out "\"\""
                } else { out = out s; s = "" }
            }
            print FILENAME ":" FNR ": " out
        }' "$@"
}

# literals FILE..: "file:line:text" of each string in the code; those with only white space between them are one
literals() {
    [ $# -eq 0 ] || awk '
        function flush() { if (have) print at ":" text; have = 0; text = "" }
        FNR == 1 { flush(); comment = 0 }
        {
            s = $0
            while (s != "") {
                if (comment) {
                    end = index(s, "*/")
                    if (!end) break
                    s = substr(s, end + 2); comment = 0
                } else if (match(s, /\/\*|\/\/|"([^"\\]|\\.)*"|\047([^\047\\]|\\.)+\047/)) {
                    what = substr(s, RSTART, 2)
                    if (substr(s, 1, RSTART - 1) ~ /[^ \t]/) flush()
                    if (what == "//") break
                    if (what == "/*") comment = 1
                    else if (substr(s, RSTART, 1) == "\"") {
                        if (!have) at = FILENAME ":" FNR
                        have = 1; text = text substr(s, RSTART + 1, RLENGTH - 2)
                    }
                    s = substr(s, RSTART + (what == "/*" ? 2 : RLENGTH))
                } else {
                    if (s ~ /[^ \t]/) flush()
                    s = ""
                }
            }
        }
        END { flush() }' "$@"
}

# option_rows FILE..: "member key flag" of each row X(..) of a table of options (runtime/config/option.h); NULL = no flag
option_rows() {
    [ $# -eq 0 ] || cat "$@" | tr '\\\n' '  ' |
        grep -oP '\bX\(\s*[a-z][\w *]*,\s*\w+,\s*[A-Z_]+,\s*"[a-z_.]+",\s*("[a-z-]+"|NULL)' |
        sed -E 's/^X\([^,]*, *([^,]*), *[^,]*, *"([^"]*)", */\1 \2 /; s/"//g' || true
}

finish() {
    [ "$found" -eq 0 ] || {
        printf '%d violations\n' "$found"
        exit 1
    }
    printf 'clean\n'
}
