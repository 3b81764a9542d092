#!/usr/bin/env bash
# Evaluate with several processes on this machine, one per GPU; without GPUs they share the CPU cores (gloo).
#   bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
#   bash tools/dist_test.sh CONFIG GPUS [arguments of tools/test.py]     where the recipe trains nothing
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR (and PORT, 29500 by default) on each.
set -euo pipefail

tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
if [ "$#" -ge 2 ] && [[ $2 =~ ^[0-9]+$ ]]; then
    what=("$1")
    gpus=$2
    shift 2
elif [ "$#" -ge 3 ]; then
    what=("$1" "$2")
    gpus=$3
    shift 3
else
    echo "usage: $0 CONFIG [CHECKPOINT] GPUS [arguments of tools/test.py]" >&2
    exit 2
fi
exec bash "$tools/dist_run.sh" "$gpus" "$tools/test.py" "${what[@]}" "$@"
