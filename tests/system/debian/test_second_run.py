"""scripts/install.sh run again while the service runs: an edited configuration is taken, or
everything stays as it is."""

import urllib.request

import pytest

from tests.system.debian.conftest import PORT, Service
from tests.system.debian.guest import ADDRESS
from tests.system.debian.test_certificate import read_states
from tests.system.debian.test_install import stub
from tests.system.debian.test_upgrade import make_newer

OTHER = PORT + 1
FILE = "/etc/raspi-server/config.yaml"
LISTEN = "import socket; s = socket.create_server(('{}', {})); print(1, flush=True); s.accept()"


def edit(service: Service, old: str, new: str) -> None:
    text = service.guest.output(f"cat {FILE}")
    assert old in text
    service.configure(text.replace(old, new) + "\n")


def test_what_was_edited_is_taken_on_and_nobody_is_dropped(service: Service) -> None:
    """An edited port, then an edited address, then http instead of https are taken without a
    restart, and open WebSockets stay. Avahi announces the change."""
    guest, pid = service.guest, service.guest.main_pid()
    with service.viewer() as phone:
        messages = phone.messages()
        read_states(messages, 1)
        edit(service, f"port: {PORT}", f"port: {OTHER}")
        assert f":{OTHER}/" in guest.install().stdout
        assert Service(guest, OTHER).is_serving()
        assert not service.is_serving()
        edit(service, 'address: ""', f"address: {ADDRESS}")
        guest.install()
        assert not Service(guest, OTHER).is_serving()
        edit(service, "ssl: true", "ssl: false")
        assert f"http://raspberrypi.local:{OTHER}/" in guest.install().stdout
        read_states(messages, 1)
    with guest.network(), urllib.request.urlopen(f"http://{ADDRESS}:{OTHER}/api/health") as said:
        assert said.status == 200
    assert guest.main_pid() == pid
    announced = guest.output("cat /etc/avahi/services/raspi-server.service")
    assert "_http._tcp" in announced and str(OTHER) in announced


def test_where_nothing_was_edited_nobody_notices(service: Service) -> None:
    """Viewers receive states only, and the journal stays as it is."""
    pid, cursor = service.guest.main_pid(), service.cursor()
    with service.viewer() as phone:
        messages = phone.messages()
        read_states(messages, 1)
        assert "one more phone in: sudo raspi-server code --qr" in service.guest.install().stdout
        phone.send(type="set", pin="none", value=1)
        kinds = set()
        for message in messages:
            kinds.add(message["type"])
            if message["type"] == "error":
                break
    assert "hello" not in kinds
    assert (service.guest.main_pid(), service.journal(cursor)) == (pid, "")


def test_another_port_by_option_drops_nobody(service: Service) -> None:
    """--port moves the running server and keeps its connections."""
    pid = service.guest.main_pid()
    service.guest.install(f"--port {OTHER}")
    assert Service(service.guest, OTHER).is_serving()
    assert service.guest.main_pid() == pid


def test_a_faulty_edit_changes_nothing(service: Service) -> None:
    """The running configuration stays active, and the error is shown with its line."""
    pid = service.guest.main_pid()
    edit(service, "interval: 0.1", "interval: often")
    done = service.guest.install(check=False)
    assert done.returncode == 1
    assert "interval: expected" in done.stdout and "Not done." in done.stdout
    assert service.guest.main_pid() == pid
    assert service.is_serving()


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
    service: Service, held: str, address: str, is_in_the_way: bool
) -> None:
    """If another program holds the edited port, install.sh names it before it changes anything. The
    same port at another address is no obstacle."""
    guest, pid = service.guest, service.guest.main_pid()
    edit(service, f"port: {PORT}", f"port: {OTHER}")
    edit(service, 'address: ""', f'address: "{address}"')
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
    assert service.is_serving() == is_in_the_way


@pytest.mark.parametrize("by_hand", [True, False])
def test_what_the_running_server_refuses_changes_nothing(service: Service, by_hand: bool) -> None:
    """If the port is taken after the check, the server logs why it did not move and goes on, and
    install.sh fails with that. The change of --port is undone."""
    guest, pid = service.guest, service.guest.main_pid()
    before = guest.output(f"cat {FILE}")
    if by_hand:
        edit(service, f"port: {PORT}", f"port: {OTHER}")
    other = guest.start(f'exec python3 -c "{LISTEN.format("", OTHER)}"')
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "1\n"
        blind = stub(service, "ss", "")
        done = guest.install("" if by_hand else f"--port {OTHER}", check=False, before=blind)
    finally:
        guest.kill(other)
    assert done.returncode == 1
    assert f"port {OTHER}: Address already in use" in done.stdout
    assert "The running server did not take" in done.stdout
    assert guest.main_pid() == pid
    if by_hand:
        assert service.get()["status"] == "degraded"
    else:
        assert guest.output(f"cat {FILE}") == before
        service.wait_until_serving()


@pytest.mark.parametrize("end", ["stopped", "failed"])
def test_a_service_that_is_down_starts_with_what_was_edited(service: Service, end: str) -> None:
    """A service that was stopped, or that failed, serves again with the edit."""
    guest = service.guest
    text = guest.output(f"cat {FILE}")
    guest.run("systemctl stop raspi-server")
    if end == "failed":
        service.configure("port: 0\n")
        guest.run("rm /var/lib/raspi-server/last-good.json; systemctl start raspi-server || true")
        assert guest.output("systemctl show raspi-server -P ActiveState") == "failed"
    service.configure(text.replace(f"port: {PORT}", f"port: {OTHER}") + "\n")
    guest.install()
    assert Service(guest, OTHER).is_serving()


def test_an_upgrade_where_looking_needs_a_code(service: Service) -> None:
    """With `view: code` the new release counts as healthy, and doctor agrees."""
    edit(service, "view: everyone", "view: code")
    service.guest.install()
    assert service.get() == {"status": "ok"}
    make_newer(service)
    service.guest.install()
    assert service.release().startswith("9.0.0-")
    assert f"port {PORT} answers: ok" in service.guest.run("raspi-server doctor", False).stdout
