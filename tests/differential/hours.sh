#!/usr/bin/env bash
# Runs both differential tests for hours with any seeds, one process each. A failure is reduced, and the run goes on.
# usage: hours.sh BUILD [HOURS [SEED]]     logs: BUILD/differential/*.log
set -u
build=$(cd "${1:?folder of the build}" && pwd) || exit 66
hours=${2:-8}
seed=${3:-$(date +%s)000}
MAS_SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
export MAS_SOURCE MAS=$build/mas
minutes=$(awk -v h="$hours" 'BEGIN { print 60 * h }')
mkdir -p "$build/differential"
pids=()
for name in differ_engine differ_mas; do
    [ -x "$build/tests/$name" ] || {
        echo "no $build/tests/$name: build it first"
        exit 66
    }
    nice -n 10 "$build/tests/$name" --seed "$seed" --minutes "$minutes" --keep-going >"$build/differential/$name-$seed.log" 2>&1 &
    pids+=($!)
done
trap 'kill "${pids[@]}" 2>/dev/null' INT TERM
rc=0
for pid in "${pids[@]}"; do
    wait "$pid" || rc=1
done
for name in differ_engine differ_mas; do
    echo "== $name"
    grep -E '^FAILED|^smallest' "$build/differential/$name-$seed.log" | cut -c1-200
    tail -n 3 "$build/differential/$name-$seed.log"
done
exit $rc
