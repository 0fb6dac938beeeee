#!/usr/bin/env bash
# Pins what install.sh installs: writes the lock files in scripts/requirements/ from pyproject.toml. Run it after
# a change of the dependencies there. Versions that still fit stay as they are.
#   scripts/lock.sh                            pin what is not pinned yet
#   scripts/lock.sh --upgrade                  pin the newest version of each package
#   scripts/lock.sh --upgrade-package tornado  pin the newest version of one package
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source scripts/venv.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(find_python)
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv

# compile FILE [OPTION…]: resolves the requirements in a file.
compile() {
    UV_CUSTOM_COMPILE_COMMAND=scripts/lock.sh "$work/venv/bin/uv" --quiet --no-config pip compile "$@"
}

# One lock holds for all machines and for Python 3.11 and newer.
locks=scripts/requirements
locking=(--universal --python-version 3.11 --generate-hashes --no-emit-index-url)
mkdir -p "$locks"
compile pyproject.toml "${locking[@]}" --output-file "$locks/release.txt" "$@"
"$python" -c '
import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["optional-dependencies"]["pi"], sep="\n")' |
    compile - "${locking[@]}" --output-file "$locks/pi.txt" "$@"

# install.sh compiles nothing on 64-bit systems: there is a wheel of each package for each of them.
for machine in aarch64 x86_64; do
    for version in 3.11 3.13; do
        compile "$locks/release.txt" --only-binary :all: --python-version "$version" \
            --python-platform "$machine-manylinux_2_36" --output-file "$work/checked.txt"
    done
done
