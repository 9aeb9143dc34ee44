#!/usr/bin/env bash
# Installs vidfeat into a virtual environment of its own, renders a few clips and extracts their features with the small
# fixed-seed model that comes with the repository. usage: scripts/quickstart.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-data/quickstart}
venv=${VENV:-.venv}
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
"$venv/bin/python" examples/render_clips.py "$folder/clips"
"$venv/bin/vidfeat" extract examples/tiny_slowonly.py "$folder/clips" \
    --checkpoint examples/tiny_slowonly_fixed_seed-1983a9be.safetensors -o "$folder/features.pkl"
"$venv/bin/python" - "$folder/features.pkl" <<'PYTHON'
import pickle
import sys

rows = pickle.load(open(sys.argv[1], "rb"))
print(f"{len(rows)} rows of {rows[0].shape[0]} {rows[0].dtype} numbers; the first begins with {rows[0][:4]}")
PYTHON
