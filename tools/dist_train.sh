#!/usr/bin/env bash
# Train with several processes on this machine, one per GPU; without GPUs they share the CPU cores (gloo).
#   bash tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR (and PORT, 29500 by default) on each.
set -euo pipefail

if [ "$#" -lt 2 ]; then
    echo "usage: $0 CONFIG GPUS [arguments of tools/train.py]" >&2
    exit 2
fi
tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
config=$1
gpus=$2
shift 2
exec bash "$tools/dist_run.sh" "$gpus" "$tools/train.py" "$config" "$@"
