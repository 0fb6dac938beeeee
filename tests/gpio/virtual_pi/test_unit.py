"""The shipped unit with its hardening, on real lines and with the kernel's address filter."""

from tests.gpio.virtual_pi.pi import CHECKOUT, CODE, UNIT, Pi

PINS = """
  lamp: {gpio: 17, mode: output, active: low}
  door: {gpio: 27, mode: input}
"""
# A release as install.sh makes it.
VENV = f"""
packages=venv/lib/python3.11/site-packages
mkdir -p {CODE}/scripts && cd {CODE} && mkdir -p venv/bin $packages
ln -s /usr/bin/python3 venv/bin/python
printf 'home = /usr/bin\\ninclude-system-site-packages = true\\n' >venv/pyvenv.cfg
ln -s {CODE}/raspi_server {CODE}/www $packages
"""
ASK = """
import socket, sys
for address in sys.argv[2:]:
    caller = socket.socket()
    caller.settimeout(3)
    caller.bind((address, 0))
    try:
        caller.connect((sys.argv[1], 8080))
        caller.sendall(b"GET /api/pins HTTP/1.0\\r\\nHost: 127.0.0.1\\r\\n\\r\\n")
        print(caller.recv(15).decode())
    except TimeoutError:
        print("no answer")
"""


def test_the_shipped_unit(pi: Pi) -> None:
    """Edges arrive, outputs are driven, a reload works, a clock that jumps ends nothing. A private
    address gets an answer; the kernel drops what the service would send to others. After a kill and
    after an out-of-memory kill the outputs get their safe state, and the service starts again."""
    pi.run(VENV)
    pi.write(f"{CODE}/scripts/start.sh", (CHECKOUT / "scripts" / "start.sh").read_text())
    of_the_tests = pi.read(UNIT)
    pi.write(UNIT, (CHECKOUT / "systemd" / "raspi-server.service").read_text())
    pi.run(f"chmod +x {CODE}/scripts/start.sh; systemctl daemon-reload")
    try:
        pi.start(PINS)
        with pi.viewer() as viewer:
            viewer.receive("state", pins={"lamp": 0, "door": 0})
            pi.drive([(27, 1)])
            assert viewer.receive("change", pin="door")["value"] == 1
        pi.set("lamp", 1)
        pi.reload(PINS + "  bell: {gpio: 18, mode: output, initial: on}\n")
        assert (pi.level(17), pi.level(18)) == (0, 1)
        pi.write("/tmp/ask.py", ASK)
        pi.run("ip addr add 192.168.77.1/32 dev lo; ip addr add 8.8.8.8/32 dev lo")
        command = "python3 /tmp/ask.py $(hostname -I | cut -d' ' -f1) 192.168.77.1 8.8.8.8"
        assert pi.run(command).splitlines() == ["HTTP/1.1 200 OK", "no answer"]
        pi.run("date -s '+1 year'")
        with pi.record() as record:
            pi.signal("KILL")
            wait_for_restart(pi)
        assert record.of(17)[:2] == ["set 1", "out"]
        assert "lamp (GPIO17): off" in pi.journal
        pi.set("lamp", 1)
        main = pi.run("systemctl show -P MainPID raspi-server").strip()
        # The kernel chooses it as the victim.
        pi.run(f"echo 1000 >/proc/{main}/oom_score_adj; echo f >/proc/sysrq-trigger")
        wait_for_restart(pi)
        assert "(oom-kill, " in pi.journal
        assert pi.run("systemctl show -P NRestarts raspi-server").strip() == "2"
    finally:
        pi.attempt("ip addr del 192.168.77.1/32 dev lo; ip addr del 8.8.8.8/32 dev lo")
        pi.run("systemctl stop raspi-server")
        pi.write(UNIT, of_the_tests)
        pi.run("systemctl daemon-reload")


def wait_for_restart(pi: Pi) -> None:
    pi.wait_for(lambda: pi.level(17) == 1, "the relay is off")
    pi.wait_for(lambda: pi.state == "active", "it runs again")
