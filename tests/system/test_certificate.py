"""The certificate of a running service follows the Pi; nobody is thrown out for it."""

import socket
from collections.abc import Iterator
from ipaddress import ip_interface
from typing import Any

from .conftest import House

REFRESH = "/opt/raspi-server/current/scripts/refresh-network.sh"


def elsewhere(*addresses: str) -> str:
    """Return the command that runs refresh-network.sh as if the Pi were in another network."""
    add = ""
    for address in addresses:
        add += f"ip addr add {address} dev lo{' nodad' * (':' in address)}; "
        add += f"ip route replace {ip_interface(address).network} dev lo; "
    return f"unshare --net bash -c 'ip link set lo up; {add} {REFRESH}'"


def read_states(heard: Iterator[dict[str, Any]], count: int) -> None:
    while count:
        count -= next(heard)["type"] == "state"


def served(house: House) -> list[str]:
    """The names in the certificate that a new connection gets."""
    context = house.context()
    with (
        house.guest.network(),
        socket.create_connection(("127.0.0.1", house.port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return [value for _, value in secure.getpeercert()["subjectAltName"]]  # type: ignore[index]


def wait_until_served(house: House, name: str) -> None:
    for _ in house.guest.patience(f"{name} never came into the certificate"):
        if name in served(house):
            return


def test_a_new_address_comes_into_the_certificate_and_every_viewer_stays(house: House) -> None:
    """The phone that looks on notices nothing; whoever comes by the new address finds a certificate
    for it."""
    with house.viewer() as viewer:
        heard = viewer.messages()
        read_states(heard, 2)
        pid = house.guest.main_pid()
        said = house.guest.tell(elsewhere("10.77.1.7/24"))
        assert "it lacks 10.77.1.7" in said
        wait_until_served(house, "10.77.1.7")
        read_states(heard, 5)
        assert house.guest.main_pid() == pid


def test_the_own_networks_may_reach_it(house: House) -> None:
    """Phones of the Pi's own public prefix are let in as far as the kernel's filter goes, and no
    others; the filter follows when the prefix goes."""
    show = "systemctl show raspi-server --property IPAddressAllow --value"
    before = house.guest.tell(show)
    assert "192.168.0.0/16" in before
    house.guest.run(elsewhere("2001:db8:5:6::7/64", "203.0.113.9/24", "10.1.2.3/24"))
    after = house.guest.tell(show).split()
    assert "203.0.113.0/24" in after
    assert "2001:db8:5:6::/64" in after
    assert "0.0.0.0/0" not in after and "::/0" not in after
    assert "10.1.2.0/24" not in after
    house.guest.run(REFRESH)
    assert set(house.guest.tell(show).split()) == set(before.split())


def test_a_deleted_certificate_is_made_again(house: House) -> None:
    """What runs runs on, and before it is needed the certificate is there again."""
    pid = house.guest.main_pid()
    house.guest.run("rm /etc/raspi-server/tls/server.crt")
    assert house.is_serving()
    house.guest.run("systemctl start raspi-server-cert")
    assert house.guest.main_pid() == pid
    assert house.guest.run("raspi-server check").stdout.startswith("ok:")


def test_a_service_that_ended_for_want_of_a_certificate_comes_back(house: House) -> None:
    """Started without one it ends for good; the timer brings both back."""
    house.guest.run("systemctl stop raspi-server-cert.timer")  # else it could renew it first
    house.guest.run("rm /etc/raspi-server/tls/server.*; systemctl restart raspi-server || true")
    assert house.guest.tell("systemctl show raspi-server -P ExecMainStatus") == "78"
    house.guest.run("systemctl start raspi-server-cert")
    house.wait_until_serving()
