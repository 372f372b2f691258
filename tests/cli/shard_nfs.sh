#!/bin/bash
# Shards in a folder like one of a network file system (tests/nfs): without flock, without hard links, with caches, with a full
# disk. A holder on another host is judged by its heartbeat. Several tasks begin at once.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
: "${NFS_FAULT:?the library of tests/nfs}"
asan=$(ldd "$MAS" | awk '/libasan/ { print $3 }')
export NFS_ROOT=$dir/nfs NFS_LATENCY_US=1000 NFS_CACHE_MS=500
mkdir "$NFS_ROOT"
data=$MAS_SOURCE/configs/demo/questions.jsonl
# client HOST OPTION..
client() {
    local host=$1
    shift
    NFS_HOST=$host LD_PRELOAD="$asan $NFS_FAULT" exec "$MAS" eval -c demo --data "$data" -n 24 -s cot --set role_tokens.cot=64 --quiet \
        --set threads=1 "$@" </dev/null
}
one() { (client "$@"); }
expect 0 '' one n0 --out whole
cases() { zcat "$1/traces.jsonl.gz" | sed -E -n 's/^\{("case": "[^"]*").*("state": "[^"]*").*("predicted": [^,]*).*/\1 \2 \3/p' | sort; }

# ---- without flock or links, or with links whose reply is lost; all tasks begin at once
for fault in 'lies lost' 'none none'; do
    # shellcheck disable=SC2086
    set -- $fault
    export NFS_FLOCK=$1 NFS_LINK=$2
    rm -rf "${NFS_ROOT:?}/s" merged
    for i in 1 2 3; do (client "n$i" --out "$NFS_ROOT/s" --shard $i/3 >"log$i" 2>&1) & done
    wait
    expect 0 '3 shards merged' env NFS_HOST=n9 LD_PRELOAD="$asan $NFS_FAULT" "$MAS" merge "$NFS_ROOT/s" -o "$NFS_ROOT/merged"
    [ "$(cases "$NFS_ROOT/merged")" = "$(cases whole)" ] || fault "$fault: other cases: $(tail -n 2 log?)"
    rm -rf "$NFS_ROOT/merged"
done

# ---- a run without shards needs a lock
NFS_FLOCK=none expect 73 'cannot lock' one n0 --out "$NFS_ROOT/single"

# ---- a holder on another host: its heartbeat refuses, its silence is taken over
export NFS_FLOCK=lies NFS_LINK=''
(client n1 --out "$NFS_ROOT/h" --shard 1/1 --lease 1 --concurrency 1 --set role_tokens.cot=2000 >log1 2>&1) &
pid=$!
for _ in $(seq 100); do
    [ -e "$NFS_ROOT/h/shard-1-of-1/lease-0001" ] && break
    sleep 0.05
done
[ ! -e "$NFS_ROOT/h/shard-1-of-1/traces.jsonl.gz" ] || fault "it was too fast to be stopped"
expect 73 'on host n1 since' one n2 --out "$NFS_ROOT/h" --shard 1/1 --lease 1 --concurrency 1 --set role_tokens.cot=2000
kill -9 $pid
wait $pid 2>/dev/null
expect 0 'gave no sign of life' one n2 --out "$NFS_ROOT/h" --shard 1/1 --lease 1 --concurrency 1 --set role_tokens.cot=2000
[ "$(cases "$NFS_ROOT/h/shard-1-of-1" | wc -l)" = 24 ] || fault "taken over: $(cases "$NFS_ROOT/h/shard-1-of-1" | wc -l) cases"

# ---- a holder that was stopped for longer than its lease wakes up while another works, and a cache hides that lease from it
slow() { client "$1" --out "$NFS_ROOT/w" --shard 1/1 --lease 1 --concurrency 1 --set role_tokens.cot=400; }
part() { [ "$(grep -c '^{"case"' "$NFS_ROOT/w/shard-1-of-1/traces-$1.jsonl" 2>/dev/null)" -ge "$2" ] 2>/dev/null; }
until_part() {
    for _ in $(seq 300); do
        part "$1" "$2" && return
        sleep 0.05
    done
    fault "part $1 has not $2 cases: $(ls "$NFS_ROOT/w/shard-1-of-1"): $(tail -n 2 log1 log2)"
}
export NFS_CACHE_MS=20000
(slow n1 >log1 2>&1) &
first=$!
until_part 0001 3
kill -STOP $first
export NFS_CACHE_MS=500
(slow n2 >log2 2>&1) &
second=$!
until_part 0002 2
kill -CONT $first
wait $first
code=$?
wait $second
[ $? = 0 ] || fault "the second holder: $(tail -n 2 log2)"
[ $code = 73 ] || [ $code = 0 ] || fault "the former holder: exit code $code: $(tail -n 2 log1)"
expect 0 'merged' "$MAS" merge "$NFS_ROOT/w" -o woken
expect 0 '' "$MAS" eval -c demo --data "$data" -n 24 -s cot --set role_tokens.cot=400 --quiet --out woken_whole
[ "$(cases woken)" = "$(cases woken_whole)" ] || fault "after a late holder: $(diff <(cases woken) <(cases woken_whole) | head -3)"

# ---- the disk is full in the middle: what is finished stays, and the same command goes on
(client n1 --out "$NFS_ROOT/f" --shard 1/1 --concurrency 1 >log1 2>&1) &
pid=$!
for _ in $(seq 200); do
    [ -s "$NFS_ROOT/f/shard-1-of-1/traces-0001.jsonl" ] && break
    sleep 0.02
done
touch "$NFS_ROOT.full"
wait $pid
code=$?
rm "$NFS_ROOT.full"
case $code in
74) grep -q 'No space left' log1 || fault "full disk: $(tail -n 2 log1)" ;;
0) ;; # it was faster
*) fault "full disk: exit code $code: $(tail -n 2 log1)" ;;
esac
expect 0 '' one n1 --out "$NFS_ROOT/f" --shard 1/1
[ "$(cases "$NFS_ROOT/f/shard-1-of-1")" = "$(cases whole)" ] || fault "after a full disk: other cases"
exit $bad
