#!/usr/bin/env bash
# Build the emulated Raspberry Pi 3B: an SD card with Debian arm64, a kernel, an initrd and two device
# trees in a folder, for QEMU's machine raspi3b. Needs root on Debian on x86-64.
# Packages are downloaded from this machine's own mirrors, with its own settings of apt.
#   build.sh FOLDER SUITE
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
folder=$1 suite=$2
work=$folder/work
root=$work/root
mkdir -p "$work"
cd "$work"

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

# mirror SUITE-PATTERN: print the mirror from which this machine gets that suite of Debian.
mirror() {
    apt-get indextargets --format "\$(RELEASE) \$(REPO_URI)" 'Created-By: Packages' |
        awk -v pattern="$1" '$1 ~ pattern { print $2; exit }'
}

say 'Debian'
# Debian's systemd does this at a boot, from the same file.
handlers=/proc/sys/fs/binfmt_misc
[[ -e $handlers/register ]] || mount -t binfmt_misc binfmt_misc "$handlers"
[[ -e $handlers/qemu-aarch64 ]] ||
    cat /usr/lib/binfmt.d/qemu-aarch64.conf >"$handlers/register"
debian=$(mirror '^(bookworm|trixie|stable)$')
security=$(mirror '-security$')
keys=/usr/share/keyrings/debian-archive-keyring.gpg
cat >sources <<EOT
deb [signed-by=$keys] ${debian:?no mirror of Debian known to apt} $suite main
deb [signed-by=$keys] ${security:?no mirror of its updates} $suite-security main
EOT
apt-config dump Acquire | grep -v '::IndexTargets' >apt.conf
# The initrd gets the drivers of the card and of the network adapter on USB, and nothing else.
mkdir initramfs
printf 'MODULES=list\nCOMPRESS=zstd\nBUSYBOX=n\n' >initramfs/pi
printf '%s\n' bcm2835 bcm2835_dma sdhci_iproc mmc_block ext4 crc32c_generic dwc2 cdc_ether usbnet \
    rndis_host >initramfs/modules
settings="mkdir -p \"\$1/etc/initramfs-tools/conf.d\" &&
    cp '$work/initramfs/pi' \"\$1/etc/initramfs-tools/conf.d\" &&
    cp '$work/initramfs/modules' \"\$1/etc/initramfs-tools\""
mmdebstrap --mode=root --variant=apt --arch=arm64 --aptopt="$work/apt.conf" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include=systemd-sysv,dbus,udev,kmod,procps,iproute2,sudo,git,python3,python3-venv \
    --include=openssl,ca-certificates,avahi-daemon,linux-image-arm64,initramfs-tools,zstd \
    --essential-hook="$settings" "$suite" "$root" sources >mmdebstrap.log 2>&1 || { tail -30 mmdebstrap.log; exit 1; }

say 'guest'
install -m 755 "$here/../gpio/virtual_pi/guest/agent.py" "$root/usr/local/sbin"
cp "$here/../gpio/virtual_pi/guest/agent.service" "$root/etc/systemd/system"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs"
echo raspberrypi >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 raspberrypi\n' >"$root/etc/hosts"
echo '/dev/mmcblk0 / ext4 noatime 0 1' >"$root/etc/fstab"
echo 'nameserver 10.0.2.3' >"$root/etc/resolv.conf"
printf '%s\n' '[Match]' 'Name=en* eth* usb*' '[Network]' DHCP=ipv4 \
    >"$root/etc/systemd/network/20-usb.network"
mkdir -p "$root/var/log/journal"
chroot "$root" useradd -m -s /bin/bash pi
echo 'pi ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/pi"
chroot "$root" systemctl -q enable agent systemd-networkd
chroot "$root" systemctl -q mask systemd-networkd-wait-online.service apt-daily.timer \
    apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
if grep -rlE '://[^/[:space:]]+:[^/[:space:]]+@' "$root/etc"; then
    echo 'The image contains a URL with a password' >&2
    exit 1
fi

say 'device trees'
# QEMU leaves out what the firmware of a Raspberry Pi adds: bare.dtb is without it.
dtc -q -I dtb -O dtb -o "$folder/bare.dtb" "$root"/usr/lib/linux-image-*/broadcom/bcm2837-rpi-3-b.dtb
cp "$folder/bare.dtb" "$folder/pi.dtb"
fdtput -c "$folder/pi.dtb" /system
fdtput -t x "$folder/pi.dtb" /system linux,revision 00a02082
fdtput -t x "$folder/pi.dtb" /system linux,serial 00000000 12345678
fdtput -t s "$folder/pi.dtb" / serial-number 0000000012345678

say 'card'
kernel=$(basename "$root"/lib/modules/*)
cp "$root/boot/vmlinuz-$kernel" "$folder/kernel"
cp "$root/boot/initrd.img-$kernel" "$folder/initrd.img"
truncate -s 4G "$folder/card.img" # QEMU wants a power of two
mkfs.ext4 -q -F -d "$root" "$folder/card.img"
cd "$folder"
rm -rf "$work"
say "done: kernel $kernel"
