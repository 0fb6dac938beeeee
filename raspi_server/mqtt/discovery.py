"""Announcement of a Pi to Home Assistant, as one message for the whole device.

Its form is described at https://www.home-assistant.io/integrations/mqtt/ (device discovery)."""

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
"""Device class by a word in the name or label of an input. Other inputs have none."""

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
"""Sensors that read `health`. No pin's name begins with `_`."""


def topic(prefix: str, base: str) -> str:
    """Return the topic that announces the device with the topics below `base`."""
    return f"{prefix}/device/{_id(base)}/config"


def device(base: str, server: ServerInfo, pins: list[PinInfo]) -> dict[str, Any]:
    """Return the announcement of the device with the topics below `base`."""
    device_id = _id(base)
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
        component["unique_id"] = f"{device_id}_{name}"
    return {
        "device": {
            "identifiers": [device_id],
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
    """Return the platform of each component in an announcement."""
    return {name: each["platform"] for name, each in device.get("components", {}).items()}


def components(payload: bytes) -> dict[str, str]:
    """Return the platform of each component in a retained message, or {} if it is not ours."""
    try:
        return platforms(msgspec.json.decode(payload, type=_Announced).asdict())
    except UNREADABLE:
        return {}


def without(device: dict[str, Any], removed: Mapping[str, str]) -> dict[str, Any]:
    """Return an announcement that removes components.

    `removed` has the platform of each, and nothing else is announced of it. The next announcement
    leaves it out."""
    emptied = {name: {"platform": platform} for name, platform in removed.items()}
    return {**device, "components": {**device["components"], **emptied}}


class _Component(msgspec.Struct):
    platform: str


class _Announced(msgspec.Struct):
    components: dict[str, _Component] = {}

    def asdict(self) -> dict[str, Any]:
        platforms = {name: {"platform": each.platform} for name, each in self.components.items()}
        return {"components": platforms}


def _pin(base: str, pin: PinInfo) -> dict[str, Any]:
    """Return the component of a pin.

    It is a sensor if the pin may not be switched, and unavailable while the pin cannot be
    opened."""
    topic = f"{base}/pins/{pin.name}"
    is_open = "{{ 'offline' if value_json.value is none else 'online' }}"
    component: dict[str, Any] = {
        "name": pin.label,
        "availability_mode": "all",
        "availability": [
            {"topic": f"{base}/status"},
            {"topic": topic, "value_template": is_open},
        ],
    }
    state = {"state_topic": topic, "value_template": "{{ value_json.value }}"}
    binary = {"payload_on": "1", "payload_off": "0"}
    commands = {"command_topic": f"{topic}/set"}
    if pin.mode == "pwm" and pin.writable:
        return component | commands | {
            "platform": "light",
            "schema": "template",
            "state_topic": topic,
            "state_template": "{{ 'on' if value_json.value else 'off' }}",
            "brightness_template": "{{ ((value_json.value or 0) * 255) | round | int }}",
            "command_on_template": "{{ (brightness / 255) | round(3) if brightness else 1 }}",
            "command_off_template": "0",
        }  # fmt: skip
    if pin.mode == "pwm":
        percent = "{{ ((value_json.value or 0) * 100) | round }}"
        unit = {"unit_of_measurement": "%", "value_template": percent}
        return component | state | {"platform": "sensor"} | unit
    if not pin.writable:
        sensor = {"platform": "binary_sensor"}
        device_class = _device_class(pin)
        if device_class:
            sensor["device_class"] = device_class
        return component | state | binary | sensor
    if pin.pulse:
        return component | commands | {"platform": "button", "payload_press": "1"}
    return component | commands | state | binary | {"platform": "switch"}


def _device_class(pin: PinInfo) -> str | None:
    """Return the device class of an input, None if no word of it implies one."""
    words = re.findall(r"[a-z]+", f"{pin.name} {pin.label}".lower())
    found = (_CLASSES[word] for word in words if word in _CLASSES)
    return next(found, None) if pin.mode == "input" else None


def _id(base: str) -> str:
    """Return an id with only the characters that Home Assistant accepts."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", base)
