"""The certificate and the networks of a running service follow the Pi; connections stay open."""

import socket
from ipaddress import ip_interface

import pytest

from tests.system.debian.conftest import Service

REFRESH = "/opt/raspi-server/current/scripts/refresh-network.sh"


def elsewhere(*addresses: str) -> str:
    """Return the command that runs refresh-network.sh as if the Pi were in another network."""
    add = ""
    for address in addresses:
        add += f"ip addr add {address} dev lo{' nodad' * (':' in address)}; "
        add += f"ip route replace {ip_interface(address).network} dev lo; "
    return f"unshare --net bash -c 'ip link set lo up; {add} {REFRESH}'"


def served_names(service: Service) -> list[str]:
    """Return the names in the certificate that a new connection gets."""
    context = service.context()
    with (
        service.guest.network(),
        socket.create_connection(("127.0.0.1", service.port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return [value for _, value in secure.getpeercert()["subjectAltName"]]  # type: ignore[index]


def test_new_address_gets_into_the_certificate_and_viewers_stay(installed: Service) -> None:
    """New connections get a certificate for the new address, and open WebSockets stay open."""
    with installed.viewer() as viewer:
        viewer.receive("state")
        pid = installed.guest.main_pid()
        said = installed.guest.output(elsewhere("10.77.1.7/24"))
        assert "it lacks 10.77.1.7" in said
        for _ in installed.guest.attempts("the address never came into the certificate"):
            if "10.77.1.7" in served_names(installed):
                break
        for _ in range(5):
            viewer.receive("state")
        assert installed.guest.main_pid() == pid


def test_own_networks_may_connect(installed: Service) -> None:
    """The unit's address filter allows the Pi's own public prefixes while it has them, and no other
    public address."""
    before = installed.show("IPAddressAllow")
    assert "192.168.0.0/16" in before
    installed.guest.run(elsewhere("2001:db8:5:6::7/64", "203.0.113.9/24", "10.1.2.3/24"))
    after = installed.show("IPAddressAllow").split()
    assert "203.0.113.0/24" in after
    assert "2001:db8:5:6::/64" in after
    assert "0.0.0.0/0" not in after and "::/0" not in after
    assert "10.1.2.0/24" not in after
    installed.guest.run(REFRESH)
    assert set(installed.show("IPAddressAllow").split()) == set(before.split())


@pytest.mark.one_debian
def test_deleted_certificate_is_made_again(installed: Service) -> None:
    """The server keeps running, and the timer's service makes the certificate again."""
    pid = installed.guest.main_pid()
    installed.guest.run("rm /etc/raspi-server/tls/server.crt")
    assert installed.is_serving()
    installed.guest.run("systemctl start raspi-server-cert")
    assert installed.guest.main_pid() == pid
    assert installed.guest.run("raspi-server check").stdout.startswith("ok:")


@pytest.mark.one_debian
def test_service_that_ended_without_a_certificate_starts_again(service: Service) -> None:
    """A start without a certificate ends with status 78; the timer's service makes a certificate
    and starts the server."""
    service.guest.run("systemctl stop raspi-server-cert.timer")  # else it could renew it first
    service.guest.run("rm /etc/raspi-server/tls/server.*; systemctl restart raspi-server || true")
    assert service.show("ExecMainStatus") == "78"
    service.guest.run("systemctl start raspi-server-cert")
    service.wait_until_serving()
