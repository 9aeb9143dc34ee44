#!/usr/bin/env bash
# Installs vidfeat with its development tools into a virtual environment of its own, and runs the tests in three processes:
# on two cores, as many wait for child processes and time limits.
# usage: scripts/test.sh [pytest arguments]; VENV chooses the folder (default .venv-test), PYTHON the interpreter.
# `-n 0` runs them in one process, for a debugger.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv-test}
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev,docs,browser-tests]'
# pip would compile thousands of files one after the other. Some are templates, which cannot be compiled.
"$venv/bin/python" -m compileall -qq -j 0 "$venv"/lib/python*/site-packages || true
# shellcheck disable=SC2086  # RUNNER, of scripts/coverage.sh, is several words
exec "$venv/bin/python" -m ${RUNNER:-pytest} -n 3 --dist loadfile "$@"
