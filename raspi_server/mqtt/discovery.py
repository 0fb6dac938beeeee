"""What Home Assistant is told so that it finds a Pi by itself: one message for the whole device, in
the words of https://www.home-assistant.io/integrations/mqtt/ (device discovery)."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..messages import UNREADABLE, PinInfo, ServerInfo

_CLASSES = {
    "door": "door",
    "window": "window",
    "garage": "garage_door",
    "gate": "opening",
    "motion": "motion",
    "pir": "motion",
    "presence": "occupancy",
    "smoke": "smoke",
    "water": "moisture",
    "leak": "moisture",
    "moisture": "moisture",
    "vibration": "vibration",
    "tamper": "tamper",
}
"""A word in the name or label of an input, and the device class it means; others have none."""

_DIAGNOSTICS: dict[str, dict[str, Any]] = {
    "_temperature": {
        "name": "Temperature",
        "device_class": "temperature",
        "unit_of_measurement": "°C",
        "value_template": "{{ value_json.temperature }}",
    },
    "_load": {"name": "Load", "value_template": "{{ value_json.load }}"},
    "_memory": {
        "name": "Memory in use",
        "unit_of_measurement": "%",
        "value_template": "{{ value_json.memory and (value_json.memory * 100) | round(1) }}",
    },
    "_disk": {
        "name": "Disk in use",
        "unit_of_measurement": "%",
        "value_template": "{{ value_json.disk and (value_json.disk * 100) | round(1) }}",
    },
}
"""Sensors that read `health`. No pin's name begins so."""


def topic(prefix: str, base: str) -> str:
    """Where the device with the topics below `base` is announced."""
    return f"{prefix}/device/{_id(base)}/config"


def device(base: str, server: ServerInfo, pins: list[PinInfo]) -> dict[str, Any]:
    """The announcement."""
    id = _id(base)
    health = {
        "state_topic": f"{base}/health",
        "entity_category": "diagnostic",
        "availability_topic": f"{base}/status",
    }
    components: dict[str, dict[str, Any]] = {pin.name: _pin(base, pin) for pin in pins}
    for name, sensor in _DIAGNOSTICS.items():
        components[name] = {"platform": "sensor", "state_class": "measurement", **health, **sensor}
    components["_problem"] = {
        "platform": "binary_sensor",
        "name": "Problem",
        "device_class": "problem",
        "value_template": "{{ 'OFF' if value_json.status == 'ok' else 'ON' }}",
        "json_attributes_topic": f"{base}/health",
        "json_attributes_template": "{{ {'reasons': value_json.reasons} | tojson }}",
        **health,
    }
    for name, component in components.items():
        component["unique_id"] = f"{id}_{name}"
    return {
        "device": {
            "identifiers": [id],
            "name": server.host,
            "manufacturer": server.name,
            "model": "Simulated pins" if server.simulated else "Raspberry Pi",
            "sw_version": server.version,
        },
        "origin": {"name": server.name, "sw_version": server.version},
        "qos": 1,
        "components": components,
    }


def platforms(device: Mapping[str, Any]) -> dict[str, str]:
    """What an announcement announces: the platform of each component."""
    return {id: each["platform"] for id, each in device.get("components", {}).items()}


def components(payload: bytes) -> dict[str, str]:
    """The same of a message that the broker kept; nothing where it is not one of ours."""
    try:
        return platforms(msgspec.json.decode(payload, type=_Announced).asdict())
    except UNREADABLE:
        return {}


def without(device: dict[str, Any], gone: Mapping[str, str]) -> dict[str, Any]:
    """An announcement in which some components are taken back: nothing is left of them but their
    platform. After it they are to be left out."""
    removed = {id: {"platform": platform} for id, platform in gone.items()}
    return {**device, "components": {**device["components"], **removed}}


class _Component(msgspec.Struct):
    platform: str


class _Announced(msgspec.Struct):
    components: dict[str, _Component] = {}

    def asdict(self) -> dict[str, Any]:
        return {"components": {id: {"platform": c.platform} for id, c in self.components.items()}}


def _pin(base: str, pin: PinInfo) -> dict[str, Any]:
    """One pin. What nobody may switch is only shown; what could not be opened is unavailable."""
    where = f"{base}/pins/{pin.name}"
    lost = "{{ 'offline' if value_json.value is none else 'online' }}"
    component: dict[str, Any] = {
        "name": pin.label,
        "availability_mode": "all",
        "availability": [
            {"topic": f"{base}/status"},
            {"topic": where, "value_template": lost},
        ],
    }
    state = {"state_topic": where, "value_template": "{{ value_json.value }}"}
    two = {"payload_on": "1", "payload_off": "0"}
    orders = {"command_topic": f"{where}/set"}
    if pin.mode == "pwm" and pin.writable:
        return component | orders | {
            "platform": "light",
            "schema": "template",
            "state_topic": where,
            "state_template": "{{ 'on' if value_json.value else 'off' }}",
            "brightness_template": "{{ ((value_json.value or 0) * 255) | round | int }}",
            "command_on_template": "{{ (brightness / 255) | round(3) if brightness else 1 }}",
            "command_off_template": "0",
        }  # fmt: skip
    if pin.mode == "pwm":
        share = "{{ ((value_json.value or 0) * 100) | round }}"
        unit = {"unit_of_measurement": "%", "value_template": share}
        return component | state | {"platform": "sensor"} | unit
    if not pin.writable:
        fitting = _class(pin)
        shown = {"platform": "binary_sensor", "device_class": fitting}
        return component | state | two | (shown if fitting else {"platform": "binary_sensor"})
    if pin.pulse:
        return component | orders | {"platform": "button", "payload_press": "1"}
    return component | orders | state | two | {"platform": "switch"}


def _class(pin: PinInfo) -> str | None:
    words = re.findall(r"[a-z]+", f"{pin.name} {pin.label}".lower())
    found = (_CLASSES[word] for word in words if word in _CLASSES)
    return next(found, None) if pin.mode == "input" else None


def _id(base: str) -> str:
    """The characters that Home Assistant takes in an id."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", base)
