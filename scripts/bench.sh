#!/usr/bin/env bash
# Measures what one delivered message costs the server: scripts/bench.sh --help
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# -I: look for the installed package, not for the folder of that name in here.
if ! .venv/bin/python -I -c 'import raspi_server' 2>/dev/null; then
    python3 -m venv .venv
    .venv/bin/python -m pip install --quiet -e '.[test]'
fi
exec .venv/bin/python -m tests.bench "$@"
