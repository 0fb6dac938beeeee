#!/usr/bin/env bash
# Checks style, types, scripts, and the page's types and logic, and runs all tests. Missing Python
# packages are installed into .venv here, missing Debian packages on the machine if this is root.
#   scripts/test.sh                 everything but the tiers long, peers and pi
#   scripts/test.sh fast            what needs no root, no browser and less than two minutes
#   scripts/test.sh long            a tier that the default run leaves out; the others: peers pi
#   scripts/test.sh style types     parts: style types shell page logic tests
#   scripts/test.sh board browser   tests by file or folder: tests/gpio/test_board.py, tests/browser/
#   scripts/test.sh tests/gpio/test_board.py -k pulse   any arguments of pytest
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source scripts/venv.sh

# Folder that keeps other tools than Python packages between runs.
cache=${TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/raspi-server}

# need COMMAND PACKAGE: installs a Debian package if this is root, else ends the script.
need() {
    command -v "$1" >/dev/null && return
    if [[ $EUID -ne 0 ]]; then
        echo "The tests need $1; on Debian: sudo apt install $2" >&2
        exit 1
    fi
    echo "Installing $2" >&2
    [[ -n ${apt_updated:-} ]] || apt-get update -qq
    apt_updated=1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
}

style() {
    if ! .venv/bin/ruff format --check . || ! .venv/bin/ruff check .; then
        echo "To correct the style: .venv/bin/ruff format . && .venv/bin/ruff check --fix ." >&2
        return 1
    fi
    .venv/bin/lint-imports --no-cache
}

types() {
    .venv/bin/mypy
}

shell() {
    need shellcheck shellcheck
    shellcheck scripts/*.sh .ci/run tests/gpio/virtual_pi/build.sh \
        tests/gpio/virtual_pi/guest/gpio-setup tests/pi/build.sh
}

page() {
    need npm npm
    if [[ ! -x $cache/node/node_modules/.bin/tsc ]]; then
        mkdir -p "$cache/node"
        npm install --silent --no-audit --no-fund --prefix "$cache/node" typescript@5.9 >/dev/null
    fi
    "$cache/node/node_modules/.bin/tsc" --noEmit -p tests/browser/jsconfig.json
    "$cache/node/node_modules/.bin/tsc" --noEmit -p tests/browser/jsconfig.worker.json
}

# Browser logic that needs no browser. node takes no folder here: its releases differ in that.
logic() {
    need node nodejs
    node --test --test-reporter=spec tests/browser/node/*.test.js
}

# Run the tests in several processes. tests/conftest.py keeps some of them together in one.
all_processors=(--numprocesses=auto --maxprocesses=4 --dist=loadscope --no-loadscope-reorder)

tests() {
    need openssl openssl
    need chromium chromium
    need cog cog
    need WPEWebDriver wpewebkit-driver
    need certutil libnss3-tools
    need mosquitto mosquitto
    need mosquitto_sub mosquitto-clients
    need promtool prometheus
    if [[ $EUID -eq 0 ]]; then
        need debootstrap debootstrap
        need systemd-nspawn systemd-container
    fi
    local whole=()
    [[ $# -gt 0 ]] || whole=("${all_processors[@]}" --cov --cov-report=term:skip-covered)
    .venv/bin/python -m pytest "${whole[@]}" "$@"
}

# The emulated Pi is built on x86-64. On a real one, RASPI_SERVER_JUMPER names two joined pins.
pi() {
    if [[ $EUID -eq 0 && $(uname -m) == x86_64 ]]; then
        need qemu-system-aarch64 qemu-system-arm
        need qemu-img qemu-utils
        need qemu-aarch64-static qemu-user-static
        need mmdebstrap mmdebstrap
        need arch-test arch-test
        need dtc device-tree-compiler
        need mkfs.ext4 e2fsprogs
    fi
    .venv/bin/python -m pytest "${all_processors[@]}" -m pi
}

fast() {
    style
    types
    ! command -v node >/dev/null || logic
    need openssl openssl
    .venv/bin/python -m pytest "${all_processors[@]}" -m "not (browser or machine or slow)"
}

ensure_venv test
if [[ $# -eq 0 ]]; then
    set -- style types shell page logic tests
fi
paths=()
while [[ $# -gt 0 && $1 != -* ]]; do
    case $1 in
        style | types | shell | page | logic | tests | fast)
            echo "== $1"
            "$1"
            ;;
        peers)
            need nginx nginx-light
            need caddy caddy
            need apache2 apache2
            need haproxy haproxy
            need sshd openssh-server
            need ssh openssh-client
            need lynx lynx
            need w3m w3m
            need links links
            # Home Assistant, RabbitMQ and Node-RED run in a tree of a newer Debian.
            [[ $EUID -ne 0 ]] || need mmdebstrap mmdebstrap
            need npm npm
            tests "${all_processors[@]}" -m peers
            ;;
        long) tests "${all_processors[@]}" -m long ;;
        pi) pi ;;
        *)
            if [[ -d tests/$1 ]]; then
                paths+=("tests/$1")
            elif found=$(find tests -name "test_$1.py" -o -type d -name "$1" | sort) && [[ -n $found ]]; then
                mapfile -t -O ${#paths[@]} paths <<<"$found"
            else
                paths+=("$1")
            fi
            ;;
    esac
    shift
done
if [[ ${#paths[@]} -gt 0 || $# -gt 0 ]]; then
    tests "${paths[@]}" "$@"
fi
