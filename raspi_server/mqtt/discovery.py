"""Announcement of a Pi to Home Assistant, as one message for the whole device.

Its form is described at https://www.home-assistant.io/integrations/mqtt/ (device discovery)."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..config import schema
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

_SENSORS: dict[str, dict[str, Any]] = {
    "_temperature": {
        "name": "Temperature",
        "device_class": "temperature",
        "unit_of_measurement": "°C",
        "value_template": "{{ value_json.temperature if value_json is defined else none }}",
    },
    "_load": {
        "name": "Load",
        "value_template": "{{ value_json.load if value_json is defined else none }}",
    },
    "_memory": {
        "name": "Memory in use",
        "unit_of_measurement": "%",
        "value_template": "{{ (value_json.memory * 100) | round(1)"
        " if value_json is defined and value_json.memory is number else none }}",
    },
    "_disk": {
        "name": "Disk in use",
        "unit_of_measurement": "%",
        "value_template": "{{ (value_json.disk * 100) | round(1)"
        " if value_json is defined and value_json.disk is number else none }}",
    },
    "_uptime": {
        "name": "Uptime",
        "device_class": "duration",
        "unit_of_measurement": "h",
        "value_template": "{{ (value_json.uptime / 3600) | round(1)"
        " if value_json is defined and value_json.uptime is number else none }}",
    },
}
_PROBLEMS: dict[str, dict[str, Any]] = {
    "_problem": {
        "name": "Problem",
        "value_template": "{{ none if value_json is not defined"
        " else 'OFF' if value_json.status == 'ok' else 'ON' }}",
        "json_attributes_template": "{{ {'reasons': value_json.reasons"
        " if value_json is defined else []} | tojson }}",
    },
    "_under_voltage": {
        "name": "Under-voltage",
        "value_template": "{{ none if value_json is not defined or value_json.throttled is none"
        " else 'ON' if 'under-voltage now' in value_json.throttled else 'OFF' }}",
        "json_attributes_template": "{{ {'reasons': value_json.throttled or []"
        " if value_json is defined else []} | tojson }}",
    },
}
"""Sensors that read `health`. No pin's name begins with `_`.

The payload may be empty: a removed Pi leaves that. Then `value_json` is not defined."""

_COMPONENT = re.compile(rf"_?{schema.NAME}")
_PLATFORMS = {"binary_sensor", "button", "light", "sensor", "switch"}
_VALUE = "{{ value_json.value if value_json is defined else none }}"
_IS_OPEN = "value_json is defined and value_json.value is number"
_SEPARATOR = r"[\s_.-]+"


def topic(prefix: str, base: str) -> str:
    """Return the topic that announces the device with the topics below `base`."""
    return f"{prefix}/device/{_id(base)}/config"


def birth_topics(prefix: str) -> list[str]:
    """Return the topics at which Home Assistant may say that it has started.

    Its default is homeassistant/status, whatever the prefix."""
    return sorted({"homeassistant/status", f"{prefix}/status"})


def device(
    base: str, server: ServerInfo, pins: list[PinInfo], url: str | None, model: str
) -> dict[str, Any]:
    """Return the announcement of the device with the topics below `base`."""
    device_id = _id(base)
    health = {
        "state_topic": f"{base}/health",
        "entity_category": "diagnostic",
        "availability_topic": f"{base}/status",
    }
    components = {pin.name: _pin(base, server.host, pin) for pin in pins}
    for name, sensor in _SENSORS.items():
        components[name] = {"platform": "sensor", "state_class": "measurement", **health, **sensor}
    for name, problem in _PROBLEMS.items():
        components[name] = {
            "platform": "binary_sensor",
            "device_class": "problem",
            "json_attributes_topic": f"{base}/health",
            **health,
            **problem,
        }
    for name, component in components.items():
        component["unique_id"] = f"{device_id}_{name}"
        component["default_entity_id"] = f"{component['platform']}.{_object_id(base, name)}"
    about = {
        "identifiers": [device_id],
        "name": server.host,
        "manufacturer": server.name,
        "model": model,
        "sw_version": server.version,
    }
    if url:
        about["configuration_url"] = url
    return {
        "device": about,
        "origin": {"name": server.name, "sw_version": server.version},
        "qos": 1,
        "components": components,
    }


def platforms(device: Mapping[str, Any]) -> dict[str, str]:
    """Return the platform of each component in an announcement."""
    return {name: each["platform"] for name, each in device.get("components", {}).items()}


def components(payload: bytes) -> dict[str, str]:
    """Return the platform of each component in a retained message, as far as they may be ours."""
    try:
        found = msgspec.json.decode(payload, type=_Announced).components
    except UNREADABLE:
        return {}
    return {
        name: each.platform
        for name, each in found.items()
        if each.platform in _PLATFORMS and _COMPONENT.fullmatch(name)
    }


def steps(before: Mapping[str, str], device: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the announcements that lead from the platforms in `before` to a device.

    Home Assistant removes a component of which nothing but its platform is announced, and it
    keeps one that is just missing. So those that are gone, or have another platform now, are
    removed by a first announcement. It has nothing new."""
    now = platforms(device)
    gone = {name: platform for name, platform in before.items() if now.get(name) != platform}
    if not gone:
        return [device]
    kept = {name: each for name, each in device["components"].items() if name in before}
    removed = {name: {"platform": platform} for name, platform in gone.items()}
    return [{**device, "components": kept | removed}, device]


