#!/usr/bin/env bash
# TPU slices of a GKE cluster, through XPK (pip install xpk): queues one workload whose every host runs the same command.
#
#   PROJECT=mine ZONE=us-east5-b CLUSTER=pod ACCELERATOR=v6e-256 IMAGE=us-docker.pkg.dev/mine/lm/lm:1 \
#     CONFIG=configs/pretrain/llama3_8b.py WORKDIR=gs://bucket/run \
#     launch/xpk.sh --config.data.path=gs://bucket/shards
set -euo pipefail

: "${PROJECT:?the Google Cloud project that pays}"
: "${ZONE:?the zone of the cluster, such as us-east5-b}"
: "${CLUSTER:?the cluster, made by: xpk cluster create}"
: "${ACCELERATOR:?the type of a slice, such as v6e-256}"
: "${IMAGE:?an image with lm in it, made from launch/Dockerfile}"
: "${CONFIG:?the config of the run, such as configs/pretrain/tiny.py}"
: "${WORKDIR:?where the run is written, such as gs://bucket/run}"
NAME=${NAME:-lm}            # of the workload
SLICES=${SLICES:-1}         # how many slices
RESTARTS=${RESTARTS:-100}   # how often a workload that failed is started again; it continues where it was

xpk workload create --project="$PROJECT" --zone="$ZONE" --cluster="$CLUSTER" --workload="$NAME" \
  --tpu-type="$ACCELERATOR" --num-slices="$SLICES" --docker-image="$IMAGE" --max-restarts="$RESTARTS" \
  --command="exec$(printf ' %q' lm pretrain "--config=$CONFIG" "--workdir=$WORKDIR" "$@")"
