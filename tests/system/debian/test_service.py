"""The unit under real systemd: crashes, reloads, hardening, and files that it does not write."""

import re
import time
import xml.dom.minidom

import pytest

from tests.security.test_tls import GROUPS, OTHER_GROUPS, agrees
from tests.system.debian.conftest import Service

SOON = 3.0
"""Seconds from a crash to serving again."""


def test_reload_uses_the_changed_configuration(service: Service) -> None:
    """`systemctl reload` brings the new configuration into the running server."""
    pid = service.guest.main_pid()
    service.configure(f"port: {service.port}\nssl: true\ninterval: 0.25\n")
    service.guest.run("systemctl reload raspi-server")
    for _ in service.guest.attempts("the new interval never came"):
        with service.viewer() as phone:
            if phone.receive("hello")["interval"] == 0.25:
                break
    assert service.guest.main_pid() == pid


def test_invalid_configuration(service: Service) -> None:
    """A reload fails, logs the errors and leaves the running configuration active. A start uses the
    last good configuration. Without one it fails for good, and the journal names the errors."""
    guest = service.guest
    pid, cursor = guest.main_pid(), service.cursor()
    service.configure(f"port: {service.port}\nssl: true\ninterval: often\n")
    assert guest.run("systemctl reload raspi-server", check=False).returncode != 0
    assert re.search(r"config.yaml:3: interval: expected", service.journal(cursor))
    assert guest.main_pid() == pid
    assert service.get()["reasons"] == []

    guest.run("systemctl restart raspi-server")
    said = service.get()
    assert said["status"] == "degraded"
    # The key and its value are only for callers who may control pins.
    assert "config.yaml has errors" in str(said["reasons"])
    assert "interval" not in str(said["reasons"])

    guest.run("systemctl stop raspi-server; rm /var/lib/raspi-server/last-good.json")
    cursor = service.cursor()
    assert guest.run("systemctl start raspi-server", check=False).returncode != 0
    assert (service.show("ActiveState"), service.show("ExecMainStatus")) == ("failed", "78")
    assert re.search(r"config.yaml:3: interval: expected", service.journal(cursor))


def test_killed_server_serves_again_within_seconds(installed: Service) -> None:
    """After kill -9 the page is back in less than three seconds."""
    taken = []
    for _ in range(3):  # the machine may have been busy with something else
        pid = installed.guest.main_pid()
        begin = time.monotonic()
        installed.guest.run(f"kill -9 {pid}")
        installed.wait_until_serving()
        taken.append(time.monotonic() - begin)
        assert installed.guest.main_pid() != pid
        if taken[-1] < SOON:
            break
    assert min(taken) < SOON, taken


@pytest.mark.one_debian
def test_systemd_starts_it_again_after_many_crashes(installed: Service) -> None:
    """More crashes in a row than the five in ten seconds after which systemd gives up by default
    do not end the service."""
    killed = set()
    while len(killed) < 8:
        for _ in installed.guest.attempts("it was not started again"):
            pid = installed.guest.main_pid()
            if pid and pid not in killed:
                break
        installed.guest.run(f"kill -9 {pid}")
        killed.add(pid)
    installed.wait_until_serving()
    assert installed.show("StartLimitIntervalUSec") == "0"


def test_hung_server_is_killed_and_started_again(service: Service) -> None:
    """The watchdog ends a server that does not react, even to signals. systemd then runs
    `safe-state` with the reason, and starts the server again."""
    guest = service.guest
    service.drop_in("WatchdogSec=2", "ExecStopPost=/bin/sh -c 'echo ended: $SERVICE_RESULT'")
    guest.run("systemctl restart raspi-server")
    cursor, pid = service.cursor(), guest.main_pid()
    guest.run(f"kill -STOP {pid}")
    for _ in guest.attempts("the watchdog never struck"):
        if guest.main_pid() not in (0, pid):
            break
    service.wait_until_serving()
    said = service.journal(cursor)
    assert "Watchdog timeout" in said
    assert "ended: watchdog" in said
    assert "Control process exited" not in said


