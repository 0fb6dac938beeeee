"""config.yaml key by key: accepted values beside rejected ones, each rejection with its message."""

import re
import textwrap
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec
import pytest

from raspi_server.config.kinds import (
    PRESSED,
    CoverKind,
    Icon,
    InputKind,
    OutputKind,
    PwmKind,
    in_words,
)
from raspi_server.config.meaning import meaning
from raspi_server.config.schema import (
    AccessConfig,
    CertificateFiles,
    Config,
    CoverConfig,
    HookConfig,
    MqttConfig,
    RuleConfig,
)
from raspi_server.config.source import load
from tests.config.reading import GPIO, HERE, MODES, NAME, errors, one_pin, pin_text, read

SHIPPED = Path(__file__).parents[2] / "config.yaml"
INPUT_KINDS = [kind for part in get_args(InputKind) for kind in get_args(part)]
TLS = CertificateFiles(certificate=HERE / "tls/server.crt", key=HERE / "tls/server.key")


def test_shipped_file_has_the_defaults_and_explains_every_key():
    """The shipped file is valid, has the defaults as its values, and has each key."""
    assert load(SHIPPED) == msgspec.structs.replace(Config(), www=SHIPPED.parent / "www")
    pin_keys = set().union(*(mode.__struct_fields__ for mode in MODES.values())) - {"name"}
    for line, keys in (
        ("^#?{}:", Config.__struct_fields__),
        ("^  {}:", AccessConfig.__struct_fields__),
        (r"^#  {}: \S", MqttConfig.__struct_fields__),
        (r"^#    {}: \S", HookConfig.__struct_fields__),
        (r"^#   {} +\S", [field.encode_name for field in msgspec.structs.fields(RuleConfig)]),
        (r"^#   {} +\S", {"mode"} | pin_keys),
        (r"^#   {}[ ,]+\S", set(CoverConfig.__struct_fields__) - {"name"}),
    ):
        for key in keys:
            found = re.findall(line.format(key), SHIPPED.read_text(), re.MULTILINE)
            assert len(found) == 1 or (found and line.startswith("^#")), key
    explained = set(re.findall(r"[a-z][a-z_-]+", SHIPPED.read_text()))
    kinds = (INPUT_KINDS, get_args(OutputKind), get_args(PwmKind), get_args(CoverKind))
    for choices in (*kinds, get_args(Icon)):
        assert explained >= {*choices}


