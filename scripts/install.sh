#!/usr/bin/env bash
# Installs raspi-server from this checkout as a service, or upgrades it. You can run it again at any time.
#   sudo scripts/install.sh
#     --port N      serve on port N, 1 to 65535, instead of the configured one
#     --no-start    install everything but start nothing
#     --dry-run     only print the steps
#     --rollback    go back to the release before
#     --version     print the version of this checkout
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV CDPATH
checkout=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
cd /
# shellcheck source=scripts/common.sh
source "$checkout/scripts/common.sh"
# shellcheck source=scripts/release.sh
source "$checkout/scripts/release.sh"

port='' dry_run='' no_start='' rollback='' architecture=''
doing="reading the command line"

usage() {
    sed -n '2,/^set/s/^# \{0,1\}//p' "$checkout/scripts/install.sh" >&2
    exit 2
}

# step TEXT: prints the next step. It fails in a dry run, so that the caller skips the step.
step() {
    doing=$1
    printf '%s\n' "$1"
    [[ -z $dry_run ]]
}

# slowly COMMAND…: runs a command, prints a dot every few seconds, and shows its output only if it fails.
slowly() {
    local log status=0 dots
    log=$(mktemp)
    # A `sleep` that outlives the loop must not keep the lock or the caller's pipe open.
    while sleep 3 >/dev/null 2>&1 9>&-; do printf .; done 9>&- &
    dots=$!
    "$@" >"$log" 2>&1 || status=$?
    kill "$dots" 2>/dev/null || true
    wait "$dots" 2>/dev/null || true
    printf '\n'
    [[ $status -eq 0 ]] || tail -n 20 "$log" >&2
    rm -f "$log"
    return "$status"
}

# Removes incomplete files. After a failure it prints which release is active and what to do next.
on_exit() {
    local status=$?
    trap - EXIT
    discard_half_built
    # A signal may have come between the switch of `current` and the daemon-reload for it.
    [[ $status -eq 0 || $status -eq 2 ]] || systemctl daemon-reload 2>/dev/null || true
    rm -rf "$config.new" "$scratch"
    if [[ $status -ne 0 && $status -ne 2 ]]; then
        {
            printf '\nNot done. The step that failed: %s\n' "$doing"
            if [[ -L $current ]]; then
                echo "The release installed before is still in place: $(basename "$(readlink "$current")")"
            fi
            echo "Fix the error above and run it again: sudo $checkout/scripts/install.sh${rollback:+ --rollback}"
        } >&2
    fi
    exit "$status"
}

