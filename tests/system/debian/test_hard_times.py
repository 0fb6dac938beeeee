"""Recovery without people, in the unit as it is shipped: a stuck loop and a full disk."""

import contextlib
import re
import threading

import pytest

from tests.system.debian.conftest import Service

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


def test_stuck_loop_is_logged_and_the_server_started_again(service: Service) -> None:
    """A server whose loop is stuck in C code logs where. systemd's watchdog ends it and starts it
    again."""
    service.guest.write("/etc/raspi-server/stuck.py", STUCK)
    python = "/opt/raspi-server/current/venv/bin/python"
    arguments = "-I /etc/raspi-server/stuck.py run --config /etc/raspi-server/config.yaml"
    service.drop_in("WatchdogSec=2", "ExecStart=", f"ExecStart={python} {arguments}")
    service.guest.run("systemctl restart raspi-server")
    cursor, pid = service.cursor(), service.guest.main_pid()

    def ask() -> None:
        with contextlib.suppress(OSError):  # no answer comes
            service.ask("GET", "/api/health?hang=1")

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in service.guest.attempts("the watchdog never struck"):
        if service.guest.main_pid() not in (0, pid):
            break
    asking.join()
    service.wait_until_serving()
    said = service.journal(cursor)
    assert "Watchdog timeout" in said
    service.guest.run("rm /etc/raspi-server/stuck.py")
    assert re.search(r"stuck.py.* in hang$", said, re.MULTILINE), said


@pytest.mark.one_debian
def test_full_disk(service: Service) -> None:
    """On a full disk a reload and a restart still work. The journal names what is not kept."""
    service.guest.run("systemctl stop raspi-server")
    folder = "/var/lib/raspi-server"
    service.guest.run(f"mount -t tmpfs -o size=4k,mode=700 tmpfs {folder}")
    try:
        service.guest.run(
            f"head -c 4096 /dev/zero >{folder}/filler; chown -R raspi-server: {folder}"
        )
        cursor = service.cursor()
        service.guest.run("systemctl start raspi-server")
        service.guest.run("systemctl reload raspi-server; systemctl restart raspi-server")
        service.wait_until_serving()
        assert "last-good.json: No space left on device; it is not kept" in service.journal(cursor)
    finally:
        service.guest.run(f"systemctl stop raspi-server; umount {folder}")
