#!/bin/bash
# Jobs handed to a real Slurm: a controller and two nodes on this machine, started here and stopped at the end. Needs root, the
# programs of Slurm and of munge (Debian: apt install slurmctld slurmd slurm-client munge), and nats-server (.ci/nats-server).
# It prints the table of docs/slurm.md.
set -euo pipefail

for program in munged slurmctld slurmd sbatch; do
    command -v "$program" > /dev/null || PATH=$PATH:/usr/sbin
    command -v "$program" > /dev/null || { echo "skipped: needs $program (Debian: apt install slurmctld slurmd slurm-client munge)"; exit; }
done
[ "$(id -u)" = 0 ] || { echo "skipped: needs root, as which Slurm runs here"; exit; }
PATH=$PWD/target/release:$PWD/target/nats-server:$PATH
command -v nats-server > /dev/null || { echo "skipped: needs nats-server (.ci/nats-server)"; exit; }

site=$(mktemp -d /tmp/procession-slurm.XXXXXX)
export SLURM_CONF=$site/slurm.conf
host=$(hostname -s)

# Everything that runs on a node: what it started has its name in the environment, and slurmstepd is the parent of that.
processes_of() {
    local process parent
    for process in /proc/[0-9]*; do
        if cat "$process/environ" 2> /dev/null | tr '\0' '\n' | grep -qx "SLURMD_NODENAME=$1"; then
            echo "${process#/proc/}"
            parent=$(sed 's/.*) //' "$process/stat" 2> /dev/null | cut -d' ' -f2) || continue
            grep -q slurmstepd "/proc/$parent/comm" 2> /dev/null && echo "$parent"
        fi
    done
    cat "$site/$1.pid" 2> /dev/null || true
}
kill_node() {
    local process
    for process in $(processes_of "$1" | sort -u); do kill -KILL "$process" 2> /dev/null || true; done
}
start_node() { slurmd -N "$1" -f "$SLURM_CONF"; }
end() {
    scancel --user="$(id -un)" 2> /dev/null || true
    kill_node n1
    kill_node n2
    local program
    for program in slurmctld munge/munged; do kill "$(cat "$site/$program.pid" 2> /dev/null)" 2> /dev/null || true; done
    rm -rf "$site"
}
trap end EXIT

mkdir -p "$site"/{munge,state,n1,n2,jobs}
chmod 755 "$site" "$site/munge"
head -c 1024 /dev/urandom > "$site/munge/key"
chmod 600 "$site/munge/key"
munged --force --key-file="$site/munge/key" --socket="$site/munge/socket" --pid-file="$site/munge/munged.pid" \
    --log-file="$site/munge/log" --seed-file="$site/munge/seed"
cat > "$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
AuthType=auth/munge
AuthInfo=socket=$site/munge/socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$site/state
SlurmdSpoolDir=$site/%n
SlurmctldPidFile=$site/slurmctld.pid
SlurmdPidFile=$site/%n.pid
SlurmctldLogFile=$site/slurmctld.log
SlurmdLogFile=$site/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MailProg=/bin/true
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=1 RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
slurmctld -f "$SLURM_CONF"
start_node n1
start_node n2

