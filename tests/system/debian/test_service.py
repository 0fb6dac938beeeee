"""The unit under real systemd: crashes, reloads, hardening, files that it does not write, and a
certificate and networks that follow the Pi."""

import contextlib
import re
import ssl
import threading
from ipaddress import ip_interface

import pytest

from tests.security.test_tls import GROUPS, OTHER_GROUPS, agrees
from tests.system.debian.conftest import PORT, Service

one_debian = pytest.mark.one_debian
REFRESH = "/opt/raspi-server/current/scripts/refresh-network.sh"


@one_debian
def test_invalid_configuration(service: Service) -> None:
    """A reload fails, logs the errors and leaves the running configuration active. A start without
    a last good configuration fails for good."""
    guest, pid, cursor = service.guest, service.guest.main_pid(), service.cursor()
    service.configure(f"port: {service.port}\nssl: true\ninterval: often\n")
    assert guest.run("systemctl reload raspi-server", check=False).returncode != 0
    assert re.search(r"config.yaml:3: interval: expected", service.journal(cursor))
    assert guest.main_pid() == pid
    assert service.get()["reasons"] == []
    guest.run("systemctl stop raspi-server; rm /var/lib/raspi-server/last-good.json")
    assert guest.run("systemctl start raspi-server", check=False).returncode != 0
    assert (service.show("ActiveState"), service.show("ExecMainStatus")) == ("failed", "78")


@one_debian
def test_systemd_starts_it_again_after_many_crashes(installed: Service) -> None:
    """Half a second after each crash systemd starts the server again, also after more crashes in a
    row than the five in ten seconds after which it gives up by default."""
    assert installed.show("RestartUSec") == "500ms"
    killed: set[int] = set()
    while len(killed) < 7:
        for _ in installed.guest.attempts("it was not started again"):
            pid = installed.guest.main_pid()
            if pid and pid not in killed:
                break
        installed.guest.run(f"kill -9 {pid}")
        killed.add(pid)
    installed.wait_until_serving()
    assert installed.show("StartLimitIntervalUSec") == "0"


STUCK = """
import re, sys
from raspi_server.cli.main import main
from raspi_server.web.api import Health

def hang():
    re.match("(a+)+$", "a" * 64 + "b")

well = Health.get
Health.get = lambda self: hang() if self.get_query_argument("hang", "") else well(self)
sys.exit(main())
"""


@one_debian
def test_hung_server_is_killed_and_started_again(service: Service) -> None:
    """The watchdog ends a server whose loop is stuck in C code, which logs where, and one that does
    not even react to signals. systemd then runs `safe-state` with the reason, and starts the server
    again."""
    guest = service.guest
    guest.write("/etc/raspi-server/stuck.py", STUCK)
    python = "/opt/raspi-server/current/venv/bin/python"
    arguments = "-I /etc/raspi-server/stuck.py run --config /etc/raspi-server/config.yaml"
    ends = "ExecStopPost=/bin/sh -c 'echo ended: $SERVICE_RESULT'"
    service.drop_in("WatchdogSec=2", "ExecStart=", f"ExecStart={python} {arguments}", ends)
    guest.run("systemctl restart raspi-server")

    def hang() -> None:
        with contextlib.suppress(OSError):  # no answer comes
            service.ask("GET", "/api/health?hang=1")

    stop = "systemctl kill --kill-whom=main --signal=STOP raspi-server"
    for harm, reported in ((hang, r"stuck.py.* in hang$"), (lambda: guest.run(stop), "")):
        cursor, pid = service.cursor(), guest.main_pid()
        harming = threading.Thread(target=harm)
        harming.start()
        for _ in guest.attempts("the watchdog never struck"):
            if guest.main_pid() not in (0, pid):
                break
        harming.join()
        service.wait_until_serving()
        said = service.journal(cursor)
        assert "Watchdog timeout" in said
        assert "ended: watchdog" in said
        assert "Control process exited" not in said
        assert re.search(reported, said, re.MULTILINE), said


@one_debian
def test_full_disk(service: Service) -> None:
    """On a full disk a reload and a restart still work. The journal names what is not kept."""
    guest, folder = service.guest, "/var/lib/raspi-server"
    guest.run(f"systemctl stop raspi-server; mount -t tmpfs -o size=4k,mode=700 tmpfs {folder}")
    try:
        guest.run(f"head -c 4096 /dev/zero >{folder}/filler; chown -R raspi-server: {folder}")
        cursor = service.cursor()
        guest.run("systemctl start raspi-server")
        guest.run("systemctl reload raspi-server; systemctl restart raspi-server")
        service.wait_until_serving()
        assert "last-good.json: No space left on device; it is not kept" in service.journal(cursor)
    finally:
        guest.run(f"systemctl stop raspi-server; umount {folder}")


def test_units_are_accepted_and_hardened(installed: Service) -> None:
    """Every line of the units is one that systemd knows, and it rates the service's exposure at 1.4
    or less. In the hardened unit, with each Debian's OpenSSL, TLS agrees to the three groups and no
    other."""
    guest = installed.guest
    said = guest.output("systemd-analyze security raspi-server --no-pager")
    level = re.search(r"exposure level for raspi-server.service: ([\d.]+)", said)
    assert level and float(level[1]) <= 1.4
    units = "raspi-server.service raspi-server-cert.service raspi-server-cert.timer"
    assert "raspi-server" not in guest.run(f"systemd-analyze verify {units}", check=False).stdout
    with guest.network():
        agreed = [group for group in (*GROUPS, *OTHER_GROUPS) if agrees(installed.port, group)]
    assert agreed == [*GROUPS]
    assert "TLS agrees to P-256 alone" not in guest.output("journalctl -b -u raspi-server")


