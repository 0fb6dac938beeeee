"""The page at `/fleet/`: all Pis at a real broker, in a real browser."""

import re

from playwright.sync_api import Locator, Page, expect

from raspi_server.messages import BROKER_ERROR
from tests.browser.looking import (
    NO_WEBSOCKETS,
    check_scripts,
    expect_live,
    first_visit,
    string,
    value,
)
from tests.support.fleet import FakePis, cover, cover_state, pin, state
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
HOUSE = [
    pin("front", label="Front door", kind="door", room="Hall", value=1),
    pin("leak", label="Under the sink", kind="moisture", room="Kitchen"),
    pin("hall", label="Hall light", kind="light", mode="output", room="Hall", value=1),
    pin("light", label="Kitchen light", kind="light", mode="output", room="Kitchen", value=1),
    pin("hatch", label="Hatch", words={"on": "ajar", "off": "shut"}, room="Kitchen", value=1),
    pin("fan", label="Extractor fan", kind="fan", mode="pwm", writable=True, room="Kitchen"),
    pin("probe", label="Test probe", kind="smoke", hidden=True, value=1),
]
BROKEN_WORDS = """elements => elements.flatMap((element) => {
    const broken = [];
    for (const node of element.childNodes) {
        for (const { 0: word, index } of node.data?.matchAll(/[^\\s\u00ad]+/g) ?? []) {
            const range = new Range();
            range.setStart(node, index);
            range.setEnd(node, index + word.length);
            const lines = [...range.getClientRects()].map(({ bottom }) => Math.round(bottom));
            if (new Set(lines).size > 1) broken.push(word);
        }
    }
    return broken;
})"""
"""The words that go over more than one line."""


def pi(url: str, topic: str, control: str = "everyone", fleet: bool = True) -> str:
    return CONFIG.format(url=url, topic=topic, control=control, fleet=str(fleet).lower())


def card(page: Page, topic: str) -> Locator:
    return page.locator(f'[data-topic="{topic}"]')


def row(page: Page, topic: str, name: str) -> Locator:
    return card(page, topic).locator(f'[data-pin="{name}"]')


