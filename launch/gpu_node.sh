#!/usr/bin/env bash
# One machine with several GPUs, from AWS (p4d, p5, …) or anywhere else: one process drives them all.
#
#   CONFIG=configs/pretrain/llama3_8b.py WORKDIR=runs/mine launch/gpu_node.sh --config.data.path=data/shards
#
# Several machines without Slurm: start it on each, with JAX_COORDINATOR_ADDRESS=HOST:PORT of the first,
# JAX_NUM_PROCESSES, and JAX_PROCESS_ID counted from 0.
set -euo pipefail

: "${CONFIG:?the config of the run, such as configs/pretrain/tiny.py}"
: "${WORKDIR:?where the run is written, such as runs/mine}"
GPUS=${GPUS:-8}       # that must be there
VENV=${VENV:-.venv}   # where lm is installed, with the cuda extra

export PATH="$VENV/bin:$PATH"
found=$(nvidia-smi --list-gpus | wc -l)
if [ "$found" -lt "$GPUS" ]; then
  echo "launch/gpu_node.sh: GPUS=$GPUS, but nvidia-smi lists $((found)); mend the machine, or set GPUS" >&2
  exit 2
fi
exec lm pretrain --config="$CONFIG" --workdir="$WORKDIR" "$@"