ASK = "timedatectl show -p NTPSynchronized --value"
SCHEDULED = """
schedules:
  always: {pin: lamp, from: 00:00, to: 24:00}
pins:
  lamp: {gpio: 17, mode: output}
"""


def test_system_is_asked_for_the_time(service: Service) -> None:
    """In the hardened unit the question whether the clock is right is answered as outside of it.
    The server asks it as soon as it has schedules."""
    guest = service.guest
    said = guest.output(ASK)
    assert said in ("yes", "no")
    service.drop_in(f"ExecStartPost={ASK}")
    service.configure(f"port: {service.port}\nssl: true\n{SCHEDULED}")
    guest.run("systemctl stop systemd-timedated raspi-server")
    cursor = service.cursor()
    guest.run("systemctl start raspi-server")
    assert said in service.journal(cursor).splitlines()
    service.drop_in()
    guest.run("systemctl stop systemd-timedated; systemctl restart raspi-server")
    for _ in guest.attempts("the server never asked"):
        if guest.output("systemctl show systemd-timedated -p ActiveState --value") == "active":
            break
    for _ in guest.attempts("the server never took the answer"):
        if service.get("/api/schedules")["clock_known"] == (said == "yes"):
            break


@one_debian
def test_nothing_is_written_while_nothing_happens(installed: Service) -> None:
    """With open viewers and runs of the certificate's timer, no file changes and nothing is logged:
    an SD card lasts."""
    guest = installed.guest
    with installed.viewer() as phone:
        phone.receive("state")
        guest.run("systemctl start raspi-server-cert")  # writes what changed since the start
        cursor = installed.cursor()
        guest.run("touch /run/before")
        written_bytes = f"grep ^write_bytes /proc/{guest.main_pid()}/io"
        before = guest.output(written_bytes)
        for _ in range(30):
            phone.receive("state")
        guest.run("systemctl start raspi-server-cert")
        written = "find / /run/raspi-server -xdev -newer /run/before ! -type d"
        assert guest.output(f"{written} -not -path '/var/log/journal/*'") == ""
        assert guest.output(written_bytes) == before
        assert installed.journal(cursor) == ""
        units = "-u raspi-server-cert.service -u raspi-server-cert.timer"
        assert guest.output(f"journalctl {units} -o cat -q --after-cursor='{cursor}'") == ""


def elsewhere(*addresses: str) -> str:
    """Return the command that runs refresh-network.sh as if the Pi were in another network."""
    add = ""
    for address in addresses:
        add += f"ip addr add {address} dev lo{' nodad' * (':' in address)}; "
        add += f"ip route replace {ip_interface(address).network} dev lo; "
    return f"unshare --net bash -c 'ip link set lo up; {add} {REFRESH}'"


def test_new_address_gets_into_the_certificate_and_viewers_stay(installed: Service) -> None:
    """New connections get a certificate for the new address, and open WebSockets stay open."""
    guest = installed.guest
    with installed.viewer() as viewer:
        viewer.receive("state")
        pid = guest.main_pid()
        assert "it lacks 10.77.1.7" in guest.output(elsewhere("10.77.1.7/24"))
        new = guest.output("cat /etc/raspi-server/tls/server.crt")
        for _ in guest.attempts("the new certificate was never served"):
            with guest.network():
                served = ssl.get_server_certificate(("127.0.0.1", PORT))
            if served.strip() == new:
                break
        for _ in range(5):
            viewer.receive("state")
        assert guest.main_pid() == pid


def test_own_networks_may_connect(installed: Service) -> None:
    """The unit's address filter allows the Pi's own public prefixes while it has them, and no other
    public address."""
    before = installed.show("IPAddressAllow")
    assert "192.168.0.0/16" in before
    installed.guest.run(elsewhere("2001:db8:5:6::7/64", "203.0.113.9/24", "10.1.2.3/24"))
    after = set(installed.show("IPAddressAllow").split())
    assert after - set(before.split()) == {"203.0.113.0/24", "2001:db8:5:6::/64"}
    installed.guest.run(REFRESH)
    assert set(installed.show("IPAddressAllow").split()) == set(before.split())


@one_debian
def test_missing_certificate_is_made_again(service: Service) -> None:
    """Without its certificate the server keeps running, and the timer's service makes one. A start
    without one ends with status 78; then the timer's service starts the server, too."""
    guest, pid = service.guest, service.guest.main_pid()
    guest.run("systemctl stop raspi-server-cert.timer")  # else it could make it first
    guest.run("rm /etc/raspi-server/tls/server.crt")
    assert service.is_serving()
    guest.run("systemctl start raspi-server-cert")
    assert guest.main_pid() == pid
    assert guest.run("raspi-server check").stdout.startswith("ok:")
    guest.run("rm /etc/raspi-server/tls/server.*; systemctl restart raspi-server || true")
    assert service.show("ExecMainStatus") == "78"
    guest.run("systemctl start raspi-server-cert")
    service.wait_until_serving()