def test_examples_are_valid_and_fit_together():
    """The examples of the shipped file, without their comment signs, those of the pages, and those
    of README.md are valid, also in one file: they have the same indentation."""
    examples = "^#(?=mqtt:|hooks:|location:|schedules:|rules:|covers:| +[a-z_]+:( |$))"
    bare = re.sub(examples, "", SHIPPED.read_text(), flags=re.MULTILINE)
    for line in ("mqtt: false\n", "hooks: {}\n", "schedules: {}\n", "rules: {}\n", "covers: {}\n"):
        bare = bare.replace(line, "")
    config = read(bare)
    assert (config.mqtt.url, config.mqtt.ca) == ("mqtts://broker.local", HERE / "tls/broker-ca.crt")
    hook = config.hooks["gate"]
    assert (hook.pin, hook.do, hook.unattended) == ("gate", "pulse", True)
    assert (config.location.latitude, config.schedules["evening"].value) == (48.14, 0.4)
    assert config.schedules["night"].turn_off == ("lamp", "fan")
    shade, dusk = config.hooks["shade"], config.schedules["dusk"]
    assert (shade.cover, shade.do, dusk.cover, dusk.goal) == (*("shutter", "close") * 2,)
    assert (config.rules["porch"].hold, config.rules["forgotten"].for_) == (180, 600)
    (shutter,) = config.covers
    assert (shutter.kind, shutter.outputs) == ("shutter", ("shutter_up", "shutter_down"))
    door, lamp, gate, fan, *_ = config.pins
    assert (door.gpio, door.label, door.pull) == (17, "Front door", "up")
    assert meaning(door) == "door: 1 = open = GPIO17 high (contact open)"
    assert [pin.kind for pin in (lamp, gate, fan)] == ["light", "garage_door", "fan"]
    assert (lamp.initial, lamp.on_stop, lamp.on_failure) == ("keep", "keep", "keep")
    assert (gate.pulse, gate.confirm, fan.initial) == (0.5, True, 0.35)

    www = SHIPPED.with_name("www")
    no_pins = (www / "dashboard/no-pins.js").read_text()
    (guide,) = re.findall(r"<code>pins:\n(.*?)</code>", no_pins, re.DOTALL)
    script = (www / "dashboard/gpio-header.js").read_text()
    (header,) = re.findall(r"`\$\{first\}(.*?)`", script)
    header = header.replace(r"\n", "\n").replace("${position.gpio}", "24") + "input\n    pull: up\n"
    guide = guide.replace("17", "23").replace("27", "25")
    names = [pin.name for pin in read(f"{bare}{guide}\n{header}").pins]
    outputs = ["shutter_up", "shutter_down"]
    assert names == ["door", "lamp", "gate", "fan", *outputs, "button", "led", "gpio24"]
    page = (www / "fleet/index.html").read_text()
    (broker,) = re.findall(r"<code>(mqtt:\n.*?)</code>", page, re.DOTALL)
    assert read(f"{broker}\n  topic: house/kitchen\npins:\n{guide}").mqtt.fleet

    readme = SHIPPED.with_name("README.md").read_text()
    pins, garage = re.findall(r"^ {4}pins:\n(?: {4,}.*\n)+", readme, re.MULTILINE)
    (door,) = read(textwrap.dedent(garage), warnings=(warnings := [])).covers
    assert (door.outputs, door.contacts, warnings) == (
        ("opener",),
        ("garage_shut", "garage_up"),
        [],
    )
    assert door.confirm
    found = read(textwrap.dedent(pins) + header, warnings=(warnings := [])).pins
    assert ([pin.name for pin in found], warnings) == (["door", "lamp", "gate", "gpio24"], [])
    wiring = readme.partition("### Wiring")[2].partition("\n##")[0]
    blocks = re.findall(r"(?:^ {4}.*\n)+", wiring, re.MULTILINE)
    pins = read("pins:\n" + "".join(each for each in blocks if "gpio:" in each)).pins
    assert [pin.kind for pin in pins] == ["door", "button", "motion", "light"]
    said = [f"    {meaning(pin)}" for pin in pins if pin.name in ("front", "hall")]
    assert blocks[-1].splitlines() == said


class Rule(NamedTuple):
    """One line of the table of keys: its boundaries, and one value of each class."""

    key: str
    where: tuple[str, ...]
    """`top`, `access`, `mqtt`, or the modes of the pins that have it."""
    expects: str
    good: dict[str, object]
    """The accepted values, as YAML, and their meaning."""
    bad: dict[str, str]
    """The rejected values, as YAML, and how the error shows them."""


def same(*texts):
    return {text: text for text in texts}


def quoted(*texts):
    return {text: f'"{text}"' for text in texts}


def choice(key, where, expects, *rejected):
    words = expects.replace(" or ", ", ").split(", ")
    bad = same("0", "true") | quoted("", words[0].title(), *rejected)
    return Rule(key, where, expects, same(*words), bad)


def boolean(key, *where):
    bad = same("0", "1") | quoted("on", "True", "") | {"'true'": '"true"'}
    return Rule(key, where, "true or false", {"true": True, "false": False}, bad)


NO_NUMBERS = same(".nan", "1e999", "true") | quoted("on", "1,5") | {"'1'": '"1"'}


def number(key, where, unit, low, high):
    beyond = same(str(round(float(low) - 0.001, 3)), str(round(float(high) + 0.001, 3)))
    good = {text: float(text) for text in (low, "1e0", high)}
    return Rule(key, where, f"a number of {unit} from {low} to {high}", good, beyond | NO_NUMBERS)


def path(key, where):
    good = {"my/file": HERE / "my/file", "/f": Path("/f"), "'2024'": HERE / "2024"}
    good |= {"on": HERE / "on", "Ü b": HERE / "Ü b"}
    bad = {'""': '""', '"a\\0b"': '"a\\u0000b"', "true": "true", "2024": "2024"}
    return Rule(key, where, "a path", good, bad)


