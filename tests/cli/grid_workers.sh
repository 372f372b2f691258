#!/usr/bin/env bash
# An experiment by several worker processes gives the cells of one process, also when workers are killed, when it is stopped and
# when its parent is killed. Each worker opens a model once. A cell that fails loses no other. GPUs are divided among workers.
. "$(dirname "$0")/head.bash"
data=${MAS_SOURCE:?root of the source tree}/configs/demo/questions.jsonl
cp "$MAS_SOURCE/configs/demo/toy_mini.gguf" mini.gguf
cat >grid.yaml <<END
_base: $MAS_SOURCE/configs/demo.yaml
role_tokens: {cot: 64}
experiment:
  name: crew
  factors: {model: [demo, mini.gguf], strategy: [direct, cot], temperature: [0.7]}
  data: {n: 12}
END
begin() { exec "$MAS" eval -c grid.yaml --data "$data" "$@" </dev/null; } # takes the place of the shell
grid() { (begin "$@"); }
cells='model=demo,direct model=demo,cot,temperature=0.7 model=mini.gguf,direct model=mini.gguf,cot,temperature=0.7'
essence() {
    zcat "$1/traces.jsonl.gz" | sed -E -n \
        -e 's/^\{("call": "[^"]*", "role": "[^"]*", "index": [0-9]+).*("finish": "[^"]*").*("mean_lp": [^,]*).*("reply": .*), "crc".*/\1 \2 \3 \4/p' \
        -e 's/^\{("case": "[^"]*").*("state": "[^"]*").*("predicted": [^,]*).*/\1 \2 \3/p' | sort
}
same() { # FOLDER TEXT
    local cell
    for cell in $cells; do
        [ "$(essence "$1/$cell" | grep -c '"case"')" = 12 ] || fault "$2: $cell has $(essence "$1/$cell" | grep -c '"case"') cases"
        [ "$(essence "$1/$cell")" = "$(essence "whole/$cell")" ] || fault "$2: other replies in $cell"
    done
}
workers_of() { pgrep -P "$1" 2>/dev/null; }
wait_for() { # PATTERN FILES..: until a file has it
    local pattern=$1 _
    shift
    for _ in $(seq 500); do
        # shellcheck disable=SC2068 # the names are patterns
        grep -qs "$pattern" $@ && return
        sleep 0.01
    done
    fault "no $pattern in time"
}

expect 0 'experiment crew: 4 cells' grid --out whole --quiet
expect 0 'cell 4/4 model=mini.gguf,cot' grid --out two --workers 2
same two "two workers"
expect 0 '4 cells were finished before' grid --out two --workers 2
expect 0 '4 cells were finished before' grid --out two
[ "$(sed -n 2p two/model=demo,direct/run.json)" = "$(sed -n 2p whole/model=demo,direct/run.json)" ] || fault "another identity"
grep -q '"workers": \[{' two/model=demo,direct/summary.json || fault "no figures of the workers"

