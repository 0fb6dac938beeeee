"""The certificate of a running service follows the Pi, and all connections stay."""

import socket
from collections.abc import Iterator
from ipaddress import ip_interface
from typing import Any

from tests.system.debian.conftest import Service

REFRESH = "/opt/raspi-server/current/scripts/refresh-network.sh"


def elsewhere(*addresses: str) -> str:
    """Return the command that runs refresh-network.sh as if the Pi were in another network."""
    add = ""
    for address in addresses:
        add += f"ip addr add {address} dev lo{' nodad' * (':' in address)}; "
        add += f"ip route replace {ip_interface(address).network} dev lo; "
    return f"unshare --net bash -c 'ip link set lo up; {add} {REFRESH}'"


def read_states(messages: Iterator[dict[str, Any]], count: int) -> None:
    while count:
        count -= next(messages)["type"] == "state"


def served(service: Service) -> list[str]:
    """The names in the certificate that a new connection gets."""
    context = service.context()
    with (
        service.guest.network(),
        socket.create_connection(("127.0.0.1", service.port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return [value for _, value in secure.getpeercert()["subjectAltName"]]  # type: ignore[index]


def wait_until_served(service: Service, name: str) -> None:
    for _ in service.guest.attempts(f"{name} never came into the certificate"):
        if name in served(service):
            return


def test_a_new_address_comes_into_the_certificate_and_every_viewer_stays(service: Service) -> None:
    """Clients of the new address get a certificate for it, and open WebSockets stay."""
    with service.viewer() as viewer:
        messages = viewer.messages()
        read_states(messages, 2)
        pid = service.guest.main_pid()
        said = service.guest.output(elsewhere("10.77.1.7/24"))
        assert "it lacks 10.77.1.7" in said
        wait_until_served(service, "10.77.1.7")
        read_states(messages, 5)
        assert service.guest.main_pid() == pid


def test_the_own_networks_may_reach_it(service: Service) -> None:
    """Phones of the Pi's own public prefix are let in as far as the kernel's filter goes, and no
    others; the filter follows when the prefix goes."""
    show = "systemctl show raspi-server --property IPAddressAllow --value"
    before = service.guest.output(show)
    assert "192.168.0.0/16" in before
    service.guest.run(elsewhere("2001:db8:5:6::7/64", "203.0.113.9/24", "10.1.2.3/24"))
    after = service.guest.output(show).split()
    assert "203.0.113.0/24" in after
    assert "2001:db8:5:6::/64" in after
    assert "0.0.0.0/0" not in after and "::/0" not in after
    assert "10.1.2.0/24" not in after
    service.guest.run(REFRESH)
    assert set(service.guest.output(show).split()) == set(before.split())


def test_a_deleted_certificate_is_made_again(service: Service) -> None:
    """The server goes on, and the certificate exists again before it is needed."""
    pid = service.guest.main_pid()
    service.guest.run("rm /etc/raspi-server/tls/server.crt")
    assert service.is_serving()
    service.guest.run("systemctl start raspi-server-cert")
    assert service.guest.main_pid() == pid
    assert service.guest.run("raspi-server check").stdout.startswith("ok:")


def test_a_service_that_ended_for_want_of_a_certificate_comes_back(service: Service) -> None:
    """Started without one it ends for good; the timer brings both back."""
    service.guest.run("systemctl stop raspi-server-cert.timer")  # else it could renew it first
    service.guest.run("rm /etc/raspi-server/tls/server.*; systemctl restart raspi-server || true")
    assert service.guest.output("systemctl show raspi-server -P ExecMainStatus") == "78"
    service.guest.run("systemctl start raspi-server-cert")
    service.wait_until_serving()