TOP, MQTT, DRIVEN, EVERY_MODE = ("top",), ("mqtt",), ("output", "pwm"), tuple(MODES)
STOP_STATES = "off, on, keep or input"

RULES = [
    Rule("port", TOP, "a whole number from 1 to 65535", {"1": 1, "65535": 65535},
         same("0", "65536", "8080.0") | {"9" * 30: "9" * 30} | NO_NUMBERS),
    Rule("address", TOP, 'one IP address of this machine, or "" for all',
         {'""': "", "'::1'": "::1"} | same("192.168.1.7", "fe80::1%eth0"),
         quoted("localhost", "192.168.1.7/24", "192.168.1.7:80", "fe80::1%a/b")
         | same("1.5", "3232235777") | {"'[::1]'": '"[::1]"'}),
    Rule("ssl", TOP, "true, false or {certificate: FILE, key: FILE}", {"false": False, "true": TLS},
         quoted("on") | same("0") | {"'true'": '"true"'}),
    number("interval", TOP, "seconds", "0.01", "3600"),
    path("www", TOP),
    choice("gpio", TOP, "auto, real or simulated"),
    boolean("metrics", "top"),
    choice("log_level", TOP, "debug, info, warning or error", "critical"),
    choice("view", ("access",), "everyone or code", "nobody"),
    choice("control", ("access", *DRIVEN), "everyone, code or nobody", "none"),
    Rule("hosts", ("list",), "a host name such as pi.example.org or *.example.org, without a port",
         {"Pi.Example.org": "pi.example.org"} | same("my_pi", "10.0.0.5", "on", "x" * 253, "_")
         | {"'*.Tailnet.ts.net'": "*.tailnet.ts.net"},
         quoted("pi.example.org:8080", "http://pi", "-pi", "pi.", "küche", "")
         | quoted("a.*.example.org", "x*.example.org")
         | {f"'{each}'": f'"{each}"' for each in ("*", "*.", "*.org", "*.*.example.org")}
         | {'"pi\\n"': '"pi\\n"', "x" * 254: f'"{"x" * 60}…"'} | same("5", "true")),
    Rule("proxies", ("list",), "an address or a network such as 127.0.0.1 or 172.16.0.0/12",
         {"127.0.0.1": "127.0.0.1/32", "'::1'": "::1/128"} | same("172.16.0.0/12", "fd00::/8"),
         quoted("172.16.5.0/12", "0.0.0.0/0", "localhost", "127.0.0.1:80", "10.0.0.0/33")
         | {"'::/0'": '"::/0"'} | same("5", "true")),
    Rule("origins", ("list",),
         "an origin such as https://dash.example.org, with its port and no path",
         {"HTTPS://Dash.example.org:443/": "https://dash.example.org"}
         | same("http://pi.local:8123", "https://10.0.0.5", "http://[::1]:3000"),
         quoted("dash.example.org", "https://dash.example.org/x", "https://*.example.org",
                "wss://dash.example.org", "http://pi:0",
                "https://x;script-src", "https://a b", "http://pi:65536", "https://küche")
         | {"https://me@dash.example.org": '"https://•••@dash.example.org"'}
         | {"'*'": '"*"'} | same("5", "true")),
    Rule("url", MQTT, "a URL such as mqtt://HOST or mqtts://HOST:8883",
         same("mqtt://broker", "mqtts://192.168.1.2:8883", "mqtt://pi.local:1", "mqtt://[::1]:65535"),
         quoted("broker", "http://broker", "mqtt://:1883", "mqtt://broker:0", "mqtt://broker:65536")
         | quoted("mqtt://broker/topic") | same("true") | {'"mqtt://b\\u2028"': '"mqtt://b\\u2028"',
         "mqtt://me:secret@broker": '"mqtt://•••@broker"'}),
    Rule("user", MQTT, "a user's name", same("Küche 2", "x", "x" * 100),
         {'""': '""', "x" * 101: f'"{"x" * 60}…"'} | same("true", "1.5")),
    *(path(key, MQTT) for key in ("ca", "certificate", "key")),
    Rule("password_file", MQTT, "a path", {"my/file": HERE / "my/file"},
         dict.fromkeys(('""', "true", "2024"), "something else")),
    Rule("topic", MQTT, "a topic such as house/kitchen, without +, # and spaces",
         same("house/kitchen", "x", "a/b/$c", "Küche", "x" * 100),
         quoted("/a", "a/", "a//b", "a/+/b", "+", "a/b#", "$SYS/a", "a b", "")
         | {"'#'": '"#"', "1": "1", "x" * 101: f'"{"x" * 60}…"', '"a\\n"': '"a\\n"'}),
    boolean("control", "mqtt"),
    Rule("discovery", MQTT, "false or a topic such as homeassistant",
         {"false": False} | same("homeassistant", "a/b"), same("true", "0") | quoted("", "a/")),
    boolean("fleet", "mqtt"),
    Rule("gpio", EVERY_MODE, GPIO, {"0": 0, "27": 27, "'17'": 17, "BOARD11": 17},
         same("-1", "28", "17.0", "true", ".nan") | quoted("seventeen", "GPIO28", "BOARD1", "")
         | {"'017'": '"017"', "9" * 30: "9" * 30}),
    Rule("mode", EVERY_MODE, "input, output or pwm", {}, same("0", "true") | quoted("in", "PWM")),
    Rule("label", EVERY_MODE, "1 to 64 characters of text",
         same("Desk lamp", "22:30", "x", "x" * 64, "True", "💡 Küche")
         | {"'17'": "17", "|-\n      two words": "two words"},
         {'""': '""', "x" * 65: f'"{"x" * 60}…"', "17": "17", "1.5": "1.5"}
         | same("true")),
    choice("active", EVERY_MODE, "high or low"),
    Rule("kind", ("input",), "a kind of inputs, such as door", same(*INPUT_KINDS),
         same("0", "true") | quoted("Door", "outlet", "garage", "reed", "")),
    Rule("kind", ("output",), "a kind of outputs, such as outlet",
         same(*sorted({*get_args(OutputKind)} - PRESSED)),
         same("0", "true") | quoted("Light", "door", "motion", "relay", "")),
    Rule("kind", ("pwm",), "a kind of pwm pins, such as fan",
         same(*get_args(PwmKind)),
         same("0", "true") | quoted("Fan", "door", "switch", "dimmer", "")),
    Rule("room", EVERY_MODE, "1 to 64 characters of text",
         same("Hall", "x", "x" * 64, "Küche 2"),
         {'""': '""', "x" * 65: f'"{"x" * 60}…"', "17": "17", "true": "true"}),
    Rule("icon", EVERY_MODE, "the name of an icon, such as fish",
         same(*get_args(Icon)), same("3", "true") | quoted("Fish", "lamp", "")),
    boolean("hidden", *EVERY_MODE),
    choice("pull", ("input",), "up, down or none"),
    number("debounce", ("input",), "seconds", "0", "5"),
    choice("initial", ("output",), "off, on, keep or restore", "input"),
    Rule("initial", ("pwm",), "off, on, keep or restore or a number from 0 to 1",
         same("off", "on", "keep", "restore") | {"0": 0.0, "0.35": 0.35, "1": 1.0},
         same("-0.001", "1.001", "true", ".nan") | quoted("ON", "") | {"'0.5'": '"0.5"'}),
    choice("on_stop", ("output",), STOP_STATES, "restore"),
    choice("on_failure", ("output",), STOP_STATES, "restore"),
    choice("on_stop", ("pwm",), "off, on or input", "keep"),
    choice("on_failure", ("pwm",), "off, on or input", "keep"),
    number("pulse", ("output",), "seconds", "0.01", "86400"),
    number("max_on", DRIVEN, "seconds", "0.01", "86400"),
    number("manual_hold", DRIVEN, "seconds", "0.01", "86400"),
    Rule("group", ("output",), NAME, same("a", "on", "blind_2-x", "x" * 32),
         same("1", "true") | quoted("Blind", "2blind", "_x", "a.b", "ä", "")
         | {"x" * 33: f'"{"x" * 33}"', '"a\\n"': '"a\\n"'}),
    number("group_pause", ("output",), "seconds", "0", "60"),
    number("frequency", ("pwm",), "hertz", "0.1", "10000"),
    boolean("confirm", *DRIVEN),
]  # fmt: skip


