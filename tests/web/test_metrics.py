"""`/metrics` as Prometheus reads it, and the dashboard that draws it."""

import json
import re
import subprocess
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.http import ask
from tests.support.mqtt import switch, wait_until_well
from tests.support.server import LIMIT, Server, changing, clock_is
from tests.support.websocket import WebSocketClient

CONFIG = """
gpio: simulated
metrics: true
access: {control: everyone}
pins:
  door: {gpio: 17, mode: input, pull: up}
  lamp: {gpio: 27, mode: output}
  fan: {gpio: 18, mode: pwm}
"""


def numbers(server: Server) -> dict[str, float]:
    """Return every number by its name, without `raspi_server_`, and its label."""
    answer = ask(server, "GET", "/metrics")
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        " ".join([sample.name.removeprefix("raspi_server_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def test_numbers_of_a_pin(start_server):
    """Pins, edges, health and heartbeat have numbers. A broker that is not configured has none.
    After a reload counts of pins that stayed go on, and `/metrics` may be switched off."""
    server = start_server(CONFIG)
    before = numbers(server)
    assert (before["pin_value lamp"], before["pin_changes_total lamp"]) == (0, 0)
    assert "pin_last_change_timestamp_seconds lamp" not in before
    for value in (1, 0, 1):
        switch(server, "lamp", value)
    switch(server, "fan", 0.35)
    first, second = numbers(server), numbers(server)
    assert (first["pin_value lamp"], first["pin_value fan"]) == (1, 0.35)
    assert first["pin_changes_total lamp"] == 3
    on = "pin_on_seconds_total lamp"
    assert 0 < first[on] < second[on] < LIMIT
    assert first["pin_on_seconds_total door"] == 0
    since = ask(server, "GET", "/api/pins/lamp").json["since"]
    assert abs(first["pin_last_change_timestamp_seconds lamp"] - since) < 1  # of two readings
    assert first["edge_to_send_seconds_count no"] == 4
    assert 0 < first["edge_to_send_seconds_sum no"] < LIMIT
    assert {"edge_to_send_seconds_bucket no 0.0001", "edge_to_send_seconds_bucket no 5.0"} < {
        *first
    }
    assert "throttled under-voltage now" not in first  # not a Raspberry Pi
    assert first["pin_up door"] == 1
    assert (first["health ok"], first["health degraded"]) == (1, 0)
    assert first["heartbeat_up"] == first["watchdog_fed"] == 1
    assert first["gpio_errors_total"] == 0
    assert not any(name.startswith("mqtt") for name in first)
    server.reload(re.sub("  fan:.*\n", "", CONFIG))
    server.wait_for_log("2 pins, serving")
    found = numbers(server)
    assert found["pin_changes_total lamp"] == 3
    assert not any("fan" in name for name in found)
    server.reload(CONFIG.replace("metrics: true", "metrics: false"))
    server.wait_for_log("3 pins, serving", again=1)
    status, code, words = ask(server, "GET", "/metrics").error
    assert (status, code) == (404, "not-found")
    assert words == "metrics are off: add metrics: true to config.yaml"


COVERS = """
  up: {gpio: 5, mode: output, group: shutter, group_pause: 0.5}
  down: {gpio: 6, mode: output, group: shutter, group_pause: 0.5}
  opener: {gpio: 7, mode: output, pulse: 0.05}
  shut: {gpio: 8, mode: input}
  above: {gpio: 9, mode: input}
covers:
  shutter: {up: up, down: down, travel: 1}
  garage: {button: opener, closed: shut, opened: above, travel: 1}
"""
AUTOMATION = """
schedules:
  day: {pin: lamp, from: 00:00, to: 24:00}
  night: {pin: fan, from: 00:00, to: 24:00, value: 0.1}
rules:
  hall: {when: door, turn_on: lamp}
"""


def test_schedules_and_rules(start_server):
    """Schedules and rules are counted each time they act. Without any they have no numbers, and the
    clock has none where nothing needs the time."""
    server = start_server(CONFIG, program=changing(clock_is(False)))
    names = "schedule_runs", "rule_runs", "clock_known"
    assert not any(name.startswith(names) for name in numbers(server))
    rules = AUTOMATION.partition("rules:")[2]
    server.reload(f"{CONFIG}rules:{rules}")
    server.wait_for_log("3 pins, serving", again=1)
    with WebSocketClient(server.port) as viewer:
        for value in (1, 0, 1):
            viewer.send(type="drive", pin="door", value=value)
            viewer.receive("change", pin="door")
        found = numbers(server)
        assert {name for name in found if name.startswith(names)} == {"rule_runs_total hall"}
        assert found["rule_runs_total hall"] == 2
        server.reload(CONFIG + AUTOMATION)
        server.wait_for_log("3 pins, serving", again=2)
        found = numbers(server)
        assert (found["clock_known"], found["schedule_runs_total day"]) == (0, 0)
        assert found["rule_runs_total hall"] == 2
        assert ask(server, "POST", "/api/clock/trust").status == 200
        ask(server, "POST", "/api/schedules/day/pause")
        ask(server, "POST", "/api/schedules/day/resume")
        found = numbers(server)
        assert found["clock_known"] == 1
        assert (found["schedule_runs_total day"], found["schedule_runs_total night"]) == (2, 1)


def test_covers(start_server):
    """Covers have numbers: each state, the position where it is known, and if there is a problem.
    Without any they have none."""
    server = start_server(CONFIG)
    assert not any(name.startswith("cover") for name in numbers(server))
    server.reload(CONFIG.rstrip() + COVERS)
    server.wait_for_log("8 pins, serving")
    found = numbers(server)
    assert (found["cover_state garage closed"], found["cover_state garage open"]) == (1, 0)
    assert "cover_position shutter" not in found and found["cover_problem garage"] == 0
    with WebSocketClient(server.port) as viewer:
        viewer.send(type="open", cover="shutter")
        while viewer.receive("cover")["state"] != "open":
            pass
        assert numbers(server)["cover_position shutter"] == 100
        viewer.send(type="drive", pin="above", value=1)
        while viewer.receive("cover")["problem"] is None:
            pass
    found = numbers(server)
    assert found["cover_problem garage"] == found["cover_state garage unknown"] == 1
    assert sum(found[name] for name in found if name.startswith("cover_state garage")) == 1


def test_viewers_and_frames(start_server):
    """Viewers are counted, and the frames that are sent to them or skipped."""
    server = start_server("interval: 0.01\n" + CONFIG)
    assert numbers(server)["frames_sent_total"] == 0
    with WebSocketClient(server.port) as attentive:
        attentive.receive("state")
        found = numbers(server)
        assert (found["viewers"], found["frames_skipped_total"]) == (1, 0)
        assert found["frames_sent_total"] >= 1
        with WebSocketClient(server.port, receive_buffer=2048):
            for _ in attentive.messages():
                if numbers(server)["frames_skipped_total"]:
                    break


def test_broker_and_dashboard(start_server, brokers):
    """The dashboard for Grafana draws all our numbers and no other. Prometheus' own check finds
    nothing. The numbers show an unreachable broker and the changes that wait."""
    broker = brokers.broker()
    text = CONFIG.rstrip() + COVERS + AUTOMATION + f'mqtt: {{url: "{broker.url}"}}\n'
    server = start_server(text, program=changing(clock_is(True)))
    server.wait_for_log("mqtt: connected")
    assert numbers(server)["mqtt_connected"] == 1
    broker.kill()
    server.wait_for_log("ended the connection|reset")
    switch(server, "lamp", 0)
    found = numbers(server)
    assert (found["mqtt_connected"], found["health degraded"]) == (0, 1)
    assert (found["mqtt_kept_changes"], found["mqtt_lost_changes_total"]) == (1, 0)
    text = ask(server, "GET", "/metrics").body
    check = ["promtool", "check", "metrics"]
    done = subprocess.run(check, input=text, capture_output=True, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    told = set(re.findall(r"^(?:raspi_server|process)_\w+", text.decode(), re.MULTILINE))
    # Where there is a thermometer, and the firmware of a Raspberry Pi, and a position is known.
    told |= {"raspi_server_temperature_celsius", "raspi_server_throttled"}
    told |= {"raspi_server_cover_position"}
    dashboard = json.loads((Path(__file__).parents[2] / "docs/grafana.json").read_text())
    drawn = set(re.findall(r"\b(?:raspi_server|process)_\w+", json.dumps(dashboard)))
    assert drawn - told == set()
    alerts = (Path(__file__).parents[2] / "docs/alerts.yml").read_text()
    read = set(re.findall(r"\b(?:raspi_server|process)_\w+", alerts))
    assert read - told == set()
    others = {name for name in told if not re.match("raspi_server_(?!edge_to_send_seconds_)", name)}
    assert told - drawn - others == set()
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) and all(panel["targets"] for panel in dashboard["panels"])


def test_under_voltage(start_server, brokers, tmp_path):
    """While the voltage is too low the health is degraded, and says why: to callers, Prometheus and
    clients of the broker. What is over does not degrade it."""
    broker = brokers.broker()
    file = tmp_path / "get_throttled"
    file.write_text("50005\n")
    statements = ("from pathlib import Path", "from raspi_server.system import vitals")
    program = changing(
        *statements, f"vitals._THROTTLED = Path({str(file)!r})", mqtt_health_interval_s=0.1
    )
    text = CONFIG + f'mqtt: {{url: "{broker.url}", topic: house/pi}}\n'
    server = start_server(text, program=program)
    reason = "under-voltage: the Pi needs a stronger power supply or a shorter cable"
    health = ask(server, "GET", "/api/health")
    assert (health.status, health.json["status"]) == (200, "degraded")
    assert reason in health.json["reasons"]
    found = numbers(server)
    assert (found["health degraded"], found["throttled under-voltage now"]) == (1, 1)
    assert (found["throttled throttled now"], found["throttled too hot now"]) == (1, 0)
    subscriber = brokers.subscriber(broker, "house/pi/health")
    assert subscriber.last("house/pi/health").json["reasons"] == [reason]
    file.write_text("50000\n")
    wait_until_well(server)
    found = numbers(server)
    assert (found["health ok"], found["throttled under-voltage now"]) == (1, 0)
    assert found["throttled under-voltage since boot"] == 1


def test_debounced_pins_are_counted_apart(start_server):
    """The time that debouncing takes is not counted with that of the other pins."""
    server = start_server(CONFIG.replace("pull: up", "pull: up, debounce: 0.01"))
    with WebSocketClient(server.port) as viewer:
        viewer.send(type="drive", pin="door", value=1)
        viewer.receive("change", pin="door")
    switch(server, "lamp", 1)
    found = numbers(server)
    assert found["edge_to_send_seconds_count yes"] == found["edge_to_send_seconds_count no"] == 1
    assert found["edge_to_send_seconds_sum yes"] >= 0.01


def test_alerts():
    """Prometheus accepts the alerts, and each fires for a Pi in trouble only."""
    file = Path(__file__).with_name("alerts_test.yml")
    done = subprocess.run(
        ["promtool", "test", "rules", file], capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_need_the_right_to_view(start_with_codes):
    """If viewing needs a code, the metrics need it, too. Prometheus sends it as `Bearer`."""
    coded = start_with_codes("{view: code}\nmetrics: true")
    assert coded.ask("GET", "/metrics").error[:2] == (401, "sign-in")
    code = coded.new("view")
    assert coded.ask("GET", "/metrics", Authorization=f"Bearer {code}").status == 200
