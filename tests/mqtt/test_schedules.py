"""Schedules at a real broker: their states, commands to them, and their entities."""

import itertools
import os
import re
import signal
import time
from datetime import datetime

import pytest

from tests.mqtt.test_discovery import DISCOVERY, TOPIC, announced, check, rendered
from tests.support.http import ask
from tests.support.mqtt import CONTROL, config, reload, value_of
from tests.support.server import changing, clock_from, clock_is

SCHEDULES = """
schedules:
  all-day: {pin: lamp, from: 00:00, to: 24:00}
  garden_night: {pin: heater, from: 01:00, to: 02:00}
  everything: {at: 23:00, turn_off: [lamp, fan]}
"""
NAMES = ("all-day", "garden_night", "everything")


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, "STATE_DIRECTORY": str(tmp_path)}


def schedule(server, name):
    """Return a schedule as the API has it."""
    found = ask(server, "GET", "/api/schedules").json["schedules"]
    return next(each for each in found if each["name"] == name)


def test_states_and_commands(brokers, start_server):
    """Each schedule has a retained state. 0 pauses it and 1 lets it act again, if clients of the
    broker may switch all of its pins. What people do on the page is published, too."""
    broker = brokers.broker()
    server = start_server(config(broker.url, CONTROL) + SCHEDULES, program=changing(clock_is(True)))
    brokers.subscriber(broker, "house/pi/health").last("house/pi/health")
    found = brokers.subscriber(broker, "house/pi/#")
    for name in NAMES:
        state, known = found.last(f"house/pi/schedules/{name}"), schedule(server, name)
        assert state.retained
        assert state.json == {
            "value": 1, "until": known["until"], "next": known["next"]["begin"],
        }  # fmt: skip
    assert found.last("house/pi/schedules/all-day").json["until"] > time.time()
    assert found.last("house/pi/pins/lamp").json["value"] == 1

    def command(name, payload, **options):
        """Send a command to a schedule; return its answer."""
        topic = f"house/pi/schedules/{name}/result"
        before = sum(each.topic == topic for each in found.messages)
        found.publish(f"house/pi/schedules/{name}/set", payload, **options)
        return found.wait_for_topic(topic, before + 1)[before].json

    day = "house/pi/schedules/all-day"
    assert command("all-day", {"value": 0, "ref": 7}) == {
        "type": "result", "ref": 7, "schedule": "all-day", "value": 0,
    }  # fmt: skip
    paused = {"value": 0, "until": None, "next": None}
    found.wait_for(lambda each: each.topic == day and each.json == paused)
    found.wait_for_value("house/pi/pins/lamp", 0)
    server.wait_for_log("schedule all-day: paused, by mqtt")
    assert schedule(server, "all-day")["paused"]
    for payload, value in ((b"ON", 1), (b"off", 0), (1, 1)):
        assert command("all-day", payload)["value"] == value
    assert value_of(server, "lamp") == 1
    assert ask(server, "POST", "/api/schedules/all-day/pause").status == 200
    found.wait_for(lambda each: each.topic == day and each.json == paused, 3)
    for name, payload, code, words in (
        ("garden_night", 0, "not-allowed", "nobody may switch Window heater"),
        ("cellar", 0, "not-found", "there is no schedule 'cellar'"),
        ("all-day", 0.5, "bad-value", "all-day: expected 1 (it acts) or 0 (it is paused)"),
        ("all-day", {"value": 1, "seconds": 60}, "bad-value", "all-day: expected 1"),
        ("all-day", {"type": "toggle"}, "bad-value", "all-day: expected 1"),
        ("all-day", b"\xff", "bad-message", "expected a number, ON, OFF or an object without"),
    ):
        answer = command(name, payload)
        assert (answer["type"], answer["code"]) == ("error", code)
        assert answer["message"].startswith(words)
    retained = command("all-day", 1, retain=True)
    assert "without the retain flag" in retained["message"]
    assert schedule(server, "all-day")["paused"]
    assert not schedule(server, "garden_night")["paused"]


def test_no_commands_without_control(brokers, start_server):
    """Without `control: true` a command to a schedule does nothing, and has no answer."""
    broker = brokers.broker()
    text = config(broker.url, DISCOVERY) + SCHEDULES
    server = start_server(text, program=changing(clock_is(True)))
    found = brokers.subscriber(broker, "#")
    components = found.last(TOPIC).json["components"]
    assert components["_schedule_all-day"]["platform"] == "binary_sensor"
    assert "command_topic" not in components["_schedule_all-day"]
    found.publish("house/pi/schedules/all-day/set", 0)
    reload(server, text + "interval: 1\n")
    found.wait_for_topic("house/pi/describe", 2)
    assert not schedule(server, "all-day")["paused"]
    assert not [each for each in found.messages if each.topic.endswith("/result")]