def text_with(rule, where, value):
    """Return a configuration with this key, the key's line, and its dotted path."""
    if where == "top":
        return f"{rule.key}: {value}\n", 1, rule.key
    if where == "access":
        return f"access:\n  {rule.key}: {value}\n", 2, f"access.{rule.key}"
    if where == "list":
        return f"access:\n  {rule.key}:\n    - {value}\n", 3, f"access.{rule.key}"
    if where == "mqtt":
        wanted = {"password_file": "user", "certificate": "key", "key": "certificate"}
        others = {"url": "mqtts://broker", wanted.get(rule.key, "user"): "x"}
        others.pop(rule.key, None)
        lines = [f"mqtt:\n  {rule.key}: {value}", *(f"  {k}: {v}" for k, v in others.items()), ""]
        return "\n".join(lines), 2, f"mqtt.{rule.key}"
    keys = {"gpio": "17", "mode": where, rule.key: value}
    keys |= {"group": "a"} if rule.key == "group_pause" else {}
    lines = ["pins:", "  lamp:", *(f"    {key}: {text}" for key, text in keys.items()), ""]
    line = {"gpio": 3, "mode": 4}.get(rule.key, 5)
    return "\n".join(lines), line, f"pins.lamp.{rule.key}"


def value_of(rule, where, value):
    """Return the value of this key in a configuration that has it."""
    text, _, _ = text_with(rule, where, value)
    if rule.key in ("group", "group_pause"):
        group = value if rule.key == "group" else "a"
        text += f"  other: {{gpio: 4, mode: output, group: {group}}}\n"
    config = read(text)
    if where == "list":
        return getattr(config.access, rule.key)[0]
    owners = {"top": config, "access": config.access, "mqtt": config.mqtt}
    return getattr(owners.get(where) or config.pins[0], rule.key)


