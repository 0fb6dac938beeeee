#!/usr/bin/env bash
# Build the virtual Pi's kernel, initrd.img and disk.qcow2 in a folder: a small Debian 12 with
# systemd and Python 3.11. Debian's kernel has no gpio-sim, so it is built as a module.
# Needs root, for debootstrap. Packages are downloaded from this machine's own mirrors. The image
# does not contain their addresses.
#   build.sh FOLDER PYTHON REQUIREMENT...
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
folder=$1 python=$2
shift 2
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

# apt with lists of its own, so that the machine's do not change. It uses the machine's proxies,
# keys and certificates.
apt() {
    apt-get -qq -o Dir::State="$work/apt" -o Dir::State::status="$work/apt/status" \
        -o Dir::Etc::sourcelist="$work/apt/sources" -o Dir::Etc::sourceparts=- "$@"
}

say 'packages'
debian=$(mirror '^(bookworm|trixie|stable)$')
security=$(mirror '-security$')
keys=/usr/share/keyrings/debian-archive-keyring.gpg
mkdir -p apt/lists/partial packages
: >apt/status
cat >apt/sources <<EOT
deb [arch=amd64 signed-by=$keys] ${debian:?no mirror of Debian known to apt} bookworm main
deb [arch=amd64 signed-by=$keys] ${security:?no mirror of its updates} bookworm-security main
EOT
apt update
# The newest 6.12 kernel: Raspberry Pi OS has 6.12, too.
version=$(apt indextargets --format "\$(FILENAME)" 'Created-By: Packages' |
    xargs -d '\n' /usr/lib/apt/apt-helper cat-file |
    sed -n 's/^Package: linux-headers-\(6\.12\..*+deb12\)-amd64$/\1/p' | sort -V | tail -1)
kernel=${version:?none found}-amd64
(cd packages && apt -o APT::Sandbox::User=root download "linux-image-$kernel" \
    "linux-headers-$kernel" "linux-headers-$version-common" "linux-kbuild-$version" \
    linux-source-6.12 busybox-static)

say "kernel $kernel"
for package in image headers kbuild; do
    for file in packages/linux-"$package"-*.deb; do
        dpkg -x "$file" kernel
    done
done
dpkg -x packages/busybox-static_*.deb busybox
dpkg-deb --fsys-tarfile packages/linux-source-*.deb | tar -xO ./usr/src/linux-source-6.12.tar.xz |
    tar -xJ --strip-components=1 --wildcards --one-top-level=source '*/drivers/gpio/gpio-sim.c' \
        '*/drivers/gpio/gpiolib*.h' '*/kernel/irq/irq_sim.c'
