"""The unit under real systemd: crashes, reloads, hardening, and what it leaves alone."""

import re
import time
import xml.dom.minidom

from tests.security.test_tls import GROUPS, OTHER_GROUPS, agrees
from tests.system.debian.conftest import Service
from tests.system.debian.test_certificate import read_states

SOON = 3.0
"""Seconds from a crash to serving again."""
FAULTY = "port: {port}\nssl: true\ninterval: often\n"


def show(service: Service, name: str) -> str:
    return service.guest.output(f"systemctl show raspi-server --property {name} --value")


def drop_in(service: Service, *lines: str) -> None:
    """Change the unit until the end of the test."""
    folder = "/etc/systemd/system/raspi-server.service.d"
    service.guest.run(f"mkdir -p {folder}")
    service.guest.write(f"{folder}/test.conf", "\n".join(["[Service]", *lines, ""]))
    service.guest.run("systemctl daemon-reload")


def test_a_reload_takes_on_what_was_changed(service: Service) -> None:
    """`systemctl reload` brings the new configuration into force in the running server."""
    pid = service.guest.main_pid()
    service.configure(f"port: {service.port}\nssl: true\ninterval: 0.25\n")
    service.guest.run("systemctl reload raspi-server")
    for _ in service.guest.attempts("the new interval never came"):
        with service.viewer() as phone:
            if next(phone.messages())["interval"] == 0.25:
                break
    assert service.guest.main_pid() == pid


def test_a_reload_with_a_faulty_file_fails_and_shows_the_faults(service: Service) -> None:
    """The command fails and shows the mistakes; the running configuration stays active."""
    pid, cursor = service.guest.main_pid(), service.cursor()
    service.configure(FAULTY.format(port=service.port))
    assert service.guest.run("systemctl reload raspi-server", check=False).returncode != 0
    assert re.search(r"config.yaml:3: interval: expected", service.journal(cursor))
    assert service.guest.main_pid() == pid
    assert service.get()["reasons"] == []


def test_a_start_with_a_faulty_file_runs_the_last_good_one(service: Service) -> None:
    """With a mistake in the file, a boot after a power cut still serves."""
    service.configure(FAULTY.format(port=service.port))
    service.guest.run("systemctl restart raspi-server")
    said = service.get()
    assert said["status"] == "degraded"
    # Which key, with its value, is for callers who may switch.
    assert "config.yaml has errors" in str(said["reasons"])
    assert "interval" not in str(said["reasons"])


def test_a_faulty_file_and_no_good_one_ends_for_good(service: Service) -> None:
    """systemd does not try again, and the journal names the mistakes."""
    cursor = service.cursor()
    service.configure(FAULTY.format(port=service.port))
    service.guest.run("systemctl stop raspi-server; rm /var/lib/raspi-server/last-good.json")
    assert service.guest.run("systemctl start raspi-server", check=False).returncode != 0
    assert show(service, "ActiveState") == "failed"
    assert show(service, "ExecMainStatus") == "78"
    assert re.search(r"config.yaml:3: interval: expected", service.journal(cursor))


def test_killed_it_serves_again_within_seconds(service: Service) -> None:
    """After kill -9 the page is back in less than three seconds."""
    taken = []
    for _ in range(3):  # the machine may have been busy with something else
        pid = service.guest.main_pid()
        begin = time.monotonic()
        service.guest.run(f"kill -9 {pid}")
        service.wait_until_serving()
        taken.append(time.monotonic() - begin)
        assert service.guest.main_pid() != pid
        if taken[-1] < SOON:
            break
    assert min(taken) < SOON, taken


def test_twenty_crashes_in_a_row_do_not_make_it_give_up(service: Service) -> None:
    """systemd starts it again each time, without help."""
    killed = set()
    while len(killed) < 20:
        for _ in service.guest.attempts("it was not started again"):
            pid = service.guest.main_pid()
            if pid and pid not in killed:
                break
        service.guest.run(f"kill -9 {pid}")
        killed.add(pid)
    service.wait_until_serving()


def test_stopped_in_its_tracks_it_is_noticed_and_started_again(service: Service) -> None:
    """A server that hangs and does not react to signals is killed and started again."""
    drop_in(service, "WatchdogSec=2")
    service.guest.run("systemctl restart raspi-server")
    cursor = service.cursor()
    pid = service.guest.main_pid()
    service.guest.run(f"kill -STOP {pid}")
    for _ in service.guest.attempts("the watchdog never struck"):
        if service.guest.main_pid() not in (0, pid):
            break
    service.wait_until_serving()
    assert "Watchdog timeout" in service.journal(cursor)


