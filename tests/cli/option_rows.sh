#!/usr/bin/env bash
# The command line is the tables of options: mas generate has the flag of each row and refuses what its row refuses, and
# the help of every command fits a terminal of 80 columns.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../lint/lint.bash"

flags() { option_rows "$@" | awk '$3 != "NULL" { print $3 }'; }
flags=$(flags runtime/engine/options.def runtime/config/sampling.def)
[ "$(wc -l <<<"$flags")" -gt 25 ] || bad "found only these flags: $flags"
help=$("$MAS" generate --help)
for flag in $flags; do
    line=$(grep -oE -- "--$flag(=[A-Z.]+)?( |\$)" <<<"$help" | head -1)
    case $line in
    '') bad "mas generate --help: no --$flag" ;;
    *=FILE* | *=DIR* | *=DATE*) ;; # any text is a name or a date
    *=*)
        rc=0
        out=$("$MAS" generate -m demo -p x "--$flag=?" 2>&1) || rc=$?
        # a name or a list may also be refused by the part that knows what can stand there
        [ "$rc" -eq 64 ] || [[ $line == *=NAME* && $rc -eq 65 ]] || bad "--$flag=?: exit $rc"
        [[ $out == "mas generate: --$flag is '?'; it takes "* ]] || [[ $line =~ =(NAME|LIST) && $out == *"'?'"* ]] || bad "--$flag=?: $out"
        ;;
    esac
done
for flag in $(grep -oE -- '^ {6}--[a-z-]+|^  -., --[a-z-]+' <<<"$help" | sed 's/.*--//'); do
    case $flag in
    chat | file | prompt | schema | ignore-eos | json | quiet | nvtx | no-nvtx) ;; # the command's own
    *) grep -qxF -- "$flag" <<<"$flags" || bad "mas generate --help: --$flag is no row of a table" ;;
    esac
done

# A command with a configuration has each flag of the engine's table, and names its key.
for command in run plan eval probe; do
    help=$("$MAS" "$command" --help)
    while read -r _ key flag _; do
        [ "$flag" != NULL ] || continue
        grep -qE -- "--$flag(=[A-Z.]+)?( |\$)" <<<"$help" || bad "mas $command --help: no --$flag"
        grep -qF -- "sets $key: " < <(tr -s ' \n' ' ' <<<"$help") || bad "mas $command --help: --$flag does not name $key"
    done < <(option_rows runtime/engine/options.def)
done

# These commands set these options themselves.
for pair in 'bench ctx' 'bench sequences' 'bench no-prefix-cache' 'perplexity no-prefix-cache' 'profile ctx' \
    'profile sequences' 'profile no-prefix-cache'; do
    read -r command flag <<<"$pair"
    ! grep -qE -- "^ +--$flag( |=)" < <("$MAS" "$command" --help) || bad "mas $command --help: --$flag would do nothing"
done

mapfile -t commands < <(grep -oP '^X\(\K\w+' tools/cmd/commands.def)
[ ${#commands[@]} -gt 10 ] || bad "tools/cmd/commands.def: found only these commands: ${commands[*]}"
for command in "${commands[@]}" 'bench kernels' 'bench ceiling' 'bench compare' 'bench tiles'; do
    [ "$command" = help ] || [ "$command" = version ] || {
        # shellcheck disable=SC2086 # two words
        bad_lines < <("$MAS" $command --help | awk -v c="$command" 'length > 79 { print "mas " c " --help: more than 79 columns: " $0 }')
    }
done
finish
