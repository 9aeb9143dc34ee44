#!/usr/bin/env bash
# Clip features with several processes on this machine, one GPU each (or CPU processes where there is none):
#   bash tools/misc/dist_clip_feature_extraction.sh CONFIG CHECKPOINT PROCESSES --video-list ... --video-root ... --out ...
set -euo pipefail

processes=${3:-}
if [[ ! $processes =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 CONFIG CHECKPOINT PROCESSES [options of clip_feature_extraction.py]" >&2
    echo "$0: error: expected the number of processes as the third argument; found '$processes'" >&2
    exit 2
fi
config=$1
checkpoint=$2
shift 3

# What torchrun would set, with a warning of six lines: the network computes with one thread per batch anyway.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# Without PORT, torchrun finds a free one itself; with it, as MMAction2's script did, that one is used.
if [ -n "${PORT:-}" ]; then
    rendezvous=(--master_port "$PORT")
else
    rendezvous=(--standalone)
fi

# The checkout's own sources serve where vidfeat is not installed.
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$here/../../src"

# By path: `-m` would import modules from the current folder, such as a typing.py there.
exec "${PYTHON:-python}" "$here/../../src/vidfeat/cli/torchrun.py" "${rendezvous[@]}" --nproc_per_node "$processes" \
    "$here/clip_feature_extraction.py" "$config" "$checkpoint" --launcher pytorch "$@"
