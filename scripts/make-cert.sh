#!/usr/bin/env bash
# Makes and renews the server's certificate, signed by this Pi's own certificate authority.
# It changes nothing while the certificate is good: it matches its key and the authority, has 30 days left,
# and contains every name and address of the Pi, and every name in access.hosts, that the authority may vouch
# for. The file left-out lists the others; it never has a wildcard. The authority is made once and stays.
#   sudo scripts/make-cert.sh                    for the service, in /etc/raspi-server/tls
#   sudo scripts/make-cert.sh --new-authority    the same, with a new authority instead of the old
#                                                one: each phone has to trust this Pi again
#   scripts/make-cert.sh --folder tls            for your own use, in another folder
set -euo pipefail
umask 077
export LC_ALL=C
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=scripts/common.sh
source "$here/common.sh"

folder=$settings/tls
group=raspi-server
new_authority=
while [[ $# -gt 0 ]]; do
    case $1 in
        --folder)
            folder=${2:?--folder needs a folder}
            config=$(dirname "$(realpath -m "$folder")")/config.yaml
            group=
            shift 2
            ;;
        --new-authority)
            new_authority=1
            shift
            ;;
        *)
            sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
            exit 2
            ;;
    esac
done

# Private networks, and domains of home networks, which no site on the internet can have.
domains=(localhost local lan home.arpa internal)
networks=(10.0.0.0/255.0.0.0 172.16.0.0/255.240.0.0 192.168.0.0/255.255.0.0 127.0.0.0/255.0.0.0
    169.254.0.0/255.255.0.0 100.64.0.0/255.192.0.0 ::1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    fc00::/fe00:: fe80::/ffc0::)
# Domains that routers give to machines in a home. In these an authority vouches for this machine only.
router_domains=(home localdomain fritz.box)

