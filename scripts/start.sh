#!/bin/sh
# Runs the release that contains this script. The unit and /usr/local/bin/raspi-server call it. A release
# needs the Python version it was built with. If an upgrade of the operating system has replaced that, this
# prints what to do and ends with the status after which systemd does not try again.
set -eu
release=$(readlink -f "$0")
release=${release%/*/*} # without scripts/start.sh
python=$(readlink -f "$release/venv/bin/python") || python=
if [ -x "$python" ] && [ -d "$release/venv/lib/${python##*/}/site-packages/raspi_server" ]; then
    exec "$release/venv/bin/python" -I -m raspi_server "$@"
fi
echo "raspi-server was installed for another Python version than this machine has now." >&2
echo "To fix it, run in your checkout: sudo scripts/install.sh" >&2
exit 78