def test_all_pis_in_their_groups(brokers, start_server, open_page, shoot):
    """A small first visit shows every Pi with its pins as they are: first those that need
    attention, the others under their group's heading. Search and filter work by keyboard. Pis that
    appear, go offline or are removed show at once."""
    broker = brokers.broker()
    pis = brokers.enter_context(FakePis(broker))
    pis.describe("farm/house-1/pi-2", "pi-2", FARM, url="http://127.0.0.1:9/")
    pis.describe("farm/house-1/pi-10", "pi-10", FARM[:3], online=False)
    broken = pin("probe", label="Probe", value=None, error="GPIO4 is in use by w1")
    pis.describe("farm/house-2/pi-3", "pi-3", [broken, *FARM[1:4]])
    pis.describe("farm/house-2/pi-4", "pi-4", HOUSE)
    pis.flush()
    server = start_server(pi(broker.url, "farm/office/desk"))
    page = open_page("about:blank")
    sizes = first_visit(page, f"{server.url}/fleet/")
    check_scripts(page, list(sizes), "en.json")
    assert sum(size for url, size in sizes.items() if not url.endswith("/api/fleet")) <= 75_000
    headings, counts = page.locator(".pi-group > h2 .title"), page.locator("#counts")
    expect(headings).to_have_text(["Needs attention", "house-1", "house-2", "office"])
    expect(counts).to_have_text("5 Raspberry Pis, 1 offline")
    first = ["pi-10", "pi-3", "pi-2", "pi-4", re.compile(".")]
    expect(page.locator("#pis .name")).to_have_text(first)
    expect(row(page, "farm/house-1/pi-2", "fan").locator(".word")).to_have_text("35%")
    away = card(page, "farm/house-1/pi-10")
    expect(away.locator(".state")).to_have_text("house-1 · offline, last seen 2 hr. ago")
    expect(away.locator(".control button")).to_have_count(0)
    expect(row(page, "farm/house-1/pi-10", "lamp").locator(".word")).to_have_text("on")
    expect(row(page, "farm/house-2/pi-3", "probe")).to_contain_text("in use by w1")
    expect(row(page, "farm/house-1/pi-2", "locked").locator("button")).to_have_count(0)
    expect(card(page, "farm/house-2/pi-3").locator(".state")).to_contain_text("1 error")
    house = card(page, "farm/house-2/pi-4")
    expect(house.locator(".state")).to_have_text("1 door open, 2 lights on, 1 on")
    expect(house.locator(".room")).to_have_text(["Hall", "Kitchen"])
    expect(house.locator(".label")).to_have_text(
        ["Front door", "Hall light", "Under the sink", "Kitchen light", "Hatch", "Extractor fan"]
    )
    for name, state_word, tone in (
        ("front", "open", "attention"),
        ("hall", "on", "warm"),
        ("leak", "dry", "calm"),
        ("hatch", "ajar", "calm"),
    ):
        expect(row(page, "farm/house-2/pi-4", name).locator(".word")).to_have_text(state_word)
        expect(row(page, "farm/house-2/pi-4", name)).to_have_attribute("data-tone", tone)
    link = card(page, "farm/house-1/pi-2").get_by_role("link", name="Page of pi-2")
    expect(link).to_have_attribute("href", "http://127.0.0.1:9/")
    shoot(page)

    found = page.locator(".pi:visible .name")
    page.get_by_role("searchbox").focus()
    page.keyboard.type("HOUSE-1 seedlings")
    expect(found).to_have_text(["pi-10", "pi-2"])
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(found).to_have_text(["pi-10"])
    for name, filtered in (("offline", ["pi-10"]), ("on", ["pi-2"]), ("error", [])):
        page.locator("#filter").select_option(name)
        expect(found).to_have_text(filtered)
    page.get_by_role("searchbox").fill("nowhere")
    expect(page.locator("#nothing")).to_have_text(string("noMatch", section="fleet"))
    page.get_by_role("searchbox").fill("kitchen")
    page.locator("#filter").select_option("all")
    expect(found).to_have_text(["pi-4"])
    page.get_by_role("searchbox").fill("")
    expect(found).to_have_count(5)

    lamp = row(page, "farm/house-1/pi-2", "lamp")
    expect(lamp.get_by_role("switch")).to_be_checked()
    pis.publish("farm/house-1/pi-2/status", b"offline")
    expect(card(page, "farm/house-1/pi-2")).to_have_attribute("data-online", "false")
    expect(card(page, "farm/house-1/pi-2").locator(".state")).to_contain_text("offline, last seen")
    expect(lamp.locator(".word")).to_have_text("on")
    expect(lamp.get_by_role("switch")).to_have_count(0)
    expect(page.locator("#announcements")).to_have_text("pi-2 is offline")
    expect(counts).to_have_text("5 Raspberry Pis, 2 offline")
    expect(page.locator("[data-attention] .name")).to_have_text(["pi-2", "pi-10", "pi-3"])
    pis.describe("farm/house-1/pi-9", "pi-9", FARM[:1])
    for name in ("describe", "status"):
        pis.publish(f"farm/house-2/pi-3/{name}", b"")
    expect(page.locator("#pis .name")).to_have_text(
        ["pi-2", "pi-10", "pi-9", "pi-4", re.compile(".")]
    )
    expect(headings).to_have_text(["Needs attention", "house-1", "house-2", "office"])
    pis.publish("farm/house-1/pi-2/status", b"online")
    expect(lamp.get_by_role("switch")).to_be_checked()
    pis.publish("farm/house-2/pi-4/pins/leak", state(1))
    expect(page.locator("[data-attention] .name")).to_have_text(["pi-4", "pi-10"])
    expect(house.locator(".alarm")).to_have_text("Under the sink: wet")
    expect(page.locator("#announcements")).to_contain_text("pi-4: Under the sink: wet")
    shoot(page)
    pis.publish("farm/house-2/pi-4/pins/leak", state(0))
    expect(page.locator("[data-attention] .name")).to_have_text(["pi-10"])


