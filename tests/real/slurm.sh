#!/usr/bin/env bash
# A study on a real Slurm with ten nodes on this machine: tools/scripts/slurm_eval.sh submits an experiment as an array of
# tasks. One task is killed with -9, one requeued, one preempted, one cancelled and submitted again, one told of its time
# limit; one node is drained, one goes down. The merged study equals that of a single process. Other studies must fail, and say why. Exit 77:
# Slurm cannot be had.
# usage: tests/real/slurm.sh [--long] [--keep] [--build DIR]
#   --long   4 settings x 300 vignettes by 8 tasks; otherwise 2 settings x 18 by 7 tasks
#   --keep   leaves the folder of logs and results
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build/release
long='' keep=''
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=$(realpath "$2") && shift 2 ;;
    --long) long=1 && shift ;;
    --keep) keep=1 && shift ;;
    --help) sed -n '2,9s/^# //p' "$0" && exit ;;
    *) echo "slurm.sh: unknown option '$1'; see --help" >&2 && exit 64 ;;
    esac
done
mas=$build/mas
[ -x "$mas" ] || { echo "slurm.sh: no program $mas; build it first, or give --build" >&2 && exit 64; }

skip() {
    echo "skipped: tests/real: $1"
    exit 77
}
export PATH=$PATH:/usr/sbin:/sbin
have() { command -v slurmctld slurmd munged sbatch squeue scontrol >/dev/null; }
if ! have; then
    [ "$(id -u)" = 0 ] || skip 'no Slurm here, and only root can install it'
    command -v apt-get >/dev/null || skip 'no Slurm here, and no apt-get'
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    { apt-get -q update && timeout 300 apt-get -q install -y --no-install-recommends slurm-wlm munge; } >"$log" 2>&1 ||
        skip "cannot install slurm-wlm and munge: $(tail -n 1 "$log")"
    rm -f "$log"
fi
have || skip 'slurm-wlm and munge do not have all programs'
host=$(hostname -s)
getent hosts "$host" >/dev/null || skip "the name of this host, $host, has no address"

# ---- Slurm on loopback: one controller, ten nodes of one CPU each, everything below $dir

