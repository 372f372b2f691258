#!/usr/bin/env bash
# tools/scripts/slurm_eval.sh without Slurm: its commands are stand-ins that read and write files. Arguments keep blanks and
# quotes; no task is queued twice; a task's script turns each exit code into its fault's answer; --status reads folders.
# The same script on a real Slurm: tests/real/slurm.sh.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
script=$MAS_SOURCE/tools/scripts/slurm_eval.sh

mkdir bin
PATH=$dir/bin:$PATH
export FAKE=$dir
tool() { # NAME: a command of Slurm; its text comes from standard input
    { echo '#!/usr/bin/env bash' && cat; } >"bin/$1"
    chmod +x "bin/$1"
}
tool sbatch <<'TOOL'
printf '%s\n' "$@" "" >>"$FAKE/sbatch.txt"
case "$*" in
*--test-only*) [ ! -f "$FAKE/refuse" ] || { cat "$FAKE/refuse" >&2 && exit 1; } ;;
*)
    job=$(($(cat "$FAKE/job" 2>/dev/null || echo 40) + 1))
    echo $job >"$FAKE/job"
    echo "$job;cluster"
    ;;
esac
TOOL
tool squeue <<'TOOL'
[ ! -f "$FAKE/away" ] || { echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2 && exit 1; }
case "$*" in
*' -t CANCELLED '*) cat "$FAKE/cancelled" 2>/dev/null || true ;;
*' -j '*) echo "PENDING $(cat "$FAKE/reason" 2>/dev/null || echo Resources)" ;;
*) cat "$FAKE/queue" 2>/dev/null || true ;;
esac
TOOL
tool scontrol <<'TOOL'
echo "$*" >>"$FAKE/scontrol.txt"
[ ! -f "$FAKE/no_requeue" ] || exit 1
kill -TERM "$PPID"
TOOL
tool scancel <<'TOOL'
echo "$*" >>"$FAKE/scancel.txt"
TOOL
tool sinfo <<'TOOL'
printf '  partition %s: 2 nodes idle, each 8 CPUs, 64000 MB, GPUs and others: gpu:1; time limit 1:00:00\n' 'main*' other
TOOL
tool program <<'TOOL'
[ "$2" != --check ] || { [ ! -f "$FAKE/bad" ] || { cat "$FAKE/bad" >&2 && exit 66; } && exit 0; }
[ ! -f "$FAKE/words" ] || cat "$FAKE/words"
printf '%s\n' "$@" >"$FAKE/arguments.txt"
for ((i = 0; i < $(cat "$FAKE/more" 2>/dev/null || echo 0); i++)); do
    mkdir -p "$FAKE/run/shard-2-of-5"
    echo "{\"case\": \"$RANDOM$RANDOM$i\", \"n\": 0}" >>"$FAKE/run/shard-2-of-5/traces-0001.jsonl"
done
[ ! -f "$FAKE/elsewhere" ] || sed -i 's/^start .*/start n9 1 1/' "$FAKE/run/slurm/state/task-2"
if [ -f "$FAKE/wait" ]; then
    trap 'echo TERM >>"$FAKE/signals.txt"; exit 75' TERM
    echo $$ >"$FAKE/ready"
    for ((i = 0; i < 300; i++)); do sleep 0.1; done
fi
exit "$(cat "$FAKE/code" 2>/dev/null || echo 0)"
TOOL

# ---- arguments
expect 64 'no folder of a study' "$script"
expect 64 "no --tasks" "$script" --out run -- -c demo
expect 64 "--tasks is '0'; it takes a number from 1 to 100000" "$script" --out run --tasks 0 -- -c demo
expect 64 "unknown option '--task'" "$script" --out run --task 3 -- -c demo
expect 64 "unexpected 'demo'" "$script" --out run demo
expect 64 'no options of mas eval' "$script" --out run --tasks 2
expect 64 '--shard=1/2 stands after --' "$script" --out run --tasks 2 -- --shard=1/2
expect 64 'without a back slash' "$script" --out 'r\un' --tasks 2 -- -c demo
for limit in 2 2:00 0:02:00 0-0:02 0-00:02:00; do
    expect 64 "120 seconds, and --lead is 120" "$script" --out run --tasks 2 --time $limit --mas bin/program -- -c demo