def test_what_was_chosen(brokers, start_server, open_page):
    """Groups and Pis stay folded on this device, but a search shows what it finds. Search and
    filter are in the address: a link, a reload and Back keep them."""
    broker = brokers.broker()
    pis = brokers.enter_context(FakePis(broker))
    for topic in ("farm/house-1/pi-1", "farm/house-1/pi-2", "farm/house-2/pi-3"):
        pis.describe(topic, topic[-4:], FARM[:3])
    pis.flush()
    server = start_server(pi(broker.url, "farm/office/desk"))
    page = open_page(f"{server.url}/fleet/")
    found, lamp = page.locator(".pi:visible .name"), row(page, "farm/house-2/pi-3", "lamp")
    group = page.get_by_role("button", name="house-1", exact=True)
    expect(found).to_have_count(4)
    group.click()
    expect(group).to_have_attribute("aria-expanded", "false")
    expect(page.get_by_role("heading", name="house-1")).to_contain_text("2 Raspberry Pis")
    expect(found).to_have_text(["pi-3", re.compile(".")])
    page.get_by_role("button", name="pi-3").press("Enter")
    expect(lamp).to_be_hidden()
    page.reload()
    expect(found).to_have_text(["pi-3", re.compile(".")])
    expect(lamp).to_be_hidden()
    page.get_by_role("searchbox").fill("pi-2")
    expect(found).to_have_text(["pi-2"])
    expect(group).to_be_disabled()
    expect(page).to_have_url(f"{server.url}/fleet/#search=pi-2")
    page.locator("#filter").select_option("on")
    expect(page).to_have_url(f"{server.url}/fleet/#search=pi-2&filter=on")
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("pi-2")
    expect(found).to_have_text(["pi-2"])
    page.locator(".home").click()
    expect_live(page)
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("pi-2")
    expect(page.locator("#filter")).to_have_value("on")
    expect(found).to_have_text(["pi-2"])
    page.goto(f"{server.url}/fleet/#search=pi-3&filter=no-such")
    expect(found).to_have_text(["pi-3"])
    expect(page.locator("#filter")).to_have_value("all")
    page.get_by_role("searchbox").fill("")
    expect(page).to_have_url(f"{server.url}/fleet/")
    expect(found).to_have_text(["pi-3", re.compile(".")])
    expect(lamp).to_be_hidden()
    page.get_by_role("button", name="pi-3").click()
    group.click()
    expect(found).to_have_count(4)
    expect(lamp).to_be_visible()


def test_narrow_pages_with_large_letters(brokers, start_server, open_page, tmp_path):
    """On the narrowest phone at 200 % no word of a row is broken and nothing is cut off, in German
    and from right to left, where arrows point the other way."""
    languages = tmp_path / "www" / "languages"
    languages.mkdir(parents=True)
    (languages / "ar.json").write_text('{"direction": "rtl"}')
    broker = brokers.broker()
    pis = brokers.enter_context(FakePis(broker))
    pis.describe("farm/house-2/pi-4", "pi-4", HOUSE, url="http://127.0.0.1:9/")
    pis.flush()
    server = start_server(f"www: {languages.parent}\n" + pi(broker.url, "farm/office/desk"))
    for locale, open_word, turned in (("de-DE", "offen", 0), ("ar-EG", "open", 1)):
        page = open_page(
            f"{server.url}/fleet/", locale=locale, viewport={"width": 160, "height": 320}
        )
        expect(row(page, "farm/house-2/pi-4", "front").locator(".word")).to_have_text(open_word)
        arrow = card(page, "farm/house-2/pi-4").locator(".own path[transform]")
        expect(arrow).to_have_count(turned)
        assert page.evaluate("document.documentElement.scrollWidth") <= 160
        broken = page.locator(".pin :is(.label, .word)").evaluate_all(BROKEN_WORDS)
        assert broken == []


def test_commands_to_another_pi(brokers, start_server, open_page):
    """Each kind of control switches a pin of another Pi. One with `confirm` names its Pi in the
    question. A command looks pending until it is answered, and a rejection shows its reason."""
    broker = brokers.broker()
    there = start_server(pi(broker.url, "house/there", fleet=False))
    page = open_page(start_server(pi(broker.url, "house/here")).url)
    page.get_by_role("link", name="All Raspberry Pis").click()
    lamp = row(page, "house/there", "lamp")
    switch = lamp.get_by_role("switch", name="Desk lamp")
    switch.click()
    expect(switch).to_be_checked()
    assert value(there, "lamp") == 1
    row(page, "house/there", "fan").get_by_role("slider").press("End")
    expect(row(page, "house/there", "fan").locator(".word")).to_have_text("100%")
    assert value(there, "fan") == 1
    bell = row(page, "house/there", "bell")
    bell.get_by_role("button").click()
    there.wait_for_log("bell .*: on")
    expect(bell.locator(".word")).to_have_text("off")
    heater = row(page, "house/there", "heater").get_by_role("switch")
    for answer in ("Cancel", "Switch on"):
        expect(heater).not_to_be_checked()
        heater.click()
        expect(page.locator("#question")).to_have_text(re.compile(r"^Switch Heater \(.+\) on\?$"))
        page.get_by_role("button", name=answer).click()
    expect(heater).to_be_checked()
    assert value(there, "heater") == 1

    pis = brokers.enter_context(FakePis(broker))
    subscriber = brokers.subscriber(broker, "house/+/pins/+/set")
    pis.describe("house/mute", "mute", FARM)
    lamp = row(page, "house/mute", "lamp")
    lamp.get_by_role("switch").click()
    expect(lamp.locator(".word")).to_have_text("switching off…")
    expect(lamp.get_by_role("switch")).to_be_checked()
    ref = subscriber.wait_for_topic("house/mute/pins/lamp/set")[0].json["ref"]
    answer = {"type": "error", "ref": ref, "code": "unavailable", "message": "the relay is lost"}
    pis.publish("house/mute/pins/lamp/result", answer, retain=False)
    expect(page.get_by_role("alert")).to_have_text(
        "Grow lamp (mute): Not done: mute: the relay is lost"
    )


