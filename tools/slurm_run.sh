#!/usr/bin/env bash
# What slurm_train.sh and slurm_test.sh share: start a tool through srun.
#   bash tools/slurm_run.sh PARTITION JOB_NAME TOOL [arguments of the tool]
# GPUS_PER_NODE=0 runs GPUS processes on CPU nodes.
set -euo pipefail

partition=$1
job_name=$2
shift 2
. "$(dirname -- "${BASH_SOURCE[0]}")/pick_python.sh"
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
CPUS_PER_TASK=${CPUS_PER_TASK:-5}

per_node=()
if [ "$GPUS_PER_NODE" -gt 0 ]; then
    # mm's habit is GPUS=4 with the default of 8 per node.
    [ "$GPUS_PER_NODE" -le "$GPUS" ] || GPUS_PER_NODE=$GPUS
    per_node=(--gres="gpu:$GPUS_PER_NODE" --ntasks-per-node="$GPUS_PER_NODE")
fi
# SRUN_ARGS holds several words, to be split.
# shellcheck disable=SC2206
extra=(${SRUN_ARGS:-})
exec srun -p "$partition" \
    --job-name="$job_name" \
    --ntasks="$GPUS" \
    --cpus-per-task="$CPUS_PER_TASK" \
    --kill-on-bad-exit=1 \
    ${per_node[@]+"${per_node[@]}"} \
    ${extra[@]+"${extra[@]}"} \
    "$PYTHON" -u "$@" --launcher=slurm
