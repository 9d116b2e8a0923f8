#!/usr/bin/env bash
# slurm-local.sh - a real, throw-away SLURM cluster on one Debian host, without systemd.
#
#   slurm-local.sh up   WORKDIR [NODES]   install what is missing, start, wait until every node is idle
#   slurm-local.sh down WORKDIR           stop everything that `up` started (by pid) and drop its state
#   slurm-local.sh env  WORKDIR           print the export line a shell needs:  eval "$(slurm-local.sh env W)"
#   slurm-local.sh status WORKDIR
#   slurm-local.sh kill-node WORKDIR N    crash node N: its slurmd and everything running on it die at once
#   slurm-local.sh start-node WORKDIR N   bring node N back
#
# Must be root.  Settings (environment):
#   SLURM_LOCAL_CPUS     CPUs each node claims to have        (8; may exceed the real number)
#   SLURM_LOCAL_MEM_MB   memory each node claims to have      (8192)
#   SLURM_LOCAL_GPUS     pretend GPUs (gres/gpu) per node     (1)
#   SLURM_LOCAL_PORT     slurmctld port; node N uses port+N   (16817)
#   SLURM_LOCAL_PIDNS    1/0: each node in its own PID namespace, so that a node can be
#                        crashed whole (default: 1 where the kernel allows it)
set -euo pipefail

say() { printf 'slurm-local: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# a pid counts only while its command line names our folder, so a reused pid is never touched
alive() { [ -n "${1:-}" ] && tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -qF "$W/"; }
pid_of() { cat "$W/run/$1.pid" 2>/dev/null || true; }

install_missing() {
    command -v slurmctld >/dev/null && command -v slurmd >/dev/null &&
        command -v sbatch >/dev/null && command -v munged >/dev/null && return 0
    say "installing slurmctld, slurmd, slurm-client and munge"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        slurmctld slurmd slurm-client munge >"$W/log/apt.log" 2>&1 ||
        { tail -20 "$W/log/apt.log" >&2; die "apt-get install failed"; }
}

can_pidns() {
    case "${SLURM_LOCAL_PIDNS:-auto}" in 1) return 0 ;; 0) return 1 ;; esac
    unshare --pid --fork --mount-proc true 2>/dev/null
}

write_config() {    # $1: number of nodes
    local host n nodes=$1 port=${SLURM_LOCAL_PORT:-16817}
    local cpus=${SLURM_LOCAL_CPUS:-8} mem=${SLURM_LOCAL_MEM_MB:-8192} gpus=${SLURM_LOCAL_GPUS:-1}
    host=$(hostname -s)
    # slurmd, srun and slurmctld look the host's own name up
    getent hosts "$host" >/dev/null || echo "127.0.0.1 $host" >>/etc/hosts

    cat >"$W/slurm.conf" <<CONF
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root

AuthType=auth/munge
# cred_expire is also how long a requeued job waits before it may start again (default 120 s)
AuthInfo=socket=$W/munge/socket,cred_expire=15
CredType=cred/munge

StateSaveLocation=$W/state
SlurmdSpoolDir=$W/spool/%n
SlurmctldPidFile=$W/run/slurmctld.self
SlurmdPidFile=$W/run/%n.self
SlurmctldLogFile=$W/log/slurmctld.log
SlurmdLogFile=$W/log/%n.log

# no cgroups: plain process tracking, memory is sampled once a second
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
MailProg=/bin/true
PropagateResourceLimits=NONE

SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_min_interval=50000
DefMemPerCPU=100
GresTypes=gpu
# nodes are what this file says, not what the host has
SlurmdParameters=config_overrides

# finished jobs stay visible to squeue this long: the Snakemake plugin reads their
# end state there, as there is no accounting database
MinJobAge=3600
AccountingStorageType=accounting_storage/none
# one text line for every finished job
JobCompType=jobcomp/filetxt
JobCompLoc=$W/log/jobcomp.log

# notice trouble within seconds
SlurmdTimeout=10
SlurmctldTimeout=10
KillWait=2
ReturnToService=2

CONF
    for n in $(seq "$nodes"); do
        echo "NodeName=node$n NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + n))" \
             "CPUs=$cpus RealMemory=$mem Gres=gpu:$gpus State=UNKNOWN" >>"$W/slurm.conf"
    done
    echo "PartitionName=main Nodes=node[1-$nodes] Default=YES MaxTime=INFINITE State=UP" >>"$W/slurm.conf"
    # slurmd wants a character device for every gpu: names for /dev/null will do.
    # A job sees CUDA_VISIBLE_DEVICES=0,... but no real device
    : >"$W/gres.conf"
    [ "$gpus" -gt 0 ] || return 0
    mkdir -p "$W/dev"
    for n in $(seq 0 $((gpus - 1))); do ln -sfn /dev/null "$W/dev/gpu$n"; done
    echo "NodeName=node[1-$nodes] Name=gpu File=$W/dev/gpu[0-$((gpus - 1))]" >"$W/gres.conf"
}

