"""The plain page as browsers without scripts use it: links, forms and cookies, nothing else."""

import json
import os
import pty
import re
import select
import subprocess
import termios
import time
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import pytest

from raspi_server.web import routes
from raspi_server.web.context import BUILT_IN_WWW
from tests.support.coded_server import CodedServer
from tests.support.http import Response, ask
from tests.support.server import LIMIT, Server
from tests.support.websocket import WebSocketClient

WORDS = {
    tag: json.loads((BUILT_IN_WWW / f"languages/{tag}.json").read_text()) for tag in ("en", "id")
}
NASTY = "<script>alert(1)</script>&\"'"
LISTED = "https://dash.example.org"
CONFIG = f"""
access: {{control: everyone, origins: [{LISTED}]}}
pins:
  lamp:   {{gpio: 27, mode: output, label: {json.dumps(NASTY)}}}
  gate:   {{gpio: 22, mode: output, label: Gate, pulse: 60, confirm: true}}
  fan:    {{gpio: 18, mode: pwm, label: Fan}}
  boiler: {{gpio: 6, mode: output, control: nobody}}
  door:   {{gpio: 17, mode: input}}
"""


BUTTONS = {"On": "do-on", "Off": "do-off", "Press": "do-press", "Set": "do-set_level"}


class Page(HTMLParser):
    """The forms of a page, the cells of its table, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.text = ""
        self.refresh: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.tags.add(tag)
        if tag == "form":
            self.forms.append({"action": found["action"], "fields": {}, "buttons": {}})
        elif tag == "html":
            self.language, self.direction = found["lang"], found["dir"]
        elif tag == "input" and found.get("type") == "submit":
            self.forms[-1]["buttons"][found["value"]] = found["name"]
        elif tag == "input":
            self.forms[-1]["fields"][found["name"]] = found.get("value") or ""
        elif tag in ("td", "th"):
            self.cells.append("")
        elif tag == "meta" and found.get("http-equiv") == "refresh":
            self.refresh = found["content"]

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.cells:
            self.cells[-1] += data

    def form(self, button: str, pin: str | None = None) -> dict[str, Any]:
        """Return the form that has this button, for this pin if there is one."""
        return next(
            form
            for form in self.forms
            if button in form["buttons"] and form["fields"].get("pin") == pin
        )


class TextBrowser:
    """A browser that keeps cookies and submits forms."""

    def __init__(self, server: Server, keeps_cookies: bool = True) -> None:
        self.server, self.keeps_cookies = server, keeps_cookies
        self.cookies: dict[str, str] = {}
        self.path = "/plain"
        self.status = 0
        self.language = ""

    def ask(self, method: str, path: str, body: bytes | None = None, **more: str) -> Response:
        headers = {"Host": f"127.0.0.1:{self.server.port}", **more}
        if self.language:
            headers["Accept-Language"] = self.language
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = ask(self.server, method, path, body, **headers)
        for line in answer.headers.get_all("Set-Cookie") or []:
            for name, cookie in SimpleCookie(line).items():
                assert cookie["httponly"] and cookie["samesite"] == "Strict"
                if self.keeps_cookies:
                    self.cookies[name] = cookie.value
        return answer

    def open(self, path: str = "/plain") -> Page:
        self.path = path
        answer = self.ask("GET", path)
        self.status = answer.status
        return Page(answer.body.decode())

    def press(self, form: dict[str, Any], button: str, **fields: str) -> Page:
        """Submit a form, and follow the redirect. The button may be one of another form."""
        name = form["buttons"].get(button) or BUTTONS.get(button, f"do-{button}")
        body = urlencode({**form["fields"], name: button, **fields}).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.ask("POST", urlsplit(urljoin(self.path, form["action"])).path, body, **kind)
        if answer.status == 303:
            return self.open(urljoin(self.path, str(answer.headers["Location"])))
        self.status = answer.status
        return Page(answer.body.decode())


def value_of(server: Server, pin: str) -> Any:
    return ask(server, "GET", f"/api/pins/{pin}").json["value"]


def test_stranger_switches_what_everyone_may(pi: Server) -> None:
    """The page shows all pins, and buttons for what the caller may do. `confirm` asks on a second
    page. Text of config.yaml is escaped, and the page needs no script."""
    browser = TextBrowser(pi)
    page = browser.open()
    assert browser.status == 200 and not {"script", "style"} & page.tags
    assert page.cells[:2] == [NASTY, "off"] and "script" in page.text
    assert {form["fields"]["pin"] for form in page.forms} == {"lamp", "gate", "fan"}
    page = browser.press(page.form("On", "lamp"), "On")
    assert value_of(pi, "lamp") == 1
    assert re.fullmatch(r"on since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", page.cells[1])
    pi.wait_for_log(r"lamp \(GPIO27\): on, by 127\.0\.0\.1$")
    question = browser.press(page.form("Press", "gate"), "Press")
    assert "Press Gate? It will be on for 60 s." in question.text and value_of(pi, "gate") == 0
    browser.press(question.form("Press", "gate"), "Press")
    assert value_of(pi, "gate") == 1
    for level, value in (("35", 0.35), ("12,5 %", 0.125), ("100", 1), ("0", 0)):
        browser.press(page.form("Set", "fan"), "Set", level=level)
        assert value_of(pi, "fan") == value
    for button, pin, words, level in (
        ("Set", "fan", "Fan takes 0 to 100, not 101", "101"),
        ("Set", "fan", "not <b>", "<b>"),
        ("Burn", "lamp", "this value is not possible", ""),
        ("On", "boiler", "boiler cannot be switched", ""),
        ("On", "door", "door is an input", ""),
        ("On", "<i>", "there is no pin <i>", ""),
    ):
        failed = browser.press(page.form("On", "lamp"), button, pin=pin, level=level)
        assert browser.status >= 400 and words in failed.text
        assert not {"b", "i"} & failed.tags
    assert (value_of(pi, "fan"), value_of(pi, "boiler")) == (0, 0)
    browser.press(page.form("Off", "lamp"), "Off")


def test_forms_of_others_do_nothing(pi: Server) -> None:
    """A form counts only with the token of this browser, and not from a page of another site, even
    one of `access.origins`."""
    browser, other = TextBrowser(pi), TextBrowser(pi)
    form, foreign = (each.open().form("On", "lamp") for each in (browser, other))
    for token in (foreign["fields"]["token"], "", "ä"):
        page = browser.press(form, "On", token=token)
        assert browser.status == 403 and "this form is too old" in page.text
    body = urlencode({**form["fields"], "do-on": "On"}).encode()
    kind = "application/x-www-form-urlencoded"
    for origin in ("http://evil.example", "null", LISTED):
        answer = browser.ask("POST", "/plain", body, Origin=origin, Content_Type=kind)
        assert answer.status == 403
    cookieless = TextBrowser(pi, keeps_cookies=False)
    page = cookieless.press(cookieless.open().form("On", "lamp"), "On")
    assert "this browser keeps no cookies" in page.text
    assert value_of(pi, "lamp") == 0
    own = f"http://127.0.0.1:{pi.port}"
    assert browser.ask("POST", "/plain", body, Origin=own, Content_Type=kind).status == 303
    assert value_of(pi, "lamp") == 1
    browser.press(form, "Off")
    answer = browser.ask("GET", "/plain")
    assert answer.headers["Referrer-Policy"] == "same-origin"  # else forms have `Origin: null`
    assert "form-action 'self'" in answer.headers["Content-Security-Policy"]
    for method in ("PUT", "OPTIONS"):
        assert browser.ask(method, "/plain").headers["Allow"] == "GET, HEAD, POST"


def test_page_loads_itself_again_where_that_is_asked(pi: Server) -> None:
    """`?refresh=` sets the seconds, which stay for the next page, within sensible limits."""
    browser = TextBrowser(pi)
    assert browser.open().refresh is None
    page = browser.open("/plain?refresh=10")
    assert page.refresh == "10; url=plain?refresh=10"
    assert browser.press(page.form("Off", "lamp"), "Off").refresh == page.refresh
    assert browser.press(page.form("Press", "gate"), "Press").refresh is None  # a question
    for asked, found in (("0", "2"), ("99999", "3600")):
        assert str(browser.open(f"/plain?refresh={asked}").refresh).startswith(f"{found};")
    for asked in ("", "-1", "x", "9" * 5000, quote("١")):
        assert browser.open(f"/plain?refresh={asked}").refresh is None


def test_page_speaks_the_language_of_the_browser(pi: Server) -> None:
    """`Accept-Language` chooses the words, buttons and refusals included."""
    browser = TextBrowser(pi)
    browser.language = "xx-YY, en;q=0.5, id-ID;q=0.8, fr;q=0"
    words = WORDS["id"]["plain"]
    page = browser.open()
    assert (page.language, page.direction) == ("id", "ltr")
    page = browser.press(page.form(words["on"], "lamp"), words["on"])
    assert page.cells[1].startswith(f"{words['is_on']} ") and value_of(pi, "lamp") == 1
    question = browser.press(page.form(words["press"], "gate"), words["press"])
    assert words["ask_press"].format(label="Gate", seconds=60) in question.text
    failed = browser.press(page.form(words["set_level"], "fan"), words["set_level"], level="101")
    why = WORDS["id"]["page"]["error:out-of-range"]
    why = why.format(label="Fan", minimum=0, maximum=100, got=101)
    assert words["not_done"].format(why=why) in failed.text
    assert WORDS["id"]["page"]["notice:simulated"] in page.text
    for language in ("in", "id-Latn-ID", "ID"):
        browser.language = language
        assert browser.open().language == "id"
    for language in ("xx, yy", "*", "", "../../etc/passwd", ";;;,,,", "id;q=x", "a" * 5000):
        browser.language = language
        assert browser.open().language == "en"
    browser.press(browser.open().form("Off", "lamp"), "Off")
    assert value_of(pi, "lamp") == 0


COVERS = """
access: {control: everyone}
pins:
  opener: {gpio: 5, mode: output, pulse: 0.05}
  shut: {gpio: 6, mode: input, kind: garage_door}
  above: {gpio: 7, mode: input}
  up: {gpio: 8, mode: output, group: shutter, group_pause: 0.5}
  down: {gpio: 9, mode: output, group: shutter, group_pause: 0.5}
  bolt: {gpio: 10, mode: output, pulse: 0.05}
  bolted: {gpio: 11, mode: input}
  lamp: {gpio: 27, mode: output}