done
expect 0 '' "$script" --out run --tasks 2 --time 0-1 --dry-run --mas bin/program -- -c demo
expect 66 'no program nowhere' "$script" --out run --tasks 2 --mas nowhere -- -c demo
expect 66 'no image nowhere.sif' "$script" --out run --tasks 2 --image nowhere.sif -- -c demo
expect 66 'has no study' "$script" --status run
[ ! -e run ] || fault "a refused command and --dry-run made $(find run)"
touch mas.sif
expect 0 'apptainer exec --nv --bind' "$script" --out run --tasks 2 --gpus 1 --image mas.sif --dry-run -- -c demo
expect 64 "the image cannot be given" "$script" --out run:1 --tasks 2 --image mas.sif --dry-run -- -c demo

# ---- what is submitted
odd=$'it\'s "a" $b `c` é;\t*'
submit() { "$script" --out run --mas bin/program --sbatch --account=med "$@"; }
# options that mas eval refuses, and requests that Slurm refuses, leave no study: the next command may have others
echo "mas: cannot open model 'nosuch.gguf'" >bad
expect 66 "cannot open model 'nosuch.gguf'" submit --tasks 3 -- -m nosuch.gguf
expect 66 'give' submit --tasks 3 -- -m nosuch.gguf
[ ! -e run ] || fault "refused options left $(find run)"
rm bad
echo 'allocation failure: Invalid partition name specified' >refuse
expect 78 'asked for: partition nosuch, 64 CPUs, 900G of memory, GPUs 4' submit --tasks 3 --partition nosuch --cpus 64 --mem 900G --gpus 4 -- -c other
expect 78 'no partition nosuch' submit --tasks 3 --partition nosuch -- -c other
expect 78 'partition main*: 2 nodes idle, each 8 CPUs, 64000 MB' submit --tasks 3 --partition main -- -c other
rm refuse
echo PartitionTimeLimit >reason
expect 78 'this request never starts: PartitionTimeLimit; job 41 is cancelled' submit --tasks 3 -- -c other
[ ! -e run ] || fault "refused requests left $(find run)"
expect 66 'has no study' "$script" --status run
rm reason job
expect 0 'submitted: job 41, tasks 1-5 of 5' submit --tasks 5 --time 60 -- -c demo --data "$odd"
for text in --array=1-5 --requeue --signal=B:USR1@120 --time=60 --account=med --dependency=afterany:41 --open-mode=append; do
    grep -qxe "$text" sbatch.txt || fault "no $text in: $(cat sbatch.txt)"
done
bash -n run/slurm/task.sh || fault 'task.sh cannot be read'
bash -n run/slurm/report.sh || fault 'report.sh cannot be read'
expect 73 'has 5 tasks, not 4' submit --tasks 4
expect 73 'has other options of mas eval' submit -- -c other
name=$(sed -n 's/^name //p' run/slurm/study)
queued() { # TASK STATE REASON JOB: a line of squeue; the report has the task N/A
    printf '%s|%s|%s|%s|n1|%s\n' "$([ "$1" = N/A ] && echo "$name-report" || echo "$name")" "$1" "$2" "$3" "$4" >>queue
}
for i in 1 2 3 4 5; do queued $i PENDING Resources 41_$i; done
queued N/A PENDING Dependency 42
rm sbatch.txt
expect 0 'already in the queue: 5 of 5' submit
[ ! -f sbatch.txt ] || fault "queued twice: $(cat sbatch.txt)"