@pytest.mark.one_debian
def test_port_below_1024_works_as_the_log_advises(service: Service) -> None:
    """The log names the lines of the unit that permit such a port, and they work."""
    cursor = service.cursor()
    service.configure("port: 83\nssl: true\n")
    assert service.guest.run("systemctl restart raspi-server", check=False).returncode != 0
    advice = re.search(r"a port below 1024 needs: (.*)", service.journal(cursor))
    assert advice
    service.drop_in(*re.findall(r"\w+=\w+", advice[1]))
    service.guest.run("systemctl restart raspi-server")
    assert Service(service.guest, 83).is_serving()


def test_systemd_accepts_the_units_and_rates_them_as_hardened(installed: Service) -> None:
    """Every line of the units is one that systemd knows, and it rates the service's exposure at 1.4
    or less."""
    said = installed.guest.output("systemd-analyze security raspi-server --no-pager")
    level = re.search(r"exposure level for raspi-server.service: ([\d.]+)", said)
    assert level
    assert float(level[1]) <= 1.4
    units = "raspi-server.service raspi-server-cert.service raspi-server-cert.timer"
    done = installed.guest.run(f"systemd-analyze verify {units}", check=False)
    assert "raspi-server" not in done.stdout


def test_three_groups_are_agreed_to(installed: Service) -> None:
    """Also in the hardened unit, with each Debian's OpenSSL, TLS agrees to the three groups and no
    other."""
    with installed.guest.network():
        agreed = [group for group in (*GROUPS, *OTHER_GROUPS) if agrees(installed.port, group)]
    assert agreed == [*GROUPS]
    log = installed.guest.output("journalctl -b -u raspi-server")
    assert "TLS agrees to P-256 alone" not in log


def test_nothing_is_written_while_nothing_happens(installed: Service) -> None:
    """With open viewers and runs of the certificate's timer, no file changes and nothing is logged:
    an SD card lasts."""
    guest = installed.guest
    with installed.viewer() as phone:
        phone.receive("state")
        guest.run("systemctl start raspi-server-cert")  # writes what changed since the start
        cursor = installed.cursor()
        guest.run("touch /run/before")
        pid = guest.main_pid()
        before = guest.output(f"grep ^write_bytes /proc/{pid}/io")
        for _ in range(60):
            phone.receive("state")
        guest.run("systemctl start raspi-server-cert")
        disk = "find / -xdev -newer /run/before ! -type d"
        assert guest.output(f"{disk} -not -path '/var/log/journal/*'") == ""
        state = "/var/lib/raspi-server /run/raspi-server /etc/raspi-server /opt/raspi-server"
        assert guest.output(f"find {state} -newer /run/before") == ""
        assert guest.output(f"grep ^write_bytes /proc/{pid}/io") == before
        assert installed.journal(cursor) == ""
        units = "-u raspi-server-cert.service -u raspi-server-cert.timer"
        assert guest.output(f"journalctl {units} -o cat -q --after-cursor='{cursor}'") == ""


@pytest.mark.one_debian
def test_avahi_announces_scheme_and_port(service: Service) -> None:
    """Avahi's file is well-formed and names the scheme and port in use. An edit is announced when
    the server uses it. Lines of `systemctl edit` stay after an installation."""
    file = "/etc/avahi/services/raspi-server.service"
    guest = service.guest

    def announced() -> list[str]:
        document = xml.dom.minidom.parseString(guest.output(f"cat {file}"))
        assert document.documentElement.tagName == "service-group"
        return [
            document.getElementsByTagName(name)[0].firstChild.data  # type: ignore[union-attr]
            for name in ("type", "port")
        ]

    assert announced() == ["_https._tcp", str(service.port)]
    assert guest.output(f"stat -c %a {file}") == "644"
    service.configure(f"port: {service.port}\nssl: false\n")
    guest.run(f"touch -d '1 hour ago' {file}; systemctl start raspi-server-cert")
    assert announced() == ["_https._tcp", str(service.port)]
    guest.run("systemctl reload raspi-server")
    for _ in guest.attempts("http was never announced"):
        guest.run("systemctl start raspi-server-cert")
        if announced() == ["_http._tcp", str(service.port)]:
            break
    service.drop_in("Environment=MINE=1")
    guest.install()
    assert "MINE=1" in service.show("Environment")
