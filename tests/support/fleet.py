"""Many fake Pis at a broker: one client publishes what they would."""

import json
import time
from collections.abc import Iterable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.mqtt import Mosquitto
from tests.support.server import LIMIT

BEGAN = time.time() - 7200


def pin(name: str, **more: Any) -> dict[str, Any]:
    """Return a pin as in `describe`."""
    plain = {"name": name, "label": name, "gpio": 4, "header": 7, "mode": "input", "value": 0}
    control = None if more.get("mode", "input") == "input" else "everyone"
    return {**plain, "since": BEGAN, "writable": False, "control": control, **more}


def description(host: str, pins: Iterable[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the description of a Pi."""
    server = {"name": "raspi-server", "version": "0.1.0", "host": host}
    server |= {"simulated": False, "notices": []}
    return {"time": BEGAN, "server": server, "url": None, "pins": list(pins), **more}


class FakePis:
    """Client that publishes as many Pis."""

    def __init__(self, broker: Mosquitto, **account: str) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.max_queued_messages_set(0)
        self._client.max_inflight_messages_set(1000)
        if account:
            self._client.username_pw_set(**account)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def publish(self, topic: str, payload: Any, retain: bool = True) -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._client.publish(topic, data, 1, retain)

    def describe(
        self, topic: str, host: str, pins: list[dict[str, Any]], online: bool = True, **more: Any
    ) -> None:
        """Publish all that a Pi publishes when it connects."""
        self.publish(f"{topic}/describe", description(host, pins, **more))
        for each in pins:
            self.publish(f"{topic}/pins/{each['name']}", state(each["value"], each["since"]))
        self.publish(f"{topic}/status", b"online" if online else b"offline")

    def flush(self) -> None:
        """Wait until the broker has all messages."""
        self._client.publish("flush", b"", 1).wait_for_publish(LIMIT)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def state(value: float | None, moment: float | None = None) -> dict[str, Any]:
    """Return a state as in `pins/NAME`."""
    return {"value": value, "time": time.time() if moment is None else moment}