spawn() {           # spawn NAME COMMAND...: run detached, keep its pid
    local name=$1; shift
    setsid "$@" >"$W/log/$name.out" 2>&1 </dev/null &
    echo $! >"$W/run/$name.pid"
}

start_munge() {
    alive "$(pid_of munged)" && return 0
    rm -f "$W/munge/socket" "$W/munge/socket.lock"
    [ -s "$W/munge/key" ] || (umask 077; head -c 128 /dev/urandom >"$W/munge/key")
    spawn munged munged --foreground --force --num-threads=2 \
        --key-file="$W/munge/key" --socket="$W/munge/socket" \
        --pid-file="$W/run/munged.self" --log-file="$W/log/munged.log" --seed-file="$W/munge/seed"
    local i
    for i in $(seq 50); do munge -S "$W/munge/socket" -n >/dev/null 2>&1 && return 0; sleep 0.1; done
    cat "$W/log/munged.out" >&2; die "munged does not answer"
}

start_ctld() {
    alive "$(pid_of slurmctld)" && return 0
    spawn slurmctld slurmctld -D -f "$W/slurm.conf"
    local i
    for i in $(seq 100); do scontrol ping 2>/dev/null | grep -q ' UP$' && return 0; sleep 0.1; done
    tail -20 "$W/log/slurmctld.log" >&2; die "slurmctld does not answer"
}

start_node() {      # $1: node number
    alive "$(pid_of "node$1")" && return 0
    mkdir -p "$W/spool/node$1"
    if [ "$(cat "$W/run/pidns" 2>/dev/null)" = 1 ]; then
        # When the namespace's first process ends, everything in it ends.  That process is
        # a shell, not slurmd, as slurmd would not reap its finished step daemons
        spawn "node$1" unshare --pid --fork --kill-child --mount-proc \
            bash -c 'slurmd -D "$@" & wait $!' slurmd -N "node$1" -f "$W/slurm.conf"
    else
        spawn "node$1" slurmd -D -N "node$1" -f "$W/slurm.conf"
    fi
}

kill_node() {       # $1: node number
    local p pid
    pid=$(pid_of "node$1")
    alive "$pid" && kill -KILL "$pid" || true
    rm -f "$W/run/node$1.pid" "$W/run/node$1.self"
    [ "$(cat "$W/run/pidns" 2>/dev/null)" = 1 ] && return 0
    # without a PID namespace the job's own processes outlive slurmd: find them by
    # the node's name in their environment, step daemons by their parent
    for p in /proc/[0-9]*; do
        tr '\0' '\n' 2>/dev/null <"$p/environ" >"$W/run/environ" || continue
        grep -qx "SLURMD_NODENAME=node$1" "$W/run/environ" &&
            grep -qx "SLURM_CONF=$W/slurm.conf" "$W/run/environ" || continue
        p=${p#/proc/}
        pid=$(awk '/^PPid/ {print $2}' "/proc/$p/status" 2>/dev/null || true)
        case "$(cat "/proc/$pid/comm" 2>/dev/null)" in slurmstepd) kill -KILL "$pid" 2>/dev/null || true ;; esac
        kill -KILL "$p" 2>/dev/null || true
    done
    rm -f "$W/run/environ"
}

