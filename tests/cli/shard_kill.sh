#!/bin/bash
# Processes of several hosts compete for shards in a folder like one of a network file system: latency, caches, bytes that are not
# seen before they are flushed, flock that succeeds for everybody. They are killed and stopped for longer than a lease at random.
# Nothing is lost, nothing is there twice, and the merged run is that of one process. Short by default; the long run: KILLS N SETS.
#   FLOCK (lies, none), LINK (none, lost) as in tests/nfs/nfs_fault.c
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
: "${NFS_FAULT:?the library of tests/nfs}"
kills=${KILLS:-20} n=${N:-80} shards=2
sets=${SETS:--s cot --set role_tokens.cot=200 --set temperature=0.7}
case $(uname -s) in Linux) ;; *) exit 77 ;; esac
# the sanitizer's library must be the first one
asan=$(ldd "$MAS" | awk '/libasan/ { print $3 }')
export NFS_ROOT=$dir/nfs NFS_LATENCY_US=${LATENCY_US:-10000} NFS_CACHE_MS=${CACHE_MS:-700} NFS_FLOCK=${FLOCK:-lies} NFS_LINK=${LINK:-lost}
mkdir "$NFS_ROOT"
# client HOST SHARD: takes the place of the shell
client() {
    # shellcheck disable=SC2086 # the options are words
    NFS_HOST=$1 LD_PRELOAD="$asan $NFS_FAULT" exec "$MAS" eval -c demo --data "$MAS_SOURCE/configs/demo/questions.jsonl" -n "$n" $sets \
        --set threads=1 --concurrency 2 --quiet --lease 1 --out "$NFS_ROOT/study" --shard "$2/$shards" >>"log.$1" 2>&1 </dev/null
}
pids=() host=0 killed=0 stopped=0 rounds=0 refused=0 lost=0
# ended: takes the ended processes off the list
ended() {
    local left=() p code
    for p in "${pids[@]}"; do
        if kill -0 "$p" 2>/dev/null; then
            left+=("$p")
            continue
        fi
        wait "$p" 2>/dev/null
        code=$?
        case $code in
        0 | 1 | 75 | 137) ;;
        73) refused=$((refused + 1)) ;;
        *) fault "a process ended with $code: $(tail -qn 2 log.*)" ;;
        esac
    done
    pids=("${left[@]}")
}
# start SHARD: a client of another host than the last one
start() {
    host=$((host % 4 + 1))
    (client "n$host" "$1") &
    pids+=($!)
    shard_of[$!]=$1
}
holder_of() { # SHARD: its process
    local last
    last=$(find "$NFS_ROOT/study/shard-$1-of-$shards" -name 'lease-????' 2>/dev/null | sort | tail -n 1)
    [ -z "$last" ] || sed -n '1s/.*"pid": \([0-9]*\),.*/\1/p' "$last"
}
declare -A shard_of=()
while [ $killed -lt "$kills" ] && [ $rounds -lt $((kills * 5)) ]; do
    rounds=$((rounds + 1))
    ended
    while [ ${#pids[@]} -lt 2 ]; do start $((rounds / 4 % shards + 1)); done # often both have the same
    sleep "$(awk -v r="$RANDOM" 'BEGIN { printf "%.2f", 0.2 + 0.8 * r / 32768 }')"
    ended
    [ ${#pids[@]} -gt 0 ] || continue
    victim=${pids[$((RANDOM % ${#pids[@]}))]}
    holder=$(holder_of "${shard_of[$victim]}")
    # the holder of its shard, if that is one of ours and lives
    [ $((RANDOM % 4)) = 0 ] || [ -z "${shard_of[${holder:-0}]:-}" ] || ! kill -0 "$holder" 2>/dev/null || victim=$holder
    if [ $((rounds % 6)) = 5 ]; then
        # for longer than the lease: another host takes over, and this one wakes up while that one works
        kill -STOP "$victim" 2>/dev/null && stopped=$((stopped + 1))
        start "${shard_of[$victim]}"
        sleep 2.5
        kill -CONT "$victim" 2>/dev/null
        sleep 0.5
    elif kill -9 "$victim" 2>/dev/null; then
        killed=$((killed + 1))
    fi
done
for p in "${pids[@]}"; do
    kill -CONT "$p" 2>/dev/null
    kill -9 "$p" 2>/dev/null
done
wait
lost=$(cat log.* | grep -c 'was taken over by process')
# what a reader sees now is whole cases, each once
for i in $(seq $shards); do
    [ ! -f "$NFS_ROOT/study/shard-$i-of-$shards/run.json" ] || "$MAS" export "$NFS_ROOT/study/shard-$i-of-$shards" >/dev/null 2>export.log ||
        fault "an unfinished shard cannot be read: $(cat export.log)"
done
generations=$(find "$NFS_ROOT/study" -name 'lease-*' | wc -l)
parts=$(find "$NFS_ROOT/study" -name 'traces-*.jsonl' | wc -l)
for i in $(seq $shards); do
    (client n9 "$i")
    code=$?
    [ $code = 0 ] || fault "shard $i is not finished: $code: $(tail -n 3 log.n9)"
done
expect 0 "$shards shards merged" "$MAS" merge "$NFS_ROOT/study" -o merged
# shellcheck disable=SC2086
expect 0 '' "$MAS" eval -c demo --data "$MAS_SOURCE/configs/demo/questions.jsonl" -n "$n" $sets --quiet --out whole
essence() {
    zcat "$1/traces.jsonl.gz" | sed -E -n \
        -e 's/^\{("call": "[^"]*", "role": "[^"]*", "index": [0-9]+).*("finish": "[^"]*").*("mean_lp": [^,]*).*("reply": .*), "crc".*/\1 \2 \3 \4/p' \
        -e 's/^\{("case": "[^"]*").*("state": "[^"]*").*("predicted": [^,]*).*/\1 \2 \3/p'
}
cases=$(essence whole | grep -c '"case"')
[ "$cases" -ge "$n" ] || fault "nothing to compare: $cases cases"
[ "$(essence merged | grep -c '"case"')" = "$cases" ] || fault "$(essence merged | grep -c '"case"') cases, want $cases"
[ "$(essence merged | sort)" = "$(essence whole | sort)" ] || fault "the merged run has other replies than one process"
[ $killed -ge $((kills / 2)) ] || fault "$killed of $kills kills in $rounds rounds: too few to tell"
echo "$cases questions, $shards shards: $killed kills, $stopped stops, $refused refusals, $lost leases lost, $generations leases," \
    "$parts parts of traces: equal"
exit $bad
