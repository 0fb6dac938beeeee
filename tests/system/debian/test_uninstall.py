"""Nothing is left behind: scripts/uninstall.sh."""

from tests.system.debian.conftest import Service, install

TRACES = (
    "find / -xdev \\( -iname '*raspi[-_]server*' -o -lname '*raspi-server*' \\)"
    " -not -path '/home/*' -not -path '/opt/kept/*' -not -path '/proc/*' -not -path '/var/log/*'"
)


def uninstall(service: Service, arguments: str = "") -> str:
    return service.guest.output(f"'{service.guest.checkout}/scripts/uninstall.sh' {arguments}")


def test_configuration_and_certificates_outlive_the_service(bare: Service) -> None:
    """Uninstalled, only /etc/raspi-server is left; installed again, phones still trust this Pi."""
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
        if guest.output("systemctl list-units --all --no-legend 'raspi-server*'") == "":
            break
    assert guest.output("systemctl list-unit-files --no-legend 'raspi-server*' || true") == ""
    guest.install()
    assert bare.is_serving()
    assert guest.output("cat /etc/raspi-server/tls/ca.crt") == authority


def test_purged_nothing_is_left_at_all(bare: Service) -> None:
    """With --purge the machine is as it was before."""
    install(bare)
    assert "Removing configuration" in uninstall(bare, "--purge")
    assert bare.guest.output(TRACES) == ""
    assert uninstall(bare, "--purge")  # a second time is no fault


LINKS = """
mkdir /srv/mine
echo mine >/srv/mine/file
chown -R 1234:1234 /srv/mine
ln -s /srv/mine /etc/raspi-server/www/mine
ln -s /srv/mine /var/lib/raspi-server/mine
ln -s /srv/mine/file /var/lib/raspi-server/access.new
"""


def test_links_are_not_followed(bare: Service) -> None:
    """The targets of links in its folders are not removed, and keep their owner."""
    install(bare)
    bare.guest.run(LINKS)
    owners = "stat -c '%U %a %n' /srv/mine /srv/mine/file"
    before = bare.guest.output(owners)
    uninstall(bare)
    assert bare.guest.output(owners) == before
    uninstall(bare, "--purge")
    assert bare.guest.output(owners) == before
    bare.guest.run("rm -r /srv/mine")


def test_a_group_gpio_that_was_there_before_stays(bare: Service) -> None:
    """Only what the installation has made is removed."""
    bare.guest.run("groupadd --system gpio")
    try:
        install(bare)
        uninstall(bare, "--purge")
        assert bare.guest.output("getent group gpio | cut -d : -f 1") == "gpio"
    finally:
        bare.guest.run("groupdel gpio")


def test_a_wrong_word_removes_nothing(bare: Service) -> None:
    """A wrong option prints the right ones."""
    done = bare.guest.run(f"'{bare.guest.checkout}/scripts/uninstall.sh' --prge", check=False)
    assert done.returncode == 2
    assert "--purge" in done.stdout
    assert "Removing" not in done.stdout
