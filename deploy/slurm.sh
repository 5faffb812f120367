#!/usr/bin/env bash
# A sweep on SLURM: sbatch deploy/slurm.sh study.py --out /shared/runs/study
# The arguments are those of `lcsweep run`; --out is a folder that all nodes see, or a cloud folder. When the time is
# up, the same command goes on where it stopped.
#SBATCH --job-name=lcsweep
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
# SIGTERM to this script two minutes before the end, which it hands on:
#SBATCH --signal=B:TERM@120
set -euo pipefail

# The environment that `lcsweep` and `ray` are in, in a folder that all nodes see: source /shared/lcsweep/bin/activate

# Others may be at work on these nodes: they need the token to reach this cluster, whose port and folder are its own.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN="$(python3 -c 'import secrets; print(secrets.token_hex(32))')"
export RAY_AUTH_TOKEN
port=$((20000 + SLURM_JOB_ID % 10000))
folder="/tmp/ray-$SLURM_JOB_ID" # short: the paths of Ray's sockets have 107 characters at most

nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=$(head -n 1 <<<"$nodes")
address="$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}'):$port"
start=(--num-cpus="$SLURM_CPUS_PER_TASK" --temp-dir="$folder" --disable-usage-stats --block)
if [ -n "${SLURM_GPUS_ON_NODE:-}" ]; then start+=(--num-gpus="$SLURM_GPUS_ON_NODE"); fi

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
  ray start --head --node-ip-address="${address%:*}" --port="$port" --include-dashboard=false "${start[@]}" &
until ray status --address="$address" >/dev/null 2>&1; do sleep 2; done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  srun --overlap --nodes="$((SLURM_JOB_NUM_NODES - 1))" --ntasks="$((SLURM_JOB_NUM_NODES - 1))" --exclude="$head" \
    ray start --address="$address" "${start[@]}" &
  until [ "$(ray status --address="$address" | grep -c ' node_')" -ge "$SLURM_JOB_NUM_NODES" ]; do sleep 2; done
fi

lcsweep run "$@" --address "$address" &
sweep=$!
trap 'kill -TERM "$sweep"' TERM
code=0
wait "$sweep" || code=$?
if [ "$code" -gt 128 ]; then wait "$sweep" || code=$?; fi # the signal ended the first wait, not the sweep
exit "$code"                                              # SLURM ends what srun began
