#!/usr/bin/env bash
# Removes raspi-server from this machine: service, releases, users and state. Your configuration and the
# certificates in /etc/raspi-server stay for a later installation.
#   sudo scripts/uninstall.sh
#     --purge    remove these, too; phones then have to trust a later installation again
set -euo pipefail
export LC_ALL=C.UTF-8
checkout=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
cd /
# shellcheck source=scripts/common.sh
source "$checkout/scripts/common.sh"

purge=
case $#${1:-} in
    0) ;;
    1--purge) purge=1 ;;
    *)
        sed -n '2,/^set/s/^# \{0,1\}//p' "$checkout/scripts/uninstall.sh" >&2
        exit 2
        ;;
esac
[[ $EUID -eq 0 ]] || fail "This needs root: sudo $checkout/scripts/uninstall.sh"

# The stop comes first: it brings the outputs to what on_stop says.
echo "Stopping the service"
systemctl stop "$timer" raspi-server-cert.service "$unit" 2>/dev/null || true
systemctl disable --quiet "$timer" "$unit" 2>/dev/null || true

echo "Removing its files"
rm -f "$units/$unit" "$units/$timer" "$units/raspi-server-cert.service" "$avahi" "$networks" "$low_port"
rm -f "$units"/*.wants/{"$unit","$timer"}
rm -f /usr/local/bin/raspi-server /run/raspi-server-install.lock
rm -rf /var/lib/raspi-server /run/raspi-server
for drop_ins in "${networks%/*}" "${low_port%/*}"; do
    rmdir --ignore-fail-on-non-empty "$drop_ins" 2>/dev/null || true
done
if [[ -e $udev_rule ]]; then
    rm -f "$udev_rule"
    udevadm control --reload 2>/dev/null || true
    for chip in /dev/gpiochip*; do
        [[ ! -c $chip ]] || { chown root:root "$chip"; chmod 600 "$chip"; } # as the kernel makes it
    done
fi
systemctl daemon-reload 2>/dev/null || true
systemctl reset-failed "$unit" "$timer" raspi-server-cert.service 2>/dev/null || true

echo "Removing its users"
for account in raspi-server "$builder"; do
    ! getent passwd "$account" >/dev/null || userdel "$account"
    ! getent group "$account" >/dev/null || groupdel "$account"
done
if [[ -e $home/made-group-gpio ]] && getent group gpio >/dev/null; then
    groupdel gpio
fi
rm -rf "$home"

if [[ -n $purge ]]; then
    echo "Removing configuration and certificates"
    rm -rf "$settings" "${low_port%/*}"
elif [[ -d $settings ]]; then
    # Only root can read them now, since their group was removed. Links are not followed.
    chown -R -h -P root:root "$settings"
    echo "Kept: $settings. To remove it, too: --purge"
fi
