#!/usr/bin/env bash
# Evaluate with several processes on this machine, one per GPU; without GPUs they share the CPU cores (gloo).
#   bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR (and PORT, 29500 by default) on each.
set -euo pipefail

if [ "$#" -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [arguments of tools/test.py]" >&2
    exit 2
fi
tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
config=$1
checkpoint=$2
gpus=$3
shift 3
exec bash "$tools/dist_run.sh" "$gpus" "$tools/test.py" "$config" "$checkpoint" "$@"
