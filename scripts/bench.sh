#!/usr/bin/env bash
# Measures raspi-server and other servers that do the same, and prints one table.
#   scripts/bench.sh                 everything: a quarter of an hour on an otherwise idle machine
#   scripts/bench.sh cost pages      parts: cost ticks edges idle single memory start sleepers page pages automation lines
#   scripts/bench.sh --write         everything, and writes the table to tests/bench/RESULTS.md
#   scripts/bench.sh fleet           a broker and a thousand Pis; --tls, --write: tests/bench/FLEET*.md
#   scripts/bench.sh pi [bookworm]   start, failure and idle on an emulated Pi, after scripts/test.sh pi
# The packages of the other servers are kept outside this checkout. The table lists those that could not be
# installed.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source scripts/venv.sh

export BENCH_PEERS=${TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/raspi-server}/peers

# need COMMAND PACKAGE: installs a Debian package if this is root, else goes on without it.
need() {
    if command -v "$1" >/dev/null || [[ -x /usr/sbin/$1 || $EUID -ne 0 ]]; then
        return
    fi
    echo "Installing $2" >&2
    if [[ -z ${apt_updated:-} ]]; then
        apt-get update -qq || true
        apt_updated=1
    fi
    # With RUNLEVEL=1 it is not started as a service: the benchmark starts it itself.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null || true
}

ensure_peers() {
    local python=$BENCH_PEERS/python
    if [[ ! -e $python/installed ]]; then
        echo "Installing the other servers" >&2
        "$(find_python)" -m venv --clear "$python"
        local package
        for package in websockets aiohttp picows; do
            "$python/bin/python" -m pip install --quiet --disable-pip-version-check "$package" || true
        done
        touch "$python/installed"
    fi
    need node nodejs
    need npm npm
    if [[ ! -d $BENCH_PEERS/node/node_modules/ws ]] && command -v npm >/dev/null; then
        mkdir -p "$BENCH_PEERS/node"
        npm install --silent --no-audit --no-fund --prefix "$BENCH_PEERS/node" ws >/dev/null || true
    fi
    need mosquitto mosquitto
    need nginx nginx-light
}

ensure_venv test
if [[ ${1:-} == pi ]]; then
    exec .venv/bin/python -m tests.pi.measure "${@:2}"
fi
if [[ ${1:-} == fleet ]]; then
    need mosquitto mosquitto
    exec .venv/bin/python -m tests.bench.fleet "${@:2}"
fi
case " $* " in
    *" --help "* | *" -h "*) ;;
    *) ensure_peers ;;
esac
exec .venv/bin/python -m tests.bench "$@"
