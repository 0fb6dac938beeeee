"""What a box meets that nobody looks after, in the unit as it is shipped: a loop that is stuck,
and a disk that is full."""

import contextlib
import re
import threading

import pytest

from .conftest import House
from .test_service import drop_in

STUCK = """
import re, sys, time
from raspi_server.cli.main import main
from raspi_server.web.api import Health

def python():
    while True:
        pass

def c():
    re.match("(a+)+$", "a" * 64 + "b")

well = Health.get
def get(self):
    how = self.get_query_argument("hang", "")
    {"python": python, "c": c}[how]() if how else well(self)
Health.get = get
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("how", "told"),
    [("python", "it is in .*, for GET /api/health"), ("c", "stuck.py.* in c$")],
)
def test_a_loop_that_is_stuck(house: House, how: str, told: str) -> None:
    """A server whose loop is stuck, in Python or in C, says where, is ended by systemd, and serves
    again."""
    house.guest.write("/etc/raspi-server/stuck.py", STUCK)
    python = "/opt/raspi-server/current/venv/bin/python"
    arguments = "-I /etc/raspi-server/stuck.py run --config /etc/raspi-server/config.yaml"
    drop_in(house, "WatchdogSec=2", "ExecStart=", f"ExecStart={python} {arguments}")
    house.guest.run("systemctl restart raspi-server")
    cursor, pid = house.cursor(), house.guest.main_pid()

    def ask() -> None:
        with contextlib.suppress(OSError):  # the answer never comes
            house.get(f"/api/health?hang={how}")

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in house.guest.patience("the watchdog never struck"):
        if house.guest.main_pid() not in (0, pid):
            break
    asking.join()
    house.wait_until_serving()
    said = house.journal(cursor)
    assert "Watchdog timeout" in said
    house.guest.run("rm /etc/raspi-server/stuck.py")
    assert re.search(told, said, re.MULTILINE), said


def test_a_full_disk(house: House) -> None:
    """Where nothing can be written any more, a reload and a restart still work, and the journal
    says what is not kept."""
    house.guest.run("systemctl stop raspi-server")
    folder = "/var/lib/raspi-server"
    house.guest.run(f"mount -t tmpfs -o size=4k,mode=700 tmpfs {folder}")
    try:
        house.guest.run(f"head -c 4096 /dev/zero >{folder}/filler; chown -R raspi-server: {folder}")
        cursor = house.cursor()
        house.guest.run("systemctl start raspi-server")
        house.guest.run("systemctl reload raspi-server; systemctl restart raspi-server")
        house.wait_until_serving()
        assert "last-good.json: No space left on device; it is not kept" in house.journal(cursor)
    finally:
        house.guest.run(f"systemctl stop raspi-server; umount {folder}")
