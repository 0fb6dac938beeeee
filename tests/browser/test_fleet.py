"""The page at `/fleet/`: all Pis at a real broker, in a real browser."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.looking import value
from tests.conftest import Server
from tests.fleet_rig import Chorus, pin, state
from tests.mqtt_rig import Brokers

HOUSE = """
gpio: simulated
access: {{control: {control}}}
mqtt: {{url: "{url}", topic: {topic}, control: true, fleet: {fleet}}}
pins:
  door: {{gpio: 17, mode: input, pull: up, label: Front door}}
  lamp: {{gpio: 27, mode: output, label: Desk lamp}}
  bell: {{gpio: 23, mode: output, label: Doorbell, pulse: 0.2}}
  fan: {{gpio: 18, mode: pwm, label: Fan}}
  heater: {{gpio: 5, mode: output, label: Heater, confirm: true}}
"""
FARM = [
    pin("door", label="Greenhouse door", value=1),
    pin("motion", label="Motion in the long corridor behind the seedlings"),
    pin("lamp", label="Grow lamp", mode="output", writable=True, value=1),
    pin("gate", label="Gate", mode="output", writable=True, pulse=0.5, confirm=True),
    pin("fan", label="Fan", mode="pwm", writable=True, value=0.35),
    pin("locked", label="Locked valve", mode="output"),
]


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    with Brokers(tmp_path) as found:
        yield found


@pytest.fixture
def chorus(brokers: Brokers) -> Iterator[Callable[..., Chorus]]:
    choruses: list[Chorus] = []

    def begin(broker: Any, **account: str) -> Chorus:
        choruses.append(Chorus(broker, **account))
        return choruses[-1]

    yield begin
    for each in choruses:
        each.close()


def house(url: str, topic: str, control: str = "everyone", fleet: bool = True) -> str:
    return HOUSE.format(url=url, topic=topic, control=control, fleet=str(fleet).lower())


def card(page: Page, topic: str) -> Locator:
    return page.locator(f'[data-topic="{topic}"]')


def row(page: Page, topic: str, name: str) -> Locator:
    return card(page, topic).locator(f'[data-pin="{name}"]')


def sing(choir: Chorus) -> None:
    """A few Pis in two greenhouses, as they stand at the broker."""
    choir.describe("farm/house-1/pi-2", "pi-2", FARM, url="http://127.0.0.1:9/")
    choir.describe("farm/house-1/pi-10", "pi-10", FARM[:3], online=False)
    broken = pin("probe", label="Probe", value=None, error="GPIO4 is in use by w1")
    choir.describe("farm/house-2/pi-3", "pi-3", [broken, *FARM[1:4]])
    choir.flush()


def test_all_pis_in_their_groups(brokers, chorus, start_server, open_page, shoot):
    """Every Pi has a card under its group's heading, with its pins as they are; those that are
    offline say since when."""
    broker = brokers.broker()
    sing(chorus(broker))
    server = start_server(house(broker.url, "farm/office/desk"))
    page = open_page(f"{server.url}/fleet/")
    expect(page.locator(".house > h2")).to_have_text(["house-1", "house-2", "office"])
    expect(page.locator("#counts")).to_have_text("4 Raspberry Pis, 1 offline")
    expect(page.locator("#pis .host")).to_have_text(["pi-2", "pi-10", "pi-3", re.compile(".")])
    expect(page.locator("#link")).to_contain_text("Live")
    expect(row(page, "farm/house-1/pi-2", "fan").locator(".word")).to_have_text("35%")
    away = card(page, "farm/house-1/pi-10")
    expect(away.locator(".state")).to_have_text("offline, last heard 2 hr ago")
    expect(away.locator("button")).to_have_count(0)
    expect(row(page, "farm/house-1/pi-10", "lamp").locator(".word")).to_have_text("on")
    expect(row(page, "farm/house-2/pi-3", "probe")).to_contain_text("in use by w1")
    expect(row(page, "farm/house-1/pi-2", "locked").locator("button")).to_have_count(0)
    link = card(page, "farm/house-1/pi-2").get_by_role("link", name="Page of pi-2")
    expect(link).to_have_attribute("href", "http://127.0.0.1:9/")
    shoot(page, "fleet")


def test_a_switch_far_away(brokers, start_server, open_page):
    """What is switched here is switched at another Pi; what changes there is seen here."""
    broker = brokers.broker()
    there = start_server(house(broker.url, "house/there", fleet=False))
    here = start_server(house(broker.url, "house/here"))
    page = open_page(f"{here.url}/fleet/")
    lamp = row(page, "house/there", "lamp")
    switch = lamp.get_by_role("switch", name="Desk lamp")
    switch.click()
    expect(switch).to_be_checked()
    assert value(there, "lamp") == 1
    switch.press("Enter")
    expect(lamp.locator(".word")).to_have_text("off")
    assert value(there, "lamp") == 0
    row(page, "house/there", "fan").get_by_role("slider").press("End")
    expect(row(page, "house/there", "fan").locator(".word")).to_have_text("100%")
    assert value(there, "fan") == 1
    bell = row(page, "house/there", "bell")
    bell.get_by_role("button").click()
    expect(bell.locator(".word")).to_have_text("off")
    heater = row(page, "house/there", "heater")
    heater.get_by_role("switch").click()
    expect(page.locator("#question")).to_have_text(re.compile(r"^Switch Heater \(.+\) on\?$"))
    page.get_by_role("button", name="Cancel").click()
    expect(heater.get_by_role("switch")).not_to_be_checked()
    heater.get_by_role("switch").click()
    page.get_by_role("button", name="Switch on").click()
    expect(heater.get_by_role("switch")).to_be_checked()
    assert value(there, "heater") == 1