def without_advice(found):
    """Return errors without the advice at their end, which the corpus of broken files tests."""
    return [re.sub(r" \([^()]*\)$", "", error) for error in found]


@pytest.mark.parametrize(
    ("rule", "where"),
    [pytest.param(rule, where, id=f"{where}-{rule.key}") for rule in RULES for where in rule.where],
)
def test_key_accepts_its_values_and_rejects_others(rule, where):
    """Each key accepts its range. An error has line, key, what was expected and what is there."""
    for text, value in rule.good.items():
        found = value_of(rule, where, text)
        assert (found, type(found)) == (value, type(value)), text
    others = {"[1]": "a list", "{a: 1}": "a mapping", " ": "nothing", "~": "nothing"}
    if rule.key == "ssl":
        del others["{a: 1}"]
    if rule.key == "password_file":  # perhaps the password itself
        others = {"[1]": "something else", "{a: 1}": "something else", " ": "nothing"}
    if rule.key in ("label", "room"):  # a text that begins with a bracket needs quotes
        others = {" ": "nothing", "~": "nothing"}
    for value, shown in (rule.bad | others).items():
        text, line, key = text_with(rule, where, value or '""')
        expected = f"config.yaml:{line}: {key}: expected {rule.expects}, got {shown}"
        assert without_advice(errors(text)) == [expected]
    text, line, key = text_with(rule, where, "017")
    reason = "expected a number without leading zeros, got 017"
    if rule.key == "password_file":
        reason = "expected a path, got something else"
    assert without_advice(errors(text)) == [f"config.yaml:{line}: {key}: {reason}"]


def test_units_of_numbers():
    """A number of seconds or hertz may have a unit. Without one it is in seconds or hertz."""
    for text, seconds in (
        ("20ms", 0.02), ("35 ms", 0.035), ("2.5s", 2.5), ("2 sec", 2), ("5min", 300),
        ("5 min", 300), ("1 minute", 60), ("'1h'", 3600), ("1.5 Hours", 5400), ("5", 5),
        (".5s", 0.5),
    ):  # fmt: skip
        assert one_pin("output", f"max_on: {text}").max_on == seconds
    assert [read(f"interval: {text}").interval for text in ("50ms", "1h")] == [0.05, 3600]
    for text, hertz in (("200Hz", 200), ("1.5 kHz", 1500), ("'50 hz'", 50), ("7", 7)):
        assert one_pin("pwm", f"frequency: {text}").frequency == hertz
    for text in ("5m", "2 days", "25 kHz", "ms", "-5s", "5 ms 3", "1h30min", "2h"):
        for mode, key in (("input", "debounce"), ("pwm", "frequency")):
            (error,) = errors(pin_text(mode, f"{key}: {text}"))
            assert f"expected a number of {'hertz' if mode == 'pwm' else 'seconds'}" in error


