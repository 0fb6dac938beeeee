"""The page at `/fleet/`: all Pis at a real broker, in a real browser."""

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from raspi_server.messages import BROKER_ERROR
from tests.browser.looking import first_visit, value
from tests.support.fleet import FakePis, pin, state
from tests.support.mqtt import Brokers
from tests.support.server import changing

CONFIG = """
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
def chorus(brokers: Brokers) -> Iterator[Callable[..., FakePis]]:
    choruses: list[FakePis] = []

    def begin(broker: Any, **account: str) -> FakePis:
        choruses.append(FakePis(broker, **account))
        return choruses[-1]

    yield begin
    for each in choruses:
        each.close()


def pi(url: str, topic: str, control: str = "everyone", fleet: bool = True) -> str:
    return CONFIG.format(url=url, topic=topic, control=control, fleet=str(fleet).lower())


def card(page: Page, topic: str) -> Locator:
    return page.locator(f'[data-topic="{topic}"]')


def row(page: Page, topic: str, name: str) -> Locator:
    return card(page, topic).locator(f'[data-pin="{name}"]')


def sing(choir: FakePis) -> None:
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
    server = start_server(pi(broker.url, "farm/office/desk"))
    page = open_page(f"{server.url}/fleet/")
    expect(page.locator(".pi-group > h2")).to_have_text(["house-1", "house-2", "office"])
    expect(page.locator("#counts")).to_have_text("4 Raspberry Pis, 1 offline")
    expect(page.locator("#pis .name")).to_have_text(["pi-2", "pi-10", "pi-3", re.compile(".")])
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
    there = start_server(pi(broker.url, "house/there", fleet=False))
    here = start_server(pi(broker.url, "house/here"))
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


def test_wish_is_no_fact(brokers, chorus, start_server, open_page):
    """A switch shows a wish as a wish until its Pi has answered; what it refuses, and what nobody
    knows of, is told in words."""
    broker = brokers.broker()
    choir = chorus(broker)
    sing(choir)
    ear = brokers.subscriber(broker, "farm/+/+/pins/+/set")
    server = start_server(
        pi(broker.url, "farm/office/desk"), program=changing(fleet_answer_timeout_s=1)
    )
    page = open_page(f"{server.url}/fleet/")
    lamp = row(page, "farm/house-1/pi-2", "lamp")
    lamp.get_by_role("switch").click()
    expect(lamp.locator(".word")).to_have_text("switching off…")
    expect(lamp.get_by_role("switch")).to_be_checked()
    if "SCREENSHOTS" in os.environ:
        page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / "fleet-pending.png")
    expect(lamp.locator(".error")).to_have_text("Not confirmed: pi-2 did not answer within 1 s")
    expect(lamp.locator(".word")).to_have_text("on")
    lamp.get_by_role("switch").click()
    ref = ear.wait_for_topic("farm/house-1/pi-2/pins/lamp/set", 2)[1].json["ref"]
    answer = {"type": "error", "ref": ref, "code": "unavailable", "message": "the relay is lost"}
    choir.publish("farm/house-1/pi-2/pins/lamp/result", answer, retain=False)
    expect(lamp.locator(".error")).to_have_text("Not done: pi-2: the relay is lost")


def test_only_looking_looks_so(brokers, chorus, start_server, open_page, shoot):
    """Who may not switch sees no switches, is told why, and where to sign in; nobody can switch
    where `access.control` says so."""
    broker = brokers.broker()
    sing(chorus(broker))
    server = start_server(pi(broker.url, "farm/office/desk", control="code"))
    page = open_page(f"{server.url}/fleet/")
    expect(page.locator("#notices")).to_contain_text("needs the control code")
    expect(page.get_by_role("link", name="Sign in")).to_have_attribute("href", f"{server.url}/")
    expect(row(page, "farm/house-1/pi-2", "lamp").locator(".lamp")).to_be_visible()
    expect(page.locator(".row button")).to_have_count(0)
    shoot(page, "looking")
    nobody = start_server(pi(broker.url, "farm/office/shelf", control="nobody"))
    page = open_page(f"{nobody.url}/fleet/")
    expect(page.locator("#notices")).to_contain_text("nobody may switch other")
    expect(page.get_by_role("link", name="Sign in")).to_have_count(0)


def test_a_pin_that_needs_the_code(brokers, start_server, open_page, shoot):
    """Where everyone may switch, a pin that needs the code is only shown to a guest, who is told so
    and where to sign in; the others have their switches."""
    text = pi(brokers.broker().url, "house/here").replace("lamp: {", "lamp: {control: code, ")
    page = open_page(f"{start_server(text).url}/fleet/")
    expect(row(page, "house/here", "lamp").locator(".lamp")).to_be_visible()
    expect(row(page, "house/here", "lamp").locator("button")).to_have_count(0)
    expect(row(page, "house/here", "fan").get_by_role("switch")).to_be_visible()
    expect(page.locator("#notices")).to_contain_text("Switching some pins needs the control code")
    shoot(page, "code")
    page.get_by_role("link", name="Sign in").click()
    expect(page.locator("#notices")).to_contain_text("Switching some pins needs the control code")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def test_who_may_not_look_is_led_to_the_door(brokers, start_server, open_page, shoot):
    """Where viewing needs a code the page shows no Pi, says so, and leads to where one signs in."""
    text = pi(brokers.broker().url, "house/here").replace("{control:", "{view: code, control:")
    server = start_server(text)
    page = open_page(f"{server.url}/fleet/")
    expect(page.locator("#link strong")).to_have_text("Sign in needed")
    expect(page.locator("#waiting")).to_contain_text("only to those who signed in")
    expect(page.get_by_role("link", name="Sign in")).to_have_attribute("href", f"{server.url}/")
    expect(page.locator(".pi")).to_have_count(0)
    shoot(page, "door")


def test_a_broker_that_is_away_is_no_secret(brokers, start_server, open_page, shoot):
    """Without the broker the page says so, greys what it knows, and goes on by itself when it is
    back."""
    broker = brokers.broker()
    at_once = changing(fleet_return_timeout_s=0.0)
    server = start_server(pi(broker.url, "house/here"), program=at_once)
    page = open_page(f"{server.url}/fleet/")
    lamp = row(page, "house/here", "lamp")
    expect(lamp).to_be_visible()
    expect(page.locator("body")).to_have_attribute("data-current", "")
    broker.kill()
    expect(page.locator("#notices")).to_contain_text("The broker is unreachable")
    expect(page.locator("#notices .detail")).to_have_text(BROKER_ERROR)
    expect(page.locator("body")).not_to_have_attribute("data-current", "")
    lamp.get_by_role("switch").click()
    expect(lamp.locator(".error")).to_contain_text("nothing was sent")
    shoot(page, "broker-away")
    broker.start()
    server.wait_for_log("connected to .* as house-here$", again=1)
    expect(page.locator("body")).to_have_attribute("data-current", "")
    expect(page.locator("#notices .detail")).to_have_count(0)
    lamp.get_by_role("switch").click()
    expect(lamp.get_by_role("switch")).to_be_checked()


def test_where_it_is_off(start_server, open_page, shoot):
    """Where no broker is configured the page says which line is missing, and the main page does
    not lead there."""
    server = start_server("gpio: simulated\n")
    page = open_page(f"{server.url}/fleet/")
    expect(page.locator("#off")).to_contain_text("fleet: true")
    expect(page.locator("#link")).to_be_hidden()
    shoot(page, "off")
    page.goto(server.url)
    expect(page.locator("#link")).to_contain_text("Live")
    expect(page.locator("#fleet-link")).to_be_hidden()


def test_the_way_there_and_back(brokers, start_server, open_page):
    """The page of each Pi leads to that of all, and back."""
    server = start_server(pi(brokers.broker().url, "house/here"))
    page = open_page(server.url)
    page.get_by_role("link", name="All Raspberry Pis").click()
    expect(card(page, "house/here")).to_be_visible()
    expect(page.locator("#notices")).to_contain_text("Only this one is heard")
    page.get_by_role("link", name="The page of this Raspberry Pi").click()
    expect(page.locator('.pin[data-pin="lamp"]')).to_be_visible()


def test_comings_and_goings(brokers, chorus, start_server, open_page):
    """A Pi that goes is greyed at once, keeps its last word, and is read aloud; one that comes
    appears in its place, and one that is taken away vanishes."""
    broker = brokers.broker()
    choir = chorus(broker)
    sing(choir)
    server = start_server(pi(broker.url, "farm/office/desk"))
    page = open_page(f"{server.url}/fleet/")
    lamp = row(page, "farm/house-1/pi-2", "lamp")
    expect(lamp.get_by_role("switch")).to_be_checked()
    choir.publish("farm/house-1/pi-2/status", b"offline")
    expect(card(page, "farm/house-1/pi-2")).to_have_attribute("data-online", "false")
    expect(card(page, "farm/house-1/pi-2").locator(".state")).to_contain_text("last heard 0 sec")
    expect(lamp.locator(".word")).to_have_text("on")
    expect(lamp.get_by_role("switch")).to_have_count(0)
    expect(page.locator("#announcements")).to_have_text("pi-2 is offline")
    expect(page.locator("#counts")).to_have_text("4 Raspberry Pis, 2 offline")
    choir.describe("farm/house-1/pi-9", "pi-9", FARM[:1])
    expect(page.locator("#pis .name")).to_have_text(
        ["pi-2", "pi-9", "pi-10", "pi-3", re.compile(".")]
    )
    for name in ("describe", "status"):
        choir.publish(f"farm/house-2/pi-3/{name}", b"")
    expect(page.locator(".pi-group > h2")).to_have_text(["house-1", "office"])
    choir.publish("farm/house-1/pi-2/status", b"online")
    expect(lamp.get_by_role("switch")).to_be_checked()


def test_search_and_filter(brokers, chorus, start_server, open_page):
    """A search finds Pis by what people call them and their pins; a filter those that are
    offline, on, or in error; with the keyboard alone."""
    broker = brokers.broker()
    sing(chorus(broker))
    server = start_server(pi(broker.url, "farm/office/desk"))
    page = open_page(f"{server.url}/fleet/")
    found = page.locator(".pi:visible .name")
    expect(found).to_have_count(4)
    page.get_by_role("searchbox").focus()
    page.keyboard.type("HOUSE-1 seedlings")
    expect(found).to_have_text(["pi-2", "pi-10"])
    expect(page.locator("#shown")).to_have_text("2 shown")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#filter")).to_have_value("offline")
    expect(found).to_have_text(["pi-10"])
    page.get_by_role("searchbox").fill("nowhere")
    expect(page.locator("#nothing")).to_have_text("None of them matches.")
    page.get_by_role("searchbox").fill("")
    page.locator("#filter").select_option("error")
    expect(found).to_have_text(["pi-3"])
    page.locator("#filter").select_option("on")
    expect(found).to_have_text(["pi-2", "pi-3"])


@pytest.mark.parametrize("language", ["en", "id"])
def test_first_load(brokers, start_server, open_page, language):
    """A first visit loads at most 45 kB beside the Pis, all scripts at once, and after them the
    strings of one language."""
    server = start_server(pi(brokers.broker().url, "house/here"))
    page = open_page("about:blank", locale=language)
    sizes = first_visit(page, f"{server.url}/fleet/")
    expect(card(page, "house/here")).to_be_visible()
    scripts = {url for url in sizes if url.endswith(".js")}
    links = page.locator('link[rel="modulepreload"]').all()
    strings = {url for url in scripts if "strings." in url}
    assert {url.rpartition(f".{language}.")[2] for url in strings} == {"js"}
    loaded = {link.evaluate("link => link.href") for link in links}
    assert loaded == {url for url in scripts - strings if not url.endswith("/start.js")}
    assert sum(size for url, size in sizes.items() if not url.endswith("/api/fleet")) <= 45_000


def test_in_indonesian(brokers, start_server, open_page):
    """The page speaks Indonesian to those whose browser does."""
    server = start_server(pi(brokers.broker().url, "house/here"))
    page = open_page(f"{server.url}/fleet/", locale="id-ID")
    expect(page.locator("h1")).to_have_text("Semua Pi")
    expect(page.locator("#counts")).to_have_text("1 Raspberry Pi, semua daring")


def test_where_no_socket_gets_through(brokers, start_server, open_page):
    """Where a phone lets no live connection through the page says so, and how that is mended."""
    server = start_server(pi(brokers.broker().url, "house/here"))
    page = open_page("about:blank")
    page.add_init_script("window.WebSocket = class { constructor() { throw new Error() } }")
    page.goto(f"{server.url}/fleet/")
    expect(page.locator("#notices")).to_contain_text("Live connections are blocked")
    trust = page.get_by_role("link", name="How to trust it")
    expect(trust).to_have_attribute("href", f"{server.url}/trust/")


PIS = 1000
PINS = 10


def test_a_thousand(brokers, chorus, start_server, open_page):
    """A thousand Pis with a thousand changes a second: the page draws only what is near the eye,
    stays quick, finds any of them, and ends at what is."""
    broker = brokers.broker("log_type error", "log_type notice")
    choir = chorus(broker)
    pins = [pin(f"in{n}", label=f"Sensor {n}") for n in range(PINS - 2)]
    pins += [pin(f"out{n}", label=f"Relay {n}", mode="output", writable=True) for n in range(2)]
    topics = [f"farm/house-{n % 20}/pi-{n}" for n in range(PIS)]
    for topic in topics:
        choir.describe(topic, topic.rpartition("/")[2], pins)
    choir.flush()
    server = start_server(pi(broker.url, "farm/office/desk"))
    page = open_page(f"{server.url}/fleet/")
    expect(page.locator("#counts")).to_have_text("1,001 Raspberry Pis, all online")
    ended = threading.Event()

    def sing_on() -> None:
        n = 0
        while not ended.wait(0.02):
            for _ in range(20):
                n += 1
                choir.publish(f"{topics[n * 7 % PIS]}/pins/in{n % 8}", state(n // PIS % 2))

    singer = threading.Thread(target=sing_on)
    singer.start()
    try:
        drawn = page.locator(".pi[data-drawn]")
        nodes = "document.querySelectorAll('*').length"
        assert 1 <= drawn.count() <= 60
        assert page.evaluate(nodes) < 8000
        longest = page.evaluate("""async () => {
            let longest = 0, last = performance.now();
            const until = last + 4000;
            while (last < until) {
                scrollBy(0, 300);
                await new Promise(requestAnimationFrame);
                longest = Math.max(longest, performance.now() - last);
                last = performance.now();
            }
            return longest;
        }""")
        assert longest < 1000
        assert drawn.count() <= 60
        assert page.evaluate(nodes) < 8000
        page.get_by_role("searchbox").fill("pi-777")
        expect(page.locator(".pi:visible .name")).to_have_text(["pi-777"])
        expect(page.locator("#link strong")).to_have_text("Live")
        relay = row(page, "farm/house-17/pi-777", "out1")
        expect(relay.locator(".word")).to_have_text("off")
        choir.publish("farm/house-17/pi-777/pins/out1", state(1))
        expect(relay.locator(".word")).to_have_text("on")
    finally:
        ended.set()
        singer.join()
    page.get_by_role("searchbox").fill("")
    card(page, "farm/office/desk").scroll_into_view_if_needed()
    expect(card(page, "farm/office/desk").locator(".row")).to_have_count(5)
    print(json.dumps({"longest frame": longest, "nodes": page.evaluate(nodes)}))
