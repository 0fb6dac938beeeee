# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # install.sh sets checkout, python, doing and the options
# Part of install.sh: the releases in /opt/raspi-server. Each is built beside the running one. One rename
# of the link `current` activates it with its units. A power cut leaves the old release or the new one.

# Environment, because pip starts another pip. Without a network it must not retry for minutes.
export PIP_RETRIES=1 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

checkout_version() {
    sed -n 's/^__version__ = "\([0-9][0-9A-Za-z.+-]*\)"$/\1/p' "$checkout/raspi_server/__init__.py"
}

# sources: prints the files of the checkout that make a release, separated by zero bytes.
sources() {
    (cd "$checkout" && find raspi_server www scripts systemd config.yaml pyproject.toml README.md \
        CHANGELOG.md LICENSE -type f ! -name '.*' ! -path '*/__pycache__/*' -print0 | sort -z)
}

# fingerprint: prints a hash of the files, and of the Python and system packages that a release uses.
fingerprint() {
    {
        (cd "$checkout" && sources | xargs -0 sha256sum)
        echo "$python $("$python" -I -VV) $(uses_system_packages && echo with system packages)"
    } | sha256sum | cut -d ' ' -f 1
}

# uses_system_packages: succeeds if lgpio is apt's, which a virtual environment sees only with
# --system-site-packages.
uses_system_packages() {
    is_installed python3-lgpio
}

# Removes incomplete releases. A complete one contains the file `complete`.
discard_half_built() {
    local each
    rm -rf "$home/wheels.new" "$home/current.new" "$home/previous.new"
    for each in "$releases"/*/; do
        [[ ! -d $each || -e $each/complete ]] || rm -rf "$each"
    done
}

# Sets `release` to the release of this checkout. Builds it unless it exists.
choose_release() {
    local each mark
    mark=$(fingerprint)
    for each in "$releases"/*/; do
        if [[ -e $each/complete && $(<"$each/fingerprint") == "$mark" ]] && works "$each"; then
            release=$(basename "$each")
            echo "Release $release is this checkout."
            return
        fi
    done
    release=$(next_name)
    doing="building release $release"
    if [[ -n $dry_run ]]; then
        echo "Building release $release"
        return
    fi
    printf 'Building release %s (minutes on a small Pi)' "$release"
    discard_half_built
    mkdir -p "$releases/$release"
    slowly build "$releases/$release" || fail "The release could not be built: see above."
    echo "$mark" >"$releases/$release/fingerprint"
    sync -f "$releases"
    touch "$releases/$release/complete"
    sync -f "$releases"
}