covers:
  garage: {label: "<Garage>", button: opener, closed: shut, opened: above, travel: 1,
           confirm: true}
  shutter: {label: Shutter, room: Hall, up: up, down: down, travel: 2}
  barrier: {button: bolt, closed: bolted, travel: 1, control: nobody}
"""


def wait_for_state(server: Server, cover: str, state: str) -> dict[str, Any]:
    until = time.monotonic() + LIMIT
    while (found := ask(server, "GET", f"/api/covers/{cover}").json)["state"] != state:
        assert time.monotonic() < until
    return dict(found)


def test_covers(start_server) -> None:
    """A cover has a row with its state, and buttons for what the caller may do. Its pins have none.
    `confirm` asks on a second page, but not before a stop. A refusal is told in words."""
    server = start_server(COVERS)
    browser = TextBrowser(server)
    page = browser.open()
    assert page.cells[0] == "<Garage>" and "script" not in page.tags
    assert not any(each in page.cells for each in ("opener", "shut", "up", "bolted"))
    assert page.cells.index("lamp") < page.cells.index("Shutter")  # it is in a room
    buttons = [(form["fields"].get("cover"), set(form["buttons"])) for form in page.forms]
    assert [each for each in buttons if each[0]] == [
        ("garage", {"Open", "Close"}), ("shutter", {"Open", "Stop", "Close"}), ("shutter", {"Set"}),
    ]  # fmt: skip
    question = browser.press(cover_form(page, "Open", "garage"), "Open")
    assert "Open <Garage>?" in question.text
    assert ask(server, "GET", "/api/covers/garage").json["state"] == "closed"
    browser.press(cover_form(question, "Open", "garage"), "Open")
    wait_for_state(server, "garage", "open")
    server.wait_for_log(r"by 127\.0\.0\.1$")
    assert re.match(r"open since \d{4}-", browser.open().cells[1])
    browser.press(cover_form(page, "Open", "shutter"), "Open")
    wait_for_state(server, "shutter", "open")
    browser.press(cover_form(page, "Set", "shutter"), "Set", level="40 %")
    position = wait_for_state(server, "shutter", "stopped")["position"]
    assert 10 < position <= 40  # a busy loop is late
    assert f"stopped on its way, {position} %" in browser.open().text
    browser.press(cover_form(page, "Close", "shutter"), "Close")
    browser.press(cover_form(page, "Stop", "shutter"), "Stop")
    assert wait_for_state(server, "shutter", "stopped")["goal"] is None
    for fields, words in (
        ({"level": "101"}, "Shutter can be moved to 0 to 100 percent, not 101"),
        ({"level": "much"}, "Shutter can be moved to 0 to 100 percent, not much"),
        ({"cover": "garage", "level": "40"}, "<Garage> can only be opened and closed"),
        ({"cover": "barrier", "level": "40"}, "barrier cannot be switched"),
        ({"cover": "cellar", "level": "40"}, "there is no cellar any more"),
        ({"token": "x", "level": "40"}, "this form is too old"),
    ):
        page = browser.press(cover_form(page, "Set", "shutter"), "Set", **fields)
        assert browser.status in (403, 404, 422) and words in page.text, page.text
        page = browser.open()
    with WebSocketClient(server.port) as viewer:
        viewer.send(type="drive", pin="shut", value=0)
        while viewer.receive("cover")["state"] != "unknown":
            pass
    page = browser.open()
    assert page.cells[1] == "unknown: shut and above are active at the same time"
    browser.language = "de"
    page = browser.open()
    question = browser.press(cover_form(page, "Öffnen", "garage"), "Öffnen")
    assert "<Garage> öffnen?" in question.text
    failed = browser.press(cover_form(question, "Öffnen", "garage"), "Öffnen")
    assert browser.status == 409 and "<Garage> steht" in failed.text


def test_covers_that_wait_or_are_lost(start_server) -> None:
    """A goal that waits is told, and can be dropped where the drive cannot be stopped. A shutter
    that was stopped while nobody knew its position is unknown."""
    server = start_server(
        COVERS.replace("travel: 1,", "travel: 8,").replace("travel: 2", "travel: 8")
    )
    browser = TextBrowser(server)
    for what in ("open", "close"):
        ask(server, "POST", f"/api/covers/garage/{what}", {})
    page = browser.open()
    assert page.cells[page.cells.index("<Garage>") + 1].startswith("opening, then closes")
    form = cover_form(page, "Stop", "garage")
    assert list(form["buttons"]) == ["Open", "Stop", "Close"]
    page = browser.press(form, "Stop")
    assert page.cells[page.cells.index("<Garage>") + 1].startswith("opening since")
    assert set(cover_form(page, "Open", "garage")["buttons"]) == {"Open", "Close"}
    failed = browser.press(form, "Stop")
    assert browser.status == 409 and "<Garage> cannot be stopped" in failed.text
    for what in ("open", "stop"):
        ask(server, "POST", f"/api/covers/shutter/{what}", {})
    assert ask(server, "GET", "/api/covers/shutter").json["state"] == "stopped"
    page = browser.open()
    assert page.cells[page.cells.index("Shutter") + 1] == "unknown"


def cover_form(page: Page, button: str, cover: str) -> dict[str, Any]:
    """Return the form that has this button, for this cover."""
    return next(
        form
        for form in page.forms
        if button in form["buttons"] and form["fields"].get("cover") == cover
    )


HOUSE = """
access: {control: everyone}
pins:
  front:  {gpio: 17, mode: input, kind: door, label: Front, room: Hall}
  cellar: {gpio: 4, mode: input, hidden: true}
  chest:  {gpio: 5, mode: input, kind: door, label: Chest, words: {on: "<Up>", off: "<Down>"}}
  smoke:  {gpio: 6, mode: input, kind: smoke, label: Smoke, room: Hall}
  bell: {gpio: 22, mode: output, kind: bell, label: Bell, room: "<Gate>", pulse: 60, confirm: true}
  lamp:   {gpio: 27, mode: output, label: Lamp, room: Hall}
