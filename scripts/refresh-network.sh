#!/usr/bin/env bash
# Updates what depends on the Pi's names, addresses and port: the certificate, the networks that may reach
# the service, and the service that Avahi announces. raspi-server-cert.timer runs it every quarter of an
# hour. It writes only what has changed.
set -euo pipefail
umask 022
export LC_ALL=C
scripts=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=scripts/common.sh
source "$scripts/common.sh"
level=${JOURNAL_STREAM:+<5>}  # sd-daemon(3): notice. The unit's LogLevelMax= drops anything below.

# own_networks: prints this Pi's networks that the unit does not name, such as its global IPv6 prefix.
own_networks() {
    { ip -4 route show && ip -6 route show; } | awk '
        / via / || $1 !~ /^[0-9a-f.:]+(\/[0-9]+)?$/ { next }
        $1 ~ /^(10|127|169\.254|192\.168|172\.(1[6-9]|2[0-9]|3[01]))\./ { next }
        $1 ~ /^100\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\./ { next }
        $1 ~ /^(fe80|f[cd]..|ff..):/ || $1 == "::1" { next }
        !seen[$1]++ { print $1 }
    ' | sort
}

# replace FILE TEXT: writes TEXT to FILE, or removes FILE if TEXT is empty. Fails if nothing changed.
replace() {
    local old=
    [[ ! -e $1 ]] || old=$(<"$1")
    [[ $old != "$2" ]] || return 1
    if [[ -z $2 ]]; then
        rm -f "$1"
        return
    fi
    mkdir -p "$(dirname "$1")"
    printf '%s\n' "$2" >"$1.new"
    mv "$1.new" "$1"
}

# The drop-in is in /run: that does not wear out the SD card, and each boot starts without it.
refresh_networks() {
    local found text=
    found=$(own_networks)
    if [[ -n $found ]]; then
        text="[Service]"$'\n'"IPAddressAllow=${found//$'\n'/ }"
    fi
    if replace "$networks" "$text"; then
        found=${found//$'\n'/ }
        echo "${level}The service accepts connections from private networks${found:+ and from $found}"
        systemctl daemon-reload
    fi
}

# Avahi watches its folder. The configuration is read only if it is newer than the announcement. It is
# announced when the server uses it.
refresh_announcement() {
    local served scheme port text
    [[ -d ${avahi%/*} && (! -e $avahi || $config -nt $avahi) ]] || return 0
    is_in_force || return 0
    served=$("$scripts/start.sh" check "$config" 2>/dev/null | served) || return 0
    read -r scheme port <<<"$served"
    text=$(sed -e "s/_https\{0,1\}\._tcp/_$scheme._tcp/" -e "s/>8080</>$port</" \
        "$scripts/../systemd/avahi.xml")
    if replace "$avahi" "$text"; then
        echo "${level}Avahi announces $scheme on port $port"
    else
        touch "$avahi"
    fi
}

"$scripts/make-cert.sh" | sed "s/^/$level/"
if [[ -d /run/systemd/system ]]; then
    refresh_networks
fi
refresh_announcement
