#!/usr/bin/env bash
# Messages of errors and of the log begin lower case (an acronym or a name in capitals may come first),
# end without a full stop and hold no line break. A bad value of an option has
# one form: NAME is 'VALUE'; it takes RULE. usage: messages.sh [TREE]
. "$(dirname "$0")/lint.bash"

mapfile -t files < <(sources kernels loader runtime agents tools | grep '\.[ch]$')
call='(?:[A-Z_]*FAIL|err_set|err_wrap|argp_error|log_line|log_error|log_warn|log_info|log_debug)'
for file in "${files[@]}"; do
    # The format: one or more literals with PRI macros between them.
    grep -zoP "\b$call\s*\([^\";]*(?:\"(?:[^\"\\\\\\n]|\\\\.)*\"\s*(?:PRI\w+\s*)?)+" "$file" |
        tr '\n\0' ' \n' | sed -E 's/^[^"]*"//; s/"[^"]*$//; s/"[^"]*"//g' >"${TMPDIR:-/tmp}/messages.$$" || true
    while IFS= read -r text; do
        case $text in
        [A-Z][a-z]*) bad "$file:1: message begins upper case: $text" ;;
        esac
        case $text in
        *\\n*) bad "$file:1: message holds a line break: $text" ;;
        'bad --'* | 'bad -o'* | 'bad %s '\''%s'*) bad "$file:1: write NAME is 'VALUE'; it takes RULE: $text" ;;
        *..) ;;
        *.) bad "$file:1: message ends with a full stop: $text" ;;
        esac
    done <"${TMPDIR:-/tmp}/messages.$$"
    rm -f "${TMPDIR:-/tmp}/messages.$$"
done
finish
