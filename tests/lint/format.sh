#!/usr/bin/env bash
# C, C++ and CUDA files are what clang-format 14 makes of them by .clang-format; no source line is longer than 100 columns.
# Other versions lay some lines out differently, so without version 14 only the lengths are checked. usage: format.sh [TREE]
. "$(dirname "$0")/lint.bash"

mapfile -t files < <(sources kernels loader runtime agents tools tests)
[ ! -d tools/training/golden ] || mapfile -t -O ${#files[@]} files < <(find tools/training/golden -name '*.[ch]')
bad_lines < <(awk 'FNR == 1 { name = FILENAME } length($0) > 100 {
    print name ":" FNR ": " length($0) " columns; at most 100" }' "${files[@]}")

# lines that a merge leaves where both sides changed the same place
bad_lines < <(grep -rnIE '^(<{7}|>{7}|\|{7}) ' --include='*.*' --exclude-dir=.git --exclude-dir=build --exclude-dir=runs . 2>/dev/null |
    sed -E 's,^\./([^:]*:[0-9]+):.*,\1: a conflict marker,')

tool=
for candidate in clang-format-14 clang-format; do
    if command -v "$candidate" >/dev/null && "$candidate" --version | grep -q 'version 14\.'; then
        tool=$candidate
        break
    fi
done
if [ -z "$tool" ]; then
    echo "skipped: the layout of lines needs clang-format 14 (Debian: clang-format-14)"
else
    mapfile -t code < <(printf '%s\n' "${files[@]}" | grep -vE '\.def$|/unicode_tables\.h$')
    # one line a place, "FILE:LINE:COLUMN: warning: code should be clang-formatted"
    bad_lines < <("$tool" --dry-run --ferror-limit=0 "${code[@]}" 2>&1 |
        sed -nE 's/^([^:]*:[0-9]+):[0-9]+: .*clang-format.*/\1: run clang-format 14 -i on this file/p' | sort -u)
fi
finish
