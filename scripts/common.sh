# shellcheck shell=bash
# shellcheck disable=SC2034  # the scripts that source this file use them
# Paths on the Pi and functions that several scripts use.

home=/opt/raspi-server
current=$home/current
releases=$home/releases
settings=/etc/raspi-server
config=$settings/config.yaml
builder=raspi-server-build
unit=raspi-server.service
timer=raspi-server-cert.timer
units=/etc/systemd/system
avahi=/etc/avahi/services/raspi-server.service
udev_rule=/etc/udev/rules.d/60-raspi-server.rules
networks=/run/systemd/system/$unit.d/50-networks.conf
low_port=$units/$unit.d/50-low-port.conf

# fail TEXT…: prints each text on a line and ends the script with status 1. Status 2 means a wrong command
# line.
fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# keep_from_service FOLDER…: ends the script if the service, or any user, can write to a folder. They could
# put a link there that root would follow.
keep_from_service() {
    local folder
    for folder; do
        [[ -e $folder ]] || continue
        if [[ -n $(find -H "$folder" -maxdepth 0 -perm /002) ]] || [[ -n $(find -H "$folder" -maxdepth 0 \
            \( -user raspi-server -o -group raspi-server -perm /020 \) 2>/dev/null) ]]; then
            fail "$folder can be written by the service or by every user. Only root, or you, may write there. To fix it:" \
                "    sudo chown root:root $folder && sudo chmod go-w $folder"
        fi
    done
}

# host_name: prints this machine's short name, in lower case.
host_name() {
    local name
    name=$(uname -n)
    name=${name%%.*}
    echo "${name,,}"
}

# local_name: prints the NAME.local that phones use. If two machines have the same name, Avahi calls the
# second NAME-2.
local_name() {
    local answer
    if systemctl is-active --quiet avahi-daemon >/dev/null 2>&1; then
        answer=$(timeout 5 busctl call org.freedesktop.Avahi / org.freedesktop.Avahi.Server \
            GetHostNameFqdn 2>/dev/null) || answer=
        if [[ $answer =~ ^s\ \"([a-z0-9.-]+)\"$ ]]; then
            echo "${BASH_REMATCH[1]}"
            return
        fi
    fi
    echo "$(host_name).local"
}

# addresses: prints the addresses that people can type, IPv4 first. It leaves out loopback addresses, IPv6
# link-local addresses, which browsers reject, and IPv6 privacy addresses, which change each day.
addresses() {
    ip -o addr show | awk '
        / (temporary|deprecated|tentative|dadfailed)/ { next }
        $3 == "inet" && $4 !~ /^127\./ { sub(/\/.*/, "", $4); print 4, $4 }
        $3 == "inet6" && / scope global/ { sub(/\/.*/, "", $4); print 6, $4 }
    ' | sort -u -s -k 1,1 -k 2,2 | cut -d ' ' -f 2
}

# served: reads the output of `raspi-server check` and prints the scheme and port of the configuration.
served() {
    sed -n 's/^ok: .*: \(https\{0,1\}\) on port \([0-9]*\), .*/\1 \2/p'
}

# is_in_force: succeeds if the server uses the configuration as it is in the file now. The server keeps a
# copy of the configuration that it uses. Without a copy this succeeds, too.
is_in_force() {
    "$current/venv/bin/python" -I -c '
import sys
from pathlib import Path
from raspi_server.system import storage
from raspi_server.config.source import ConfigSource
source = ConfigSource(Path(sys.argv[1]), {}, storage.state_folder_of_service())
sys.exit(source.is_in_force() is False)' "$config"
}
