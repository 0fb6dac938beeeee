"""scripts/install.sh run again while the service runs: it uses an edited configuration, or leaves
everything as it was."""

import urllib.request

import pytest

from tests.system.debian.conftest import PORT, Service
from tests.system.debian.guest import ADDRESS
from tests.system.debian.test_install import listening, stub

pytestmark = pytest.mark.one_debian

OTHER = PORT + 1


def test_edited_configuration_is_used_and_viewers_stay(service: Service) -> None:
    """An edited port, then an edited address, then http instead of https are used without a
    restart, and open WebSockets stay open. Avahi announces the change."""
    guest, pid = service.guest, service.guest.main_pid()
    with service.viewer() as phone:
        phone.receive("state")
        service.edit_config(f"port: {PORT}", f"port: {OTHER}")
        assert f":{OTHER}/" in guest.install().stdout
        assert Service(guest, OTHER).is_serving()
        assert not service.is_serving()
        service.edit_config('address: ""', f"address: {ADDRESS}")
        guest.install()
        assert not Service(guest, OTHER).is_serving()
        service.edit_config("ssl: true", "ssl: false")
        assert f"http://raspberrypi.local:{OTHER}/" in guest.install().stdout
        phone.receive("state")
    with guest.network(), urllib.request.urlopen(f"http://{ADDRESS}:{OTHER}/api/health") as said:
        assert said.status == 200
    assert guest.main_pid() == pid
    announced = guest.output("cat /etc/avahi/services/raspi-server.service")
    assert "_http._tcp" in announced and str(OTHER) in announced


def test_unedited_configuration_is_not_reloaded(service: Service) -> None:
    """Viewers get no new `hello`, and the journal stays as it is. With --port the same server moves
    to another port."""
    guest, pid, cursor = service.guest, service.guest.main_pid(), service.cursor()
    with service.viewer() as phone:
        phone.receive("state")
        assert "one more phone in: sudo raspi-server code --qr" in guest.install().stdout
        phone.send(type="set", pin="none", value=1)
        kinds = set()
        for message in phone.messages():
            kinds.add(message["type"])
            if message["type"] == "error":
                break
    assert "hello" not in kinds
    assert (guest.main_pid(), service.journal(cursor)) == (pid, "")
    guest.install(f"--port {OTHER}")
    assert Service(guest, OTHER).is_serving()
    assert guest.main_pid() == pid


def test_port_of_another_program_is_refused(service: Service) -> None:
    """If another program uses the edited port, install.sh names it before it changes anything. The
    same port at another address is no obstacle."""
    guest, pid, before = service.guest, service.guest.main_pid(), service.config()
    for held, address, is_in_the_way in [
        ("", "", True),
        ("", ADDRESS, True),
        (ADDRESS, "", True),
        (ADDRESS, ADDRESS, True),
        ("127.0.0.1", ADDRESS, False),
    ]:
        text = before.replace(f"port: {PORT}", f"port: {OTHER}")
        service.configure(text.replace('address: ""', f'address: "{address}"'))
        with listening(guest, OTHER, held):
            done = guest.install(check=False)
        assert done.returncode == int(is_in_the_way), (held, address)
        assert (f"Port {OTHER} is in use by python3" in done.stdout) == is_in_the_way
        assert guest.main_pid() == pid
        assert service.is_serving() == is_in_the_way


@pytest.mark.parametrize("by_hand", [True, False], ids=["edited", "--port"])
def test_configuration_that_the_running_server_rejects(service: Service, by_hand: bool) -> None:
    """If the port is taken after the check, the server logs why it did not move and goes on, and
    install.sh fails with that. The change of --port is undone."""
    guest, pid = service.guest, service.guest.main_pid()
    before = service.config()
    if by_hand:
        service.edit_config(f"port: {PORT}", f"port: {OTHER}")
    with listening(guest, OTHER):
        blind = stub(service, "ss", "")
        done = guest.install("" if by_hand else f"--port {OTHER}", check=False, before=blind)
    assert done.returncode == 1
    assert f"port {OTHER}: Address already in use" in done.stdout
    assert "The running server did not take" in done.stdout
    assert guest.main_pid() == pid
    if by_hand:
        assert service.get()["status"] == "degraded"
    else:
        assert service.config() == before
        service.wait_until_serving()


@pytest.mark.parametrize("end", ["stopped", "failed"])
def test_service_that_is_down_starts_with_the_edited_configuration(
    service: Service, end: str
) -> None:
    """A service that was stopped, or that failed, serves again with the edit."""
    guest, text = service.guest, service.config()
    guest.run("systemctl stop raspi-server")
    if end == "failed":
        service.configure("port: 0\n")
        guest.run("rm /var/lib/raspi-server/last-good.json; systemctl start raspi-server || true")
        assert service.show("ActiveState") == "failed"
    service.configure(text.replace(f"port: {PORT}", f"port: {OTHER}"))
    guest.install()
    assert Service(guest, OTHER).is_serving()
