#!/usr/bin/env bash
# An option that is a row of a table is described by its row, and messages name options that their command has.
#   - tools: no command describes a number, size, choice or switch of a table again; it takes the row by name
#     (cli_row, cli_option), or says that it is the same as --set
#   - kernels, loader, runtime: an option of every command that opens an engine (runtime/engine/options.def), which
#     tools/cmd/advice.c names by its key to commands that have a configuration instead; --set in runtime/config
#   - agents: an option that both `mas eval` and `mas run` have
#   - tools: an option of the command; a file without options of its own: of some command
#   - anywhere: one of another command, when the message says so: "mas eval --repair"
# usage: options.sh [TREE]
. "$(dirname "$0")/lint.bash"

# options FILE: the long options that its argp rows define
options() { [ ! -f "$1" ] || grep -oP '\{"\K[a-z][a-z0-9-]*(?=",\s*(\x27|[A-Z0-9]))|\{\s*\.flag = "\K[a-z0-9-]+' "$1" || true; }
# absent FILE: the options of a child parser that it leaves out
absent() { tr '\n' ' ' <"$1" | grep -oP '\.flag = "\K[a-z0-9-]+(?="[^}]*\.absent = true)' || true; }
# all FILE: also those of the child parsers that it takes
all() {
    local out
    [ -f "$1" ] || return 0
    out=$(absent "$1")
    {
        options "$1"
        ! grep -q 'cli_engine_init' "$1" || printf '%s\n' "$engine" quiet nvtx no-nvtx
        ! grep -q 'cli_rows_all(.*cli_sampling_set' "$1" || flags runtime/config/sampling.def
        ! grep -q '&serve_option_set, &engine_option_set' "$1" || flags tools/serve/serve_options.def
        ! grep -q '&serve_option_set, &engine_option_set' "$1" || printf '%s\n' "$engine"
        ! grep -q 'clinic_argp' "$1" || options tools/cmd/clinic.c
        ! grep -q 'clinic_argp' "$1" || ! grep -q '"options.def"' tools/cmd/clinic.c || printf '%s\n' "$engine"
        ! grep -q 'clinic_argp' "$1" || options tools/cmd/ranges.c
        ! grep -q '"one_case.h"' "$1" || [ "$1" = tools/cmd/one_case.c ] || all tools/cmd/one_case.c
    } | grep -vxF -- "${out:-no option}" || true
}
# flags FILE: the flags of a table of options
flags() { [ ! -f "${1:-}" ] || option_rows "$@" | awk '$3 != "NULL" { print $3 }'; }
has() { grep -qx -- "$1" <<<"$2"; }

engine=$(flags runtime/engine/options.def)
# Texts have no range that a command could repeat.
texts=$(cat runtime/engine/options.def runtime/config/sampling.def 2>/dev/null | tr '\n' ' ' | grep -oP 'STRING, "[a-z_.]+",\s*"\K[a-z-]+' || true)
every=$(for file in tools/*.c tools/*/*.c; do all "$file"; done | sort -u)
declare -A of=()
for file in tools/cmd/cmd_*.c; do
    [ ! -f "$file" ] || of[$(basename "$file" .c | sed 's/^cmd_//')]=$(all "$file")
done

# messages FILE: "file:0:text" of each message's format
messages() {
    grep -zoP '\b(?:[A-Z_]*FAIL|err_set|err_wrap|argp_error|log_warn|log_error)\s*\([^";]*(?:"(?:[^"\\\n]|\\.)*"\s*(?:PRI\w+\s*)?)+' "$1" |
        tr '\n\0' ' \n' | sed -E "s/^[^\"]*\"//; s/\"[^\"]*\$//; s/\"[^\"]*\"//g; s|^|$1:1:|" || true
}

# check FILE LINE TEXT: each option in it
check() {
    local file=$1 line=$2 rest=$3 before option command
    while [[ $rest =~ ^(.*[^a-z0-9-]|)--([a-z][a-z0-9-]*)(.*)$ ]]; do # the last one first
        before=${BASH_REMATCH[1]} option=${BASH_REMATCH[2]}
        rest=$before
        if [[ $before =~ mas\ ([a-z]+)\ $ ]]; then
            command=${BASH_REMATCH[1]}
            has "$option" "${of[$command]:-}" || bad "$file:$line: mas $command has no --$option"
            continue
        fi
        [[ ! $before =~ (gguf-split|nsys\ [a-z]+|ncu)\ $ ]] || continue # another program's
        case $file in
        runtime/config/*) [ "$option" != set ] || continue ;;&
        kernels/* | loader/* | runtime/*)
            has "$option" "$engine" || bad "$file:$line: no command that opens an engine has --$option"
            ;;
        agents/*)
            for command in eval run; do
                has "$option" "${of[$command]:-}" || bad "$file:$line: mas $command, which prints this, has no --$option"
            done
            ;;
        *)
            local own
            own=$(all "$file")
            has "$option" "${own:-$every}" || has "$option" help || bad "$file:$line: no option --$option here"
            ;;
        esac
    done
}

# again FILE: "line:flag" of each row of argp whose flag a table has
mapfile -t tables < <(sources runtime agents tools | xargs -r grep -lE '\bX\([a-z][A-Za-z_0-9 *]*, *[a-z_]+, *[A-Z_]+,' || true)
of_tables=$(flags "${tables[@]}" | sort -u)
for file in tools/*.c tools/*/*.c; do
    [ -f "$file" ] || continue
    while IFS=: read -r line flag; do
        has "$flag" "$of_tables" || continue
        ! has "$flag" "$texts" || continue
        ! tr '\n' ' ' <"$file" | grep -qE "cli_option\([^;]*\"$flag\"|\{\"$flag\",[^}]*same as --set" || continue
        bad "$file:$line: --$flag is a row of a table; take it by name (cli_row)"
    done < <(grep -noP '\{"\K[a-z][a-z0-9-]*(?=",\s*(\x27|[A-Z0-9]))' "$file" || true)
done

mapfile -t below < <(sources kernels loader runtime agents | grep -E '\.(c|h|cu|cuh)$')
mapfile -t above < <(sources tools | grep '\.c$')
while IFS=: read -r file line text; do
    check "$file" "$line" "$text"
done < <(literals "${below[@]}" | grep -E -- '--[a-z]' || true)
while IFS=: read -r file line text; do
    check "$file" "$line" "$text"
done < <(for file in "${above[@]}"; do messages "$file"; done | grep -E -- '--[a-z]' || true)
finish