"""


def test_kinds_and_rooms(start_server) -> None:
    """A pin has the words of its kind, or its own, and alarms and open doors have a look of their
    own. Pins of a room are below its name, hidden ones are not there. All text is escaped."""
    server = start_server(HOUSE)
    html = ask(server, "GET", "/plain").body.decode()
    shown = re.findall("<h2>(.*?)</h2>|<th>(.*?)</th>.*?<strong[^>]*>(.*?)</strong>", html)
    assert shown == [
        ("", "Chest", "&lt;Down&gt;"),
        ("Hall", "", ""), ("", "Front", "closed"), ("", "Smoke", "no smoke"), ("", "Lamp", "off"),
        ("&lt;Gate&gt;", "", ""), ("", "Bell", "off"),
    ]  # fmt: skip
    with WebSocketClient(server.port) as viewer:
        for pin in ("front", "smoke"):
            viewer.command(type="drive", pin=pin, value=1)
    html = ask(server, "GET", "/plain").body.decode()
    assert "<strong class='open'>open</strong>" in html
    assert "<strong class='alarm'>smoke</strong>" in html
    browser = TextBrowser(server)
    page = browser.open()
    press = WORDS["en"]["kinds"]["outputs"]["bell"]["press"]
    page = browser.press(page.form(press, "bell"), press)
    assert "Ring Bell?" in page.text and value_of(server, "bell") == 0
    page = browser.press(page.form(press, "bell"), press)
    assert value_of(server, "bell") == 1 and "ringing since" in page.text


def test_schedules_and_automatic(start_server) -> None:
    """A pin says which schedule or rule decides, and until when, also after a command by hand. A
    button makes it automatic again, where a schedule or a rule switches it; with `confirm` it asks
    first."""
    in_hours = [time.strftime("%H:%M", time.localtime(time.time() + 3600 * n)) for n in (-1, 2, 4)]
    begin, end, moment = in_hours
    server = start_server(f"""