def test_table_has_every_key():
    """Each key of the configuration is in the table above, except those with tests of their own."""
    elsewhere = {"access", "mqtt", "pins", "hooks", "name", "words", "location", "schedules"}
    elsewhere |= {"rules", "covers"}
    structs = {"top": Config, "access": AccessConfig, "mqtt": MqttConfig, **MODES}
    for where, struct in structs.items():
        wanted = {where, "list"} if where == "access" else {where}
        tested = {rule.key for rule in RULES if wanted & set(rule.where)} - {"mode"}
        assert tested == set(struct.__struct_fields__) - elsewhere, where


OFF = {"initial": "off", "on_stop": "off", "on_failure": "off"}
MEANING = {"room": None, "icon": None, "words": None, "hidden": False}
KINDS = {"input": None, "output": "switch", "pwm": "light"}
DRIVEN_DEFAULTS = OFF | {"max_on": None, "manual_hold": None, "confirm": False, "control": None}
DEFAULTS = {
    "input": {"pull": "none", "debounce": 0},
    "output": DRIVEN_DEFAULTS | {"pulse": None, "group": None, "group_pause": 0.1},
    "pwm": DRIVEN_DEFAULTS | {"frequency": 100},
}


@pytest.mark.parametrize("mode", MODES)
def test_pin_has_the_defaults_and_no_key_of_another_mode(mode):
    """A pin has the documented defaults. A key of another mode is rejected with its modes."""
    everywhere = {"name": "lamp", "gpio": 17, "label": "lamp", "active": "high", **MEANING}
    everywhere["kind"] = KINDS[mode]
    pin = one_pin(mode)
    assert type(pin) is MODES[mode]
    assert msgspec.structs.asdict(pin) == everywhere | DEFAULTS[mode]
    for key in {key for keys in DEFAULTS.values() for key in keys} - DEFAULTS[mode].keys():
        owners = " or ".join(mode for mode in MODES if key in DEFAULTS[mode])
        reason = f"expected only with mode: {owners}, got it with mode: {mode}"
        assert errors(pin_text(mode, f"{key}: on")) == [f"config.yaml:5: pins.lamp.{key}: {reason}"]


def test_defaults_of_empty_sections_and_of_active():
    """An empty file or section means the defaults. With a pull the other level means 1."""
    for text in ("", "# nothing\n", "null", "{}", "pins:", "mqtt: false", "access:\n  hosts:\n"):
        config = read(text)
        assert config == msgspec.structs.replace(Config(), www=HERE / "www")
        assert (config.certificate, config.secret_files) == (None, ())

    for pull, active in (("up", "low"), ("down", "high"), ("none", "high")):
        assert one_pin("input", f"pull: {pull}").active == active
        for own in ("high", "low"):
            assert one_pin("input", f"pull: {pull}", f"active: {own}").active == own


@pytest.mark.parametrize("kind", ["door", "window", "garage_door", "gate", "opening"])
def test_an_opening_is_1_when_its_contact_is_open(kind):
    """For doors and the like, the level of an open contact means 1, that is open. Without a pull,
    and for all other kinds, it is as without a kind. An explicit `active` always wins."""
    for pull, active in (("up", "high"), ("down", "low"), ("none", "high")):
        assert one_pin("input", f"pull: {pull}", f"kind: {kind}").active == active
        for own in ("high", "low"):
            keys = (f"pull: {pull}", f"kind: {kind}", f"active: {own}")
            assert one_pin("input", *keys).active == own
    for pull, active in (("up", "low"), ("down", "high"), ("none", "high")):
        for other in ("lock", "motion", "moisture", "button"):
            assert one_pin("input", f"pull: {pull}", f"kind: {other}").active == active