within() { # SECONDS WHAT COMMAND…
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || { echo "never: $what" >&2; tail -n 20 "$site"/jobs/*/*.log "$site"/*.log >&2; exit 1; }
        sleep 0.2
    done
}
nodes_are_up() { [ "$(sinfo --noheader --format=%T)" = idle ]; }
is_over() { [ -z "$(squeue --noheader --jobs="$1" 2> /dev/null)" ]; }
has_begun() { [ "$(lines "$1")" -ge "$2" ]; }
lines() { if [ -e "$1" ]; then wc -l < "$1"; else echo 0; fi; }
# The number of the job, or of the last one that it needs.
submitted() { sed -n 's/.*and job \([0-9]*\) to merge.*/\1/p; t; s/.*submitted as job \([0-9]*\).*/\1/p' "$1" | tail -n 1; }
submit() { # NAME FLAGS…
    local name=$1
    shift
    procession slurm submit "$@" --cpus 1 --drain 1m --run-dir "$site/jobs/$name" 2> "$site/submitted" || { cat "$site/submitted" >&2; exit 1; }
    job=$(submitted "$site/submitted")
}
log() { cat "$site/jobs/$1"/slurm-*.log; }

# ITEMS SECONDS of sleeping, each noted when it begins.
notes() {
    cat > "$site/$1.toml" <<END
name = "$1"
task = "faults::note"
[pool]
workers = 2
chunk_size = 1
[input]
repeat = $2
args = ["$site/$1.ledger", "{index}", $3]
END
}
# Every item has one outcome, and none began twice. Says how many have no value.
check_notes() { # NAME ITEMS
    local dir=$site/jobs/$1
    { cat "$dir/values.jsonl"; sed -n 's/.*"index":\([0-9]*\).*/\1/p' "$dir/failures.jsonl"; } | sort -n > "$site/outcomes"
    seq 0 $(($2 - 1)) | cmp - "$site/outcomes" || { echo "$1: not one outcome for each item" >&2; exit 1; }
    sort "$site/$1.ledger" | uniq -d | grep . >&2 && { echo "$1: these began twice" >&2; exit 1; }
    failed=$(lines "$dir/failures.jsonl")
}
# All that can be in a row was checked.
row() { echo "| $1 | $2 | $3 | 0 | $4 |"; }

within 60 "two nodes that are up" nodes_are_up
echo "| what happens | how | items | lost or twice | without a value |"
echo "|---|---|---:|---:|---:|"

here=$(procession run examples/pi.toml --no-progress --quiet)
submit pi examples/pi.toml --nodes 2
within 120 "the end of pi" is_over "$job"
log pi | grep -qxF "$here" || { echo "pi is not $here" >&2; log pi >&2; exit 1; }
row "nothing" "\`--nodes 2\`" 4 0

procession run examples/faults.toml --no-progress --quiet > "$site/here" 2> /dev/null || true
submit faults examples/faults.toml --shards 3
within 180 "the end of faults" is_over "$job"
# Byte for byte.
cmp "$site/here" "$site/jobs/faults/values.jsonl"
row "items fail" "\`--shards 3\`" "$(procession status "$site/jobs/faults/1-of-3" | sed -n 's/^items .* of \([0-9]*\) .*/\1/p')" \
    "$(lines "$site/jobs/faults/failures.jsonl")"

notes stopped 200 0.1
submit stopped "$site/stopped.toml" --nodes 2
within 60 "twenty items" has_begun "$site/stopped.ledger" 20
scancel --batch --signal=TERM "$job"
within 60 "the end of a job that is told to stop" is_over "$job"
part=$(lines "$site/stopped.ledger")
[ "$part" -lt 200 ] || { echo "stopped: it had all begun" >&2; exit 1; }
submit stopped "$site/stopped.toml" --nodes 2
within 120 "the end of the rest" is_over "$job"
check_notes stopped 200
row "it is told to stop after $part items; submitted again" "\`--nodes 2\`" 200 "$failed"

# Slurm may say a minute early that the time is up.
notes late 8000 0.1
submit late "$site/late.toml" --nodes 2 --time 3m
within 240 "the end of a job whose time is up" is_over "$job"
part=$(lines "$site/late.ledger")
[ "$part" -gt 100 ] && [ "$part" -lt 8000 ] || { echo "late: $part items had begun" >&2; exit 1; }
log late | grep "DUE TO TIME LIMIT" >&2 && { echo "late: it did not end by itself" >&2; exit 1; }
sort "$site/late.ledger" | uniq -d | grep . >&2 && { echo "late: these began twice" >&2; exit 1; }
row "the time is up after $part items, all of which have a value" "\`--nodes 2 --time 3m --drain 1m\`" 8000 \
    "$((8000 - $(lines "$site/jobs/late/values.jsonl"))), not begun"
[ "$(lines "$site/jobs/late/values.jsonl")" = "$part" ] || { echo "late: $part began" >&2; exit 1; }

notes kept 300 0.1
submit kept "$site/kept.toml" --nodes 2 --sbatch=--no-kill
within 60 "thirty items" has_begun "$site/kept.ledger" 30
kill_node n2
within 180 "the end without a node" is_over "$job"
check_notes kept 300
row "the second node dies; the first goes on" "\`--nodes 2 --sbatch=--no-kill\`" 300 "$failed"
start_node n2
within 120 "the node's return" nodes_are_up

for dead in n1 n2; do
    notes "$dead" 300 0.1
    submit "$dead" "$site/$dead.toml" --nodes 2
    within 60 "thirty items" has_begun "$site/$dead.ledger" 30
    kill_node "$dead"
    since=$SECONDS
    sleep 15
    start_node "$dead"
    within 600 "the end of a job that begins again" is_over "$job"
    check_notes "$dead" 300
    case $dead in n1) which=first ;; n2) which=second ;; esac
    row "the $which node dies, and is back after 15 s; Slurm runs the job again ($((SECONDS - since)) s to the end)" "\`--nodes 2\`" 300 "$failed"
done

notes shard 300 0.1
submit shard "$site/shard.toml" --shards 2
within 60 "thirty items" has_begun "$site/shard.ledger" 30
kill_node n2
since=$SECONDS
sleep 15
start_node n2
within 600 "the end with a node that was away" is_over "$job"
check_notes shard 300
row "a node dies, and is back after 15 s; Slurm runs its shard again ($((SECONDS - since)) s to the end)" "\`--shards 2\`" 300 "$failed"
