#!/usr/bin/env bash
# Texts in Markdown and the program agree. tools/COMMANDS.md has every command; every command and every file that a text names
# exists. Each room has a README. No file holds a path of somebody's own machine. A script is
# executable. usage: docs.sh [TREE]
. "$(dirname "$0")/lint.bash"

commands=$(sed -nE 's/^X\((\w+)\).*/\1/p' tools/cmd/commands.def)
for name in $commands; do
    grep -qE "\`mas ${name}[ \`]" tools/COMMANDS.md || bad "tools/COMMANDS.md:1: no entry for \`mas $name\`"
    [ -f "tools/cmd/cmd_$name.c" ] || bad "tools/cmd/commands.def:1: $name has no tools/cmd/cmd_$name.c"
done

for room in kernels loader runtime agents configs tools tests; do
    [ ! -d "$room" ] || [ -f "$room/README.md" ] || bad "$room/README.md:1: a room without a README"
done

while IFS= read -r file; do
    bad "$file:1: begins with #! and is not executable: chmod +x"
done < <(find . -type f ! -perm -u+x ! -path './.git/*' ! -path './build/*' ! -path './runs/*' ! -path './models/*' \
    \( -name '*.sh' -o -name '*.py' -o -path './.ci/*' \) -exec sh -c '[ "$(head -c2 "$1")" != "#!" ] || echo "${1#./}"' sh {} \; | sort)

mapfile -t texts < <(find . -name '*.md' ! -path './.git/*' ! -path './build/*' ! -path './runs/*' ! -path './models/*' |
    sed 's,^\./,,' | sort)

# Commands: "mas NAME" in back quotes or at the start of a line of a block of code (after a prompt or a path).
while IFS=: read -r text line name; do
    grep -qx "$name" <<<"$commands" || bad "$text:$line: there is no command 'mas $name'"
done < <(awk '
    FNR == 1 { block = 0 }
    /^ *```/ { block = !block; next }
    {
        s = $0
        if (block || s ~ /^    /) {
            sub(/^ +/, "", s)
            if (match(s, /^(\$ )?([a-z.\/]*\/)?mas [a-z]+/)) {
                split(substr(s, RSTART, RLENGTH), w, "mas "); print FILENAME ":" FNR ":" w[2]
            }
            next
        }
        while (match(s, /`mas [a-z]+/)) {
            print FILENAME ":" FNR ":" substr(s, RSTART + 5, RLENGTH - 5)
            s = substr(s, RSTART + RLENGTH)
        }
    }' "${texts[@]}")

# Files: everything after a back quote, a bracket, a space or a line's start that begins with a folder of the tree.
while IFS=: read -r text line path; do
    compgen -G "$path" >/dev/null || bad "$text:$line: there is no $path"
done < <(grep -noHE '(^|[ `(])(kernels|loader|runtime|agents|tools|tests|configs)/[A-Za-z0-9_./*-]*[A-Za-z0-9_/*]' "${texts[@]}" |
    sed -E 's/^([^:]*:[0-9]+):[ `(]*/\1:/')

# Links, from the folder of the text.
while IFS=: read -r text line path; do
    [ -e "$(dirname "$text")/$path" ] || bad "$text:$line: a link to $path, which does not exist"
done < <(grep -noHE '\]\([A-Za-z0-9_./-]+\)' "${texts[@]}" | sed -E 's/\]\((.*)\)$/\1/')

# Comments: a source file that one names exists, and so does a function that is written with its brackets. Not ours:
# headers of the C library, and examples.
mapfile -t all_sources < <(sources kernels loader runtime agents tools tests)
bad_lines < <(awk '
    BEGIN { n = split("sysexits.h kernel.cu llama.cpp", f, " "); for (i = 1; i <= n; i++) file[f[i]] }
    FILENAME == ARGV[1] { word[$0]; next }
    FILENAME == ARGV[2] { sub(/.*\//, ""); file[$0]; next }
    {
        at = $0; sub(/: .*/, "", at); s = substr($0, length(at) + 2)
        while (match(s, /[A-Za-z0-9_.\/*<>-]+\.(c|h|cu|cuh|def|cpp|sh)([^A-Za-z0-9_]|$)/)) {
            name = substr(s, RSTART, RLENGTH); sub(/[^A-Za-z0-9_]$/, "", name); sub(/.*\//, "", name)
            s = substr(s, RSTART + RLENGTH)
            if (name !~ /^[_*<.-]|[*<>]|^[A-Z]+\./ && !(name in file)) print at ": a comment names " name ", which does not exist"
        }
        s = $0
        while (match(s, /[a-z][a-z0-9]*_[a-z0-9_]+\(\)/)) {
            name = substr(s, RSTART, RLENGTH - 2); s = substr(s, RSTART + RLENGTH)
            if (!(name in word)) print at ": a comment names " name "(), which does not exist"
        }
    }' <(code "${all_sources[@]}" | grep -oE '[A-Za-z_][A-Za-z0-9_]*' | sort -u) \
    <(find kernels loader runtime agents tools tests -type f) <(comments "${all_sources[@]}"))

bad_lines < <(grep -rnIE --exclude-dir=.git --exclude-dir=build --exclude-dir=golden --exclude-dir=corpus \
    --exclude=.git --exclude-dir=runs --exclude-dir=models '(^|[^A-Za-z0-9_.-])/(home|root|Users|work|workspace|mnt)/[A-Za-z0-9]' . |
    sed -E 's/^\.\/([^:]*:[0-9]+):.*/\1: a path of one machine/' || true)
finish
