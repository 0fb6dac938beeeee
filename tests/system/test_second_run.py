"""scripts/install.sh over a service that runs already: a configuration that was edited meanwhile is
taken on, or all stays as it is."""

import urllib.request

import pytest

from .conftest import PORT, House
from .guest import ADDRESS
from .test_certificate import read_states
from .test_install import stub
from .test_upgrade import make_newer

OTHER = PORT + 1
FILE = "/etc/raspi-server/config.yaml"
LISTEN = "import socket; s = socket.create_server(('{}', {})); print(1, flush=True); s.accept()"


def edit(house: House, old: str, new: str) -> None:
    text = house.guest.tell(f"cat {FILE}")
    assert old in text
    house.configure(text.replace(old, new) + "\n")


def test_what_was_edited_is_taken_on_and_nobody_is_dropped(house: House) -> None:
    """A port, then an address edited by hand are taken on without a restart: who looks on, goes on.
    So is a change from https to http. Avahi announces it."""
    guest, pid = house.guest, house.guest.main_pid()
    with house.viewer() as phone:
        heard = phone.messages()
        read_states(heard, 1)
        edit(house, f"port: {PORT}", f"port: {OTHER}")
        assert f":{OTHER}/" in guest.install().stdout
        assert House(guest, OTHER).is_serving()
        assert not house.is_serving()
        edit(house, 'address: ""', f"address: {ADDRESS}")
        guest.install()
        assert not House(guest, OTHER).is_serving()
        edit(house, "ssl: true", "ssl: false")
        assert f"http://raspberrypi.local:{OTHER}/" in guest.install().stdout
        read_states(heard, 1)
    with guest.network(), urllib.request.urlopen(f"http://{ADDRESS}:{OTHER}/api/health") as said:
        assert said.status == 200
    assert guest.main_pid() == pid
    announced = guest.tell("cat /etc/avahi/services/raspi-server.service")
    assert "_http._tcp" in announced and str(OTHER) in announced


def test_where_nothing_was_edited_nobody_notices(house: House) -> None:
    """Whoever looks on hears nothing but states, and the journal stays as it is."""
    pid, cursor = house.guest.main_pid(), house.cursor()
    with house.viewer() as phone:
        heard = phone.messages()
        read_states(heard, 1)
        assert "one more phone in: sudo raspi-server code --qr" in house.guest.install().stdout
        phone.send(type="set", pin="none", value=1)
        kinds = set()
        for message in heard:
            kinds.add(message["type"])
            if message["type"] == "error":
                break
    assert "hello" not in kinds
    assert (house.guest.main_pid(), house.journal(cursor)) == (pid, "")


def test_another_port_by_option_drops_nobody(house: House) -> None:
    """--port moves the running server, too."""
    pid = house.guest.main_pid()
    house.guest.install(f"--port {OTHER}")
    assert House(house.guest, OTHER).is_serving()
    assert house.guest.main_pid() == pid


def test_a_faulty_edit_changes_nothing(house: House) -> None:
    """What runs runs on, and the fault is shown with its line."""
    pid = house.guest.main_pid()
    edit(house, "interval: 0.1", "interval: often")
    done = house.guest.install(check=False)
    assert done.returncode == 1
    assert "interval: expected" in done.stdout and "Not done." in done.stdout
    assert house.guest.main_pid() == pid
    assert house.is_serving()


@pytest.mark.parametrize(
    ("held", "address", "is_in_the_way"),
    [
        ("", "", True),
        ("", ADDRESS, True),
        (ADDRESS, "", True),
        (ADDRESS, ADDRESS, True),
        ("127.0.0.1", ADDRESS, False),
    ],
)
def test_a_port_that_another_program_has(
    house: House, held: str, address: str, is_in_the_way: bool
) -> None:
    """Who edits the port to one that is held is told by whom, before anything is done; one that is
    held at another address is in nobody's way."""
    guest, pid = house.guest, house.guest.main_pid()
    edit(house, f"port: {PORT}", f"port: {OTHER}")
    edit(house, 'address: ""', f'address: "{address}"')
    other = guest.start(f'exec python3 -c "{LISTEN.format(held, OTHER)}"')
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "1\n"
        done = guest.install(check=False)
    finally:
        guest.kill(other)
    assert done.returncode == int(is_in_the_way)
    assert (f"Port {OTHER} is in use by python3" in done.stdout) == is_in_the_way
    assert guest.main_pid() == pid
    assert house.is_serving() == is_in_the_way


@pytest.mark.parametrize("by_hand", [True, False])
def test_what_the_running_server_refuses_changes_nothing(house: House, by_hand: bool) -> None:
    """Where the port is taken after the look, the server says why it did not move, runs on, and
    install.sh ends with that; what --port had changed is as before."""
    guest, pid = house.guest, house.guest.main_pid()
    before = guest.tell(f"cat {FILE}")
    if by_hand:
        edit(house, f"port: {PORT}", f"port: {OTHER}")
    other = guest.start(f'exec python3 -c "{LISTEN.format("", OTHER)}"')
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "1\n"
        blind = stub(house, "ss", "")
        done = guest.install("" if by_hand else f"--port {OTHER}", check=False, before=blind)
    finally:
        guest.kill(other)
    assert done.returncode == 1
    assert f"port {OTHER}: Address already in use" in done.stdout
    assert "The running server did not take" in done.stdout
    assert guest.main_pid() == pid
    if by_hand:
        assert house.get()["status"] == "degraded"
    else:
        assert guest.tell(f"cat {FILE}") == before
        house.wait_until_serving()


@pytest.mark.parametrize("end", ["stopped", "failed"])
def test_a_service_that_is_down_starts_with_what_was_edited(house: House, end: str) -> None:
    """Whether its owner stopped it or it failed, it serves again, with the edit."""
    guest = house.guest
    text = guest.tell(f"cat {FILE}")
    guest.run("systemctl stop raspi-server")
    if end == "failed":
        house.configure("port: 0\n")
        guest.run("rm /var/lib/raspi-server/last-good.json; systemctl start raspi-server || true")
        assert guest.tell("systemctl show raspi-server -P ActiveState") == "failed"
    house.configure(text.replace(f"port: {PORT}", f"port: {OTHER}") + "\n")
    guest.install()
    assert House(guest, OTHER).is_serving()


def test_an_upgrade_where_looking_needs_a_code(house: House) -> None:
    """With `view: code` the new release is found to be well, and doctor says so, too."""
    edit(house, "view: everyone", "view: code")
    house.guest.install()
    assert house.get() == {"status": "ok"}
    make_newer(house)
    house.guest.install()
    assert house.release().startswith("9.0.0-")
    assert f"port {PORT} answers: ok" in house.guest.run("raspi-server doctor", False).stdout