wait_idle() {       # $1: number of nodes, $2: seconds
    local end=$((SECONDS + $2)) up
    while [ $SECONDS -lt "$end" ]; do
        up=$(sinfo -h -N -o '%N %T' 2>/dev/null | awk '$2 ~ /^(idle|mixed|allocated)$/' | wc -l)
        [ "$up" -eq "$1" ] && return 0
        sleep 0.2
    done
    sinfo -N -l >&2 || true
    tail -n 5 "$W"/log/node*.log >&2 || true
    die "nodes are not ready after $2 s"
}

# /etc/slurm/slurm.conf has to lead to our file: an exported SLURM_CONF is not enough, since
# snakemake-executor-plugin-slurm-jobstep drops it before it calls srun inside the job
ETC=/etc/slurm/slurm.conf
ours() { [ "$(readlink "$ETC" 2>/dev/null || true)" = "$W/slurm.conf" ]; }
link_config() {
    ours && return 0
    if [ -e "$ETC" ]; then die "$ETC exists and is not ours: is this host in a cluster already?"; fi
    mkdir -p /etc/slurm
    ln -sfn "$W/slurm.conf" "$ETC"
}

cmd_up() {
    local nodes=${1:-2} n
    [ "$(id -u)" = 0 ] || die "must be root"
    mkdir -p "$W"/{log,run,state,spool,munge}
    : >"$W/.slurm-local"
    chmod 755 "$W" "$W/munge"
    install_missing
    if [ -s "$W/slurm.conf" ]; then     # running, or to be brought back with the jobs it had
        nodes=$(grep -c '^NodeName=node' "$W/slurm.conf")
    else
        write_config "$nodes"
        can_pidns && echo 1 >"$W/run/pidns" || echo 0 >"$W/run/pidns"
    fi
    link_config
    export SLURM_CONF=$W/slurm.conf
    start_munge
    start_ctld
    for n in $(seq "$nodes"); do start_node "$n"; done
    wait_idle "$nodes" 30
    say "$nodes nodes are ready; export SLURM_CONF=$W/slurm.conf"
}

cmd_down() {
    local n pid f
    [ -e "$W/.slurm-local" ] || { say "nothing of ours in $W"; return 0; }
    export SLURM_CONF=$W/slurm.conf
    timeout 5 scancel --user=root 2>/dev/null || true
    timeout 5 squeue -h -t running,completing >/dev/null 2>&1 && sleep 1
    for f in "$W"/run/node*.pid; do
        [ -e "$f" ] || continue
        n=${f##*/node}; kill_node "${n%.pid}"
    done
    for n in slurmctld munged; do
        pid=$(pid_of $n)
        alive "$pid" && kill "$pid" || true
        for _ in $(seq 50); do alive "$pid" || break; sleep 0.1; done
        alive "$pid" && kill -KILL "$pid" || true
        rm -f "$W/run/$n.pid"
    done
    if ours; then rm -f "$ETC"; fi
    rm -rf "$W/state" "$W/spool" "$W/run" "$W/munge" "$W/dev" "$W/slurm.conf" "$W/gres.conf"
    say "stopped; logs are in $W/log"
}

[ $# -ge 2 ] || { sed -n '2,11p' "$0" | cut -c3-; exit 2; }
cmd=$1
W=$(realpath -m "$2")
shift 2
case $cmd in
    up) cmd_up "$@" ;;
    down) cmd_down ;;
    env) echo "export SLURM_CONF=$W/slurm.conf" ;;
    status) export SLURM_CONF=$W/slurm.conf; sinfo -N -l; squeue ;;
    kill-node) kill_node "$1" ;;
    start-node) export SLURM_CONF=$W/slurm.conf; start_node "$1" ;;
    *) die "unknown command: $cmd" ;;
esac
