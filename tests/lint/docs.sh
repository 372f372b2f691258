#!/usr/bin/env bash
# README.md and the program agree: every command of one is in the other, every file that it names
# exists; no file holds a path of somebody's own machine. usage: docs.sh [TREE]
. "$(dirname "$0")/lint.bash"

commands=$(sed -nE 's/^X\((\w+)\).*/\1/p' tools/cmd/commands.def)
for name in $commands; do
    grep -qE "\`mas ${name}[ \`]" README.md || bad "README.md:1: no entry for \`mas $name\`"
    [ -f "tools/cmd/cmd_$name.c" ] || bad "tools/cmd/commands.def:1: $name has no tools/cmd/cmd_$name.c"
done

# Commands: "mas NAME" in back quotes or at the start of a line of a block of code (after a prompt or a path).
while IFS=: read -r line name; do
    grep -qx "$name" <<<"$commands" || bad "README.md:$line: there is no command 'mas $name'"
done < <(awk '
    /^```/ { block = !block; next }
    {
        s = $0
        if (block) {
            if (match(s, /^(\$ )?([a-z.\/]*\/)?mas [a-z]+/)) {
                split(substr(s, RSTART, RLENGTH), w, "mas "); print NR ":" w[2]
            }
            next
        }
        while (match(s, /`mas [a-z]+/)) {
            print NR ":" substr(s, RSTART + 5, RLENGTH - 5)
            s = substr(s, RSTART + RLENGTH)
        }
    }' README.md)

# Files: everything in back quotes or blocks that begins with a folder of the tree.
while IFS=: read -r line path; do
    compgen -G "$path" >/dev/null || bad "README.md:$line: there is no $path"
done < <(grep -noE '(^|[ `(])(kernels|loader|runtime|agents|tools|tests|configs)/[A-Za-z0-9_./*-]*[A-Za-z0-9_/*]' README.md |
    sed -E 's/^([0-9]+):[ `(]*/\1:/')

bad_lines < <(grep -rnIE --exclude-dir=.git --exclude-dir=build --exclude-dir=golden --exclude-dir=corpus \
    --exclude=.git --exclude-dir=runs --exclude-dir=models '(^|[^A-Za-z0-9_.-])/(home|root|Users|work|workspace|mnt)/[A-Za-z0-9]' . |
    sed -E 's/^\.\/([^:]*:[0-9]+):.*/\1: a path of one machine/' || true)
finish
