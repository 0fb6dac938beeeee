#!/bin/sh
# Runs the release that contains this script. The unit and /usr/local/bin/raspi-server, a link, call it. A
# release needs the Python version it was built with. If an upgrade of the operating system has removed that,
# this prints what to do and ends with the status after which systemd does not try again.
# After a failure every millisecond counts, so for the unit this starts no other program, and Python without `-m`.
set -eu
script=$0
[ ! -L "$script" ] || script=$(readlink "$script")
release=$(cd -P "${script%/*}/.." && pwd) # without links: the running release stays when `current` moves on
if [ -x "$release/venv/bin/python" ]; then
    exec "$release/venv/bin/python" -I -c 'import sys; from raspi_server.__main__ import main; sys.exit(main())' "$@"
fi
echo "raspi-server was installed for another Python version than this machine has now." >&2
echo "To fix it, run in your checkout: sudo scripts/install.sh" >&2
exit 78