dir=$(mktemp -d /tmp/mas-slurm-XXXXXX) # short: the path of a socket has at most 107 bytes
bad=0
fault() {
    echo "FAILED: $*"
    bad=1
}
# Our processes have our SLURM_CONF in their environment: daemons, the steps that they start, jobs.
ours() { grep -lzxs "SLURM_CONF=$dir/slurm.conf" /proc/[0-9]*/environ | sed 's,/proc/,,; s,/.*,,' || true; }
finish() {
    local code=$? try
    trap - EXIT
    [ -z "${whole_pid:-}" ] || kill "$whole_pid" 2>/dev/null || true
    if [ -s "$dir/slurmctld.pid" ] && timeout 10 scancel -u "$(id -un)" 2>/dev/null; then
        for try in $(seq 50); do
            [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break
            sleep 0.1
        done
    fi
    for try in TERM TERM TERM TERM KILL; do
        # shellcheck disable=SC2046 # numbers
        kill -$try $(ours) 2>/dev/null || break
        sleep 0.3
    done
    if [ -n "$keep" ]; then echo "kept: $dir"; else rm -rf -- "$dir"; fi
    exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

no_start() {
    echo "FAILED: no start of $1"
    tail -n 5 "$dir"/log/*.txt "$dir"/munge/*.log
    exit 1
}
port=$((20000 + RANDOM % 8000))
free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
for ((i = 0; i < 11; i++)); do
    free $((port + i)) || { port=$((port + i + 1)) && i=-1; }
done
mkdir -p "$dir"/{state,log,munge,run} "$dir"/spool-n{1..10}
chmod 755 "$dir" "$dir/run"
chmod 700 "$dir/munge"
dd if=/dev/urandom of="$dir/munge/key" bs=128 count=1 status=none
chmod 400 "$dir/munge/key"
cat >"$dir/slurm.conf" <<CONF
ClusterName=mas
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
# cred_expire: seconds until a requeued job may start; 5 is the least that Slurm takes, 120 its default
AuthInfo=socket=$dir/run/munge.sock,cred_expire=5
CredType=cred/munge
MailProg=/bin/true
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.txt
SlurmdLogFile=$dir/log/slurmd-%n.txt
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=5
MessageTimeout=3
MinJobAge=300
PropagateResourceLimits=NONE
GresTypes=gpu
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=1 RealMemory=4000 Gres=gpu:1 State=UNKNOWN
NodeName=n[2-10] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 2))-$((port + 10))] CPUs=1 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=n[1-10] Default=YES MaxTime=60 State=UP PriorityTier=1
PartitionName=urgent Nodes=n[1-10] MaxTime=60 State=UP PriorityTier=9
CONF
echo 'NodeName=n1 Name=gpu File=/dev/null' >"$dir/gres.conf"
echo 'CgroupPlugin=cgroup/v1' >"$dir/cgroup.conf" # not used, but Slurm 22.05 asks the kernel otherwise
export SLURM_CONF=$dir/slurm.conf
munged --key-file="$dir/munge/key" --socket="$dir/run/munge.sock" --pid-file="$dir/munged.pid" \
    --log-file="$dir/munge/munged.log" --seed-file="$dir/munge/seed" --num-threads=1 || no_start munged
slurmctld -f "$SLURM_CONF" || no_start slurmctld
for n in {1..10}; do slurmd -f "$SLURM_CONF" -N "n$n" || no_start "slurmd n$n"; done
for ((i = 0; i < 300; i++)); do
    [ "$(sinfo -h -N -p main -o %T 2>/dev/null | sort | uniq -c | tr -s ' ')" != ' 10 idle' ] || break
    sleep 0.1
done
[ $i -lt 300 ] || no_start "a node, which should be idle: $(sinfo -N)"
echo "Slurm $(sinfo -V | cut -d' ' -f2): 10 nodes"

# within SECONDS TEXT COMMAND..: waits until the command succeeds
within() {
    local end=$((SECONDS + $1)) text=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt $end ] || { fault "not in time: $text" && return 1; }
        sleep 0.1
    done
}

# ---- the study

cd "$dir"
slurm_eval=$root/tools/scripts/slurm_eval.sh
study="$dir/a study of \"50%j\", 'it'"
if [ -n "$long" ]; then
    tasks=8 n=300 most=2400
    cells=4
    factors='strategy: [direct, cot, panel], temperature: [0, 0.7], planner.top_k: [2]'
    exclude='[strategy=panel & temperature=0.7]'
else
    tasks=7 n=18 most=120
    cells=2
    factors='strategy: [direct, panel], planner.top_k: [2]'
    exclude='[]'
fi
# vignettes with wordings that the model never saw in training
python3 "$root/tools/training/demo_model/vignettes.py" --split test --n $n --seed 28 --plain >"held out.jsonl"
cat >grid.yaml <<YAML
_base: $root/configs/demo.yaml
role_tokens: {planner: 160, specialist: 120, aggregator: 120, cot: 120}
experiment:
  name: slurm
  factors: {$factors}
  seeds: [1]
  exclude: $exclude
YAML
arguments=(-c grid.yaml --data 'held out.jsonl' --concurrency 1) # so that faults come between two questions
"$mas" eval "${arguments[@]}" --threads=1 --quiet --out whole </dev/null >whole.txt 2>&1 &
whole_pid=$!

# The program stops itself at its first start of each shard, and writes its number into the file held/I-of-N.
mkdir held
cat >program_held <<PROGRAM
#!/usr/bin/env bash
shard=\${*: -1}
if [ "\$1" = eval ] && [ "\$2" != --check ] && (set -C && echo \$\$ >"$dir/held/\${shard/\//-of-}") 2>/dev/null; then kill -STOP \$\$; fi
exec "$mas" "\$@"
PROGRAM
chmod +x program_held

submit() { "$slurm_eval" --out "$study" --mas ./program_held --time 60 --lead 60 "$@"; }
rows() { squeue -h -r -o '%K %T %i %N' | grep -v '^N/A' || true; }
column() { rows | awk -v i="$1" -v c="$2" '$1 == i { print $c }'; } # TASK COLUMN
said() { grep -qF -- "$2" "$study/slurm/log/$1.txt" 2>/dev/null; }   # LOG TEXT
state_of() { sed -n 's/^state //p' "$study/slurm/state/$1" 2>/dev/null; }
starts_on() { cat "$study"/slurm/log/task-*.txt | grep -c " on $1: running " || true; } # NODE

# two submissions at the same time queue each task once
submit --tasks $tasks -- "${arguments[@]}" >submit1.txt 2>&1 &
submit --tasks $tasks -- "${arguments[@]}" >submit2.txt 2>&1 || true
wait $! || true
[ "$(grep -c ' tasks ' "$study/slurm/jobs")" = 1 ] || fault "two submissions: $(cat submit?.txt "$study/slurm/jobs")"

# each task stops again after its first question, until its fault comes
held() { [ "$(cat held/*-of-"$1" 2>/dev/null | wc -w)" = "$1" ]; } # TASKS
pids=('')
within 60 "the start of $tasks tasks: $(rows)" held $tasks
for ((k = 1; k <= tasks; k++)); do
    pids+=("$(cat held/$k-of-$tasks)")
    kill -CONT "${pids[k]}"
    for ((i = 0; i < 6000; i++)); do
        ! grep -qs '^{"case"' "$study/shard-$k-of-$tasks"/*/traces*.jsonl || break
        sleep 0.01
    done
    kill -STOP "${pids[k]}" || fault "task $k ended before its fault: $(cat "$study/slurm/log/task-$k.txt")"
done
drained=$(column 4 4) down=$(column 1 4)
before=$(starts_on "$drained")
"$slurm_eval" --status "$study" >status.txt && fault '--status: a running study is no success'
grep -q "tasks: $tasks running" status.txt || fault "--status: $(cat status.txt)"

kill -9 "${pids[tasks]}" # the last task has the number of the whole array
scontrol requeue "$(column 2 3)"
scancel "$(column 3 3)"
scontrol update NodeName="$drained" State=DRAIN Reason=test
kill -CONT "${pids[4]}"
scancel --batch --signal=USR1 "$(column 5 3)" # as Slurm does before the time limit
kill -CONT "${pids[5]}"
scontrol update NodeName="$down" State=DOWN Reason=test
sbatch -Q --partition=urgent --nodelist="$(column 6 4)" --output=/dev/null --wrap 'sleep 1' # preempts
for ((k = 7; k < tasks; k++)); do kill -CONT "${pids[k]}"; done
submit >submit3.txt 2>&1 || fault "the submission after a cancelled task: $(cat submit3.txt)"
grep -q "tasks 3 of $tasks" submit3.txt || fault "the cancelled task is not submitted again, or others are: $(cat submit3.txt)"

# ---- meanwhile, a study whose tasks fail: one for good, one makes no progress, one works until Slurm tells it to stop

failing="$dir/failing"
cat >program <<'PROGRAM'
#!/usr/bin/env bash
case "$*" in
eval*--check*) exit 0 ;;
eval*'--shard 1/3') echo 'program: unknown key' && exit 78 ;;
eval*'--shard 2/3') exit 75 ;;
eval*'--shard 3/3')
    [ ! -f told ] || exit 0
    trap 'echo told >told; exit 75' TERM
    for ((i = 0; i < 1000; i++)); do sleep 0.1; done
    exit 70
    ;;
