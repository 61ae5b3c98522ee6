#!/usr/bin/env bash
# A single GPU of this machine, such as a card of 24 GB.
#
#   CONFIG=configs/pretrain/gpu_24gb.py WORKDIR=runs/mine launch/one_gpu.sh --config.data.path=my_text
set -euo pipefail

: "${CONFIG:?the config of the run, such as configs/pretrain/gpu_24gb.py}"
: "${WORKDIR:?where the run is written, such as runs/mine}"
GPU=${GPU:-0}               # which one, as nvidia-smi numbers them
MEMORY=${MEMORY:-0.92}      # the share of its memory that JAX takes; the rest is the desktop's
VENV=${VENV:-.venv}         # where lm is installed, with the cuda extra

export PATH="$VENV/bin:$PATH"
export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES="$GPU" XLA_PYTHON_CLIENT_MEM_FRACTION="$MEMORY"
if ! nvidia-smi --id="$GPU" --query-gpu=name,memory.total --format=csv,noheader; then
  echo "launch/one_gpu.sh: GPU=$GPU: nvidia-smi finds none of that number" >&2
  exit 2
fi
exec lm pretrain --config="$CONFIG" --workdir="$WORKDIR" "$@"
