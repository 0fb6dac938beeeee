"""scripts/uninstall.sh leaves nothing behind."""

import pytest

from tests.system.debian.conftest import Service, install

TRACES = (
    "find / -xdev \\( -iname '*raspi[-_]server*' -o -lname '*raspi-server*' \\)"
    " -not -path '/home/*' -not -path '/opt/kept/*' -not -path '/opt/first/*'"
    " -not -path '/proc/*' -not -path '/var/log/*'"
)


def uninstall(service: Service, arguments: str = "") -> str:
    return service.guest.output(f"'{service.guest.checkout}/scripts/uninstall.sh' {arguments}")


def test_uninstall_keeps_configuration_and_certificates_and_purge_removes_them(
    bare: Service,
) -> None:
    """Uninstalled, only /etc/raspi-server is left. Installed again, phones still trust this Pi.
    With --purge the machine is as it was before, and a second time is no error."""
    guest = bare.guest
    install(bare)
    groups = guest.output("getent group gpio")
    guest.run("mkdir -p /etc/systemd/system/raspi-server.service.d")
    authority = guest.output("cat /etc/raspi-server/tls/ca.crt")
    assert groups
    assert "Kept: /etc/raspi-server" in uninstall(bare)
    assert not bare.is_serving()
    assert guest.output(f"{TRACES} -not -path '/etc/raspi-server'") == ""
    assert guest.output("find /etc/raspi-server -perm /o=r -name '*.key'") == ""
    assert guest.run("getent passwd raspi-server", check=False).returncode == 2
    assert guest.run("getent group raspi-server gpio", check=False).stdout == ""
    for _ in guest.attempts("systemd still lists units whose files were removed"):
        listed = guest.output("systemctl list-units --all --no-legend 'raspi-server*'")
        if listed == "":
            break
        print(listed)
    assert guest.output("systemctl list-unit-files --no-legend 'raspi-server*' || true") == ""
    install(bare)
    assert bare.is_serving()
    assert guest.output("cat /etc/raspi-server/tls/ca.crt") == authority
    assert "Removing configuration" in uninstall(bare, "--purge")
    assert guest.output(TRACES) == ""
    assert uninstall(bare, "--purge")


LINKS = """
mkdir /srv/mine
echo mine >/srv/mine/file
chown -R 1234:1234 /srv/mine
ln -s /srv/mine /etc/raspi-server/www/mine
ln -s /srv/mine /var/lib/raspi-server/mine
ln -s /srv/mine/file /var/lib/raspi-server/access.new
"""


@pytest.mark.one_debian
def test_links_are_not_followed_and_an_older_group_gpio_stays(bare: Service) -> None:
    """The targets of links in its folders stay, with their owner, and so does a group gpio that the
    installation did not make. A wrong option removes nothing and prints the right ones."""
    guest = bare.guest
    guest.run("groupadd --system gpio")
    try:
        install(bare)
        done = guest.run(f"'{guest.checkout}/scripts/uninstall.sh' --prge", check=False)
        assert done.returncode == 2
        assert "--purge" in done.stdout
        assert bare.is_serving()
        guest.run(LINKS)
        owners = "stat -c '%U %a %n' /srv/mine /srv/mine/file"
        before = guest.output(owners)
        uninstall(bare)
        assert guest.output(owners) == before
        uninstall(bare, "--purge")
        assert guest.output(owners) == before
        assert guest.output("getent group gpio | cut -d : -f 1") == "gpio"
    finally:
        guest.run("groupdel gpio; rm -r /srv/mine")