# ---- each model is opened once a worker; more workers than questions of a share
grid --out three --workers 3 --concurrency 2 --set logging.level=info >three.log 2>&1 || fault "three workers: $(cat three.log)"
same three "three workers"
if traced=$(command -v strace) && "$traced" -o /dev/null true 2>/dev/null; then
    # leaks cannot be looked for under a tracer
    ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 "$traced" -f -qq -e trace=openat -o opened "$MAS" eval -c grid.yaml --data "$data" --quiet --out traced --workers 2 </dev/null >/dev/null 2>&1 ||
        fault "under strace: exit code $?"
    pids=$(grep 'mini.gguf", O_RDONLY' opened | cut -d' ' -f1 | sort | uniq -c | awk '{ print $1 }' | sort -u)
    [ "$(grep 'mini.gguf", O_RDONLY' opened | cut -d' ' -f1 | sort -u | wc -l)" = 2 ] && [ "$pids" = 2 ] || # to see that it is there, and to load it
        fault "openings of the second model, of each worker: $(grep 'mini.gguf", O_RDONLY' opened)"
fi

# ---- a worker is killed in the middle; the others go on, and the next cells have all workers
(begin --out killed --quiet --workers 2 --concurrency 2 >killed.log 2>&1) &
pid=$!
wait_for '"case"' killed/*cot*/traces.jsonl
for w in $(workers_of $pid | head -n 1); do kill -9 "$w"; done
wait $pid
code=$?
[ $code = 0 ] || fault "a killed worker: exit code $code: $(tail -3 killed.log)"
grep -q 'ended by signal 9' killed.log || fault "the death is not said: $(cat killed.log)"
same killed "a killed worker"

# ---- stopped by SIGTERM, then its parent is killed, then it goes on with one process
(begin --out stopped --quiet --workers 2 --concurrency 2 >stopped.log 2>&1) &
pid=$!
wait_for '"case"' stopped/*cot*/traces.jsonl
kill -TERM $pid
wait $pid
code=$?
[ $code = 75 ] && grep -q 'continue with the same command' stopped.log || fault "stopped: exit code $code: $(cat stopped.log)"
(begin --out stopped --quiet --workers 2 --concurrency 2 >stopped.log 2>&1) &
pid=$!
wait_for '"case"' stopped/model=mini.gguf,*/traces.jsonl
left=$(workers_of $pid)
kill -9 $pid
wait $pid 2>/dev/null
for w in $left; do
    for _ in $(seq 50); do
        kill -0 "$w" 2>/dev/null || break
        sleep 0.1
    done
    ! kill -0 "$w" 2>/dev/null || fault "worker $w outlives its parent"
done
expect 0 'cells were finished before' grid --out stopped --quiet
same stopped "stopped, killed and continued"

# ---- a cell that fails is named and loses no other; the next start tries it again
sed 's/model: \[demo, mini.gguf\]/model: [later.gguf, demo, mini.gguf]/' grid.yaml >more.yaml
more() { "$MAS" eval -c more.yaml --data "$data" --quiet --out more --workers 2 </dev/null; }
expect 1 'cell model=later.gguf,direct failed: worker' more
expect 1 '2 of 6 cells failed' more
same more "beside a failed cell"
cp mini.gguf later.gguf
expect 0 'cells were finished before' more
[ "$(essence "more/model=later.gguf,direct")" = "$(essence "whole/model=mini.gguf,direct")" ] || fault "a cell that failed before differs"
# finished cells have another model
rm -r more/model=mini.gguf,direct
cp mini.gguf kept.gguf
printf 'x' | dd of=mini.gguf bs=1 seek=1200000 conv=notrunc status=none
expect 1 'the model has changed: finished cells have sha256' more
cp kept.gguf mini.gguf

# ---- settings that do not go with workers say what to do
expect 64 'raise remote.parallel in place of it' grid --out no --workers 2 --set provider=ollama
expect 64 'does not go with --workers' grid --out no --workers 2 --shard 1/2
expect 64 'profile one process' grid --out no --workers 2 --nvtx
expect 64 "3 GPUs in 'devices' cannot be divided equally among 2 workers; give --workers 3" grid --out no --workers 2 --set 'devices=[0, 1, 2]'
expect 64 "which is 'all'; name them" grid --out no --workers 2 --set 'devices=[all]'
[ ! -e no/grid.json ] || fault "a refused command has begun an experiment"

# ---- GPUs: the kernels run on the host, whose one GPU has the number 0
one() { "$MAS" eval -c demo -m mini.gguf -s direct --data "$data" -n 2 --quiet --set backend=cudahost --set placement.cpu_layers=0 "$@" </dev/null; }
if one --out gpu >gpu.log 2>&1; then
    expect 64 "name a GPU for each worker, as --set 'devices=[0, 1]'" one --out gpu2 --workers 2
    expect 0 '2 workers' one --out gpu2 --workers 2 --set 'devices=[0, 0]'
    [ "$(essence gpu)" = "$(essence gpu2)" ] && [ "$(essence gpu | wc -l)" = 4 ] || fault "two workers on a GPU: other replies"
    said=$(one --out gpu3 --workers 2 --set 'devices=[0, 1]' 2>&1) && fault "a GPU that is not there: $said"
    case $said in *'worker 2: '*) ;; *) fault "GPU 1 is not that of the second worker: $said" ;; esac
else
    echo "not tried: this build runs no CUDA kernels on the host: $(tail -n 1 gpu.log)"
fi
exit $bad