def test_after_a_failure_the_outputs_are_looked_after(service: Service) -> None:
    """systemd runs `safe-state` with the word how the server ended, and it knows what to do."""
    drop_in(service, "ExecStopPost=/bin/sh -c 'echo ended: $SERVICE_RESULT'")
    service.guest.run("systemctl restart raspi-server")
    cursor = service.cursor()
    service.guest.run(f"kill -9 {service.guest.main_pid()}")
    service.wait_until_serving()
    said = service.journal(cursor)
    assert "ended: signal" in said
    assert "Control process exited" not in said


def test_a_port_below_1024_works_as_the_server_advises(service: Service) -> None:
    """The log names the lines of the unit that permit such a port, and they work."""
    cursor = service.cursor()
    service.configure("port: 83\nssl: true\n")
    assert service.guest.run("systemctl restart raspi-server", check=False).returncode != 0
    advice = re.search(r"a port below 1024 needs: (.*)", service.journal(cursor))
    assert advice
    drop_in(service, *re.findall(r"\w+=\w+", advice[1]))
    service.guest.run("systemctl restart raspi-server")
    assert Service(service.guest, 83).is_serving()


def test_hardened_as_far_as_it_goes(service: Service) -> None:
    """systemd's own judgement of what the service could do if it were taken over."""
    said = service.guest.output("systemd-analyze security raspi-server --no-pager")
    level = re.search(r"exposure level for raspi-server.service: ([\d.]+)", said)
    assert level
    assert float(level[1]) <= 1.4


def test_three_groups_are_agreed_to(service: Service) -> None:
    """In the hardened unit, too, and with each Debian's OpenSSL, the three groups are agreed to,
    and no other."""
    with service.guest.network():
        agreed = [group for group in (*GROUPS, *OTHER_GROUPS) if agrees(service.port, group)]
    assert agreed == [*GROUPS]
    assert "TLS agrees to P-256 alone" not in service.guest.output("journalctl -b -u raspi-server")


def test_systemd_finds_no_fault_in_the_units(service: Service) -> None:
    """Every line is one that systemd knows, in its place."""
    units = "raspi-server.service raspi-server-cert.service raspi-server-cert.timer"
    done = service.guest.run(f"systemd-analyze verify {units}", check=False)
    assert "raspi-server" not in done.stdout


def test_nothing_is_written_while_nothing_happens(service: Service) -> None:
    """An SD card lasts: with phones looking on, and the certificate looked after, no file changes
    and the journal stays as it is."""
    guest = service.guest
    with service.viewer() as phone:
        messages = phone.messages()
        read_states(messages, 1)
        guest.run("systemctl start raspi-server-cert")  # what is new since the start
        cursor = service.cursor()
        guest.run("touch /run/before")
        pid = service.guest.main_pid()
        before = guest.output(f"grep ^write_bytes /proc/{pid}/io")
        read_states(messages, 60)
        guest.run("systemctl start raspi-server-cert")
        disk = "find / -xdev -newer /run/before ! -type d"
        assert guest.output(f"{disk} -not -path '/var/log/journal/*'") == ""
        state = "/var/lib/raspi-server /run/raspi-server /etc/raspi-server /opt/raspi-server"
        assert guest.output(f"find {state} -newer /run/before") == ""
        assert guest.output(f"grep ^write_bytes /proc/{pid}/io") == before
        assert service.journal(cursor) == ""
        units = "-u raspi-server-cert.service -u raspi-server-cert.timer"
        assert guest.output(f"journalctl {units} -o cat -q --after-cursor='{cursor}'") == ""


def test_it_is_found_on_the_network(service: Service) -> None:
    """Avahi's file is well formed and names the scheme and port in use. An edit is announced after
    the server has taken it."""
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
            return


def test_the_users_own_changes_to_the_unit_outlive_an_upgrade(service: Service) -> None:
    """Lines of `systemctl edit` stay after an installation."""
    drop_in(service, "Environment=MINE=1")
    service.guest.install()
    assert "MINE=1" in show(service, "Environment")
