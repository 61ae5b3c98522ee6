#!/usr/bin/env bash
# One TPU slice: makes it if it is not there, installs lm on every host, and runs the same command on all of them.
#
#   PROJECT=mine ZONE=us-east5-b ACCELERATOR=v6e-16 CONFIG=configs/pretrain/llama3_8b.py \
#     WORKDIR=gs://bucket/run launch/tpu_vm.sh --config.data.path=gs://bucket/shards
set -euo pipefail

: "${PROJECT:?the Google Cloud project that pays}"
: "${ZONE:?the zone of the slice, such as us-east5-b}"
: "${ACCELERATOR:?the type of the slice, such as v6e-16}"
: "${CONFIG:?the config of the run, such as configs/pretrain/tiny.py}"
: "${WORKDIR:?where the run is written, such as gs://bucket/run}"
NAME=${NAME:-lm}                       # of the slice
RUNTIME=${RUNTIME:-v2-alpha-tpuv6e}    # its image: v2-alpha-tpuv5 for v5p, v2-alpha-tpuv5-lite for v5e
SPOT=${SPOT:-}                         # 1: cheaper, and taken away at any time
PYTHON=${PYTHON:-3.12}                 # that lm is installed for

source=$(cd "$(dirname "$0")/.." && pwd)
where=(--project="$PROJECT" --zone="$ZONE")
bundle=$(mktemp -d)
trap 'rm -rf "$bundle"' EXIT

if ! gcloud compute tpus tpu-vm describe "$NAME" "${where[@]}" >/dev/null 2>&1; then
  gcloud compute tpus tpu-vm create "$NAME" "${where[@]}" \
    --accelerator-type="$ACCELERATOR" --version="$RUNTIME" ${SPOT:+--spot}
fi

tar -czf "$bundle/lm.tar.gz" -C "$source" lm configs pyproject.toml README.md
gcloud compute tpus tpu-vm scp "$bundle/lm.tar.gz" "$NAME:lm.tar.gz" "${where[@]}" --worker=all

install="mkdir -p lm && tar -xzf lm.tar.gz -C lm && cd lm && python3 -m pip install --quiet --user uv"
install+=" && python3 -m uv venv --quiet --allow-existing --python $PYTHON .venv"
install+=" && python3 -m uv pip install --quiet --python .venv/bin/python --editable '.[tpu,gcs]'"
gcloud compute tpus tpu-vm ssh "$NAME" "${where[@]}" --worker=all --command="$install"

# The run outlives this connection; what is shown is its log, and the exit code is its own.
train="cd lm && export PATH=\$PWD/.venv/bin:\$PATH && : > ../lm.log && { setsid nohup"
train+=$(printf ' %q' lm pretrain "--config=$CONFIG" "--workdir=$WORKDIR" "$@")
train+=' >> ../lm.log 2>&1 < /dev/null & } && tail -n +1 -f --pid=$! ../lm.log && wait $!'
gcloud compute tpus tpu-vm ssh "$NAME" "${where[@]}" --worker=all --command="$train"
