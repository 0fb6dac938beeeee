"""Announcement of a Pi to Home Assistant, as one message for the whole device.

Its form is described at https://www.home-assistant.io/integrations/mqtt/ (device discovery)."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..config import schema
from ..messages import UNREADABLE, CoverInfo, PinInfo, ScheduleInfo, ServerInfo

_CLASSES = {"gate": "opening", "button": None}
"""Device classes of inputs where Home Assistant has none with the name of the kind."""
_READ_CLASSES = {"lock": "lock", "valve": "opening", "fan": "running", "pump": "running"}
"""Device classes of outputs that may not be switched, by kind. The others have none."""
_COVER_CLASSES = {"garage_door": "garage"}
"""Device classes of covers where Home Assistant's name is not that of the kind."""
_KIND_ICONS = {
    "bell": "bell",
    "button": "button",
    "fan": "fan",
    "garage_door": "door-garage",
    "gate": "gate",
    "heater": "heater",
    "light": "bulb",
    "lock": "lock",
    "outlet": "plug",
    "pump": "pump",
    "siren": "siren",
    "valve": "valve",
}
"""Our icons of kinds, where neither the platform nor a device class has one."""
_PLATFORMS_WITH_ICONS = {"fan", "light", "lock", "siren", "valve"}
_ICONS: dict[str, str] = {
    "bolt": "lightning-bolt",
    "bulb": "lightbulb",
    "button": "gesture-tap-button",
    "camera": "cctv",
    "cold": "snowflake",
    "door-garage": "garage",
    "droplets": "water",
    "flame": "fire",
    "fumes": "molecule-co",
    "garden": "flower",
    "gas": "gas-cylinder",
    "heater": "radiator",
    "house": "home",
    "motion": "motion-sensor",
    "oven": "stove",
    "person": "account",
    "pet": "paw",
    "plug": "power-plug",
    "running": "cog",
    "siren": "alarm-light",
    "smoke": "smoke-detector",
    "snow": "snowflake",
    "sound": "volume-high",
    "sun": "white-balance-sunny",
    "switch": "toggle-switch-variant",
    "tv": "television",
    "vibration": "vibrate",
    "warning": "alert",
    "window": "window-closed",
}
"""Names of our icons at Home Assistant, after `mdi:`, where they differ."""

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

_COMPONENT = re.compile(rf"(_|_schedule_|_next_)?{schema.NAME}")
_PLATFORMS = {
    "binary_sensor", "button", "cover", "fan", "light", "lock", "number", "sensor", "siren",
    "switch", "valve",
}  # fmt: skip
_VALUE = "{{ value_json.value if value_json is defined else none }}"
_IS_OPEN = "value_json is defined and value_json.value is number"
_IS_ON = f"{{{{ (1 if value_json.value else 0) if {_IS_OPEN} }}}}"
_PERCENT = f"{{{{ (value_json.value * 100) | round | int if {_IS_OPEN} else none }}}}"
_OF_PERCENT = "{{ (value / 100) | round(3) }}"
_BINARY = {"payload_on": "1", "payload_off": "0"}
_SEPARATOR = r"[\s_.-]+"


def topic(prefix: str, base: str) -> str:
    """Return the topic that announces the device with the topics below `base`."""
    return f"{prefix}/device/{_id(base)}/config"


def birth_topics(prefix: str) -> list[str]:
    """Return the topics at which Home Assistant may say that it has started.

    Its default is homeassistant/status, whatever the prefix."""
    return sorted({"homeassistant/status", f"{prefix}/status"})


