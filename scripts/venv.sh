# shellcheck shell=bash
# The virtual environment of this checkout, for run.sh, test.sh and bench.sh.

# find_python: prints the first Python that is new enough, or fails and prints what to install.
find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "raspi-server needs Python 3.11 or newer; on Debian: sudo apt install python3 python3-venv" >&2
    return 1
}

# ensure_venv EXTRA: makes .venv with this package, editable, and with the packages of an extra: `pi`,
# `test` or "".
ensure_venv() {
    local extra=$1 python stamp options=()
    python=$(find_python)
    stamp=.venv/installed${extra:+-$extra}
    if [[ ! -x .venv/bin/python ]] || ! .venv/bin/python -c '' 2>/dev/null; then
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            if [[ $EUID -ne 0 ]]; then
                echo "Python's venv is missing; on Debian: sudo apt install python3-venv" >&2
                return 1
            fi
            echo "Installing python3-venv" >&2
            apt-get update -qq
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
        fi
        echo "Making a virtual environment in .venv" >&2
        # On a Pi, apt's python3-lgpio is used if pip has no wheel.
        [[ $extra != pi ]] || options=(--system-site-packages)
        "$python" -m venv --clear "${options[@]}" .venv
    fi
    if [[ ! -e $stamp || pyproject.toml -nt $stamp ]]; then
        echo "Installing what is missing (a minute the first time)" >&2
        .venv/bin/python -m pip install --quiet --disable-pip-version-check \
            --editable ".${extra:+[$extra]}"
        touch "$stamp"
    fi
}