merge*) exit 75 ;;
esac
exit 64
PROGRAM
chmod +x program
"$slurm_eval" --out "$failing" --tasks 3 --mas ./program --time 1 --lead 58 --starts 2 -- -c demo >failing.txt 2>&1 ||
    fault "the failing study: $(cat failing.txt)"

# ---- meanwhile, one configuration. The script of a task is killed with -9, and Slurm does not queue the task again

single="$dir/single"
single_arguments=(-c demo -s direct --data 'held out.jsonl' -n 8)
"$mas" eval "${single_arguments[@]}" --threads=1 --quiet --out single_whole </dev/null >single.txt 2>&1 ||
    fault "one process: $(cat single.txt)"
"$slurm_eval" --out "$single" --tasks 2 --mas ./program_held -- "${single_arguments[@]}" >single.txt 2>&1 ||
    fault "one configuration: $(cat single.txt)"
within 60 'the start of 2 tasks' held 2
kill -9 "$(cut -d" " -f4 "/proc/$(cat held/1-of-2)/stat")" # the parent
kill -CONT "$(cat held/2-of-2)"

# ---- meanwhile, an experiment with a cell that fails, because its model is not there yet

lost="$dir/lost"
cat >lost.yaml <<YAML
_base: $root/configs/demo.yaml
experiment:
  name: lost
  factors: {model: [demo, later.gguf], strategy: [direct]}
  data: {n: 4}