def device(
    base: str,
    server: ServerInfo,
    pins: list[PinInfo],
    covers: list[CoverInfo],
    schedules: list[ScheduleInfo],
    url: str | None,
    model: str,
) -> dict[str, Any]:
    """Return the announcement of the device with the topics below `base`.

    The outputs of covers are not in it: they are switched with their cover only."""
    device_id = _id(base)
    health = {
        "state_topic": f"{base}/health",
        "entity_category": "diagnostic",
        "availability_topic": f"{base}/status",
    }
    shown = [pin for pin in pins if not (pin.cover and pin.mode != "input")]
    components = {pin.name: _pin(base, server.host, pin) for pin in shown}
    for cover in covers:
        components[cover.name] = _cover(base, server.host, cover)
    for schedule in schedules:
        components[f"_schedule_{schedule.name}"] = _schedule(base, schedule)
        components[f"_next_{schedule.name}"] = _next_time(base, schedule)
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
    """Return the component of a pin, which is unavailable while the pin cannot be opened.

    That of a hidden pin is disabled, until it is enabled in Home Assistant."""
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
    if pin.hidden:
        component["enabled_by_default"] = False
    if pin.cover:  # a contact: the cover itself says what people want to know
        component["entity_category"] = "diagnostic"
    if not pin.writable:
        component |= _sensor(topic, pin)
    elif pin.pulse:
        component |= {
            "platform": "button",
            "command_topic": f"{topic}/set",
            "payload_press": "1",
        }
    else:
        component |= _dimmed(topic, pin) if pin.mode == "pwm" else _switched(topic, pin)
    has_icon = component["platform"] in _PLATFORMS_WITH_ICONS or "device_class" in component
    icon = pin.icon or (None if has_icon else _KIND_ICONS.get(pin.kind or ""))
    if icon:
        component["icon"] = f"mdi:{_ICONS.get(icon, icon)}"
    return component


def _sensor(topic: str, pin: PinInfo) -> dict[str, Any]:
    """Return what is special about a pin that may not be switched."""
    if pin.mode == "pwm":
        unit = {"unit_of_measurement": "%", "value_template": _PERCENT}
        return {"platform": "sensor", "state_topic": topic, **unit}
    sensor = {"platform": "binary_sensor", "state_topic": topic, "value_template": _VALUE}
    kind = pin.kind or ""
    found = _CLASSES.get(kind, pin.kind) if pin.mode == "input" else _READ_CLASSES.get(kind)
    return sensor | _BINARY | ({"device_class": found} if found else {})


def _switched(topic: str, pin: PinInfo) -> dict[str, Any]:
    """Return what is special about an output that is switched on and off."""
    common = {"state_topic": topic, "command_topic": f"{topic}/set"}
    match pin.kind:
        case "light" | "fan" as platform:
            return common | _BINARY | {"platform": platform, "state_value_template": _VALUE}
        case "siren":
            return common | _BINARY | {
                "platform": "siren",
                "state_value_template": _VALUE,
                "command_template": "{{ value }}",  # else it gets JSON
                "support_duration": False,
                "support_volume_set": False,
            }  # fmt: skip
        case "lock":
            unlocked = {"payload_unlock": "1", "state_unlocked": "1"}
            locked = {"payload_lock": "0", "state_locked": "0"}
            return common | unlocked | locked | {"platform": "lock", "value_template": _VALUE}
        case "valve":
            opened = {"payload_open": "1", "state_open": "1"}
            closed = {"payload_close": "0", "state_closed": "0"}
            return common | opened | closed | {"platform": "valve", "value_template": _VALUE}
    outlet = {"device_class": "outlet"} if pin.kind == "outlet" else {}
    return common | _BINARY | {"platform": "switch", "value_template": _VALUE} | outlet


def _dimmed(topic: str, pin: PinInfo) -> dict[str, Any]:
    """Return what is special about a dimmed output.

    Switched on without a level, lights and fans get the one that they had last."""
    common = {"state_topic": topic, "command_topic": f"{topic}/set"}
    if pin.kind == "light":
        return common | _BINARY | {
            "platform": "light",
            "state_value_template": _IS_ON,
            "brightness_state_topic": topic,
            "brightness_value_template":
                f"{{{{ (value_json.value * 255) | round | int if {_IS_OPEN} else 0 }}}}",
            "brightness_command_topic": f"{topic}/set",
            "brightness_command_template": "{{ (value / 255) | round(3) }}",
            "on_command_type": "brightness",
        }  # fmt: skip
    if pin.kind == "fan":
        is_on = f"{_IS_OPEN} and value_json.value"
        return common | _BINARY | {
            "platform": "fan",
            "state_value_template": _IS_ON,
            "command_template": "{{ (this.attributes.get('percentage') or 100) / 100"
            " if value == '1' else 0 }}",
            "percentage_state_topic": topic,
            # Empty while it is off: then Home Assistant keeps the speed.
            "percentage_value_template":
                f"{{{{ [(value_json.value * 100) | round | int, 1] | max if {is_on} }}}}",
            "percentage_command_topic": f"{topic}/set",
            "percentage_command_template": _OF_PERCENT,
        }  # fmt: skip
    return common | {
        "platform": "number",
        "value_template": _PERCENT,
        "command_template": _OF_PERCENT,
        "min": 0,
        "max": 100,
        "mode": "slider",
        "unit_of_measurement": "%",
    }


