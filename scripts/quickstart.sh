#!/usr/bin/env bash
# Installs vidfeat into a virtual environment of its own and shows it at work: `vidfeat demo` renders short clips, extracts
# their features with a small model that comes along, and writes a page about them. usage: scripts/quickstart.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-data/demo}
venv=${VENV:-.venv}
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
"$venv/bin/vidfeat" demo -o "$folder"