def test_what_is_wrong_in_the_words_of_the_page(brokers, start_server, open_page):
    """What is the matter with a pin or a cover is told in the language of the browser, also when it
    comes later. A Pi that gives no reason tells it in its own words."""
    broker = brokers.broker()
    others = brokers.enter_context(FakePis(broker))
    server = start_server(pi(broker.url, "house/kitchen"))
    taken = {"error": "GPIO4 is in use by pigpiod", "error_reason": "line-in-use"}
    values = {"gpio": 4, "holder": "pigpiod"}
    door = cover("door", label="Garage door", problem="it is stuck")
    pins = [
        pin("lamp", mode="output", value=None, **taken, error_values=values),
        pin("fan", mode="output", value=None, error="the line is gone"),
    ]
    others.describe("house/garage", "garage", pins, covers=[door])
    page = open_page(f"{server.url}/fleet/", locale="de-DE")
    error = row(page, "house/garage", "door").locator(".error")
    expect(error).to_have_text("it is stuck")
    told = string("error:line-in-use", "de", **values)
    expect(row(page, "house/garage", "lamp").locator(".error")).to_have_text(told)
    expect(row(page, "house/garage", "fan").locator(".error")).to_have_text("the line is gone")
    contacts = {"closed": "Below", "opened": "Above"}
    more = {"problem_reason": "cover-contacts-both", "problem_values": contacts}
    found = cover_state("unknown", problem="both contacts are closed", **more)
    others.publish("house/garage/covers/door", found)
    expect(error).to_have_text(string("error:cover-contacts-both", "de", **contacts))


def test_cover_with_a_problem(brokers, start_server, open_page):
    """A Pi whose cover has a problem needs attention, is found by the filter and says how many
    errors there are, at the start and when the problem comes or goes later."""
    broker = brokers.broker()
    others = brokers.enter_context(FakePis(broker))
    server = start_server(pi(broker.url, "house/kitchen"))
    lamp = pin("lamp", mode="output")
    smoke = pin("smoke", kind="smoke", value=1)
    others.describe("house/a", "a", [lamp], covers=[cover("door")])
    others.describe("house/b", "b", [smoke], covers=[cover("door")])
    others.describe("house/c", "c", [lamp], covers=[cover("door", problem="it is stuck")])
    page = open_page(f"{server.url}/fleet/")
    troubled = page.locator("[data-attention] .name")
    expect(troubled).to_have_text(["b", "c"])
    states = {name: card(page, f"house/{name}").locator(".state") for name in "abc"}
    expect(states["c"]).to_contain_text("1 error")
    expect(states["a"]).not_to_contain_text("error")
    page.locator("#filter").select_option("error")
    found = page.locator(".pi:visible .name")
    expect(found).to_have_text(["c"])
    for name in "ab":
        problem = cover_state("unknown", problem="it is stuck")
        others.publish(f"house/{name}/covers/door", problem)
    expect(found).to_have_text(["b", "a", "c"])
    for name in "ab":
        expect(states[name]).to_contain_text("1 error")
    for name in "bc":
        others.publish(f"house/{name}/covers/door", cover_state("closed"))
    expect(found).to_have_text(["a"])
    page.locator("#filter").select_option("all")
    expect(troubled).to_have_text(["b", "a"])
    expect(states["b"]).not_to_contain_text("error")


