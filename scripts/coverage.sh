#!/usr/bin/env bash
# Measures which lines and branches of vidfeat the tests run, in decode workers and other child processes as well.
# usage: scripts/coverage.sh [pytest arguments]; VENV and PYTHON as for scripts/test.sh
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv-test}
rm -f .coverage .coverage.*
status=0
RUNNER="coverage run -m pytest" scripts/test.sh "$@" || status=$?
"$venv/bin/coverage" combine --quiet
"$venv/bin/coverage" report --skip-covered
exit "$status"