# next_name: prints VERSION-N, where N is larger than that of any release.
next_name() {
    local each last=0
    for each in "$releases"/*/; do
        each=${each%/}
        each=${each##*-}
        [[ ! $each =~ ^[0-9]+$ || $each -le $last ]] || last=$each
    done
    echo "$(checkout_version)-$((last + 1))"
}

# works FOLDER: succeeds if the release in it starts with the Python that is installed now.
works() {
    "$1/scripts/start.sh" --version >/dev/null 2>&1 &&
        "$1/venv/bin/python" -I -c "$imports_all" 2>/dev/null
}

# Releases up to 0.3.0 have raspi_server.appliance instead of raspi_server.server.
imports_all='
import importlib.util
name = "server" if importlib.util.find_spec("raspi_server.server") else "appliance"
importlib.import_module("raspi_server." + name)'

# build FOLDER: builds a release there. `set -e` has no effect where it is called.
build() {
    local folder=$1 source=$1/source extra='' options=()
    mkdir "$source" &&
        (cd "$checkout" && sources | tar --create --null --files-from=- --owner=0 --group=0 \
            --mode='u=rwX,go=rX') | tar --extract --directory "$source" --no-same-owner || return
    ! uses_system_packages || options=(--system-site-packages)
    "$python" -m venv "${options[@]}" "$folder/venv" || return
    fetch "$folder" || return
    # Without --ignore-installed, pip would count apt's packages, which --system-site-packages shows.
    "$folder/venv/bin/python" -I -m pip install --no-index --ignore-installed \
        --find-links "$home/wheels.new" "raspi-server${extra:+[$extra]}" || return
    mv "$source"/{scripts,systemd,config.yaml,README.md,CHANGELOG.md,LICENSE} "$folder" || return
    rm -rf "$source" "$home/wheels"
    mv "$home/wheels.new" "$home/wheels"
    works "$folder" || { "$folder/venv/bin/python" -I -c "$imports_all"; return 1; }
}

# fetch FOLDER: gets all packages as wheels from the index or, without a network, from the last
# installation. Sets `extra` if lgpio is among them, which only pwm pins need. pip must not compile it: a Pi lacks the tools.
fetch() {
    local folder=$1 said from
    # --use-pep517 builds packages that have no wheels, also in a new venv of Bookworm.
    local pip=("$folder/venv/bin/python" -I -m pip wheel --use-pep517
        --only-binary lgpio --wheel-dir "$home/wheels.new")
    for from in "" "--no-index --find-links $home/wheels"; do
        [[ -z $from || -d $home/wheels ]] || continue
        for extra in pi ""; do
            [[ -z $extra ]] || ! uses_system_packages || continue
            rm -rf "$home/wheels.new"
            # shellcheck disable=SC2086  # several words or none
            if said=$("${pip[@]}" $from hatchling "$folder/source${extra:+[$extra]}" 2>&1); then
                return
            fi
            echo "$said"
        done
    done
    return 1
}

# point LINK RELEASE: changes the link with one rename and waits until that is on the disk. The units change
# with `current`, so systemd reads them before the slow sync: else the timer could start a script that only
# the other release has.
point() {
    ln -sfn "releases/$2" "$1.new"
    mv -T "$1.new" "$1"
    [[ $1 != "$current" ]] || systemctl daemon-reload 2>/dev/null || true
    sync -f "$home"
}

# Activates `release` and starts it. If it does not come up, the release before is started again.
activate() {
    local before='' since has_reloaded=
    [[ ! -L $current ]] || before=$(basename "$(readlink "$current")")
    before_that=$(basename "$(readlink "$home/previous")")
    rm -f "$config.before" # left by a run that a power cut ended
    if [[ -e $config.new ]]; then
        ln "$config" "$config.before"
        mv "$config.new" "$config"
    fi
    if [[ $before != "$release" ]]; then
        step "Switching to release $release"
        [[ -z $before ]] || point "$home/previous" "$before"
        point "$current" "$release"
        must_restart=1
    fi
    systemctl enable --quiet "$unit" "$timer"
    if [[ -n $no_start ]]; then
        rm -f "$config.before"
        echo "Release $release starts with the next boot, or: sudo systemctl restart raspi-server"
    else
        since=$(date +%s)
        step "Starting raspi-server"
        if ! bring_up; then
            journalctl --sync || true
            journalctl --unit "$unit" --since "@$since" --output cat --no-pager | head -n 40 >&2 || true
            [[ -z $has_reloaded ]] || stay
            go_back "$before"
        fi
        rm -f "$config.before"
    fi
}

# Starts the release that `current` points to, or reloads it if only the configuration has changed, and
# waits until it is ready and healthy. Sets `has_reloaded` if it was reloaded instead of started.
bring_up() {
    systemctl daemon-reload || return
    systemctl start "$timer" || return
    if [[ -n $must_restart ]] || ! systemctl is-active --quiet "$unit"; then
        systemctl reset-failed "$unit" 2>/dev/null
        systemctl restart "$unit" || return
    elif ! is_in_force; then
        has_reloaded=1
        reload || return
    fi
    wait_healthy
}

# Waits until the active release answers that it is healthy. Releases up to 0.3.0, to which this script can
# go back, have a script for it instead of the command.
wait_healthy() {
    if [[ -e $current/scripts/healthy.py ]]; then
        "$current/venv/bin/python" -I - "$config" <"$current/scripts/healthy.py"
    else
        "$current/scripts/start.sh" wait-healthy --config "$config"
    fi
}

# Makes the running server read the configuration, and waits until it uses it.
reload() {
    local end=$((SECONDS + 30))
    step "Reloading the running server with $config"
    systemctl reload "$unit" || return
    until is_in_force; do
        [[ $SECONDS -lt $end ]] || return
        sleep 0.2
    done
}

# Ends the script after a failed reload. The running server and its pins stay as they are.
stay() {
    local said="The running server did not take $config: the running configuration stays active."
    ! is_in_force || said="The running server took $config but is not healthy."
    if [[ -e $config.before ]]; then
        mv "$config.before" "$config"
        systemctl reload "$unit" || true
        said="The running server did not take the other port. $config is as before."
    fi
    fail "$said"
}

# go_back RELEASE: activates the release before, or none if RELEASE is empty, and ends the script.
go_back() {
    local failed=$release
    doing="starting release $failed"
    [[ ! -e $config.before ]] || mv "$config.before" "$config"
    if [[ -z $1 ]]; then
        systemctl stop "$unit" "$timer" 2>/dev/null || true
        systemctl disable --quiet "$unit" "$timer" || true
        rm -f "$current"
        systemctl daemon-reload
        systemctl reset-failed "$unit" "$timer" 2>/dev/null || true
        fail "It did not come up and was stopped."
    fi
    point "$current" "$1"
    if [[ -n $before_that ]]; then
        point "$home/previous" "$before_that"
    else
        rm -f "$home/previous"
    fi
    must_restart=1
    if bring_up; then
        echo "Release $failed did not come up; $1 runs again." >&2
    else
        echo "Release $failed did not come up. $1 was started again and is not healthy either." >&2
    fi
    [[ $failed == "$1" ]] || rm -rf "${releases:?}/$failed"
    exit 1
}

roll_back() {
    local before
    release=$(basename "$(readlink "$home/previous")")
    before=$(basename "$(readlink "$current")")
    [[ -e $home/previous/complete && $release != "$before" ]] ||
        fail "There is no release to go back to."
    say_before "$current" "$home/previous"
    step "Going back from $before to $release" || return 0
    works "$home/previous" || fail "Release $release does not work with the Python that is installed now."
    check_configuration
    activate
    rm -f "$home/previous"
    [[ -n $no_start ]] || print_next_steps
}

# Removes all releases except the active one and the one before.
tidy() {
    local each name
    for each in "$releases"/*/; do
        name=$(basename "$each")
        if [[ $name != "$release" && $name != $(basename "$(readlink "$home/previous")") ]]; then
            rm -rf "$each"
        fi
    done
}
