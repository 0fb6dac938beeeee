"""Home Assistant, run by its own Python with a folder, the broker's port and a port of its own.

It starts the real core with the real MQTT integration, and no other one that people see. Each line
on standard input is a JSON list, the name of a function below and its arguments; each gets one line
of JSON on standard output. Its log goes to standard error."""

import asyncio
import json
import logging
import os
import sys
from typing import Any

from homeassistant import bootstrap, runner
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry, entity_registry

FOLDER, BROKER_PORT, OWN_PORT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ENTRY = "1"
"""Id of the integration's entry."""


def entities(hass: HomeAssistant) -> dict[str, Any]:
    """Return the state and the attributes of each entity, by its id."""
    known = entity_registry.async_get(hass).entities
    return {
        each.entity_id: {"state": each.state, **each.attributes}
        for each in hass.states.async_all()
        if each.entity_id in known
    }


def devices(hass: HomeAssistant) -> list[dict[str, Any]]:
    """Return the name, the model and the address of the page of each device."""
    return [
        {"name": each.name, "model": each.model, "url": each.configuration_url}
        for each in _devices(hass)
    ]


def delete_devices(hass: HomeAssistant) -> None:
    """Delete all devices, as people do on the page of a device."""
    for each in list(_devices(hass)):
        device_registry.async_get(hass).async_remove_device(each.id)


def _devices(hass: HomeAssistant) -> list[device_registry.DeviceEntry]:
    registry = device_registry.async_get(hass)
    return device_registry.async_entries_for_config_entry(registry, ENTRY)


async def call(hass: HomeAssistant, domain: str, service: str, data: dict[str, Any]) -> None:
    """Call a service and wait for it."""
    await hass.services.async_call(domain, service, data, blocking=True)


def prepare() -> None:
    """Write the files of an installation that knows its broker."""
    os.makedirs(f"{FOLDER}/.storage", exist_ok=True)
    with open(f"{FOLDER}/configuration.yaml", "w") as file:
        file.write(f"http: {{server_host: 127.0.0.1, server_port: {OWN_PORT}}}\n")
    entry = {
        "created_at": "2024-01-01T00:00:00+00:00",
        "modified_at": "2024-01-01T00:00:00+00:00",
        "data": {"broker": "127.0.0.1", "port": BROKER_PORT, "protocol": "5"},
        "disabled_by": None,
        "discovery_keys": {},
        "domain": "mqtt",
        "entry_id": ENTRY,
        "minor_version": 1,
        "options": {},
        "pref_disable_new_entities": False,
        "pref_disable_polling": False,
        "source": "user",
        "subentries": [],
        "title": "broker",
        "unique_id": None,
        "version": 1,
    }
    stored = {"version": 1, "minor_version": 1, "key": "core.config_entries"}
    with open(f"{FOLDER}/.storage/core.config_entries", "w") as file:
        json.dump({**stored, "data": {"entries": [entry]}}, file)


async def main() -> None:
    """Start Home Assistant, answer the lines on standard input, and stop it at their end."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    bootstrap.DEFAULT_INTEGRATIONS.clear()
    bootstrap.DEFAULT_INTEGRATIONS_RECOVERY_MODE.clear()
    bootstrap.CRITICAL_INTEGRATIONS.clear()
    config = runner.RuntimeConfig(config_dir=FOLDER, skip_pip=True, open_ui=False)
    hass = await bootstrap.async_setup_hass(config)
    assert hass
    await hass.async_start()
    commands = {each.__name__: each for each in (entities, devices, delete_devices, call)}
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, *arguments = json.loads(line)
        answer = commands[name](hass, *arguments)
        if asyncio.iscoroutine(answer):
            answer = await answer
        print(json.dumps(answer, default=str), flush=True)
    await hass.async_stop()


prepare()
asyncio.run(main())