# some ended: 1 finished, 2 and 3 not, 5 failed; 4 is still there
rm queue
queued 4 RUNNING None 41_4
queued N/A PENDING Dependency 42
note() { printf '%s\n' "${@:2}" >"run/slurm/state/$1"; }
note task-1 'state finished'
note task-5 'state failed' 'text exit 78' 'before 0' 'idle 3'
expect 0 'submitted: job 43, tasks 2-3,5 of 5' submit
grep -qxe --array=2-3,5 sbatch.txt || fault "array: $(cat sbatch.txt)"
grep -qxe --dependency=afterany:43:41 sbatch.txt || fault "the report waits for: $(cat sbatch.txt)"
grep -q -- "--name=$name-report" scancel.txt || fault 'two report jobs'
[ -z "$(sed -n 's/^idle //p' run/slurm/state/task-5)" ] || fault 'a new submission keeps the starts of the old one'

# faults of Slurm
touch away
expect 69 'Slurm does not answer; nothing was submitted' submit
rm away
echo 'allocation failure: Requested node configuration is not available' >refuse
expect 78 'Slurm refuses the request: allocation failure: Requested' submit
rm refuse queue
echo PartitionTimeLimit >reason
expect 78 'this request never starts: PartitionTimeLimit; job 45 is cancelled' submit
grep -qx 45 scancel.txt || fault "the job that never starts stays: $(cat scancel.txt)"
rm reason
mkdir run/slurm/submitting
echo 'elsewhere 1' >run/slurm/submitting/holder
expect 73 'another submission of this study is at work (elsewhere 1)' submit
echo "$(hostname) 99999999" >run/slurm/submitting/holder
expect 0 'submitted: job 46' submit
[ ! -e run/slurm/submitting ] || fault 'the lock of a submission stays'

# a study that another submission made after this one had looked
tool mkdir <<'TOOL'
case "$*" in
*/submitting) printf 'name mas-other\n' >"${1%/submitting}/study" ;;
esac
exec /bin/mkdir "$@"
TOOL
expect 73 'another submission has made this study meanwhile' "$script" --out race --mas bin/program --tasks 2 -- -c demo
rm bin/mkdir

# ---- a task
task() { # runs the script of task 2
    SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_JOB_ID=46 SLURM_JOB_ID=46 SLURM_CPUS_PER_TASK=3 SLURMD_NODENAME=n1 bash run/slurm/task.sh
}
value() { sed -n "s/^$1 //p" run/slurm/state/task-2; }
answer() { # CODE OF THE PROGRAM, EXIT CODE, STATE, QUEUED AGAIN: yes or no
    local said
    rm -f scontrol.txt
    echo "$1" >code
    expect "$2" "$3" task
    [ "$(value state)" = "$3" ] || fault "program's exit code $1: state $(value state), want $3"
    said=$([ -f scontrol.txt ] && echo yes || echo no)
    [ "$said" = "$4" ] || fault "program's exit code $1: queued again: $said, want $4"
    # the number of the job alone would requeue all tasks
    [ "$4" = no ] || [ "$(cat scontrol.txt)" = 'requeue 46_2' ] || fault "scontrol $(cat scontrol.txt)"
}
echo 1 >"more" # each start finishes a question
answer 0 0 finished no
printf '%s\n' eval --quiet --set threads=3 -c demo --data "$odd" --out "$dir/run" --shard 2/5 | cmp - arguments.txt ||
    fault "arguments: $(cat arguments.txt)"
answer 1 0 finished no
# an experiment with a failed cell: the task fails, so the next submission tries it again
echo '{"cells": [{"name": "direct", "state": "done"},
{"name": "cot,seed=1", "state": "failed"}, {"name": "cot,seed=2", "state": "failed"}]}' >run/shard-2-of-5/grid.json
answer 1 1 failed no
[ "$(value text)" = 'cells failed: cot,seed=1 cot,seed=2' ] || fault "failed cells: $(value text)"
rm run/shard-2-of-5/grid.json
for code in 75 73 74 69 137 139; do answer $code $code requeued yes; done
for code in 64 65 66 70 78; do answer $code $code failed no; done
# the last words of the program are the reason
echo "mas: cannot open model 'nosuch.gguf'" >words
echo 66 >code
echo 'mas: of a former start' >run/slurm/log/task-2.txt
task >>run/slurm/log/task-2.txt 2>&1 && fault 'a failed task succeeds'
[ "$(value text)" = "exit 66: mas: cannot open model 'nosuch.gguf'" ] || fault "the reason: $(value text)"
rm words
echo 65 >code
task >>run/slurm/log/task-2.txt 2>&1 && fault 'a failed task succeeds'
[ "$(value text)" = "exit 65" ] || fault "the reason of another start: $(value text)"
rm run/slurm/log/task-2.txt
touch no_requeue
rm -f scontrol.txt
echo 75 >code
expect 75 'failed the program asks for another start (exit 75); scontrol requeue fails' task
[ "$(wc -l <scontrol.txt)" = 3 ] || fault "scontrol: $(cat scontrol.txt)"
rm no_requeue