YAML
"$slurm_eval" --out "$lost" --tasks 2 --no-check --mas "$mas" -- -c lost.yaml --data 'held out.jsonl' >lost.txt 2>&1 ||
    fault "an experiment with a lost model: $(cat lost.txt)"

# ---- requests that pend for ever

refused() { # TEXT OPTION..
    local text=$1 code=0
    shift
    "$slurm_eval" --out "$dir/refused" --tasks 2 --mas ./program "$@" -- -c demo >refused.txt 2>&1 || code=$?
    [ $code = 78 ] || fault "$*: exit code $code, want 78: $(cat refused.txt)"
    grep -q "$text" refused.txt || fault "$*: no '$text' in $(cat refused.txt)"
    [ ! -e "$dir/refused" ] || fault "$*: a study stays: $(find "$dir/refused")"
}
refused 'never starts: Partition' --time 100 # ..TimeLimit, under load also ..Config
refused 'Requested node configuration is not available' --mem 99G
refused 'Requested node configuration is not available' --gpus 2
refused 'asked for: .* 99G of memory' --mem 99G
refused 'partition main.: .* 4000 MB' --mem 99G
refused 'Invalid partition name' --partition nowhere
refused 'no partition nowhere' --partition nowhere
code=0
"$slurm_eval" --out "$dir/refused" --tasks 2 --mas "$mas" -- -m nosuch.gguf --data 'held out.jsonl' >refused.txt 2>&1 || code=$?
[ $code = 66 ] && grep -q "cannot open model 'nosuch.gguf'" refused.txt && [ ! -e "$dir/refused" ] ||
    fault "a model that is not there: exit code $code: $(cat refused.txt)"
"$slurm_eval" --out "$dir/unchecked" --tasks 1 --no-check --mas "$mas" -- -m nosuch.gguf --data 'held out.jsonl' >refused.txt 2>&1 ||
    fault "--no-check: $(cat refused.txt)"

# ---- a job that is held, and its cancelled tasks

"$slurm_eval" --out "$dir/held_study" --tasks 2 --sbatch --hold --mas ./program -- -c demo >held.txt 2>&1 || fault "$(cat held.txt)"
code=0
"$slurm_eval" --status "$dir/held_study" >held.txt || code=$?
[ $code = 1 ] && grep -Eq '^1 +pending .*is held: JobHeldUser; it starts after' held.txt || fault "a held task: exit code $code: $(cat held.txt)"
scancel --name="$(sed -n 's/^name //p' "$dir/held_study/slurm/study")"
scancel --name="$(sed -n 's/^name //p' "$dir/held_study/slurm/study")-report"
code=0
"$slurm_eval" --status "$dir/held_study" >held.txt || code=$?
[ $code = 1 ] && grep -Eq '^2 +cancelled +0 +0  never started; submit again' held.txt && grep -q '^report: cancelled' held.txt ||
    fault "cancelled tasks: exit code $code: $(cat held.txt; squeue -h -r -t CANCELLED -o '%j|%K|%T|%i|%F')"

# ---- the end of both