class _Component(msgspec.Struct):
    platform: str


class _Announced(msgspec.Struct):
    components: dict[str, _Component] = {}


def _pin(base: str, host: str, pin: PinInfo) -> dict[str, Any]:
    """Return the component of a pin.

    It is a sensor if the pin may not be switched, and unavailable while the pin cannot be
    opened."""
    topic = f"{base}/pins/{pin.name}"
    component: dict[str, Any] = {
        "name": _name(pin.label, host),
        "availability_mode": "all",
        "availability": [
            {"topic": f"{base}/status"},
            {
                "topic": topic,
                "value_template": f"{{{{ 'online' if {_IS_OPEN} else 'offline' }}}}",
            },
        ],
    }
    state = {"state_topic": topic, "value_template": _VALUE}
    binary = {"payload_on": "1", "payload_off": "0"}
    commands = {"command_topic": f"{topic}/set"}
    if pin.mode == "pwm" and pin.writable:
        return component | commands | binary | {
            "platform": "light",
            "state_topic": topic,
            "state_value_template": f"{{{{ (1 if value_json.value else 0) if {_IS_OPEN} }}}}",
            "brightness_state_topic": topic,
            "brightness_value_template":
                f"{{{{ (value_json.value * 255) | round | int if {_IS_OPEN} else 0 }}}}",
            "brightness_command_topic": f"{topic}/set",
            "brightness_command_template": "{{ (value / 255) | round(3) }}",
            # Switched on without a brightness, a light gets the one that it had last.
            "on_command_type": "brightness",
        }  # fmt: skip
    if pin.mode == "pwm":
        percent = f"{{{{ (value_json.value * 100) | round if {_IS_OPEN} else none }}}}"
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


def _name(label: str, host: str) -> str | None:
    """Return the name of an entity, None if that of the device says it all.

    Home Assistant shows the host's name before it. A label that begins with it loses it."""
    words = _SEPARATOR.join(map(re.escape, re.split(_SEPARATOR, host)))
    repeated = re.match(rf"{words}(?:[\s_.:-]+|$)", label, re.IGNORECASE)
    return label[repeated.end() :] or None if repeated else label


def _device_class(pin: PinInfo) -> str | None:
    """Return the device class of an input, None if no word of it implies one."""
    words = re.findall(r"[a-z]+", f"{pin.name} {pin.label}".lower())
    found = (_CLASSES[word] for word in words if word in _CLASSES)
    return next(found, None) if pin.mode == "input" else None


def _id(base: str) -> str:
    """Return an id with only the characters that Home Assistant accepts."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", base)


def _object_id(base: str, name: str) -> str:
    """Return the second part of an entity's id. It has the pin's name, not its label.

    So a pin with the label of one that was removed does not get `_2`."""
    own = base.partition("/")[2] or base
    return re.sub(r"[^a-z0-9]+", "_", f"{own}_{name}".lower()).strip("_")