is_name() {
    [[ $1 =~ ^[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?$ ]]
}

# configured_names: prints the names in access.hosts of config.yaml beside the folder, without wildcards and
# addresses. It prints nothing if the configuration is invalid. Python starts only if there may be names.
configured_names() {
    local python
    grep -Eq '^[^#]*hosts"?:' "$config" 2>/dev/null || return 0
    if [[ -x $here/../venv/bin/python ]]; then
        python=("$here/../venv/bin/python" -I)
    else
        python=(env -C "$here/.." .venv/bin/python)
    fi
    "${python[@]}" -c '
import sys
from pathlib import Path
from raspi_server.config.source import load
print(*load(Path(sys.argv[1])).access.hosts, sep="\n")' "$config" 2>/dev/null | grep -Ev '^(\*.*|[0-9.]*)$' || true
}

# rules_for NAME: prints the rules that permit a name, and no name below it: a Pi may be called like a domain of
# the internet, such as "app". Below a name with a dot, access.hosts may have others.
rules_for() {
    local name
    echo "permitted DNS:$1"
    for name in "${configured[@]}"; do
        [[ $1 != *.* || $name != *".$1" ]] || return 0
    done
    echo "excluded DNS:.$1"
}

# new_rules: prints the name constraints of a new authority: lines "permitted DNS:DOMAIN", "excluded …".
new_rules() {
    local host name domain rules
    rules=$(printf 'permitted DNS:%s\n' "${domains[@]}")
    host=$(host_name)
    for name in "$host" "${configured[@]}"; do
        if is_name "$name" && ! covers_name "$name" "${domains[@]}"; then
            rules+=$'\n'$(rules_for "$name")
        fi
    done
    for domain in "${router_domains[@]}"; do
        if is_name "$host" && [[ $full == "$host.$domain" ]]; then
            rules+=$'\n'"permitted DNS:$full"
        fi
    done
    echo "$rules"
    printf 'permitted IP:%s\n' "${networks[@]}"
}

# rules_of_authority: prints the name constraints of the authority in ca.crt, or nothing if it has none.
rules_of_authority() {
    openssl x509 -in ca.crt -noout -ext nameConstraints 2>/dev/null | awk '
        /^ *Permitted:/ { verdict = "permitted" }
        /^ *Excluded:/ { verdict = "excluded" }
        $1 ~ /^(DNS|IP):/ { print verdict, $1 }
    '
}

# covers_name NAME DOMAIN…: succeeds if the name is one of the domains or in one of them.
covers_name() {
    local name=$1 domain
    shift
    for domain; do
        [[ $name != "$domain" && $name != *".${domain#.}" ]] || return 0
    done
    return 1
}

# Sets `numbers` to the numbers of an IPv4 or IPv6 address.
read_address() {
    local left right='' part
    numbers=()
    if [[ $1 != *:* ]]; then
        IFS=. read -ra numbers <<<"$1"
        return
    fi
    [[ $1 != *::* ]] || right=${1#*::}
    IFS=: read -ra left <<<"${1%%::*}"
    IFS=: read -ra right <<<"$right"
    for part in "${left[@]}"; do numbers+=("$((16#$part))"); done
    while [[ ${#numbers[@]} -lt $((8 - ${#right[@]})) ]]; do numbers+=(0); done
    for part in "${right[@]}"; do numbers+=("$((16#$part))"); done
}

# covers_address ADDRESS NETWORK/MASK: succeeds if the address is in the network.
covers_address() {
    local numbers=() address network at
    read_address "$1"
    address=("${numbers[@]}")
    read_address "${2%/*}"
    network=("${numbers[@]}")
    read_address "${2#*/}"
    [[ ${#address[@]} -eq ${#network[@]} ]] || return 1
    for at in "${!address[@]}"; do
        (((address[at] & numbers[at]) == (network[at] & numbers[at]))) || return 1
    done
}

# allows RULES NAME: succeeds if a certificate may contain NAME, "DNS:…" or "IP:…" (RFC 5280, 4.2.1.10).
allows() {
    local verdict rule is_bound='' is_permitted=''
    while read -r verdict rule; do
        [[ ${rule%%:*} == "${2%%:*}" ]] || continue
        [[ $verdict == excluded ]] || is_bound=1
        if [[ $rule == DNS:* ]]; then
            covers_name "${2#*:}" "${rule#*:}" || continue
        else
            covers_address "${2#*:}" "${rule#*:}" || continue
        fi
        [[ $verdict != excluded ]] || return 1
        is_permitted=1
    done <<<"$1"
    [[ -z $is_bound || -n $is_permitted ]]
}

# names: prints the names and addresses of this machine, one on each line, as openssl writes them.
names() {
    local host name address seen=' '
    host=$(host_name)
    for name in localhost "$host" "$(local_name)" "$host.local" "$full" "${configured[@]}"; do
        if is_name "$name" && [[ $seen != *" $name "* ]]; then
            seen+="$name "
            echo "DNS:$name"
        fi
    done
    for address in 127.0.0.1 ::1 $(addresses); do
        echo "IP:$address"
    done
}

# Sets `san` to the names for the certificate. The others are in `left_out`: "new NAME" if a new authority
# would vouch for the name, "never NAME" if none would.
choose_names() {
    local name ours
    ours=$(new_rules)
    [[ -n $rules || -e ca.crt ]] || rules=$ours
    while read -r name; do
        # A name that the network gave must not be a name on the internet, even if the authority allows it.
        if ! allows "$ours" "$name" && { [[ $name == DNS:* ]] || ! allows "$rules" "$name"; }; then
            left_out+="never ${name#*:}"$'\n'
        elif ! allows "$rules" "$name"; then
            left_out+="new ${name#*:}"$'\n'
        else
            san+=$name$'\n'
        fi
    done < <(names)
    san=${san%$'\n'} left_out=${left_out%$'\n'}
}

# has_new_left_out: succeeds if a name is left out that is not in the list yet. A name that disappeared is
# no reason to write: a Wi-Fi that comes and goes must not wear out the SD card.
has_new_left_out() {
    [[ -n $left_out ]] && { [[ ! -e left-out ]] || grep -qvxFf left-out - <<<"$left_out"; }
}

# Writes the list of names that were left out, which doctor shows, and prints it if it has changed.
keep_left_out() {
    local old=
    [[ ! -e left-out ]] || old=$(<left-out)
    [[ $old != "$left_out" ]] || return 0
    if [[ -z $left_out ]]; then
        rm -f left-out
        return
    fi
    printf '%s\n' "$left_out" >left-out.new
    chmod 644 left-out.new
    mv left-out.new left-out
    echo "Not in the certificate, since the authority may not vouch for it:" \
        "$(cut -d ' ' -f 2 left-out | paste -sd ' ')"
}

# reason: prints why a new certificate is needed, or nothing if the old one is good.
reason() {
    local name option said
    if [[ ! -e server.crt || ! -e server.key ]]; then
        echo "there is none"
    elif [[ $(openssl x509 -in server.crt -noout -pubkey 2>&1) != \
        $(openssl pkey -in server.key -pubout 2>&1) ]]; then
        echo "it does not match its key"
    elif ! openssl x509 -in server.crt -noout -checkend 2592000 >/dev/null; then
        echo "it ends within 30 days"
    elif ! openssl verify -CAfile ca.crt -purpose sslserver server.crt >/dev/null 2>&1; then
        echo "this authority did not sign it, or it is not valid yet"
    else
        while read -r name; do
            option=-checkhost
            [[ $name == DNS:* ]] || option=-checkip
            # An address in the certificate that the Pi no longer has does not count.
            said=$(openssl x509 -in server.crt -noout "$option" "${name#*:}" 2>&1) || true
            if [[ $said != *"does match"* ]]; then
                echo "it lacks ${name#*:}"
                return
            fi
        done <<<"$san"
    fi
}

# key FILE: writes a new private key.
key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
}

# sign NAME DAYS EXTENSIONS OPTION…: writes $work/NAME.crt for $work/NAME.csr. It is valid from yesterday
# on, since the clocks of phones and Pis differ. Only `openssl ca` can set the first day.
sign() {
    local name=$1 days=$2 extensions=$3
    shift 3
    openssl ca -config "$work/ca.cnf" -batch -notext -extensions "$extensions" "$@" \
        -startdate "$(date -u -d '-1 day' +%Y%m%d%H%M%SZ)" \
        -enddate "$(date -u -d "$((days - 1)) days" +%Y%m%d%H%M%SZ)" \
        -in "$work/$name.csr" -out "$work/$name.crt" 2>"$work/log" || fail "$(<"$work/log")"
}

# request NAME SUBJECT KEY: writes $work/NAME.csr.
request() {
    openssl req -new -config "$work/ca.cnf" -key "$3" -subj "/CN=$2" -out "$work/$1.csr"
}

# Writes the settings for openssl, which then reads no other settings.
write_settings() {
    : >"$work/index.txt"
    cat >"$work/ca.cnf" <<SETTINGS
[req]
distinguished_name = name
string_mask = utf8only
[name]
[ca]
default_ca = this_pi
[this_pi]
database = $work/index.txt
new_certs_dir = $work
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
# Not critical: clients that do not know the extension, such as Mbed TLS, could not load the authority.
nameConstraints = @rules
[rules]
$(awk 'NF { kind = substr($2, 1, index($2, ":") - 1); print $1 ";" kind "." NR " = " substr($2, length(kind) + 2) }' <<<"$rules")
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = $(paste -sd , <<<"$san")
SETTINGS
}

# Makes the authority. It is valid for ten years, and only root can read its key. The certificate is written
# last: if it is missing, for example after a power cut, the next run makes both again.
make_authority() {
    local name
    name=$(host_name)
    key "$work/ca.key"
    request ca "raspi-server ${name:0:48}" "$work/ca.key"
    sign ca 3650 authority -selfsign -keyfile "$work/ca.key"
    chmod 644 "$work/ca.crt"
    sync "$work/ca.key" "$work/ca.crt"
    rm -f ca.crt
    sync .
    mv "$work/ca.key" ca.key
    mv "$work/ca.crt" ca.crt
    echo "Made the certificate authority of this Pi in $folder"
}

# Makes a certificate for 397 days. Its key stays, so that one rename replaces the certificate: it always
# matches the key, for a reader and after a power cut.
make_certificate() {
    local name
    name=$(host_name)
    if ! openssl pkey -in server.key -noout 2>/dev/null; then
        key "$work/server.key"
        if [[ -n $group && $EUID -eq 0 ]]; then
            chgrp "$group" "$work/server.key"
            chmod 640 "$work/server.key"
        fi
        sync "$work/server.key"
        mv "$work/server.key" server.key
    fi
    request server "${name:0:60}" server.key
    sign server 397 server -cert ca.crt -keyfile ca.key
    chmod 644 "$work/server.crt"
    sync "$work/server.crt"
    mv "$work/server.crt" server.crt
    sync .
}

# Makes the service read the new certificate, or starts it if it had ended without one.
notify_service() {
    if systemctl is-active --quiet "$unit"; then
        systemctl kill --kill-whom=main --signal=HUP "$unit"
    elif systemctl is-failed --quiet "$unit"; then
        systemctl restart --no-block "$unit"
    fi
}

[[ -z $group ]] || keep_from_service "$settings" "$folder"
[[ -d $folder ]] || install -d -m 755 "$folder"
cd "$folder"
exec 8>>.lock  # only its owner may open this file; any user could hold a lock on the folder
flock 8
# This machine's name with its domain, as the network knows it.
full=$(timeout 5 hostname -f 2>/dev/null) || full=
full=${full,,}
mapfile -t configured < <(configured_names)
san='' left_out='' rules=''
why="there is no authority yet"
if [[ -n $new_authority ]]; then
    why="a new authority was asked for"
    echo "With a new authority each phone has to trust this Pi again: open http://$(local_name):PORT/trust on it."
    rules=$(new_rules)
elif [[ -e ca.crt && ! -e ca.key ]]; then
    fail "$folder/ca.key is missing. The authority in ca.crt cannot sign without it." \
        "Restore the file, or make a new authority with --new-authority, which each phone has to trust again."
elif [[ -e ca.crt ]]; then
    rules=$(rules_of_authority)
fi
choose_names
[[ -n $new_authority || ! -e ca.crt ]] || why=$(reason)
if [[ -z $why ]]; then
    ! has_new_left_out || keep_left_out
    exit
fi
work=$(mktemp -d "$PWD/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
write_settings
[[ -z $new_authority && -e ca.crt ]] || make_authority
make_certificate
echo "Made a new certificate: $why"
keep_left_out
if [[ -n $group ]] && [[ -d /run/systemd/system ]]; then
    notify_service
fi
