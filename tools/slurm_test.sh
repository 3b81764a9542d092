#!/usr/bin/env bash
# Evaluate under Slurm; a recipe that trains nothing has no CHECKPOINT.
#   [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#       bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG [CHECKPOINT] [arguments of tools/test.py]
set -euo pipefail

if [ "$#" -lt 3 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG [CHECKPOINT] [arguments of tools/test.py]" >&2
    exit 2
fi
tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
partition=$1
job_name=$2
shift 2
exec bash "$tools/slurm_run.sh" "$partition" "$job_name" "$tools/test.py" "$@"
