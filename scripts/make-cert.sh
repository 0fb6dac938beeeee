#!/usr/bin/env bash
# Makes the certificate that phones are shown, signed by an authority of this Pi's own, and renews it.
# Touches nothing while the one there is good: it fits its key and the authority, has 30 days left,
# and holds every name and address that the Pi has now. The authority is made once and stays.
#   sudo scripts/make-cert.sh            for the service, in /etc/raspi-server/tls
#   scripts/make-cert.sh --folder tls    for oneself, in another folder
set -euo pipefail
umask 077
export LC_ALL=C
# shellcheck source=scripts/places.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/places.sh"

folder=$settings/tls
group=raspi-server
while [[ $# -gt 0 ]]; do
    case $1 in
        --folder)
            folder=${2:?--folder needs a folder}
            group=
            shift 2
            ;;
        *)
            sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
            exit 2
            ;;
    esac
done

# The names and addresses for the certificate, one a line as openssl writes them.
names() {
    local host full address
    host=$(host_name)
    full=$(timeout 5 hostname -f 2>/dev/null) || full=
    printf '%s\n' localhost "$host" "$(local_name)" "$host.local" "${full,,}" |
        awk '/^[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?$/ && !seen[$0]++ { print "DNS:" $0 }'
    for address in 127.0.0.1 ::1 $(addresses); do
        echo "IP:$address"
    done
}

# Why the certificate must be made anew, or nothing.
reason() {
    local name option said
    if [[ ! -e server.crt || ! -e server.key ]]; then
        echo "there is none"
    elif [[ $(openssl x509 -in server.crt -noout -pubkey 2>&1) != \
        $(openssl pkey -in server.key -pubout 2>&1) ]]; then
        echo "it does not fit its key"
    elif ! openssl x509 -in server.crt -noout -checkend 2592000 >/dev/null; then
        echo "it ends within 30 days"
    elif ! openssl verify -CAfile ca.crt -purpose sslserver server.crt >/dev/null 2>&1; then
        echo "it is not of this authority, or not yet valid"
    else
        while read -r name; do
            option=-checkhost
            [[ $name == DNS:* ]] || option=-checkip
            # The address in the certificate may have gone since; one that is missing counts.
            said=$(openssl x509 -in server.crt -noout "$option" "${name#*:}" 2>&1) || true
            if [[ $said != *"does match"* ]]; then
                echo "it lacks ${name#*:}"
                return
            fi
        done <<<"$san"
    fi
}

# key FILE: a new private key.
key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
}

# sign NAME DAYS EXTENSIONS OPTION…: $work/NAME.crt for $work/NAME.csr, begun a day back, since the
# clocks of phones and Pis disagree. Only `openssl ca` can set the beginning.
sign() {
    local name=$1 days=$2 extensions=$3
    shift 3
    openssl ca -config "$work/ca.cnf" -batch -notext -extensions "$extensions" "$@" \
        -startdate "$(date -u -d '-1 day' +%Y%m%d%H%M%SZ)" \
        -enddate "$(date -u -d "$((days - 1)) days" +%Y%m%d%H%M%SZ)" \
        -in "$work/$name.csr" -out "$work/$name.crt" 2>"$work/log" || fail "$(<"$work/log")"
}

# request NAME SUBJECT KEY: $work/NAME.csr
request() {
    openssl req -new -config "$work/ca.cnf" -key "$3" -subj "/CN=$2" -out "$work/$1.csr"
}

# The settings for openssl; nothing outside them counts.
write_settings() {
    : >"$work/index.txt"
    cat >"$work/ca.cnf" <<SETTINGS
[req]
distinguished_name = name
string_mask = utf8only
[name]
[ca]
default_ca = house
[house]
database = $work/index.txt
new_certs_dir = $work
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = $(paste -sd , <<<"$san")
SETTINGS
}

# The authority: ten years, its key for root only. The certificate comes last: it says all is there.
make_authority() {
    local name
    name=$(host_name)
    key "$work/ca.key"
    request ca "raspi-server ${name:0:48}" "$work/ca.key"
    sign ca 3650 authority -selfsign -keyfile "$work/ca.key"
    chmod 644 "$work/ca.crt"
    sync "$work/ca.key" "$work/ca.crt"
    mv "$work/ca.key" ca.key
    mv "$work/ca.crt" ca.crt
    echo "Made the certificate authority of this Pi in $folder"
}

# A certificate of 397 days. Its key stays, so that one rename puts the new one in force, and no
# reader and no power cut ever finds two that do not fit.
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

# The service takes the new one, and one that ended for want of it comes back.
tell_service() {
    if systemctl is-active --quiet "$unit"; then
        systemctl kill --kill-whom=main --signal=HUP "$unit"
    elif systemctl is-failed --quiet "$unit"; then
        systemctl restart --no-block "$unit"
    fi
}

[[ -d $folder ]] || install -d -m 755 "$folder"
cd "$folder"
exec 8<.
flock 8
if [[ -e ca.crt && ! -e ca.key ]]; then
    fail "$folder/ca.key is missing: without it the authority in ca.crt can sign nothing." \
        "Bring it back, or remove ca.crt for a new one, which each phone has to trust anew."
fi
san=$(names)
why="there is no authority yet"
[[ ! -e ca.crt ]] || why=$(reason)
[[ -n $why ]] || exit 0
work=$(mktemp -d "$PWD/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
write_settings
[[ -e ca.crt ]] || make_authority
make_certificate
echo "Made a new certificate: $why"
if [[ -n $group ]] && [[ -d /run/systemd/system ]]; then
    tell_service
fi
