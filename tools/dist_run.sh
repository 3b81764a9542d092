#!/usr/bin/env bash
# What dist_train.sh and dist_test.sh share: start GPUS processes of a tool through torch.distributed.run.
#   bash tools/dist_run.sh GPUS TOOL [arguments of the tool]
set -euo pipefail

gpus=$1
shift
case $gpus in
    '' | *[!0-9]* | 0)
        echo "GPUS must be a number of processes, got '$gpus'" >&2
        exit 2
        ;;
esac
. "$(dirname -- "${BASH_SOURCE[0]}")/pick_python.sh"
NNODES=${NNODES:-1}
NODE_RANK=${NODE_RANK:-0}

# Each process computes with its share of the cores; more threads than cores make all of them slow.
if [ -z "${OMP_NUM_THREADS:-}" ]; then
    cores=$(nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1)
    OMP_NUM_THREADS=$((cores / gpus))
    [ "$OMP_NUM_THREADS" -ge 1 ] || OMP_NUM_THREADS=1
fi
export OMP_NUM_THREADS

if [ "$NNODES" = 1 ] && [ -z "${PORT:-}" ]; then
    # A free port, so that two runs on one machine do not meet.
    where=(--standalone --nnodes=1)
else
    where=(
        --nnodes="$NNODES"
        --node_rank="$NODE_RANK"
        --master_addr="${MASTER_ADDR:-127.0.0.1}"
        --master_port="${PORT:-29500}"
    )
fi
exec "$PYTHON" -m torch.distributed.run "${where[@]}" --nproc_per_node="$gpus" "$@" --launcher pytorch
