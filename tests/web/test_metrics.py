"""`/metrics` as Prometheus reads it, and the dashboard that draws it."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.coded_server import CodedServer
from tests.support.http import ask
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


def numbers(server: Server) -> dict[str, float]:
    """Return every number by its name and labels."""
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


def test_numbers_of_a_pin(start_server):
    """Each pin has its value, changes, seconds on and last change. Edges have their latency."""
    server = start_server(CONFIG)
    before = numbers(server)
    assert before['raspi_server_pin_value{pin="lamp"}'] == 0
    assert before['raspi_server_pin_changes_total{pin="lamp"}'] == 0
    assert 'raspi_server_pin_last_change_timestamp_seconds{pin="lamp"}' not in before
    began = time.monotonic()
    for value in (1, 0, 1):
        switch(server, "lamp", value)
    switch(server, "fan", 0.35)
    first, second = numbers(server), numbers(server)
    assert first['raspi_server_pin_value{pin="lamp"}'] == 1
    assert first['raspi_server_pin_value{pin="fan"}'] == 0.35
    assert first['raspi_server_pin_changes_total{pin="lamp"}'] == 3
    on = 'raspi_server_pin_on_seconds_total{pin="lamp"}'
    assert 0 < first[on] < second[on] < time.monotonic() - began
    assert first['raspi_server_pin_on_seconds_total{pin="door"}'] == 0
    since = ask(server, "GET", "/api/pins/lamp").json["since"]
    assert first['raspi_server_pin_last_change_timestamp_seconds{pin="lamp"}'] == since
    assert first["raspi_server_edge_to_send_seconds_count"] == 4
    assert 0 < first["raspi_server_edge_to_send_seconds_sum"] < LIMIT
    assert first['raspi_server_pin_up{pin="door"}'] == 1


def test_viewers_and_frames(start_server):
    """Viewers are counted, and the frames that are sent to them."""
    server = start_server(CONFIG)
    assert numbers(server)["raspi_server_frames_sent_total"] == 0
    with WebSocketClient(server.port) as viewer:
        viewer.receive("state")
        found = numbers(server)
    assert found["raspi_server_viewers"] == 1
    assert found["raspi_server_frames_sent_total"] >= 1
    assert found["raspi_server_frames_skipped_total"] == 0


def test_a_viewer_that_does_not_read_skips_frames(start_server):
    """States that are skipped for a slow viewer are counted."""
    server = start_server("interval: 0.01\n" + CONFIG)
    with (
        WebSocketClient(server.port, receive_buffer=2048),
        WebSocketClient(server.port) as attentive,
    ):
        for _ in attentive.messages():
            if numbers(server)["raspi_server_frames_skipped_total"]:
                break


def test_health_and_heartbeat(start_server):
    """Health and heartbeat have numbers. The broker has none if it is not configured."""
    server = start_server(CONFIG)
    found = numbers(server)
    assert found['raspi_server_health{status="ok"}'] == 1
    assert found['raspi_server_health{status="degraded"}'] == 0
    assert found["raspi_server_heartbeat_up"] == found["raspi_server_watchdog_fed"] == 1
    assert found["raspi_server_gpio_errors_total"] == 0
    assert not any(name.startswith("raspi_server_mqtt") for name in found)


def test_unreachable_broker(start_server, brokers):
    """The numbers show an unreachable broker, the changes that wait for it, and the health."""
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


def test_reload(start_server, tmp_path):
    """After a reload the pins of the new configuration are shown. Counts of pins that stayed go on.
    `/metrics` is gone when it is switched off."""
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


def test_metrics_need_the_right_to_view(tmp_path):
    """If viewing needs a code, the metrics need it, too. Prometheus sends it as `Bearer`."""
    coded = CodedServer(tmp_path, "{view: code}\nmetrics: true")
    assert coded.ask("GET", "/metrics").error[:2] == (401, "sign-in")
    code = coded.new("view")
    assert coded.ask("GET", "/metrics", Authorization=f"Bearer {code}").status == 200
    assert coded.ask("GET", "/metrics", Host="evil.example").status == 421
    check_end(coded.server)


def test_promtool_accepts_the_metrics(start_server):
    """Prometheus' own check of names, units and help texts finds nothing."""
    server = start_server(CONFIG)
    switch(server, "lamp", 1)
    text = ask(server, "GET", "/metrics").body
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=LIMIT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_grafana_dashboard_draws_all_metrics(start_server, brokers):
    """Every number that the dashboard for Grafana names exists, and it draws every one of ours."""
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