ended() { # STUDY: nothing of it is in the queue
    local name
    name=$(sed -n 's/^name //p' "$1/slurm/study")
    [ -z "$(squeue -h -n "$name,$name-report")" ]
}
within $most "the study: $("$slurm_eval" --status "$study" || true)" ended "$study" || true
"$slurm_eval" --status "$study" >status.txt || fault "--status of a finished study: exit code $?"
grep -q "questions: $((cells * n)) of $((cells * n)) finished" status.txt || fault '--status counts other questions'
cat status.txt
said task-$tasks 'killed by signal 9' || fault "task $tasks was not killed: $(cat "$study/slurm/log/task-$tasks.txt")"
said task-5 'requeued the time limit is near (exit 75)' || fault "task 5 did not stop: $(cat "$study/slurm/log/task-5.txt")"
said task-2 'DUE TO JOB REQUEUE' || fault "task 2 was not requeued: $(cat "$study/slurm/log/task-2.txt")"
said task-1 'DUE TO NODE FAILURE' || fault "task 1 kept its node: $(cat "$study/slurm/log/task-1.txt")"
said task-6 'DUE TO PREEMPTION' || fault "task 6 was not preempted: $(cat "$study/slurm/log/task-6.txt")"
for k in 1 2 5 6 $tasks; do # a requeue of one task is none of the others
    [ "$(sed -n 's/^restarts //p' "$study/slurm/state/task-$k")" = 1 ] || fault "task $k: $(cat "$study/slurm/state/task-$k")"
done
[ "$(sed -n 's/^restarts //p' "$study/slurm/state/task-4")" = 0 ] || fault 'the task on the drained node was disturbed'
[ "$(starts_on "$drained")" = "$before" ] || fault "a task started on the drained node $drained"

