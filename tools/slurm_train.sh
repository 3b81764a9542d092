#!/usr/bin/env bash
# Train under Slurm.
#   [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#       bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]
set -euo pipefail

if [ "$#" -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]" >&2
    exit 2
fi
tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
partition=$1
job_name=$2
config=$3
work_dir=$4
shift 4
exec bash "$tools/slurm_run.sh" "$partition" "$job_name" "$tools/train.py" "$config" --work-dir="$work_dir" "$@"