mkdir modules
cp source/drivers/gpio/* source/kernel/irq/irq_sim.c "$here/guest/pi_identity.c" modules
cp "$here/guest/modules.mk" modules/Makefile
# irq_sim calls a function that is not exported to modules; this one does the same.
sed -i 's/handle_simple_irq(irq_to_desc(irqnum));/generic_handle_irq(irqnum);/' modules/irq_sim.c
printf '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n' >>modules/irq_sim.c
# A Raspberry Pi goes on driving a line after its program has ended. gpio-sim releases it, as other
# kernels do, and the Pi with dtparam=strict_gpiod. The new parameter `strict` selects one of both.
sed -i -e '/^static void gpio_sim_free(/,/^}/ s/__assign_bit(/if (strict || test_bit(offset, chip->direction_map))\n&/' \
    -e 's/^static void gpio_sim_free(/static bool strict;\nmodule_param(strict, bool, 0644);\n&/' \
    modules/gpio-sim.c
grep -A 20 '^static void gpio_sim_free(' modules/gpio-sim.c | grep -q 'if (strict' || exit 1
headers=$work/kernel/usr/src/linux-headers-$kernel
sed -i "s#^include /usr/src/#include $work/kernel/usr/src/#" "$headers/Makefile"
rm -f "$headers/vmlinux" # used only for type information, which needs one more tool
make -s -C "$headers" M="$work/modules" CC=gcc modules
strip --strip-debug modules/*.ko

say 'Debian'
debootstrap --variant=minbase \
    --include=systemd-sysv,dbus,udev,kmod,procps,iproute2,python3,gpiod \
    bookworm "$root" "$debian" >debootstrap.log || { tail -20 debootstrap.log; exit 1; }

say 'Python packages'
platforms=()
for platform in manylinux_2_{34,28,17,5} manylinux2014 manylinux1; do
    platforms+=(--platform "${platform}_x86_64")
done
"$python" -m pip install --quiet --no-compile --root-user-action ignore \
    --target "$root/usr/local/lib/python3.11/dist-packages" \
    --only-binary :all: --python-version 3.11 --implementation cp --abi cp311 --abi abi3 \
    --abi none "${platforms[@]}" --platform any "$@"
chroot "$root" python3 -m compileall -q /usr/local/lib/python3.11/dist-packages

say 'guest'
library=$root/lib/modules/$kernel
mkdir -p "$library"
cp kernel/lib/modules/"$kernel"/modules.{order,builtin*} "$library"
cp -r kernel/lib/modules/"$kernel"/kernel "$library/all"
cp modules/*.ko "$library/all"
chroot "$root" depmod "$kernel"
# needed MODULE...: print the files of modules and their dependencies, in the order of loading.
needed() {
    local module
    for module in "$@"; do
        chroot "$root" modprobe -S "$kernel" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}
mkdir -p initrd/{bin,modules} "$library/kept"
for file in $(needed virtio_pci virtio_blk crc32c_generic ext4); do
    cp "$root$file" initrd/modules
    basename "${file%.xz}" >>initrd/order
done
for file in $(needed virtio_net af_packet autofs4 configfs gpio-sim pi_identity); do
    cp "$root$file" "$library/kept"
done
rm -r "$library/all"
find initrd/modules "$library/kept" -name '*.xz' -exec xz -d {} +
chroot "$root" depmod "$kernel"

install -m 755 "$here/guest/gpio-setup" "$here/guest/agent.py" "$root/usr/local/sbin"
cp "$here"/guest/*.service "$root/etc/systemd/system"
cp "$here/guest/20-eth.network" "$root/etc/systemd/network"
cp "$here/guest/99-gpio.rules" "$root/etc/udev/rules.d"
echo raspberrypi >"$root/etc/hostname"
echo '127.0.0.1 localhost raspberrypi' >"$root/etc/hosts"
echo '/dev/vda / ext4 noatime 0 1' >"$root/etc/fstab"
mkdir -p "$root/etc/raspi-server" "$root/var/log/journal"
chroot "$root" groupadd --system gpio
chroot "$root" useradd --system --groups gpio raspi-server
chroot "$root" systemctl -q enable gpio-setup agent systemd-networkd
chroot "$root" systemctl -q disable apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer
chroot "$root" systemctl -q mask systemd-networkd-wait-online.service getty@tty1.service
# Remove the addresses of this machine's mirrors and proxies.
rm -rf "$root"/etc/{apt,resolv.conf} "$root"/var/{cache,lib}/apt "$root"/var/log/bootstrap.log \
    "$root"/usr/share/{doc,man,locale,info} "$root/root"
mkdir -p "$root/root"
if grep -rlE '://[^/[:space:]]+:[^/[:space:]]+@' "$root/etc" "$root/var"; then
    echo 'The image contains a URL with a password' >&2
    exit 1
fi

say 'image'
cp busybox/bin/busybox initrd/bin
install -m 755 "$here/guest/init" initrd/init
(cd initrd && find . | bin/busybox cpio -o -H newc) 2>/dev/null | gzip -1 >"$folder/initrd.img"
cp kernel/boot/vmlinuz-"$kernel" "$folder/kernel"
truncate -s 1G disk
mkfs.ext4 -q -F -d "$root" disk
qemu-img convert -O qcow2 disk "$folder/disk.qcow2"
cd "$folder"
rm -rf "$work"
say 'done'
