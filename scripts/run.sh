#!/usr/bin/env bash
# Runs raspi-server from this checkout and prints the address to open. On a Raspberry Pi it uses
# config.yaml, elsewhere the demo with simulated pins. Missing packages are installed into .venv here.
# Arguments go to the server, for example:  scripts/run.sh --port 9000
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source scripts/venv.sh

if grep -qs "^Raspberry Pi" /proc/device-tree/model; then
    ensure_venv pi
    exec .venv/bin/python -m raspi_server run --config config.yaml "$@"
fi
ensure_venv ""
echo "This is not a Raspberry Pi, so the demo with simulated pins starts. Stop it with Ctrl+C." >&2
exec .venv/bin/python -m raspi_server demo "$@"
