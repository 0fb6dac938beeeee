"""`/metrics` as Prometheus reads it, and the dashboard that draws it."""

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.coded_server import CodedServer
from tests.support.http import ask
from tests.support.mqtt import Brokers
from tests.support.server import LIMIT, Server, check_end
from tests.support.websocket import WebSocketClient

DASHBOARD = Path(__file__).parents[2] / "docs/grafana.json"
CONFIG = """
gpio: simulated
metrics: true
access: {control: everyone}
pins:
  door: {gpio: 17, mode: input, pull: up}
  lamp: {gpio: 27, mode: output}
  fan: {gpio: 18, mode: pwm}
"""


@pytest.fixture
def brokers(tmp_path):
    with Brokers(tmp_path) as found:
        yield found


def numbers(server: Server) -> dict[str, float]:
    """Every number by its name and labels as they stand in the text."""
    answer = ask(server, "GET", "/metrics")
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"].startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def switch(server: Server, pin: str, value: float) -> None:
    assert ask(server, "PUT", f"/api/pins/{pin}", {"value": value}).status == 200


def test_what_becomes_of_a_pin(start_server):
    """Value, changes, time on and last change of each pin are told, and how long a viewer waited
    for its edges."""
    server = start_server(CONFIG)
    before = numbers(server)
    assert before['raspi_server_pin_value{pin="lamp"}'] == 0
    assert before['raspi_server_pin_changes_total{pin="lamp"}'] == 0
    assert 'raspi_server_pin_last_change_timestamp_seconds{pin="lamp"}' not in before
    for value in (1, 0, 1):
        switch(server, "lamp", value)
    switch(server, "fan", 0.35)
    first, second = numbers(server), numbers(server)
    assert first['raspi_server_pin_value{pin="lamp"}'] == 1
    assert first['raspi_server_pin_value{pin="fan"}'] == 0.35
    assert first['raspi_server_pin_changes_total{pin="lamp"}'] == 3
    on = 'raspi_server_pin_on_seconds_total{pin="lamp"}'
    assert 0 < first[on] < second[on]
    assert first['raspi_server_pin_on_seconds_total{pin="door"}'] == 0
    since = ask(server, "GET", "/api/pins/lamp").json["since"]
    assert first['raspi_server_pin_last_change_timestamp_seconds{pin="lamp"}'] == since
    assert first["raspi_server_edge_to_send_seconds_count"] == 4
    assert 0 < first["raspi_server_edge_to_send_seconds_sum"] < LIMIT
    assert first['raspi_server_pin_up{pin="door"}'] == 1


def test_viewers_and_frames(start_server):
    """Viewers are counted, and the frames that they are sent."""
    server = start_server(CONFIG)
    assert numbers(server)["raspi_server_frames_sent_total"] == 0
    with WebSocketClient(server.port) as viewer:
        messages = viewer.messages()
        while next(messages)["type"] != "state":
            pass
        found = numbers(server)
    assert found["raspi_server_viewers"] == 1
    assert found["raspi_server_frames_sent_total"] >= 1
    assert found["raspi_server_frames_skipped_total"] == 0


def test_a_viewer_that_does_not_read_skips_frames(start_server):
    """States that a slow viewer is spared are counted."""
    server = start_server("interval: 0.01\n" + CONFIG)
    with (
        WebSocketClient(server.port, receive_buffer=2048),
        WebSocketClient(server.port) as attentive,
    ):
        for _ in attentive.messages():
            if numbers(server)["raspi_server_frames_skipped_total"]:
                break


def test_all_is_well(start_server):
    """Health, heartbeat and the broker are told; a broker that nobody configured is not."""
    server = start_server(CONFIG)
    found = numbers(server)
    assert found['raspi_server_health{status="ok"}'] == 1
    assert found['raspi_server_health{status="degraded"}'] == 0
    assert found["raspi_server_heartbeat_up"] == found["raspi_server_watchdog_fed"] == 1
    assert found["raspi_server_gpio_errors_total"] == 0
    assert not any(name.startswith("raspi_server_mqtt") for name in found)


def test_a_broker_that_is_away(start_server, brokers):
    """A broker that is away shows, and what is kept for it; and the health that says so."""
    broker = brokers.broker()
    server = start_server(CONFIG + f'mqtt: {{url: "{broker.url}"}}\n')
    server.wait_for_log("mqtt: connected")
    assert numbers(server)["raspi_server_mqtt_connected"] == 1
    broker.kill()
    server.wait_for_log("ended the connection|reset")
    switch(server, "lamp", 1)
    found = numbers(server)
    assert found["raspi_server_mqtt_connected"] == 0
    assert found["raspi_server_mqtt_kept_changes"] == 1
    assert found["raspi_server_mqtt_lost_changes_total"] == 0
    assert found['raspi_server_health{status="degraded"}'] == 1


def test_a_reload(start_server, tmp_path):
    """After a reload there are the pins of the new configuration and no others; numbers of those
    that stayed go on; and the page is gone when nobody wants it."""
    server = start_server(CONFIG)
    switch(server, "lamp", 1)
    file = tmp_path / "config-0.yaml"
    file.write_text(re.sub("  fan:.*\n", "", CONFIG))
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("2 pins, serving")
    found = numbers(server)
    assert found['raspi_server_pin_changes_total{pin="lamp"}'] == 1
    assert not any('pin="fan"' in name for name in found)
    file.write_text(CONFIG.replace("metrics: true", "metrics: false"))
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("3 pins, serving", again=1)
    status, code, words = ask(server, "GET", "/metrics").error
    assert (status, code) == (404, "not-found")
    assert words == "metrics are off: add metrics: true to config.yaml"


def test_who_may_look_may_read_the_numbers(tmp_path):
    """Where viewing needs a code, the numbers need one, too; Prometheus sends it along."""
    home = CodedServer(tmp_path, "{view: code}\nmetrics: true")
    assert home.ask("GET", "/metrics").error[:2] == (401, "sign-in")
    code = home.new("view")
    assert home.ask("GET", "/metrics", Authorization=f"Bearer {code}").status == 200
    assert home.ask("GET", "/metrics", Host="evil.example").status == 421
    check_end(home.server)


def test_promtool_finds_nothing_to_say(start_server):
    """Prometheus' own check of names, units and help is silent."""
    server = start_server(CONFIG)
    switch(server, "lamp", 1)
    text = ask(server, "GET", "/metrics").body
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=LIMIT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_dashboard_draws_what_there_is(start_server, brokers):
    """Every number that the dashboard for Grafana names is told, and every one of ours is drawn."""
    broker = brokers.broker()
    server = start_server(CONFIG + f'mqtt: {{url: "{broker.url}"}}\n')
    switch(server, "lamp", 1)
    told = {name.partition("{")[0] for name in numbers(server)}
    told.add("raspi_server_temperature_celsius")  # where there is a thermometer
    dashboard = json.loads(DASHBOARD.read_text())
    drawn = set(re.findall(r"\b(?:raspi_server|process)_\w+", json.dumps(dashboard)))
    assert drawn - told == set()
    ours = {name for name in told if name.startswith("raspi_server")}
    histogram = {
        f"raspi_server_edge_to_send_seconds_{part}" for part in ("sum", "count", "created")
    }
    assert ours - drawn - histogram == set()
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) and all(panel["targets"] for panel in dashboard["panels"])