def test_meaning_of_inputs():
    """The meaning of an input names its word for 1, the level, and what the contact does then."""
    for keys, words in (
        (("pull: up",), "on = GPIO17 low (contact closed)"),
        (("pull: up", "kind: door"), "open = GPIO17 high (contact open)"),
        (("pull: down", "kind: window"), "open = GPIO17 low (contact open)"),
        (("pull: up", "kind: door", "active: low"), "open = GPIO17 low (contact closed)"),
        (("pull: up", "kind: button"), "pressed = GPIO17 low (contact closed)"),
        (("kind: motion",), "motion = GPIO17 high"),
        (("kind: gate", "words: {on: Up, off: Down}"), "Up = GPIO17 high"),
    ):
        assert meaning(one_pin("input", *keys)) == f"lamp: 1 = {words}"


def test_every_kind_has_words():
    """Each kind of inputs has words for both states, and those of outputs too if they open."""
    for kind in INPUT_KINDS:
        assert in_words(kind, "input") != ("on", "off"), kind
    assert in_words("valve", "output") == ("open", "closed")
    assert in_words("lock", "output") == ("unlocked", "locked")
    assert in_words("light", "output") == in_words(None, "input") == ("on", "off")


def test_words_of_a_pin():
    """`words` are two different texts, in place of those of the kind."""
    words = one_pin("input", "words: {on: Open, off: Shut}").words
    assert words and (words.on, words.off) == ("Open", "Shut")
    warnings = []
    assert read(pin_text("input", "words: {on: Up, off: Up}"), warnings=warnings).pins
    assert [str(each) for each in warnings] == [
        "config.yaml:5: pins.lamp.words: both states have the word Up"
    ]


def test_a_pressed_kind_needs_a_pulse():
    """A bell is pressed, so it has `pulse`; what is switched may have one."""
    for kind in ("button", "bell", "garage_door", "gate"):
        assert one_pin("output", f"kind: {kind}", "pulse: 0.5").kind == kind
        (error,) = errors(pin_text("output", f"kind: {kind}"))
        assert f":5: pins.lamp.kind: expected pulse beside kind: {kind}" in error
    assert one_pin("output", "kind: lock", "pulse: 3").kind == "lock"


def test_configuration_cannot_be_changed():
    """Once read, a configuration cannot be changed."""
    for value in (Config(), AccessConfig(), MqttConfig(url="mqtt://b"), *map(one_pin, MODES), TLS):
        for key in value.__struct_fields__:
            with pytest.raises(AttributeError, match="immutable"):
                setattr(value, key, getattr(value, key))


def test_ssl_takes_a_pair_of_files():
    """`ssl` takes a certificate and its key, not one alone. Keys and passwords are secret."""
    config = read("ssl: {certificate: my/own.crt, key: /srv/own.key}\n")
    pair = CertificateFiles(certificate=HERE / "my/own.crt", key=Path("/srv/own.key"))
    assert config.ssl == config.certificate == pair
    assert config.secret_files == (Path("/srv/own.key"), HERE / "my/ca.key")
    broker = read("mqtt: {url: mqtts://b, user: u, password_file: p, certificate: c, key: k}")
    assert broker.secret_files == (HERE / "p", HERE / "k")
    assert read("mqtt: {url: mqtts://b}").secret_files == ()
    nothing = "expected a file, got nothing"
    assert errors("ssl: {key: a}\n") == [f"config.yaml:1: ssl.certificate: {nothing}"]
    number = "config.yaml:3: ssl.key: expected a path, got 5"
    assert without_advice(errors("ssl:\n  certificate: a\n  key: 5\n")) == [number]
    assert errors("ssl:\n  certificate: a\n  kee: b\n") == [
        f"config.yaml:2: ssl.key: {nothing}",
        "config.yaml:3: ssl.kee: expected one of the keys certificate, key (did you mean key?)",
    ]


def test_paths_are_relative_to_the_folder_of_the_file(tmp_path, monkeypatch):
    """A relative path begins at the folder of the file, or of the link to it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "real.yaml").write_text("www: pages\nssl: true\n")
    (tmp_path / "etc/config.yaml").symlink_to("../real.yaml")
    monkeypatch.chdir(tmp_path)
    config = load(Path("etc/config.yaml"))
    tls = tmp_path / "etc/tls"
    assert config.www == tmp_path / "etc/pages"
    assert config.ssl == CertificateFiles(certificate=tls / "server.crt", key=tls / "server.key")