# Slurm has started the task on another node: this start requeues nothing and leaves the state
touch elsewhere
for code in 0 73 75 78; do
    rm -f scontrol.txt
    echo $code >code
    expect $code 'another start of this task has followed (n9 1 1)' task
    [ ! -f scontrol.txt ] || fault "a former start requeues its successor: $(cat scontrol.txt)"
    [ "$(value state) $(value start)" = 'running n9 1 1' ] || fault "a former start changes the state to $(value state)"
done
rm elsewhere

# starts without a finished question: the fourth in a row fails
rm -f more run/slurm/state/task-2
for ((i = 1; i <= 3; i++)); do answer 75 75 requeued yes; done
answer 75 75 failed no
rm -f run/slurm/state/task-2
for ((i = 1; i <= 3; i++)); do answer 75 75 requeued yes; done
echo 1 >"more"
answer 75 75 requeued yes
rm more
for ((i = 1; i <= 3; i++)); do answer 75 75 requeued yes; done
answer 75 75 failed no
# starts that Slurm ended are counted too
printf '%s\n' 'state running' "before $(value before)" 'idle 3' >run/slurm/state/task-2
expect 75 'no question finished in 4 starts' task

# signals: USR1 comes before the time limit, TERM when Slurm ends the task; the program gets TERM once
signal() { # SIGNAL: sent to the script of the task; TERM is sent to the program too
    local i script
    rm -f signals.txt arguments.txt ready run/slurm/state/task-2 scontrol.txt
    touch wait
    task >task.txt 2>&1 &
    for ((i = 0; i < 100; i++)); do
        [ ! -f ready ] || break
        sleep 0.1
    done
    script=$(cut -d" " -f4 "/proc/$(cat ready)/stat") # the parent
    kill "-$1" "$script"
    [ "$1" = USR1 ] || kill -TERM "$(cat ready)"
    wait $! && fault "after $1 the task succeeds"
    rm wait
}
signal USR1
[ "$(cat signals.txt) $(value state) $(cat scontrol.txt)" = 'TERM requeued requeue 46_2' ] || fault "USR1: $(cat task.txt)"
signal TERM
[ "$(cat signals.txt) $(value state)" = "TERM stopped" ] || fault "TERM: $(cat task.txt)"
[ ! -f scontrol.txt ] || fault 'a task that Slurm ended queues itself'


# ---- the report job
report() { SLURM_JOB_ID=50 bash run/slurm/report.sh; }
echo 75 >code
expect 75 'task 5 did not finish: submitted' report
expect 75 'failed merge: exit 75; unfinished tasks: 2 3 4 5' report
echo 0 >code
expect 0 'report in' report
# a task failed in some cells: the merge runs, writes the others and ends with 1
note task-5 'state failed' 'text cells failed: cot,seed=1'
echo 1 >code
tool program <<'TOOL'
echo "$1" >>"$FAKE/asked.txt"
[ "$1" != merge ]
TOOL
expect 0 'task 5 did not finish: failed cells failed: cot,seed=1' report
[ "$(paste -sd' ' asked.txt)" = 'merge report export' ] || fault "after a merge with failed cells: $(cat asked.txt)"

