#!/usr/bin/env bash
# What has to follow the Pi's names, addresses and port: the certificate, the networks that may reach the
# service, and what Avahi announces. Runs every quarter of an hour; writes only what has changed.
set -euo pipefail
umask 022
export LC_ALL=C
scripts=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=scripts/places.sh
source "$scripts/places.sh"
level=${JOURNAL_STREAM:+<5>}  # sd-daemon(3): notice; the unit keeps less than that out of the journal

# Networks this Pi is in beyond those the unit names: its global IPv6 prefix, say.
own_networks() {
    { ip -4 route show && ip -6 route show; } | awk '
        / via / || $1 !~ /^[0-9a-f.:]+(\/[0-9]+)?$/ { next }
        $1 ~ /^(10|127|169\.254|192\.168|172\.(1[6-9]|2[0-9]|3[01]))\./ { next }
        $1 ~ /^100\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\./ { next }
        $1 ~ /^(fe80|f[cd]..|ff..):/ || $1 == "::1" { next }
        !seen[$1]++ { print $1 }
    ' | sort
}

# replace FILE TEXT: FILE holds TEXT, or is gone where TEXT is empty; whether that is new.
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

# The drop-in lies in /run: it costs the SD card nothing, and a boot begins afresh.
follow_networks() {
    local found text=
    found=$(own_networks)
    if [[ -n $found ]]; then
        text="[Service]"$'\n'"IPAddressAllow=${found//$'\n'/ }"
    fi
    if replace "$networks" "$text"; then
        echo "${level}The service may be reached from ${found:+also }${found:-private networks only}"
        systemctl daemon-reload
    fi
}

# Avahi looks at its folder by itself. The configuration is read only when it is newer, and announced
# once the server has taken it.
follow_port() {
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
    follow_networks
fi
follow_port