wait "$whole_pid" || fault "the run of one process: $(tail -n 5 whole.txt)"
whole_pid=''
# every call's question, role, index, end and reply; every case's answer
essence() {
    zcat "$1/traces.jsonl.gz" | sed -E -n \
        -e 's/^\{("call": "[^"]*", "role": "[^"]*", "index": [0-9]+).*("finish": "[^"]*").*("mean_lp": [^,]*).*("reply": .*), "crc".*/\1 \2 \3 \4/p' \
        -e 's/^\{("case": "[^"]*").*("state": "[^"]*").*("predicted": [^,]*).*/\1 \2 \3/p' | sort
}
[ "$(find whole -name traces.jsonl.gz | wc -l)" = $cells ] || fault "other settings than $cells: $(ls whole)"
for cell in whole/*/; do
    name=$(basename "$cell")
    essence "$cell" >one.txt
    essence "$study/$name" >many.txt
    [ "$(grep -c '^"case"' one.txt)" = $n ] || fault "$name: $(grep -c '^"case"' one.txt) cases in one process, want $n"
    cmp one.txt many.txt || fault "the replies of $name differ"
done
[ -s "$study/report.html" ] || fault 'no report'
grep -q '^panel,.*planner.top_k=2' "$study/report.txt" || fault "no table of the settings: $(cat "$study/report.txt")"
jobs=$(wc -l <"$study/slurm/jobs")
submit | grep -q "nothing to submit: all $tasks tasks" || fault 'a finished study is submitted again'
[ "$(wc -l <"$study/slurm/jobs")" = "$jobs" ] || fault "jobs of a finished study: $(cat "$study/slurm/jobs")"

within 30 'the study of one configuration' ended "$single" || true
code=0
"$slurm_eval" --status "$single" >status.txt || code=$?
[ $code = 1 ] || fault "--status with a lost task: exit code $code: $(cat status.txt)"
grep -Eq '^1 +lost .*submit again' status.txt || fault "the lost task is not named: $(cat status.txt)"
"$slurm_eval" --out "$single" --mas ./program_held >single.txt 2>&1 || fault "a lost task again: $(cat single.txt)"
grep -q 'tasks 1 of 2' single.txt || fault "the lost task alone is submitted: $(cat single.txt)"

# the report job has merged the other cell and names the one that failed; the next submission tries it again
within 60 'the experiment with a lost model' ended "$lost" || true
code=0
"$slurm_eval" --status "$lost" >status.txt || code=$?
[ $code = 1 ] || fault "--status with a failed cell: exit code $code: $(cat status.txt)"
grep -Eq '^2 +failed .*cells failed: model=later.gguf' status.txt || fault "the failed cell is not named: $(cat status.txt)"
grep -q 'report: finished' status.txt || fault "no report beside a failed cell: $(cat status.txt "$lost/slurm/log/report.txt")"
grep -q '1 of 2 cells failed and are not in the result' "$lost/slurm/log/report.txt" || fault "$(cat "$lost/slurm/log/report.txt")"
grep -q 'later.gguf.*failed: cannot open' "$lost/report.txt" || fault "the report is silent: $(cat "$lost/report.txt")"
cp "$root/configs/demo/toy_mini.gguf" later.gguf
"$slurm_eval" --out "$lost" --mas "$mas" >lost.txt 2>&1 || fault "the lost model is there: $(cat lost.txt)"
grep -q 'tasks 2 of 2' lost.txt || fault "the failed task alone is submitted: $(cat lost.txt)"
within 60 'the experiment, again' ended "$lost" || true
"$slurm_eval" --status "$lost" >status.txt || fault "a complete experiment: $(cat status.txt "$lost"/slurm/log/*)"
grep -q 'questions: 8 of 8 finished' status.txt || fault "a complete experiment: $(cat status.txt)"

within 90 'the failing study' ended "$failing" || true
code=0
"$slurm_eval" --status "$failing" >status.txt || code=$?
[ $code = 1 ] || fault "--status of a failed study: exit code $code: $(cat status.txt)"
grep -Eq '^1 +failed .* exit 78: program: unknown key; log: ' status.txt || fault "the task that failed is not named: $(cat status.txt)"
grep -Eq '^2 +failed .* no question finished in 2 starts' status.txt || fault "no limit of starts: $(cat status.txt)"
grep -Eq '^3 +finished ' status.txt || fault "the task that was told to stop: $(cat status.txt)"
grep -q 'report: failed merge: exit 75; unfinished tasks: 1 2' status.txt || fault "the report job: $(cat status.txt)"
grep -q '^task 1 did not finish: failed exit 78' "$failing/slurm/log/report.txt" || fault "$(cat "$failing/slurm/log/report.txt")"

within 60 'the study of a model that is not there' ended "$dir/unchecked" || true
"$slurm_eval" --status "$dir/unchecked" >status.txt && fault 'a task without a model succeeds'
grep -Eq "^1 +failed .* exit 66: mas: cannot open model 'nosuch.gguf'.*; log: .*task-1.txt" status.txt || fault "its reason: $(cat status.txt)"

within 60 'the study of one configuration, again' ended "$single" || true
"$slurm_eval" --status "$single" >status.txt || fault "one configuration: $(cat status.txt "$single"/slurm/log/*)"
grep -q 'questions: 8 of 8 finished' status.txt || fault "one configuration: $(cat status.txt)"
essence single_whole >one.txt
essence "$single" >many.txt
[ "$(grep -c '^"case"' one.txt)" = 8 ] || fault "one configuration: $(cat one.txt)"
cmp one.txt many.txt || fault 'the replies of one configuration differ'

# ---- Slurm is away

kill "$(cat slurmctld.pid)"
within 20 'the end of slurmctld' test ! -e slurmctld.pid || true
code=0
"$slurm_eval" --status "$failing" >status.txt || code=$?
grep -q 'Slurm does not answer' status.txt || fault "--status without Slurm: $(cat status.txt)"
grep -Eq '^3 +finished' status.txt || fault "--status without Slurm: $(cat status.txt)"
[ $code = 1 ] || fault "--status without Slurm: exit code $code"
code=0
submit >submit4.txt 2>&1 || code=$?
[ $code = 69 ] || fault "a submission without Slurm: exit code $code: $(cat submit4.txt)"
[ $bad = 0 ] || { tail -n 20 "$dir/log/slurmctld.txt" && exit 1; }
echo "$cells settings x $n questions by $tasks tasks: the replies of one process; $SECONDS s"
