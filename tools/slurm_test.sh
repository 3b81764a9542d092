#!/usr/bin/env bash
# Evaluate under Slurm.
#   [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#       bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]
set -euo pipefail

if [ "$#" -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]" >&2
    exit 2
fi
tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
partition=$1
job_name=$2
config=$3
checkpoint=$4
shift 4
exec bash "$tools/slurm_run.sh" "$partition" "$job_name" "$tools/test.py" "$config" "$checkpoint" "$@"