def _cover(base: str, host: str, cover: CoverInfo) -> dict[str, Any]:
    """Return the component of a cover.

    One that has stopped on its way is open, and unknown if its position got lost there. Home
    Assistant itself would call a door closed that was stopped while it closed."""
    topic = f"{base}/covers/{cover.name}"
    known = "value_json is defined and value_json.state != 'unknown'"
    if cover.has_position:
        known += " and (value_json.state != 'stopped' or value_json.position is number)"
    component: dict[str, Any] = {
        "platform": "cover",
        "name": _name(cover.label, host),
        "device_class": _COVER_CLASSES.get(cover.kind, cover.kind),
        "state_topic": topic,
        "value_template": f"{{{{ ('open' if value_json.state == 'stopped' else value_json.state)"
        f" if {known} else 'None' }}}}",
        "json_attributes_topic": topic,
        "json_attributes_template": "{{ {'problem': value_json.problem"
        " if value_json is defined else none} | tojson }}",
        "availability_mode": "all",
        "availability": [
            {"topic": f"{base}/status"},
            {
                "topic": topic,
                "value_template": "{{ 'online' if value_json is defined else 'offline' }}",
            },
        ],
    }
    if cover.hidden:
        component["enabled_by_default"] = False
    if cover.icon:
        component["icon"] = f"mdi:{_ICONS.get(cover.icon, cover.icon)}"
    if cover.has_position:
        component["position_topic"] = topic
        # Nothing while it is not known: Home Assistant takes only numbers.
        component["position_template"] = (
            "{{ value_json.position if value_json is defined"
            " and value_json.position is number else '' }}"
        )
    if not cover.writable:
        return component
    component |= {
        "command_topic": f"{topic}/set",
        "payload_open": "OPEN",
        "payload_close": "CLOSE",
        "payload_stop": "STOP" if cover.can_stop else None,
    }
    if cover.has_position:
        component["set_position_topic"] = f"{topic}/set"
    return component


def _schedule(base: str, schedule: ScheduleInfo) -> dict[str, Any]:
    """Return the switch of a schedule, which is on while it is not paused.

    As an entity of configuration it is left alone by what switches everything of an area off."""
    topic = f"{base}/schedules/{schedule.name}"
    component = _BINARY | {
        "name": f"Schedule {_in_words(schedule.name)}",
        "state_topic": topic,
        "value_template": _VALUE,
        "icon": "mdi:calendar-clock",
        "availability_topic": f"{base}/status",
    }
    if not schedule.writable:
        return component | {"platform": "binary_sensor", "entity_category": "diagnostic"}
    command = {"command_topic": f"{topic}/set", "entity_category": "config"}
    return component | command | {"platform": "switch"}


def _next_time(base: str, schedule: ScheduleInfo) -> dict[str, Any]:
    """Return the sensor of the next time of a schedule."""
    return {
        "platform": "sensor",
        "name": f"Schedule {_in_words(schedule.name)} next time",
        "device_class": "timestamp",
        "state_topic": f"{base}/schedules/{schedule.name}",
        "value_template": "{{ value_json.next | timestamp_utc"
        " if value_json is defined and value_json.next is number else none }}",
        "availability_topic": f"{base}/status",
    }


def _in_words(name: str) -> str:
    return re.sub("[_-]+", " ", name).strip()


def _name(label: str, host: str) -> str | None:
    """Return the name of an entity, None if that of the device says it all.

    Home Assistant shows the host's name before it. A label that begins with it loses it."""
    words = _SEPARATOR.join(map(re.escape, re.split(_SEPARATOR, host)))
    repeated = re.match(rf"{words}(?:[\s_.:-]+|$)", label, re.IGNORECASE)
    return label[repeated.end() :] or None if repeated else label


def _id(base: str) -> str:
    """Return an id with only the characters that Home Assistant accepts."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", base)


def _object_id(base: str, name: str) -> str:
    """Return the second part of an entity's id. It has the pin's name, not its label.

    So a pin with the label of one that was removed does not get `_2`."""
    own = base.partition("/")[2] or base
    return re.sub(r"[^a-z0-9]+", "_", f"{own}_{name}".lower()).strip("_")
