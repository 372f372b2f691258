#!/usr/bin/env bash
# Measures `mas bench model` beside other programs that have llama-bench's flags and table, in turn, and prints medians.
#
#   tools/scripts/bench_peers.sh -m model.gguf [-r rounds] [-p tokens] [-n tokens] [-t threads] NAME="PROGRAM [FLAGS]" ..
#
#   tools/scripts/bench_peers.sh -m 8b.gguf -t 2 ik="ik/build/bin/llama-bench -rtr 1" llama.cpp="llama/build/bin/llama-bench"
#
# A round measures memory and processors (`mas bench ceiling`), then each program once. So a slow minute of the machine
# affects all programs. Nothing else should run. MAS names another program than build/release/mas.
set -euo pipefail
cd "$(dirname "$0")/../.."

mas=${MAS:-build/release/mas} model='' rounds=5 prompt=512 new=24 threads=0
usage() { # the head comment
    sed -n '2,9s/^# \{0,1\}//p' tools/scripts/bench_peers.sh
}
while getopts :m:r:p:n:t:h-: flag; do
    case $flag in
    m) model=$OPTARG ;;
    r) rounds=$OPTARG ;;
    p) prompt=$OPTARG ;;
    n) new=$OPTARG ;;
    t) threads=$OPTARG ;;
    *)
        case $flag${OPTARG:-} in
        h | -help) usage && exit 0 ;;
        -*) echo "bench_peers.sh: unknown option --$OPTARG; -h shows the usage" >&2 ;;
        \?*) echo "bench_peers.sh: unknown option -$OPTARG; -h shows the usage" >&2 ;;
        *) echo "bench_peers.sh: -$OPTARG needs a value; -h shows the usage" >&2 ;;
        esac
        exit 64
        ;;
    esac
done
shift $((OPTIND - 1))
if [ -z "$model" ]; then
    echo "bench_peers.sh: no model; -m FILE" >&2
    exit 64
fi
[ "$threads" -gt 0 ] || threads=$(nproc)
model=$(realpath "$model") mas=$(realpath "$mas") tree=$PWD
work=$(mktemp -d) # some programs leave a log where they are started
trap 'rm -rf "$work"' EXIT
cd "$work"

# "test<TAB>tokens a second" for each row of a llama-bench table
rows() {
    awk -F'|' '/^\|/ && NF > 3 && $(NF-1) ~ /±/ {
        test = $(NF-2); gsub(/ /, "", test); split($(NF-1), v, " "); printf "%s\t%s\n", test, v[1] }'
}

# run NAME COMMAND..: adds "name<TAB>test<TAB>value" lines
run() {
    local name=$1 out
    shift
    if ! out=$("$@" -m "$model" -p "$prompt" -n "$new" -t "$threads" -r 1 2>&1); then
        echo "bench_peers.sh: $name failed: $(tail -n 1 <<<"$out")" >&2
        exit 1
    fi
    rows <<<"$out" | sed "s/^/$name\t/"
}

seen=$work/seen
for ((i = 1; i <= rounds; i++)); do
    echo "round $i of $rounds" >&2
    "$mas" bench ceiling -t "$threads" | awk -F'|' '/read, all/ { print "machine\tread GB/s\t" $3 + 0 }
        /int8/ { print "machine\tint8 GOP/s\t" $3 + 0 }' >>"$seen"
    run mas "$mas" bench model >>"$seen"
    for peer in "$@"; do
        command=${peer#*=}
        [[ $command == /* ]] || command=$tree/$command
        # shellcheck disable=SC2086 # the program's flags are words
        run "${peer%%=*}" $command >>"$seen"
    done
done

# medians, a row for each test, a column for each program
sort -t "$(printf '\t')" -k1,1 -k2,2 -k3,3g "$seen" | awk -F'\t' -v order="mas $(printf '%s ' "${@%%=*}")" '
    function median(name, test,   n) {
        n = count[name, test]
        if (!n) return "-"
        return sprintf("%.2f (%.2f..%.2f)", (value[name, test, int((n + 1) / 2)] + value[name, test, int((n + 2) / 2)]) / 2,
                       value[name, test, 1], value[name, test, n])
    }
    { value[$1, $2, ++count[$1, $2]] = $3; if ($1 != "machine" && !($2 in known)) { known[$2] = 1; test[++n_test] = $2 } }
    END {
        printf "read %s GB/s, int8 %s GOP/s\n\n| tokens/s, median (least..most) |", median("machine", "read GB/s"),
               median("machine", "int8 GOP/s")
        n = split(order, name, " ")
        for (i = 1; i <= n; i++) printf " %s |", name[i]
        printf "\n|---|"
        for (i = 1; i <= n; i++) printf "---:|"
        print ""
        for (k = 1; k <= n_test; k++) {
            printf "| %s |", test[k]
            for (i = 1; i <= n; i++) printf " %s |", median(name[i], test[k])
            print ""
        }
    }'
