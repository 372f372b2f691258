# shellcheck shell=bash
# Sourced first by tests of commands: they run in an empty folder $dir, which is removed at the end. They end with
# `exit $bad`.
set -u
: "${MAS:?path of the program}"
dir=$(mktemp -d "${TMPDIR:-/tmp}/mas-test-XXXXXX")
trap 'rm -rf -- "$dir"' EXIT
cd "$dir" || exit 1
bad=0

fault() {
    echo "FAILED: $*"
    bad=1
}

# expect CODE TEXT COMMAND..: exit code, and TEXT in what it says
expect() {
    local code=$1 text=$2 said got
    shift 2
    said=$("$@" 2>&1)
    got=$?
    [ "$got" = "$code" ] || fault "$*: exit code $got, want $code: $said"
    case $said in
    *"$text"*) ;;
    *) fault "$*: no '$text' in: $said" ;;
    esac
}
