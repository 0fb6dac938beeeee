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
    rm -rf "$home/wheels.build" "$home/wheels.new" "$home/current.new" "$home/previous.new"
    for each in "$releases"/*/; do
        [[ ! -d $each || -e $each/complete ]] || rm -rf "$each"
    done
}

# find_release: sets `release` to the release that was built from this checkout, if there is one, and `mark` to
# the fingerprint.
find_release() {
    local each
    mark=$(fingerprint)
    for each in "$releases"/*/; do
        if [[ -e $each/complete && $(<"$each/fingerprint") == "$mark" ]] && works "$each"; then
            release=$(basename "$each")
            return
        fi
    done
    return 1
}

# Sets `release` to the release of this checkout. Builds it unless it exists.
choose_release() {
    local mark
    if find_release; then
        echo "Release $release is this checkout."
        return
    fi
    check_wheels
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

# pins NAME: prints the lock file NAME of the checkout. On 32-bit systems it leaves out the hashes: there the
# wheels come from piwheels, which builds its own.
pins() {
    local file=$checkout/scripts/requirements/$1.txt
    if [[ $architecture == armhf ]]; then
        sed -e '/^ *--hash=/d' -e 's/ *\\$//' "$file"
    else
        cat "$file"
    fi
}

# Before anything changes on a 32-bit system, where not every package has a wheel: sets `to_compile` to those
# that have none. Ends the script if the tools to compile them are missing.
check_wheels() {
    local mark
    if [[ $architecture == armhf && -z $has_checked ]] && has_venv && ! find_release; then
        doing="looking for the wheels of all packages"
        printf 'Looking for the wheels of all packages'
        scratch=$(mktemp -d)
        slowly find_missing_wheels || exit
        rm -rf "$scratch"
        has_checked=1
        [[ ${#to_compile[@]} -eq 0 ]] || check_compiler
    fi
}
to_compile=() has_checked=''

# Sets `to_compile`. A package counts only if the index offers its source. Without a network none does.
find_missing_wheels() {
    local said name version pip=("$scratch/venv/bin/python" -I -m pip)
    "$python" -m venv "$scratch/venv" || return
    pins release >"$scratch/pins.txt"
    until said=$("${pip[@]}" download --no-deps --only-binary :all: --find-links "$home/wheels" \
        --dest "$scratch/wheels" --requirement "$scratch/pins.txt" 2>&1); do
        said=$(sed -n 's/^ERROR: No matching .* for \([^= ]*\)==\([^ ]*\).*/\1 \2/p' <<<"$said")
        read -r name version <<<"$said"
        [[ -n $version ]] || return 0
        said=$("${pip[@]}" index versions "$name" 2>&1) || return 0
        grep -qF " $version" <<<"${said//,/ }" || return 0
        to_compile+=("$name")
        sed -i "/^$name==/d" "$scratch/pins.txt"
    done
}

check_compiler() {
    local headers
    headers=$("$python" -I -c 'import sysconfig; print(sysconfig.get_path("include"))')
    if command -v gcc >/dev/null && [[ -e $headers/Python.h ]]; then
        echo "There is no 32-bit wheel of these packages, so they are compiled (an hour on a small Pi): ${to_compile[*]}"
    else
        fail "There is no 32-bit wheel of these packages, so they have to be compiled here: ${to_compile[*]}" \
            "That takes up to an hour on a small Pi. To permit it: sudo apt install build-essential python3-dev" \
            "A 64-bit Raspberry Pi OS, which runs on every Pi since the Zero 2 and the 3, compiles nothing."
    fi
}

# build FOLDER: builds a release there. `set -e` has no effect where it is called.
build() {
    local folder=$1 source=$1/source site options=() hashes=(--require-hashes)
    local needed=(--requirement "$source/release.txt")
    [[ $architecture != armhf ]] || hashes=()
    mkdir "$source" &&
        (cd "$checkout" && sources | tar --create --null --files-from=- --owner=0 --group=0 \
            --mode='u=rwX,go=rX') | tar --extract --directory "$source" --no-same-owner || return
    pins release >"$source/release.txt" && pins pi >"$source/pi.txt" || return
    ! uses_system_packages || options=(--system-site-packages)
    "$python" -m venv "${options[@]}" "$folder/venv" || return
    fetch "$folder" || return
    ! compgen -G "$home/wheels.new/lgpio-*" >/dev/null || needed+=(--requirement "$source/pi.txt")
    # pip compares the hashes here, with wheels that only root can change, and runs no code of the packages.
    # Without --ignore-installed, pip would count apt's packages, which --system-site-packages shows.
    "$folder/venv/bin/python" -I -m pip install --no-index --ignore-installed --only-binary :all: \
        "${hashes[@]}" --find-links "$home/wheels.new" "${needed[@]}" || return
    # raspi-server itself needs no build: these are the files that its wheel would have.
    site=$folder/venv/lib/$(basename "$python")/site-packages
    mv "$source/www" "$source/raspi_server" && mv "$source/raspi_server" "$site" &&
        "$folder/venv/bin/python" -I -m compileall -q "$site/raspi_server" || return
    mv "$source"/{scripts,systemd,config.yaml,README.md,CHANGELOG.md,LICENSE} "$folder" || return
    rm -rf "$source" "$home/wheels"
    mv "$home/wheels.new" "$home/wheels"
    works "$folder" || { "$folder/venv/bin/python" -I -c "$imports_all"; return 1; }
}

# as_builder COMMAND…: runs a command as a user that is neither root nor the service, and without a terminal,
# in which it could type commands for root. The command ends with this script.
as_builder() {
    setsid setpriv --reuid "$builder" --regid "$builder" --clear-groups --no-new-privs --pdeathsig KILL \
        env HOME="$home/wheels.build" TMPDIR="$home/wheels.build" "$@" </dev/null 9>&- &
    wait $!
}

# fetch FOLDER: gets all packages as wheels into wheels.new, and lgpio, which only pwm pins need, if there is a
# wheel of it and apt has none.
fetch() {
    local folder=$1 file
    rm -rf "$home"/wheels.{build,new}
    install -d -m 700 -o "$builder" -g "$builder" "$home/wheels.build" || return
    collect release "${to_compile[@]}" || return
    uses_system_packages || collect pi >/dev/null || true
    mkdir "$home/wheels.new" || return
    # Root opens no file of the other user: it could be a link.
    for file in "$home/wheels.build"/*.whl; do
        as_builder cat "$file" >"$home/wheels.new/${file##*/}" || return
    done
    rm -rf "$home/wheels.build"
}

# collect NAME [PACKAGE…]: gets the wheels of a lock file from the last installation or, if one is missing or
# changed, from the index. Compiles the packages that are named, unless the last installation did.
collect() {
    local said changed='' from compiled=() kept="--find-links $home/wheels" index='' lock=$folder/source/$1.txt
    shift
    [[ $# -eq 0 ]] || compiled=(--no-binary "$(IFS=, && echo "$*")")
    [[ $architecture != armhf ]] || index=$kept
    for from in "--no-index $kept" "$index"; do
        # shellcheck disable=SC2086  # several words or none
        if said=$(as_builder "$folder/venv/bin/python" -I -m pip wheel $from --only-binary :all: "${compiled[@]}" \
            "${hashes[@]}" --wheel-dir "$home/wheels.build" --requirement "$lock" 2>&1); then
            return
        fi
        [[ $said != *"DO NOT MATCH THE HASHES"* ]] || changed=$said
    done
    echo "${changed:-$said}"
    if [[ -n $changed ]]; then
        echo "A package is not the one that this release was made with, and was not installed: its hash differs."
        echo "It may have been changed on the way here. Try it again in another network."
    elif [[ $said == *"No matching distribution"* ]]; then
        echo "This package has no wheel for $architecture and $("$python" -V), or there is no network."
    fi
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