def test_time_passes(brokers, start_server, tmp_path):
    """A state is published when the window begins and when it ends, and not in between. While the
    clock is not known nothing is next."""
    broker, file = brokers.broker(), tmp_path / "time"
    noon = datetime(2030, 7, 1, 12).timestamp()
    file.write_text(f"{noon - 3600}")
    text = config(broker.url) + "schedules: {lunch: {pin: lamp, from: 12:00, to: 13:00}}\n"
    program = changing(clock_is(False), clock_from(file), automation_check_interval_s=0.02)
    server = start_server(text, program=program)
    found = brokers.subscriber(broker, "house/pi/schedules/+", "house/pi/pins/lamp")
    lunch = "house/pi/schedules/lunch"
    assert found.last(lunch).json == {"value": 1, "until": None, "next": None}
    assert ask(server, "POST", "/api/clock/trust").status == 200
    for now in (noon + 1, noon + 1801, noon + 3601):
        edited = tmp_path / "edited"
        edited.write_text(f"{now}")
        edited.replace(file)
        found.wait_for_value("house/pi/pins/lamp", now < noon + 3600)
    day, hour = 86400, 3600
    ended = {"value": 1, "until": None, "next": noon + day}
    found.wait_for(lambda each: each.topic == lunch and each.json == ended)
    states = [each.json for each in found.messages if each.topic == lunch]
    # Once the time is known, all is described again.
    assert [state for state, _ in itertools.groupby(states)] == [
        {"value": 1, "until": None, "next": None},
        {"value": 1, "until": None, "next": noon},
        {"value": 1, "until": noon + hour, "next": noon + day},
        ended,
    ]
    assert len(states) <= 5


def test_entities(brokers, start_server, environment):
    """A schedule is a switch, or a binary sensor if nobody may pause it, and a sensor of its next
    time. They come and go with it: at a reload, and over a restart."""
    broker = brokers.broker()
    found = brokers.subscriber(broker, "#")
    program = changing(clock_is(True))
    text = config(broker.url, DISCOVERY + CONTROL)
    server = start_server(text, program=program, env=environment)
    assert not any("schedule" in each for each in found.last(TOPIC).json["components"])
    assert not any("schedules" in each.topic for each in found.messages)
    reload(server, text + SCHEDULES)
    message = found.wait_for(lambda each: "_next_everything" in announced(each))[0]
    platforms = check(message.json)
    assert {name: each for name, each in platforms.items() if "_schedule_" in name} == {
        "_schedule_all-day": "switch", "_schedule_garden_night": "binary_sensor",
        "_schedule_everything": "switch",
    }  # fmt: skip
    components = announced(message)
    night, coming = components["_schedule_garden_night"], components["_next_garden_night"]
    assert (night["name"], coming["name"]) == (
        *("Schedule garden night", "Schedule garden night next time"),
    )
    assert coming["device_class"] == "timestamp"
    state = found.last("house/pi/schedules/garden_night")
    assert rendered(night["value_template"], state.payload) == "1"
    shown = datetime.fromisoformat(rendered(coming["value_template"], state.payload))
    assert shown.timestamp() == state.json["next"]
    for payload in (b"", b'{"value":0,"until":null,"next":null}'):
        assert rendered(coming["value_template"], payload) == "None"
    day = components["_schedule_all-day"]
    assert day["entity_category"] == "config"
    found.publish(day["command_topic"], day["payload_off"].encode())
    found.wait_for_value(day["state_topic"], 0)

    reload(server, text + re.sub("  everything:.*\n", "", SCHEDULES))
    found.wait_for(lambda each: announced(each).get("_next_everything") == {"platform": "sensor"})
    found.wait_for_payload("house/pi/schedules/everything", b"")
    server.stop(signal.SIGKILL)
    server.reload(text)
    found.messages.clear()
    server.restart()
    removal, present = found.wait_for(announced, 2)
    for name, platform in (("all-day", "switch"), ("garden_night", "binary_sensor")):
        assert announced(removal)[f"_schedule_{name}"] == {"platform": platform}
        found.wait_for_payload(f"house/pi/schedules/{name}", b"")
    assert not any("_schedule_" in each for each in announced(present))


def test_large_announcement(brokers, start_server, environment):
    """An announcement that is too large to come back from the broker leaves no ghosts either."""
    broker = brokers.broker()
    found = brokers.subscriber(broker, TOPIC)
    text = config(broker.url, DISCOVERY + CONTROL)
    program = changing(clock_is(True), mqtt_max_packet_bytes=4000)
    server = start_server(text + SCHEDULES, program=program, env=environment)
    assert len(found.last(TOPIC).payload) > 4000
    server.stop()
    server.reload(text)
    server.restart()
    removal = found.wait_for(announced, 2)[1]
    assert announced(removal)["_schedule_all-day"] == {"platform": "switch"}
    assert announced(removal)["_next_all-day"] == {"platform": "sensor"}