def test_rights(brokers, start_server, open_page, shoot):
    """A browser sees switches only for what it may switch, and else the reason and the link to sign
    in. Without the right to view it sees no Pi; without a broker, the line that is missing."""
    url = brokers.broker().url
    server = start_server(pi(url, "house/here", control="code"))
    page = open_page(f"{server.url}/fleet/")
    notices, lamp = page.locator("#notices"), row(page, "house/here", "lamp")
    sign_in = page.get_by_role("link", name="Sign in")
    expect(notices).to_contain_text("needs the control code")
    expect(sign_in).to_have_attribute("href", f"{server.url}/")
    expect(lamp.locator(".word")).to_have_text("off")
    expect(page.locator(".pin button")).to_have_count(0)
    shoot(page)
    notices.locator("[data-code=view]").get_by_role("button", name=string("putAway")).tap()
    expect(notices.locator(".notice:not([data-code=alone])")).to_have_count(0)
    page.reload()
    expect(lamp.locator(".word")).to_have_text("off")
    expect(notices.locator(".notice:not([data-code=alone])")).to_have_count(0)
    server.reload(pi(url, "house/here", control="nobody"))
    expect(notices).to_contain_text(string("lookOnly", section="fleet"))
    expect(sign_in).to_have_count(0)
    everyone = pi(url, "house/here")
    server.reload(everyone.replace("lamp: {", "lamp: {control: code, "))
    expect(notices).to_contain_text(string("someNeedCode"))
    expect(row(page, "house/here", "fan").get_by_role("switch")).to_be_visible()
    expect(lamp.locator("button")).to_have_count(0)
    server.reload(everyone.replace("{control:", "{view: code, control:"))
    expect(page.locator("#link strong")).to_have_text(string("sign-in"))
    page.reload()
    expect(page.locator("#waiting")).to_have_text(string("needsCode"))
    expect(sign_in).to_have_attribute("href", f"{server.url}/")
    expect(page.locator(".pi")).to_have_count(0)
    shoot(page)
    server.reload("gpio: simulated\n")
    page.reload()
    expect(page.locator("#off")).to_contain_text("fleet: true")
    expect(page.locator("#link")).to_be_hidden()
    shoot(page)


def test_unreachable_broker(brokers, start_server, open_page, shoot):
    """Without the broker, or WebSockets, the page says so. It goes on by itself."""
    broker = brokers.broker()
    server = start_server(
        pi(broker.url, "house/here"), program=changing(fleet_return_timeout_s=0.0)
    )
    page = open_page(f"{server.url}/fleet/")
    lamp = row(page, "house/here", "lamp")
    expect(lamp).to_be_visible()
    expect(page.locator("body")).to_have_attribute("data-current", "")
    broker.kill()
    expect(page.locator("#notices")).to_contain_text("The broker is unreachable")
    expect(page.locator("#notices .detail")).to_have_text(BROKER_ERROR)
    expect(page.locator("body")).not_to_have_attribute("data-current", "")
    lamp.get_by_role("switch").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing was sent")
    shoot(page)
    broker.start()
    server.wait_for_log("connected to .* as house-here$", again=1)
    expect(page.locator("body")).to_have_attribute("data-current", "")
    expect(page.locator("#notices .detail")).to_have_count(0)
    page.add_init_script(NO_WEBSOCKETS)
    page.reload()
    expect(page.locator("#notices")).to_contain_text(string("blocked", section="fleet"))
    trust = page.get_by_role("link", name=string("howToTrust"))
    expect(trust).to_have_attribute("href", f"{server.url}/trust/")


def test_hundreds(brokers, start_server, open_page):
    """With hundreds of Pis the page draws only those near the visible part, and finds any."""
    broker = brokers.broker("log_type error", "log_type notice")
    pis = brokers.enter_context(FakePis(broker))
    pins = [pin(f"out{n}", label=f"Relay {n}", mode="output", writable=True) for n in range(5)]
    topics = [f"farm/house-{n % 20}/pi-{n}" for n in range(300)]
    for topic in topics:
        pis.describe(topic, topic.rpartition("/")[2], pins)
    pis.flush()
    server = start_server(pi(broker.url, "farm/office/desk"))
    page = open_page(f"{server.url}/fleet/")
    expect(page.locator("#counts")).to_have_text("301 Raspberry Pis, all online")
    for _ in range(20):
        assert 1 <= page.locator(".pi[data-drawn]").count() <= 60
        assert page.evaluate("document.querySelectorAll('*').length") < 4000
        page.evaluate("scrollBy(0, 600)")
    page.get_by_role("searchbox").fill("pi-277")
    expect(page.locator(".pi:visible .name")).to_have_text(["pi-277"])
    relay = row(page, "farm/house-17/pi-277", "out4")
    expect(relay.locator(".word")).to_have_text("off")
    pis.publish("farm/house-17/pi-277/pins/out4", state(1))
    expect(relay.locator(".word")).to_have_text("on")
