#!/usr/bin/env bash
# Several TPU slices as one machine: waits in the queue for them, installs lm on every host of all, and runs the same
# command on each. Between slices the network is slow; `lm` puts the mesh axis that speaks least across it.
#
#   PROJECT=mine ZONE=us-east5-b ACCELERATOR=v6e-256 SLICES=2 CONFIG=configs/pretrain/llama3_8b.py \
#     WORKDIR=gs://bucket/run launch/multislice.sh --config.data.path=gs://bucket/shards
set -euo pipefail

: "${PROJECT:?the Google Cloud project that pays}"
: "${ZONE:?the zone of the slices, such as us-east5-b}"
: "${ACCELERATOR:?the type of a slice, such as v6e-256}"
: "${SLICES:?how many slices}"
: "${CONFIG:?the config of the run, such as configs/pretrain/tiny.py}"
: "${WORKDIR:?where the run is written, such as gs://bucket/run}"
NAME=${NAME:-lm}                       # of the request; slices are called NAME-0, NAME-1, …
RUNTIME=${RUNTIME:-v2-alpha-tpuv6e}    # their image: v2-alpha-tpuv5 for v5p, v2-alpha-tpuv5-lite for v5e
SPOT=${SPOT:-}                         # 1: cheaper, and taken away at any time
PYTHON=${PYTHON:-3.12}                 # that lm is installed for
POLL_SECONDS=${POLL_SECONDS:-30}       # between looks at the queue

source=$(cd "$(dirname "$0")/.." && pwd)
where=(--project="$PROJECT" --zone="$ZONE")
every=(--node=all --worker=all)
bundle=$(mktemp -d)
trap 'rm -rf "$bundle"' EXIT

state() {
  gcloud compute tpus queued-resources describe "$NAME" "${where[@]}" --format='value(state.state)' 2>/dev/null
}

if ! state >/dev/null; then
  gcloud compute tpus queued-resources create "$NAME" "${where[@]}" --node-prefix="$NAME" --node-count="$SLICES" \
    --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME" ${SPOT:+--spot}
fi
until found=$(state) && [ "$found" = ACTIVE ]; do
  case $found in
    FAILED | SUSPENDED)
      echo "launch/multislice.sh: NAME=$NAME is lost; delete it (queued-resources delete $NAME --force), start again" >&2
      exit 1
      ;;
  esac
  echo "waiting for $SLICES × $ACCELERATOR: $found"
  sleep "$POLL_SECONDS"
done

tar -czf "$bundle/lm.tar.gz" -C "$source" lm configs pyproject.toml README.md
gcloud compute tpus queued-resources scp "$bundle/lm.tar.gz" "$NAME:lm.tar.gz" "${where[@]}" "${every[@]}"

install="mkdir -p lm && tar -xzf lm.tar.gz -C lm && cd lm && python3 -m pip install --quiet --user uv"
install+=" && python3 -m uv venv --quiet --allow-existing --python $PYTHON .venv"
install+=" && python3 -m uv pip install --quiet --python .venv/bin/python --editable '.[tpu,gcs]'"
gcloud compute tpus queued-resources ssh "$NAME" "${where[@]}" "${every[@]}" --command="$install"

# The run outlives this connection; what is shown is its log, and the exit code is its own.
train="cd lm && export PATH=\$PWD/.venv/bin:\$PATH && : > ../lm.log && { setsid nohup"
train+=$(printf ' %q' lm pretrain "--config=$CONFIG" "--workdir=$WORKDIR" "$@")
train+=' >> ../lm.log 2>&1 < /dev/null & } && tail -n +1 -f --pid=$! ../lm.log && wait $!'
gcloud compute tpus queued-resources ssh "$NAME" "${where[@]}" "${every[@]}" --command="$train"