# other_listener PORT ADDRESS: prints the name of another program that listens there, or nothing. No address
# means all addresses. The service itself does not count.
other_listener() {
    local ours where process host
    ours=$(systemctl show --property MainPID --value "$unit" 2>/dev/null) || ours=0
    while read -r _ _ _ where _ process; do
        [[ $ours -eq 0 || $process != *"pid=$ours,"* ]] || continue
        host=${where%:*}
        host=${host%%%*}
        host=${host//[][]/}
        [[ -z $2 || $host == "$2" || $host == '*' || ($host == 0.0.0.0 && $2 != *:*) ||
            ($host == :: && $2 == *:*) ]] || continue
        if [[ $process =~ \(\(\"([^\"]+)\",pid=([0-9]+) ]]; then
            # A process can choose its name, which must not control the terminal.
            echo "${BASH_REMATCH[1]//[^[:print:]]/?} (process ${BASH_REMATCH[2]})"
        else
            echo "a process that cannot be seen from here"
        fi
        return
    done < <(ss -Hltnp "sport = :$1")
}

# check_port PORT: ends the script if another program uses the port that the service will use.
check_port() {
    local busy_with=
    if [[ -z $no_start ]] && command -v ss >/dev/null; then
        busy_with=$(other_listener "$1" "$(configured address)")
    fi
    [[ -z $busy_with ]] ||
        fail "Port $1 is in use by $busy_with." "Stop that program, or choose another port: --port 8081"
}

check_machine() {
    local free wanted
    [[ $EUID -eq 0 ]] || fail "This needs root: sudo $checkout/scripts/install.sh"
    [[ -d /run/systemd/system || -n $no_start ]] ||
        fail "This machine does not run systemd, which the service needs."
    command -v dpkg apt-get >/dev/null ||
        fail "This is neither Raspberry Pi OS nor Debian. To run the server without installing it: scripts/run.sh"
    architecture=$(dpkg --print-architecture)
    case $architecture in
        arm64 | armhf | amd64) ;;
        *) fail "raspi-server needs arm64, armhf or amd64; this machine is $architecture." ;;
    esac
    python=$(system_python) ||
        fail "raspi-server needs Python 3.11 or newer. Raspberry Pi OS has it since Bookworm (2023)." \
            "To install it: sudo apt install python3"
    free=$(df --output=avail -k "${home%/*}" | tail -n 1)
    [[ $free -ge 204800 ]] ||
        fail "${home%/*} has $((free / 1024)) MB left; 200 MB are needed. To free some: sudo apt clean"
    keep_from_service "$settings" "$settings/tls"
    wanted=${port:-$(configured port)}
    [[ -z $wanted ]] || check_port "$wanted"
}

# configured KEY: prints the port or address in the configuration that will be used, or nothing if sed
# cannot read its line.
configured() {
    local file=$config
    [[ -e $file ]] || file=$checkout/config.yaml
    sed -n "s/^$1: *[\"']\{0,1\}\([0-9A-Fa-f.:]*\)[\"']\{0,1\} *\(#.*\)\{0,1\}$/\1/p" "$file"
}

# system_python: prints the path of the system's own Python. The service could not read one in a home folder.
system_python() {
    local candidate
    for candidate in /usr/bin/python3 /usr/bin/python3.1{3,2,1}; do
        if "$candidate" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            readlink -f "$candidate"
            return
        fi
    done
    return 1
}

# say_before OLD NEW: prints, before anything changes, what people will notice after a change of release.
say_before() {
    # Releases without a function of this name have another name for their cookies.
    if [[ $(grep -sc '^say_before()' "$1/scripts/install.sh") != \
        $(grep -sc '^say_before()' "$2/scripts/install.sh") ]]; then
        echo "Afterwards every browser has to sign in again, once, with its access code. The codes stay."
    fi
}

is_installed() {
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

on_pi() {
    grep -qs '^Raspberry Pi' /proc/device-tree/model
}

# apt_install PACKAGE…: installs packages. If that fails, it updates the package lists and tries again.
apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    local options=(--yes --quiet --no-install-recommends -o DPkg::Lock::Timeout=300)
    apt-get install "${options[@]}" "$@" || { apt-get update --quiet && apt-get install "${options[@]}" "$@"; }
}

has_venv() {
    "$python" -I -c 'import ensurepip, venv' 2>/dev/null
}

packages() {
    local needed=() helpful=()
    has_venv || needed+=(python3-venv)
    command -v openssl >/dev/null || needed+=(openssl)
    command -v ip >/dev/null || needed+=(iproute2)
    is_installed avahi-daemon || helpful+=(avahi-daemon)
    # For pwm pins; Debian has no such package, Raspberry Pi OS does.
    ! on_pi || is_installed python3-lgpio || ! apt-cache show python3-lgpio >/dev/null 2>&1 || helpful+=(python3-lgpio)
    if [[ ${#needed[@]} -gt 0 ]] && step "Installing from apt: ${needed[*]}"; then
        slowly apt_install "${needed[@]}"
    fi
    for package in "${helpful[@]}"; do
        if step "Installing from apt: $package" && ! slowly apt_install "$package"; then
            echo "Continuing without $package."
        fi
    done
}

account() {
    if ! getent group gpio >/dev/null && step "Creating the group gpio"; then
        groupadd --system gpio
        mkdir -p "$home"
        touch "$home/made-group-gpio"
    fi
    if ! getent passwd raspi-server >/dev/null && step "Creating the user raspi-server"; then
        useradd --system --user-group --no-create-home --home-dir /nonexistent \
            --shell /usr/sbin/nologin --comment "GPIO pins on the network" raspi-server
    fi
    if ! getent passwd "$builder" >/dev/null && step "Creating the user $builder, which builds packages"; then
        useradd --system --user-group --no-create-home --home-dir /nonexistent \
            --shell /usr/sbin/nologin --comment "Builds packages for raspi-server" "$builder"
    fi
    if [[ " $(id -nG raspi-server 2>/dev/null) " != *" gpio "* ]] &&
        step "Adding the user raspi-server to the group gpio, for the pins"; then
        usermod --append --groups gpio raspi-server
    fi
    if ! grep -qs 'SUBSYSTEM=="gpio".*GROUP' /etc/udev/rules.d/*.rules /usr/lib/udev/rules.d/*.rules &&
        step "Writing $udev_rule"; then
        mkdir -p "${udev_rule%/*}"
        install -m 644 "$checkout/systemd/${udev_rule##*/}" "$udev_rule"
        udevadm control --reload 2>/dev/null || true
        udevadm trigger --subsystem-match=gpio 2>/dev/null || true
    fi
}

# Makes the key and the configuration readable for the service, also if they come from another SD card or
# were kept by uninstall.sh.
make_readable() {
    local key=$settings/tls/server.key
    # A link points to a file of another program, such as certbot.
    if [[ -f $key && ! -L $key ]]; then
        chown root:raspi-server "$key"
        chmod 640 "$key"
    fi
    if ! setpriv --reuid raspi-server --regid raspi-server --init-groups test -r "$config"; then
        step "Making $config readable for the service"
        chgrp raspi-server "$config"
        chmod g+r "$config"
    fi
}

# Writes a new configuration if there is none. With --port it writes the changed file beside the old one,
# which it replaces after the check.
configuration() {
    if [[ ! -e $config ]]; then
        step "Writing $config" || return 0
        install -d -m 755 "$settings" "$settings/www"
        sed -e 's/^ssl: false$/ssl: true/' -e "s/^port: 8080$/port: ${port:-8080}/" \
            "$releases/$release/config.yaml" >"$config.new"
        chown root:raspi-server "$config.new"
        chmod 640 "$config.new"
        sync "$config.new"
        mv "$config.new" "$config"
    elif [[ -n $port && $(configured port) != "$port" ]] &&
        step "Changing the port in $config to $port"; then
        grep -q '^port:' "$config" ||
            fail "$config has no line that begins with port:. Add one by hand: port: $port"
        cp -p "$config" "$config.new"
        sed -i "s/^port:.*/port: $port/" "$config.new"
        sync "$config.new"
    fi
    [[ -n $dry_run ]] || make_readable
}

# Checks the configuration, and the last good one, with the new release and as the service's user. Ends the
# script if that fails. With "early" it returns 1 if only the certificate is wrong, which make-cert.sh may
# correct.
check_configuration() {
    local file=$config said status=0
    [[ ! -e $config.new ]] || file=$config.new
    step "Checking $file" || return 0
    said=$(STATE_DIRECTORY=/var/lib/raspi-server setpriv --reuid raspi-server --regid raspi-server \
        --init-groups "$releases/$release/scripts/start.sh" check "$file" 2>&1) || status=$?
    if [[ $status -ne 0 && ${1:-} == early ]] && ! grep -q "^$file:" <<<"$said"; then
        return 1
    fi
    sed '/^ok: /,$d' <<<"$said" >&2
    [[ $status -eq 0 ]] ||
        fail "Release $release was not activated: the configuration or the certificate has the errors above."
    read -r scheme served_port < <(served <<<"$said")
    check_port "$served_port"
}

system_files() {
    local each
    for each in "$unit" raspi-server-cert.service "$timer"; do
        if [[ $(readlink "$units/$each") != "$current/systemd/$each" ]] && step "Adding $each"; then
            ln -sfn "$current/systemd/$each" "$units/$each"
        fi
    done
    if [[ $(readlink /usr/local/bin/raspi-server) != "$current/scripts/start.sh" ]] &&
        step "Adding the command raspi-server"; then
        mkdir -p /usr/local/bin
        ln -sfn "$current/scripts/start.sh" /usr/local/bin/raspi-server
    fi
    [[ -z $dry_run ]] || return 0
    if [[ $served_port -lt 1024 && ! -e $low_port ]]; then
        step "Permitting port $served_port"
        mkdir -p "${low_port%/*}"
        printf '%s\n' '[Service]' CapabilityBoundingSet=CAP_NET_BIND_SERVICE \
            AmbientCapabilities=CAP_NET_BIND_SERVICE >"$low_port"
        must_restart=1
    elif [[ $served_port -ge 1024 && -e $low_port ]]; then
        rm -f "$low_port"
        must_restart=1
        rmdir --ignore-fail-on-non-empty "${low_port%/*}"
    fi
}

print_next_steps() {
    local address right said
    echo
    echo "raspi-server $release runs. Open on a phone or computer in the same network:"
    echo "    $scheme://$(local_name):$served_port/"
    for address in $(addresses); do
        [[ $address != *:* ]] || address="[$address]"
        echo "    $scheme://$address:$served_port/"
    done
    said=$("$current/scripts/start.sh" code) || said=
    # The code for switching comes last, where people see it.
    for right in view control; do
        if grep -q "^$right: .* none yet$" <<<"$said"; then
            echo
            "$current/scripts/start.sh" code --new "$right"
        fi
    done
    if grep -q "^control: .* there is one$" <<<"$said"; then
        grep -e --qr <<<"$said" || true # the first release has no sign-in links
    fi
    if [[ $scheme == https ]]; then
        echo "To make a phone trust this Pi without a warning, open on the phone"
        echo "    http://$(local_name):$served_port/trust"
        echo "and compare the SHA-256 fingerprint of this Pi's certificate authority:"
        openssl x509 -in "$settings/tls/ca.crt" -noout -fingerprint -sha256 | sed 's/.*=/    /'
    fi
    echo "Next: add your pins to $config, which has examples, and run"
    echo "    sudo systemctl reload raspi-server"
}

while [[ $# -gt 0 ]]; do
    case $1 in
        --port)
            [[ ${2:-} =~ ^[1-9][0-9]{0,4}$ && $2 -le 65535 ]] || usage
            port=$2
            shift
            ;;
        --no-start) no_start=1 ;;
        --dry-run) dry_run=1 ;;
        --rollback) rollback=1 ;;
        --version)
            echo "raspi-server $(checkout_version)"
            exit
            ;;
        *) usage ;;
    esac
    shift
done

doing="checking this machine"
must_restart='' release='' scratch=''
check_machine
if [[ -z $dry_run ]]; then
    exec 9>/run/raspi-server-install.lock
    flock --nonblock 9 || fail "Another install.sh is running. Wait until it has ended."
    trap on_exit EXIT
    trap 'exit 130' INT TERM HUP
fi
if [[ -n $rollback ]]; then
    roll_back
    exit
fi
[[ ! -L $current ]] || say_before "$current" "$checkout"
check_wheels
packages
account
choose_release
configuration
if [[ -n $dry_run ]]; then
    system_files
    echo "Nothing was done."
    exit
fi
# Errors that stop an upgrade are shown before anything changes.
is_checked=
if [[ -L $current ]] && check_configuration early; then
    is_checked=1
fi
step "Refreshing the certificate"
"$releases/$release/scripts/make-cert.sh"
[[ -n $is_checked ]] || check_configuration
system_files
activate
"$current/scripts/refresh-network.sh"
tidy
[[ -n $no_start ]] || print_next_steps