# a report that failed is submitted again, without tasks
for i in 1 2 3 4 5; do note task-$i 'state finished'; done
note report 'state failed' 'text merge: exit 74'
rm -f queue sbatch.txt
expect 0 'the report' submit
grep -q 'slurm/report.sh$' sbatch.txt || fault "no report: $(cat sbatch.txt)"
! grep -q 'slurm/task.sh$\|--dependency' sbatch.txt || fault "more than the report: $(cat sbatch.txt)"
note report 'state finished'
rm sbatch.txt
expect 0 'nothing to submit: all 5 tasks are finished' submit
[ ! -f sbatch.txt ] || fault "jobs of a finished study: $(cat sbatch.txt)"

# ---- --status
shows() { # CODE REGULAR EXPRESSION
    local code=0
    "$script" --status run >status.txt 2>&1 || code=$?
    [ $code = "$1" ] && grep -Eq -- "$2" status.txt || fault "--status: exit code $code, want $1 and '$2': $(cat status.txt)"
}
for i in 1 2 3 4 5; do note task-$i 'state finished' 'text ' 'restarts 2'; done
mkdir -p run/shard-1-of-5/cot run/shard-1-of-5/direct run/shard-1-of-5/old-1
for i in 1 2 2 3; do echo "{\"case\": \"$i\"}"; done | tee run/shard-1-of-5/cot/traces-0001.jsonl | gzip >run/shard-1-of-5/cot/traces.jsonl.gz
for i in 1 2; do echo "{\"case\": \"$i\"}"; done >run/shard-1-of-5/direct/traces-0002.jsonl
cp run/shard-1-of-5/direct/traces-0002.jsonl run/shard-1-of-5/old-1/
expect 0 '1      finished           5      3' "$script" --status run
expect 0 'tasks: 5 finished' "$script" --status run
printf '%s\n' '{"format": 1,' '"study": {"of": 5, "asked": 9, "cells": {"a": "1", "b": "2"}, "models": [0, 0]},' \
    '"data": {"records": 9, "questions": 8, "duplicates": 1}' '}' >run/shards.json
expect 0 'of 16 finished' "$script" --status run
sed -i 's/"asked": 9/"asked": 4/' run/shards.json
expect 0 'of 8 finished' "$script" --status run
sed -i 's/, "models".*\]/, "x": 1/' run/shards.json
expect 0 'of 4 finished' "$script" --status run
touch away
expect 0 'Slurm does not answer (slurm_load_jobs error: Unable' "$script" --status run
note task-3 'state running' 'text 4 questions finished before' 'node n7' 'at noon' 'restarts 0'
expect 69 'since noon on n7: 4 questions' "$script" --status run
rm away
shows 1 'was running: 4 questions finished before; log: .*task-3.txt; not in the queue; submit again'
note task-3 'state submitted' 'text '
shows 1 '^3 +lost +0 +0  never started; not in the queue; submit again'
printf '%s|N/A|CANCELLED|46\n%s|N/A|CANCELLED|47\n' "$name" "$name-report" >cancelled
shows 1 '^3 +cancelled +0 +0  never started; submit again'
note report 'state submitted'
shows 1 'report: cancelled submit again'
rm cancelled
shows 1 'report: not in the queue cancelled or lost; submit again'
note report 'state finished'
note task-3 'state stopped' 'text Slurm ended the task (exit 75)' 'restarts 0'
shows 1 '^3 +cancelled +0 +1  was stopped: Slurm ended the task'
note task-3 'state failed' "text exit 66: mas: cannot open model 'nosuch.gguf'" 'restarts 0'
shows 1 "exit 66: mas: cannot open model 'nosuch.gguf'; log: .*task-3.txt"
queued 3 PENDING JobHeldAdmin 46_3
shows 1 "46_3 is held: JobHeldAdmin; it starts after 'scontrol release 46_3', by an administrator"
rm queue
rm run/shards.json
shows 1 'of a number not yet known'
note task-3 'state running' 'restarts 0'
queued 3 PENDING QOSMaxGRESPerJob 46_3
expect 1 '46_3 never starts: QOSMaxGRESPerJob' "$script" --status run
rm queue
queued 3 RUNNING None 46_3
expect 75 '46_3 on n1' "$script" --status run
exit $bad