access: {{control: everyone}}
schedules:
  warm_up: {{pin: heater, from: "{begin}", to: "{end}", unattended: true}}
  all_off: {{at: "{moment}", turn_off: [lamp]}}
rules:
  leak: {{while: leak, turn_on: pump}}
pins:
  heater: {{gpio: 5, mode: output, label: Heater, confirm: true}}
  lamp: {{gpio: 6, mode: output, label: Lamp}}
  pump: {{gpio: 7, mode: output, label: Pump}}
  radio: {{gpio: 8, mode: output, label: Radio}}
  leak: {{gpio: 9, mode: input, kind: moisture}}
""")
    assert ask(server, "POST", "/api/clock/trust").status == 200
    with WebSocketClient(server.port) as viewer:
        viewer.command(type="drive", pin="leak", value=1)
        for pin in ("lamp", "radio"):
            viewer.command(type="set", pin=pin, value=1)
    browser = TextBrowser(server)
    page = browser.open()
    cells = dict(zip(page.cells[::3], page.cells[1::3], strict=False))
    assert cells["Heater"].endswith(f", by schedule “warm up” until {end}")
    assert cells["Lamp"].endswith(f", by hand until {moment}")
    assert cells["Pump"].endswith(", by rule “leak”")
    assert "hand" not in cells["Radio"]
    automatic = [form["fields"]["pin"] for form in page.forms if "Automatic" in form["buttons"]]
    assert automatic == ["lamp"]
    browser.press(page.form("Automatic", "lamp"), "Automatic")
    assert value_of(server, "lamp") == 0

    assert ask(server, "PUT", "/api/pins/heater", {"value": 0, "seconds": 86400}).status == 200
    page = browser.open()
    tomorrow = time.strftime(
        "%H:%M", time.localtime(ask(server, "GET", "/api/pins/heater").json["until"])
    )
    assert f"by hand until {tomorrow}" in page.text
    page = browser.press(page.form("Automatic", "heater"), "Automatic")
    assert "Let schedules and rules decide on Heater again?" in page.text
    assert value_of(server, "heater") == 0
    browser.press(page.form("Automatic", "heater"), "Automatic")
    assert value_of(server, "heater") == 1


def test_language_of_a_file_in_the_own_folder(start_server, tmp_path: Path) -> None:
    """A language file in the own folder is offered, and read again after a change. What it lacks is
    English, and one that cannot be read counts as none; the log says so, once. Its text is escaped,
    and its direction is that of the page."""
    folder = tmp_path / "www/languages"
    folder.mkdir(parents=True)
    server = start_server(f"{HOUSE}www: {tmp_path}/www\n")
    browser = TextBrowser(server)
    browser.language = "ar-EG,en;q=0.5"
    file = folder / "ar.json"
    (folder / "pt-br.json").write_text("{}")
    portuguese = TextBrowser(server)
    portuguese.language = "pt-PT, en"
    assert portuguese.open().language == "pt-br"

    def write(text: str) -> None:
        file.with_suffix(".new").write_text(text)
        file.with_suffix(".new").replace(file)

    own = {
        "direction": "rtl",
        "plain": {**WORDS["en"]["plain"], "on": "<b>'\"&", "since": "{time} {other} منذ"},
        "kinds": {"inputs": {"door": {"on": "مفتوح", "off": "مغلق"}}},
    }
    write(json.dumps(own))
    for _ in range(2):
        page = browser.open()
        assert (page.language, page.direction) == ("ar", "rtl")
        assert "مغلق" in page.text and "b" not in page.tags
    lacks = "ar.json: no page.error:"
    server.wait_for_log(lacks)
    page = browser.press(page.form("<b>'\"&", "lamp"), "<b>'\"&")
    assert value_of(server, "lamp") == 1 and " {other} منذ" in page.text
    failed = browser.press(page.form("Off", "lamp"), "Off", pin="front")
    assert WORDS["en"]["page"]["error:not-writable"].format(label="Front") in failed.text
    broken = ["", "[]", '{"plain": 5}', '{"direction": "up"}', '{"plain": {"on": 5}}', "\0" * 2**21]
    for text in broken:
        write(text)
        for _ in range(2):
            assert browser.open().language == "en"
    assert server.log.count("the plain page does without it") == len(broken)
    assert server.log.count(lacks) == 1
    file.unlink()
    os.mkfifo(file)
    assert browser.open().language == "en"


@pytest.fixture
def home(start_with_codes) -> CodedServer:
    home: CodedServer = start_with_codes("{view: code}")
    return home


def test_signing_in_and_out(home: CodedServer) -> None:
    """Without a code the page shows only where to type it. A form of before the sign-in, or after
    the sign-out, does nothing. Wrong codes have the limit of all codes."""
    code = home.new("control")
    browser = TextBrowser(home.server)
    page = browser.open()
    assert "Viewing needs an access code" in page.text and "lamp" not in page.text
    before = page.form("Sign in")
    failed = browser.press(before, "Sign in", code="guess")
    assert browser.status == 403 and "the code is wrong" in failed.text
    refused = browser.press(before, "On", pin="lamp")
    assert browser.status == 403 and "viewing needs an access code" in refused.text
    page = browser.press(before, "Sign in", code=code)
    assert "Signed in with the control code" in page.text
    browser.press(before, "On", pin="lamp")
    assert browser.status == 403
    form = page.form("On", "lamp")
    browser.press(form, "On")
    home.server.wait_for_log(r"lamp \(GPIO27\): on, by 127\.0\.0\.1 \(control code\)$")
    with home.viewer(
        {"Cookie": "; ".join(f"{k}={v}" for k, v in browser.cookies.items())}
    ) as viewer:
        assert viewer.receive("hello")["signed_in"] == "control"
        page = browser.press(page.form("Sign out"), "Sign out")
        assert viewer.close_code() == 1012
    assert "Viewing needs" in page.text
    browser.press(form, "Off")
    assert browser.status == 403
    for _ in range(4):
        browser.press(page.form("Sign in"), "Sign in", code="guess")
    assert "too many wrong codes" in browser.press(page.form("Sign in"), "Sign in", code=code).text
    assert browser.status == 429
    assert code not in home.server.log and ": off, by" not in home.server.log


def test_listed_site_sends_no_form(start_with_codes) -> None:
    """A site of `access.origins` on the same host, which gets our cookies and can set them, signs
    a browser neither in nor out with a form, not even with the token of that browser."""
    listed = "http://127.0.0.1:8123"
    home: CodedServer = start_with_codes(f"{{origins: ['{listed}']}}")
    code = home.new("control")
    attacker, victim = TextBrowser(home.server), TextBrowser(home.server)
    form = attacker.open().form("Sign in")
    victim.press(victim.open().form("Sign in"), "Sign in", code=code)
    signed_in = dict(victim.cookies)
    victim.cookies |= attacker.cookies
    kind = "application/x-www-form-urlencoded"
    for button, origin in (("Sign in", listed), ("Sign out", listed), ("Sign out", "null")):
        body = urlencode(
            {**form["fields"], form["buttons"].get(button, "do-sign_out"): "", "code": code}
        ).encode()
        answer = victim.ask("POST", "/plain", body, Origin=origin, Content_Type=kind)
        assert (answer.status, "pages of" in answer.body.decode()) == (403, True)
        assert "raspi-server-http" not in str(answer.headers["Set-Cookie"])
    victim.cookies = signed_in
    assert "Signed in with the control code" in victim.open().text


def test_get_changes_nothing(pi: Server) -> None:
    """No GET and no HEAD changes a pin, at any route and with any arguments; only hooks would."""
    before = {pin["name"]: pin["value"] for pin in ask(pi, "GET", "/api/pins").json["pins"]}
    paths = {path.replace("{name}", "lamp") for path, _ in routes.API}
    for pattern, _ in routes.OTHERS:
        paths.add(re.sub(r"\(.*?\)+|\.\*|\\", "x", pattern))
    assert {"/plain", "/hook/x", "/ws"} <= paths
    arguments = urlencode({"pin": "lamp", "do-on": "On", "value": "1", "token": "x", "sure": "yes",
                           "_method": "POST", "type": "toggle", "code": "x"})  # fmt: skip
    for path in paths - {"/api/events"}:  # an answer without an end
        for method in ("GET", "HEAD"):
            ask(pi, method, f"{path}?{arguments}", {"value": 1}, X_HTTP_Method_Override="PUT")
    after = {pin["name"]: pin["value"] for pin in ask(pi, "GET", "/api/pins").json["pins"]}
    assert after == before


TEXT_BROWSERS = {
    "lynx": (["lynx", "-accept_all_cookies"], ["\r"]),
    "w3m": (["w3m", "-cookie"], ["\t", "\r"]),
    "links": (["links"], ["\r", "\r"]),  # it welcomes a new user first
}


@pytest.mark.peers
@pytest.mark.parametrize("name", TEXT_BROWSERS)
def test_text_browser(pi: Server, name: str, tmp_path: Path) -> None:
    """lynx, w3m and links show the page, and press its first button."""
    command, keys = TEXT_BROWSERS[name][0], [*TEXT_BROWSERS[name][1]]
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 120))
    environment = {**os.environ, "TERM": "vt100", "HOME": str(tmp_path)}
    for size in ("LINES", "COLUMNS"):  # of another terminal, which this process may have
        environment.pop(size, None)
    arguments = [*command, f"http://127.0.0.1:{pi.port}/plain"]
    with subprocess.Popen(
        arguments, stdin=terminal, stdout=terminal, stderr=terminal, env=environment,
        start_new_session=True,
    ) as browser:  # fmt: skip
        try:
            until = time.monotonic() + LIMIT
            shown = b""
            while value_of(pi, "lamp") == 0:
                assert time.monotonic() < until, shown
                if select.select([ours], [], [], 0.1)[0]:
                    shown += os.read(ours, 65536)
                elif keys and b"Fan" in shown:  # the page is there, if behind a box of links
                    os.write(ours, keys.pop(0).encode())
        finally:
            browser.kill()
    os.close(ours)
    os.close(terminal)
    ask(pi, "PUT", "/api/pins/lamp", {"value": 0})
