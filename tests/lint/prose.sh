#!/usr/bin/env bash
# Comments of C, C++ and CUDA files, and texts in Markdown. A sentence has at most 25 words and does not begin with "what",
# "where" or "who". README.md has at most 120 lines, the README.md of a folder at most 60. usage: prose.sh [TREE]
#
# A full stop, "!" or "?" ends a sentence. An item of a list, a cell of a table and a heading stand alone. A code span and a
# call f(..) are one word; a word without a letter does not count. Lines indented by four columns more than their text are
# drawings or code.
. "$(dirname "$0")/lint.bash"

mapfile -t sources < <(sources kernels loader runtime agents tools tests | grep -E '\.(c|cu|cc|cpp|h|cuh|def)$')
mapfile -t texts < <(find . -name '*.md' ! -path './.git/*' ! -path './build/*' ! -path './runs/*' ! -path './models/*' |
    sed 's,^\./,,' | sort)

# Sentences of the files, by the functions add (a line of text) and flush (the end of a list's item or a paragraph).
# shellcheck disable=SC2016
sentences='
    function flush() {
        if (text != "") check(text)
        text = ""
    }
    function add(s) { text = text " \001" FNR " " s }
    function report(line, what) { print name ":" line ": " what }
    function over(line, words, n, first) {
        if (n > 25) report(line, n " words in a sentence (at most 25): " first " ..")
    }
    function check(t,    w, m, i, line, start, n, first, word) {
        gsub(/`[^`]*`/, "CODE", t)
        gsub(/\]\([^()]*\)/, "", t)                # the address of a link
        gsub(/[A-Za-z0-9_]\([^() ][^()]*\)/, "x", t) # the arguments of a call
        m = split(t, w, /[ \t]+/)
        n = 0; first = ""; start = 0
        for (i = 1; i <= m; i++) {
            word = w[i]
            if (word ~ /^\001/) { line = substr(word, 2); continue }
            if (word ~ /[A-Za-z]/ && n++ == 0) {
                start = line
                if (!heading && tolower(word) ~ /^[("*_]*(what|where|who)$/)
                    report(start, "a sentence begins with \"" word "\": name the thing")
            }
            if (n <= 5) first = first (n > 1 ? " " : "") word
            if (word ~ /[.!?][")*_\047\]]*$/ && word !~ /\.\.[,)]*$/ &&
                word !~ /^\(?(e\.g|i\.e|cf|vs|al|etc|no|approx|sec)\.$/) {
                over(start, 0, n, first)
                n = 0; first = ""
            }
        }
        over(start, 0, n, first)
    }
    FNR == 1 { if (NR > 1) flush(); name = FILENAME; heading = 0 }
    END { flush() }'

# shellcheck disable=SC2016
bad_lines < <([ ${#sources[@]} -eq 0 ] || awk "$sentences"'
    FNR == 1 { comment = 0 }
    {
        s = $0
        sub(/[ \t]*\\$/, "", s) # a macro goes on
        for (;;) {
            if (!comment) {
                if (!match(s, /\/\*|\/\/|"([^"\\]|\\.)*"|\047([^\047\\]|\\.)+\047/)) next
                what = substr(s, RSTART, 2)
                before = substr(s, 1, RSTART - 1)
                if (what != "/*" && what != "//") { s = substr(s, RSTART + RLENGTH); continue }
                own = before !~ /[^ \t]/
                s = substr(s, RSTART + 2)
                if (what == "//") { sub(/^[ \t]*/, "", s); flush(); add(s); flush(); next }
                comment = 1; begins = 1
            }
            end = index(s, "*/")
            t = end ? substr(s, 1, end - 1) : s
            if (begins) indent = 0
            if (begins) sub(/^[*!]*[ \t]*/, "", t)
            else if (own && t ~ /^[ \t]*\*/) sub(/^[ \t]*\*+ ?/, "", t)
            else if (own) sub(/^   /, "", t)
            else sub(/^[ \t*]+/, "", t)
            begins = 0
            comment_line(t)
            if (!end) next
            flush(); comment = 0
            s = substr(s, end + 2)
        }
    }
    function comment_line(t) {
        gsub(/-----*/, "", t)
        if (t ~ /^[ \t]*$/) { flush(); return }
        if (t ~ /^    /) { flush(); return }
        if (t ~ /^ *([-*]|[0-9]+[.)]) /) { flush(); sub(/^ *([-*]|[0-9]+[.)]) /, "", t); add(t); return }
        match(t, /^ */)
        if (RLENGTH < 2 && indent >= 2) flush() # after an item or a table
        indent = RLENGTH
        sub(/^ +/, "", t)
        if (match(t, /[^ .]   *[^ ]/)) { # columns: a name, then its text
            flush(); add(substr(t, RSTART + 1)); return
        }
        add(t)
    }' "${sources[@]}")

# shellcheck disable=SC2016
bad_lines < <([ ${#texts[@]} -eq 0 ] || awk "$sentences"'
    FNR == 1 { fence = 0; item = 0 }
    /^ *```/ { flush(); fence = !fence; next }
    fence { next }
    /^[ \t]*$/ { flush(); item = 0; next }
    /^<!--/ { next }
    /^#/ { flush(); heading = 1; s = $0; sub(/^#+ */, "", s); add(s); flush(); heading = 0; next }
    /^ *\|/ {
        flush()
        cells = split($0, cell, "|")
        for (c = 2; c < cells; c++) { add(cell[c]); flush() }
        next
    }
    /^ *([-*]|[0-9]+\.) / { flush(); item = 1; s = $0; sub(/^ *([-*]|[0-9]+\.) /, "", s); add(s); next }
    /^    / && !item { flush(); next }
    { s = $0; sub(/^[ >]+/, "", s); add(s) }' "${texts[@]}")

for text in "${texts[@]}"; do
    case $text in
    README.md) most=120 ;;
    */README.md) most=60 ;;
    *) continue ;;
    esac
    lines=$(wc -l <"$text")
    [ "$lines" -le "$most" ] || bad "$text:$lines: $lines lines, at most $most; move some to a file beside it"
done
finish
