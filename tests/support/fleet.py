"""Fake Pis at a broker, and a viewer of the fleet."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from tests.support.http import ask
from tests.support.mqtt import Client
from tests.support.server import LIMIT, Server
from tests.support.websocket import WebSocketClient

BEGAN = time.time() - 7200
COVER_NEWS = ("state", "position", "since", "problem", "problem_reason", "problem_values")
"""What news tell of a cover."""


def pin(name: str, **more: Any) -> dict[str, Any]:
    """Return a pin as in `describe`."""
    plain = {"name": name, "label": name, "gpio": 4, "header": 7, "mode": "input", "value": 0}
    control = None if more.get("mode", "input") == "input" else "everyone"
    return {**plain, "since": BEGAN, "writable": False, "control": control, **more}


def cover(name: str, **more: Any) -> dict[str, Any]:
    """Return a cover as in `describe`."""
    plain = {"name": name, "label": name, "kind": "garage_door", "room": None, "icon": None}
    plain |= {"hidden": False, "state": "closed", "position": None, "goal": None, "problem": None}
    plain |= {"problem_reason": None, "problem_values": {}, "since": BEGAN, "writable": True}
    plain |= {"confirm": False, "control": "everyone", "has_position": False, "can_stop": False}
    return {**plain, "pins": [], **more}


def description(host: str, pins: Iterable[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the description of a Pi."""
    server = {"name": "raspi-server", "version": "0.1.0", "host": host}
    server |= {"simulated": False, "notices": []}
    return {"time": BEGAN, "server": server, "url": None, "pins": list(pins), **more}


class FakePis(Client):
    """Client that publishes what many Pis would."""

    def publish(self, topic: str, payload: Any, retain: bool = True, **options: Any) -> None:
        """Publish a message, by default a retained one, and wait for nothing."""
        self.send(topic, payload, retain, **options)

    def describe(
        self, topic: str, host: str, pins: list[dict[str, Any]], online: bool = True, **more: Any
    ) -> None:
        """Publish all that a Pi publishes when it connects."""
        self.publish(f"{topic}/describe", description(host, pins, **more))
        for each in pins:
            self.publish(f"{topic}/pins/{each['name']}", state(each["value"], each["since"]))
        for each in more.get("covers", ()):
            keys = ("state", "position", "problem", "problem_reason", "problem_values")
            own = {key: each[key] for key in keys}
            self.publish(f"{topic}/covers/{each['name']}", {**own, "time": each["since"]})
        self.publish(f"{topic}/status", b"online" if online else b"offline")

    def flush(self) -> None:
        """Wait until the broker has all messages."""
        self.send("flush", b"").wait_for_publish(LIMIT)


def state(value: float | None, moment: float | None = None) -> dict[str, Any]:
    """Return a state as in `pins/NAME`."""
    return {"value": value, "time": time.time() if moment is None else moment}


def cover_state(
    state: str,
    moment: float | None = None,
    position: int | None = None,
    problem: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return a state as in `covers/NAME`."""
    when = time.time() if moment is None else moment
    return {"state": state, "position": position, "problem": problem, "time": when, **more}


class FleetViewer(WebSocketClient):
    """Viewer of the fleet that works like the page: first the whole fleet, then the news."""

    def __init__(self, server: Server, **headers: str) -> None:
        super().__init__(server.port, path="/fleet/ws", headers=headers)
        self.hello = self.receive("hello")
        whole = ask(server, "GET", "/api/fleet", **headers).json
        self.seq, self.broker = whole["seq"], whole["broker"]
        self.pis = {pi["topic"]: pi for pi in whole["pis"]}
        self.answers: list[dict[str, Any]] = []

    def apply_next(self) -> dict[str, Any]:
        """Receive the next message and apply it."""
        message = self.receive()
        if message["type"] == "hello":
            self.hello = message
        elif message["type"] == "broker":
            self.broker = {key: message[key] for key in ("connected", "error")}
        elif message["type"] in ("result", "error"):
            self.answers.append(message)
        elif message["type"] == "news" and message["seq"] > self.seq:
            assert message["seq"] == self.seq + 1
            self.seq = message["seq"]
            for topic in message.get("removed", []):
                del self.pis[topic]
            self.pis |= {pi["topic"]: pi for pi in message.get("pis", [])}
            for topic, pins in message.get("pins", {}).items():
                for name, (value, since) in pins.items():
                    self.pin(topic, name).update(value=value, since=since)
            for topic, covers in message.get("covers", {}).items():
                for name, found in covers.items():
                    self.cover(topic, name).update(zip(COVER_NEWS, found, strict=True))
        return message

    def wait_until(self, what: Callable[[], Any]) -> None:
        """Receive messages until something is true."""
        until = time.monotonic() + LIMIT
        while not what():
            assert time.monotonic() < until, f"it never was so: {self.broker}, {self.pis}"
            self.apply_next()

    def wait_for(self, *topics: str) -> None:
        """Wait until these Pis are shown."""
        self.wait_until(lambda: self.pis.keys() >= {*topics})

    def wait_for_value(self, topic: str, name: str, value: float) -> None:
        """Wait until a pin is shown with this value."""
        self.wait_until(lambda: topic in self.pis and self.pin(topic, name)["value"] == value)

    def wait_for_host(self, topic: str, host: str) -> None:
        """Wait until a Pi is shown with this host."""
        self.wait_until(lambda: topic in self.pis and self.pis[topic]["host"] == host)

    def pin(self, topic: str, name: str) -> dict[str, Any]:
        return next(pin for pin in self.pis[topic]["pins"] if pin["name"] == name)

    def cover(self, topic: str, name: str) -> dict[str, Any]:
        return next(each for each in self.pis[topic]["covers"] if each["name"] == name)

    def wait_for_state(self, topic: str, name: str, state: str) -> None:
        """Wait until a cover is shown with this state."""
        self.wait_until(lambda: topic in self.pis and self.cover(topic, name)["state"] == state)

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and return its answer."""
        count = len(self.answers)
        self.send(**command)
        self.wait_until(lambda: len(self.answers) > count)
        return self.answers[-1]

    def switch(self, topic: str, name: str, value: float, **more: Any) -> dict[str, Any]:
        """Set a pin and return the answer."""
        return self.ask(type="set", pi=topic, pin=name, value=value, **more)

    def move(self, kind: str, topic: str, name: str, **more: Any) -> dict[str, Any]:
        """Send a command to a cover and return the answer."""
        return self.ask(type=kind, pi=topic, cover=name, **more)

    def error_of(self, topic: str, name: str, **command: Any) -> tuple[str, str]:
        """Send a command, by default to set the pin to 1; return code and message of its error."""
        answer = self.ask(**{"type": "set", "value": 1, "pi": topic, "pin": name, **command})
        assert answer["type"] == "error", answer
        return answer["code"], answer["message"]
