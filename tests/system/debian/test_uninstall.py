"""scripts/uninstall.sh leaves nothing behind."""

import pytest

from tests.system.debian.conftest import Service, install

TRACES = (
    "find / -xdev \\( -iname '*raspi[-_]server*' -o -lname '*raspi-server*' \\)"
    " -not -path '/home/*' -not -path '/opt/kept/*' -not -path '/opt/first/*'"
    " -not -path '/proc/*' -not -path '/var/log/*'"
)
LINKS = """
mkdir /srv/mine
echo mine >/srv/mine/file
chown -R 1234:1234 /srv/mine
ln -s /srv/mine /etc/raspi-server/www/mine
ln -s /srv/mine /var/lib/raspi-server/mine
ln -s /srv/mine/file /var/lib/raspi-server/access.new
"""


@pytest.mark.one_debian
def test_uninstall_keeps_configuration_and_certificates_and_purge_removes_them(
    bare: Service,
) -> None:
    """Uninstalled, only /etc/raspi-server is left. Installed again, phones still trust this Pi.
    With --purge the machine is as it was before, and a second time is no error. The targets of
    links stay, with their owner, and so does a group gpio that the installation did not make."""
    guest = bare.guest
    script = f"'{guest.checkout}/scripts/uninstall.sh'"
    install(bare)
    done = guest.run(f"{script} --prge", check=False)
    assert done.returncode == 2 and "--purge" in done.stdout
    assert bare.is_serving()
    assert guest.output("getent group gpio")
    guest.run("mkdir -p /etc/systemd/system/raspi-server.service.d")
    authority = guest.output("cat /etc/raspi-server/tls/ca.crt")
    guest.run(LINKS)
    owners = "stat -c '%U %a %n' /srv/mine /srv/mine/file"
    before = guest.output(owners)
    assert "Kept: /etc/raspi-server" in guest.output(script)
    assert not bare.is_serving()
    assert guest.output(f"{TRACES} -not -path '/etc/raspi-server'") == ""
    assert guest.output("find /etc/raspi-server -perm /o=r -name '*.key'") == ""
    assert guest.run("getent passwd raspi-server raspi-server-build", check=False).returncode == 2
    assert guest.run("getent group raspi-server raspi-server-build gpio", check=False).stdout == ""
    for _ in guest.attempts("systemd still lists units whose files were removed"):
        if guest.output("systemctl list-units --all --no-legend 'raspi-server*'") == "":
            break
    assert guest.output("systemctl list-unit-files --no-legend 'raspi-server*' || true") == ""
    guest.run("groupadd --system gpio")
    install(bare)
    assert guest.output("cat /etc/raspi-server/tls/ca.crt") == authority
    assert "Removing configuration" in guest.output(f"{script} --purge")
    assert guest.output(TRACES) == ""
    assert guest.output(owners) == before
    guest.run(f"getent group gpio && groupdel gpio && rm -r /srv/mine && {script} --purge")
