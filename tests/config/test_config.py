"""config.yaml key by key: accepted values beside rejected ones, each rejection with its message."""

import json
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raspi_server.config.errors import ConfigError
from raspi_server.config.parser import parse
from raspi_server.config.pinout import POSITION_BY_GPIO
from raspi_server.config.schema import (
    AccessConfig,
    CertificateFiles,
    Config,
    InputConfig,
    MqttConfig,
    OutputConfig,
    PwmConfig,
)
from raspi_server.config.source import load

SHIPPED = Path(__file__).parents[2] / "config.yaml"
README = SHIPPED.with_name("README.md")
HERE = Path("/etc/raspi-server")
MODES = {"input": InputConfig, "output": OutputConfig, "pwm": PwmConfig}
HINT = " (put text that looks like a number in quotes)"

PORT = "a whole number from 1 to 65535"
SECONDS = "a number of seconds from 0.01 to 86400"
GPIO = "a pin from GPIO0 to GPIO27"
NAME = "a name of at most 32 characters from a-z, 0-9, _ and -, a letter first"
HOST = "a host name such as pi.example.org, without a port"
LIST = "expected a list such as [pi.example.org]"
TOP_KEYS = "port, address, ssl, interval, www, gpio, access, mqtt, metrics, log_level, pins"


def read(text):
    """Return the configuration in a text or in bytes."""
    data = text if isinstance(text, bytes) else text.encode()
    return parse(data, "config.yaml", HERE)


def errors(text):
    """Return the errors of a text as people read them, line by line."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    lines = [str(error) for error in caught.value.errors]
    assert str(caught.value).split("\n") == lines
    return lines


def pin_text(mode, *entries, gpio=17, name="lamp"):
    """Return one pin as YAML; the first of its entries is in line 5."""
    start = ["pins:", f"  {name}:", f"    gpio: {gpio}", f"    mode: {mode}"]
    return "\n".join([*start, *(f"    {entry}" for entry in entries), ""])


def one_pin(mode, *entries, **more):
    (pin,) = read(pin_text(mode, *entries, **more)).pins
    return pin


# The files that we ship


def test_shipped_file_has_the_defaults():
    """The shipped file is valid, and its values are the defaults."""
    assert load(SHIPPED) == msgspec.structs.replace(Config(), www=SHIPPED.parent / "www")


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("^{}:", Config.__struct_fields__),
        ("^  {}:", AccessConfig.__struct_fields__),
        (r"^#     {}: \S", MqttConfig.__struct_fields__),
        (
            r"^#   {} +\S",
            {"mode"}.union(*(mode.__struct_fields__ for mode in MODES.values())) - {"name"},
        ),
    ],
    ids=["top", "access", "mqtt", "pins"],
)
def test_shipped_file_explains_every_key(line, keys):
    """Each key is in the shipped file: those of the top and of `access` uncommented and once."""
    text = SHIPPED.read_text()
    for key in keys:
        found = re.findall(line.format(key), text, re.MULTILINE)
        assert len(found) == 1 or (found and line.startswith("^#")), key


def test_example_of_a_broker_is_valid_when_uncommented():
    """The example of a broker in the shipped file is valid without its comment signs."""
    (example,) = re.findall(r"^# {3}mqtt:\n(?:# {5}.*\n)+", SHIPPED.read_text(), re.MULTILINE)
    assert read(re.sub("^#", "", example, flags=re.MULTILINE)).mqtt == MqttConfig(
        url="mqtts://broker.local",
        user="kitchen",
        password_file=HERE / "mqtt-password",
        ca=HERE / "tls/broker-ca.crt",
        certificate=HERE / "tls/mqtt.crt",
        key=HERE / "tls/mqtt.key",
        topic="house/kitchen",
        control=True,
        discovery="homeassistant",
        fleet=True,
    )


@pytest.mark.parametrize("comment", ["#", "# "])
def test_example_pins_are_valid_when_uncommented(comment):
    """The example pins of the shipped file are valid without their comment signs."""
    top, examples = SHIPPED.read_text().split("\npins:\n")
    lines = examples.rstrip("\n").split("\n")
    assert all(line.startswith(comment) for line in lines)
    bare = "\n".join(line.removeprefix(comment) for line in lines)
    assert read(f"{top}\npins:\n{bare}\n").pins == (
        InputConfig(
            name="door", gpio=17, label="Front door", active="low", pull="up", debounce=0.02
        ),
        OutputConfig(
            name="lamp", gpio=5, label="Desk lamp", active="low",
            initial="keep", on_stop="keep", on_failure="keep",
        ),
        OutputConfig(
            name="gate", gpio=22, label="Garage door", active="high", pulse=0.5, confirm=True
        ),
        PwmConfig(name="fan", gpio=18, label="Fan", active="high", initial=0.35),
    )  # fmt: skip


def test_example_of_the_readme_is_valid():
    """The pins of README.md are a valid configuration without warnings."""
    (example,) = re.findall(r"^ {4}pins:\n(?: {6}.*\n)+", README.read_text(), re.MULTILINE)
    warnings = []
    pins = parse(textwrap.dedent(example).encode(), "README.md", HERE, warnings).pins
    assert [pin.name for pin in pins] == ["door", "lamp", "gate"]
    assert warnings == []


# The table of keys: boundaries, and one value of each class


class Rule(NamedTuple):
    """One line of the table of keys."""

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
    bad = same("0", "0.5", "true") | quoted("", "ON", words[0].title(), *rejected)
    return Rule(key, where, expects, same(*words), bad)


def boolean(key, *where):
    bad = same("0", "1") | quoted("on", "True", "") | {"'true'": '"true"'}
    return Rule(key, where, "true or false", {"true": True, "false": False}, bad)


NO_NUMBERS = same(".nan", "-.inf", "1e999", "true") | quoted("on", "1,5") | {"'1'": '"1"'}


def number(key, where, unit, low, high):
    beyond = same(str(round(float(low) - 0.001, 3)), str(round(float(high) + 0.001, 3)))
    good = {text: float(text) for text in (low, "1e0", high)}
    return Rule(key, where, f"a number of {unit} from {low} to {high}", good, beyond | NO_NUMBERS)


def path(key, where):
    good = {"my/file": HERE / "my/file", "/f": Path("/f"), "'2024'": HERE / "2024"}
    good |= {"on": HERE / "on", "Ü b": HERE / "Ü b"}
    bad = {'""': '""', '"a\\0b"': '"a\\u0000b"', "true": "true", "2024": "2024" + HINT}
    return Rule(key, where, "a path", good, bad)


TOP, MQTT, DRIVEN, EVERY_MODE = ("top",), ("mqtt",), ("output", "pwm"), tuple(MODES)
STOP_STATES = "off, on, keep or input"

RULES = [
    Rule(
        "port",
        TOP,
        PORT,
        {"1": 1, "+80": 80, "65535": 65535},
        same("0", "65536", "8080.0", "1e3") | quoted("1_000", "0x50")
        | {'"8080"': '"8080"', "9" * 30: "9" * 30} | NO_NUMBERS,
    ),
    Rule(
        "address",
        TOP,
        'one IP address of this machine, or "" for all',
        {'""': "", "'::1'": "::1"} | same("192.168.1.7", "fe80::1%eth0"),
        quoted("localhost", "192.168.1.256", "192.168.1.7/24", "192.168.1.7:80", "fe80::1%a/b")
        | same("1.5", "3232235777") | {"'[::1]'": '"[::1]"'},
    ),
    Rule(
        "ssl",
        TOP,
        "true, false or {certificate: FILE, key: FILE}",
        {
            "false": False,
            "true": CertificateFiles(
                certificate=HERE / "tls/server.crt", key=HERE / "tls/server.key"
            ),
        },
        quoted("on", "True") | same("0") | {"'true'": '"true"'},
    ),
    number("interval", TOP, "seconds", "0.01", "3600"),
    path("www", TOP),
    choice("gpio", TOP, "auto, real or simulated"),
    boolean("metrics", "top"),
    choice("log_level", TOP, "debug, info, warning or error", "critical"),
    choice("view", ("access",), "everyone or code", "nobody"),
    choice("control", ("access", *DRIVEN), "everyone, code or nobody", "none"),
    Rule("hosts", ("hosts",), HOST,
         {"Pi.Example.org": "pi.example.org"} | same("my_pi", "10.0.0.5", "on", "x" * 253, "_"),
         quoted("pi.example.org:8080", "http://pi", "-pi", "pi.", "küche", "")
         | {"'*'": '"*"', '"pi\\n"': '"pi\\n"', "x" * 254: f'"{"x" * 60}…"'} | same("5", "true")),
    Rule(
        "url",
        MQTT,
        "a URL such as mqtt://HOST or mqtts://HOST:8883",
        same("mqtt://broker", "mqtts://192.168.1.2:8883", "mqtt://pi.local:1", "mqtt://[::1]:65535"),
        quoted("broker", "http://broker", "mqtt://:1883", "mqtt://broker:0", "mqtt://broker:65536")
        | quoted("mqtt://broker/", "mqtt://broker/topic", "mqtt://b:x") | same("true")
        | {'"mqtt://b\\u2028"': '"mqtt://b\\u2028"', "mqtt://me:secret@broker":
           "a URL with a user or a password; write them as user and password_file"},
    ),
    Rule("user", MQTT, "a user's name", same("Küche 2", "x", "x" * 100),
         {'""': '""', "x" * 101: f'"{"x" * 60}…"'} | same("true", "1.5")),
    *(path(key, MQTT) for key in ("password_file", "ca", "certificate", "key")),
    Rule("topic", MQTT, "a topic such as house/kitchen, without +, # and spaces",
         same("house/kitchen", "x", "a/b/$c", "Küche", "x" * 100),
         quoted("/a", "a/", "a//b", "a/+/b", "+", "a/b#", "$SYS/a", "a b", "")
         | {"'#'": '"#"', "1": "1", "x" * 101: f'"{"x" * 60}…"', '"a\\n"': '"a\\n"'}),
    boolean("control", "mqtt"),
    Rule("discovery", MQTT, "false or a topic such as homeassistant",
         {"false": False} | same("homeassistant", "a/b"),
         same("true", "0", "1") | quoted("", "a b", "a/")),
    boolean("fleet", "mqtt"),
    Rule("gpio", EVERY_MODE, GPIO, {"0": 0, "27": 27, "'17'": 17, "BOARD11": 17, "GPIO17": 17},
         same("-1", "28", "17.0", "true", ".nan") | quoted("seventeen", "GPIO28", "BOARD1", "")
         | {"'017'": '"017"', "9" * 30: "9" * 30}),
    Rule("mode", EVERY_MODE, "input, output or pwm", {}, same("0", "true") | quoted("in", "PWM")),
    Rule(
        "label",
        EVERY_MODE,
        "1 to 64 characters of text",
        same("Desk lamp", "22:30", "x", "x" * 64, "True")
        | {"'17'": "17", "|-\n      two words": "two words"},
        {'""': '""', "x" * 65: f'"{"x" * 60}…"', "17": "17" + HINT, "1.5": "1.5" + HINT}
        | same("true"),
    ),
    choice("active", EVERY_MODE, "high or low"),
    choice("pull", ("input",), "up, down or none"),
    number("debounce", ("input",), "seconds", "0", "5"),
    choice("initial", ("output",), "off, on, keep or restore", "input"),
    Rule(
        "initial",
        ("pwm",),
        "off, on, keep or restore or a number from 0 to 1",
        same("off", "on", "keep", "restore") | {"0": 0.0, "0.35": 0.35, "1": 1.0},
        same("-0.001", "1.001", "true", ".nan") | quoted("ON", "half", "") | {"'0.5'": '"0.5"'},
    ),
    choice("on_stop", ("output",), STOP_STATES, "restore"),
    choice("on_failure", ("output",), STOP_STATES, "restore"),
    choice("on_stop", ("pwm",), "off, on or input", "keep"),
    choice("on_failure", ("pwm",), "off, on or input", "keep"),
    number("pulse", ("output",), "seconds", "0.01", "86400"),
    number("max_on", DRIVEN, "seconds", "0.01", "86400"),
    Rule("group", ("output",), NAME, same("a", "on", "blind_2-x", "x" * 32),
         same("1", "true", ".nan") | quoted("Blind", "2blind", "_x", "a.b", "ä", "")
         | {"x" * 33: f'"{"x" * 33}"', '"a\\n"': '"a\\n"'}),
    number("group_pause", ("output",), "seconds", "0", "60"),
    number("frequency", ("pwm",), "hertz", "0.1", "10000"),
    boolean("confirm", *DRIVEN),
]  # fmt: skip

DRIVEN_DEFAULTS = {
    "initial": "off",
    "on_stop": "off",
    "on_failure": "off",
    "max_on": None,
    "confirm": False,
    "control": None,
}
DEFAULTS = {
    "input": {"pull": "none", "debounce": 0},
    "output": DRIVEN_DEFAULTS | {"pulse": None, "group": None, "group_pause": 0.1},
    "pwm": DRIVEN_DEFAULTS | {"frequency": 100},
}


def text_with(rule, where, value):
    """Return a configuration with this key, the key's line, and its dotted path."""
    if where == "top":
        return f"{rule.key}: {value}\n", 1, rule.key
    if where == "access":
        return f"access:\n  {rule.key}: {value}\n", 2, f"access.{rule.key}"
    if where == "hosts":
        return f"access:\n  hosts:\n    - {value}\n", 3, "access.hosts"
    if where == "mqtt":
        wanted = {"password_file": ["user"], "certificate": ["key"], "key": ["certificate"]}
        others = {key: "x" for key in wanted.get(rule.key, ())}
        others |= {} if rule.key == "url" else {"url": "mqtts://broker"}
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
    if where == "hosts":
        return config.access.hosts[0]
    owners = {"top": config, "access": config.access, "mqtt": config.mqtt}
    return getattr(owners.get(where) or config.pins[0], rule.key)


every_key = pytest.mark.parametrize(
    ("rule", "where"),
    [pytest.param(rule, where, id=f"{where}-{rule.key}") for rule in RULES for where in rule.where],
)


@every_key
def test_key_accepts_its_values(rule, where):
    """Each key accepts the documented values, up to both ends of its range."""
    for text, meaning in rule.good.items():
        found = value_of(rule, where, text)
        assert found == meaning, text
        assert type(found) is type(meaning), text


@every_key
def test_key_rejects_other_values(rule, where):
    """A value of another type, or just beyond the range, is rejected. The error has the line, the
    key, what was expected and what the file has there."""
    others = {"[1]": "a list", "{a: 1}": "a mapping", " ": "nothing", "~": "nothing"}
    if rule.key == "ssl":
        del others["{a: 1}"]
    for value, shown in (rule.bad | others).items():
        text, line, key = text_with(rule, where, value or '""')
        expected = f"config.yaml:{line}: {key}: expected {rule.expects}, got {shown}"
        assert [error.removesuffix(HINT) for error in errors(text)] == [expected.removesuffix(HINT)]
        if shown.endswith(HINT):
            assert errors(text) == [expected]
    text, line, key = text_with(rule, where, "017")
    reason = "expected a number without leading zeros, got 017"
    assert errors(text) == [f"config.yaml:{line}: {key}: {reason}"]


def test_table_has_every_key():
    """Each key of the configuration is in the table above, except those with tests of their own."""
    elsewhere = {"access", "mqtt", "pins", "hosts", "name"}
    structs = {"top": Config, "access": AccessConfig, "mqtt": MqttConfig, **MODES}
    for where, struct in structs.items():
        tested = {rule.key for rule in RULES if where in rule.where} - {"mode"}
        assert tested == set(struct.__struct_fields__) - elsewhere, where


NUMBERS = {"interval": (0.01, 3600), "debounce": (0, 5), "max_on": (0.01, 86400)}
NUMBERS |= {"frequency": (0.1, 10000), "group_pause": (0, 60)}


@settings(deadline=None, max_examples=100)
@given(key=st.sampled_from(list(NUMBERS)), number=st.floats(-1, 1e5) | st.floats(-0.1, 0.2))
def test_number_is_accepted_within_its_limits_only(key, number):
    """A number is accepted as it is written if it is within the limits, and else rejected."""
    (rule,) = [rule for rule in RULES if rule.key == key]
    low, high = NUMBERS[key]
    if low <= number <= high:
        assert value_of(rule, rule.where[0], number) == number
    else:
        text, line, path = text_with(rule, rule.where[0], number)
        expected = f"config.yaml:{line}: {path}: expected {rule.expects}, got {number}"
        assert errors(text) == [expected]


LETTERS = st.characters(
    exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"], exclude_characters="\ufeff"
)


@settings(deadline=None, max_examples=100)
@given(st.text(LETTERS, min_size=1, max_size=64))
def test_any_text_in_quotes_is_a_label_and_a_path(text):
    """Text in quotes is a label and a path, whatever its characters are."""
    yaml = json.dumps(text, ensure_ascii=False)
    config = read(f"www: {yaml}\n" + pin_text("input", f"label: {yaml}"))
    assert (config.www, config.pins[0].label) == (HERE / text, text)


# Defaults


@pytest.mark.parametrize("mode", MODES)
def test_pin_without_further_keys_has_the_defaults(mode):
    """A pin with only `gpio` and `mode` has the documented defaults."""
    everywhere = {"name": "lamp", "gpio": 17, "label": "lamp", "active": "high"}
    pin = one_pin(mode)
    assert type(pin) is MODES[mode]
    assert msgspec.structs.asdict(pin) == everywhere | DEFAULTS[mode]


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "null\n", "{}\n", "pins:\n", "pins: {}\n", "mqtt: false\n"]
    + ["access:\n", "access: {}\n", "access:\n  hosts:\n"]
)  # fmt: skip
def test_empty_file_or_section_means_the_defaults(text):
    """An empty file, or a section without content, is a configuration with the defaults."""
    config = read(text)
    assert config == Config(
        port=8080,
        address="",
        ssl=False,
        interval=0.1,
        www=HERE / "www",
        gpio="auto",
        access=AccessConfig(view="everyone", control="code", hosts=()),
        mqtt=None,
        metrics=False,
        log_level="info",
        pins=(),
    )
    assert config.certificate is None


@pytest.mark.parametrize(("pull", "active"), [("up", "low"), ("down", "high"), ("none", "high")])
def test_pull_makes_the_other_level_active(pull, active):
    """With a pull the other level means 1, unless `active` is set."""
    assert one_pin("input", f"pull: {pull}").active == active
    for own in ("high", "low"):
        assert one_pin("input", f"pull: {pull}", f"active: {own}").active == own


# ssl and paths


def test_ssl_takes_a_pair_of_files():
    """`ssl` takes the user's own certificate and key. Secret files are the keys, including the one
    of the authority beside the certificate, and the password of the broker."""
    config = read("ssl: {certificate: my/own.crt, key: /srv/own.key}\n")
    pair = CertificateFiles(certificate=HERE / "my/own.crt", key=Path("/srv/own.key"))
    assert config.ssl == config.certificate == pair
    assert config.secret_files == (Path("/srv/own.key"), HERE / "my/ca.key")
    broker = read("mqtt: {url: mqtts://b, user: u, password_file: p, certificate: c, key: k}")
    assert broker.secret_files == (HERE / "p", HERE / "k")
    assert read("mqtt: {url: mqtts://b}").secret_files == Config().secret_files == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{certificate: a}", ["1: ssl.key: expected a file, got nothing"]),
        ("{key: a}", ["1: ssl.certificate: expected a file, got nothing"]),
        ("\n  certificate: a\n  key: 5\n", [f"3: ssl.key: expected a path, got 5{HINT}"]),
        (
            "\n  certificate: a\n  kee: b\n",
            [
                "2: ssl.key: expected a file, got nothing",
                "3: ssl.kee: expected one of the keys certificate, key (did you mean key?)",
            ],
        ),
        (
            "\n  certificate: a\n  key: b\n  certificate: c\n",
            ["4: ssl.certificate: expected each key once, got it in line 2 already"],
        ),
    ],
    ids=["no key", "no certificate", "number", "misspelt", "repeated"],
)
def test_half_a_pair_of_files_is_rejected(text, expected):
    """A certificate without a key, or a key without a certificate, is rejected. Each error is
    reported once."""
    assert errors(f"ssl: {text}") == [f"config.yaml:{error}" for error in expected]


def test_paths_are_relative_to_the_folder_of_the_file(tmp_path, monkeypatch):
    """A relative path does not depend on the working directory. If the configuration is a link,
    paths are relative to the folder of the link."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "real.yaml").write_text("www: pages\nssl: true\n")
    (tmp_path / "etc/config.yaml").symlink_to("../real.yaml")
    monkeypatch.chdir(tmp_path)
    config = load(Path("etc/config.yaml"))
    tls = tmp_path / "etc/tls"
    assert config.www == tmp_path / "etc/pages"
    assert config.ssl == CertificateFiles(certificate=tls / "server.crt", key=tls / "server.key")


# Keys


ACCESS_KEYS = "view, control, hosts"
INPUT_KEYS = "mode, gpio, label, active, pull, debounce"
PWM_KEYS = "mode, gpio, label, active, max_on, confirm, control, initial, on_stop, on_failure"


@pytest.mark.parametrize(
    ("text", "place", "keys"),
    [
        ("prot: 1", "1: prot", f"{TOP_KEYS} (did you mean port?)"),
        ("zzz:\n  - 1", "1: zzz", TOP_KEYS),
        ("on: 1", "1: on", TOP_KEYS),
        ("<<: {port: 1}", "1: <<", TOP_KEYS),
        ("access:\n  veiw:\n    - 1", "2: access.veiw", f"{ACCESS_KEYS} (did you mean view?)"),
        (
            pin_text("input", "debunce:\n      - 1"),
            "5: pins.lamp.debunce",
            f"{INPUT_KEYS} (did you mean debounce?)",
        ),
        (pin_text("pwm", "name: x"), "5: pins.lamp.name", f"{PWM_KEYS}, frequency"),
        ("x" * 40 + ": 1", f"1: {'x' * 40}", TOP_KEYS),
        ("x" * 41 + ": 1", f'1: "{"x" * 41}"', TOP_KEYS),
    ],
    ids=["typo", "far", "on", "merge", "access", "pin", "name", "40", "41"],
)
def test_unknown_key_is_rejected_with_the_nearest_one(text, place, keys):
    """An unknown key is rejected, in its own line, and the error suggests a similar key."""
    assert errors(text) == [f"config.yaml:{place}: expected one of the keys {keys}"]


@pytest.mark.parametrize(
    ("text", "line", "key", "first"),
    [
        ("port: 1\nwww: x\n'port': 1\n", 3, "port", 1),
        ("access:\n  view: code\n  view: everyone\n", 3, "access.view", 2),
        (pin_text("input", "pull: up", "pull: up"), 6, "pins.lamp.pull", 5),
        (pin_text("output", "group: a", "group: a"), 6, "pins.lamp.group", 5),
        (pin_text("input", "gpio: 4"), 5, "pins.lamp.gpio", 3),
        (pin_text("input") + "  lamp: {gpio: 4, mode: input}\n", 5, "pins.lamp", 2),
    ],
)
def test_repeated_key_is_rejected(text, line, key, first):
    """A key that is in the file twice is rejected, with both lines. Two pins may have the same
    keys."""
    expected = f"config.yaml:{line}: {key}: expected each key once, got it in line {first} already"
    found = errors(text)
    # In a group of its own, the lamp has another error.
    assert [error for error in found if "here only" not in error] == [expected]
    two = pin_text("input", "label: a") + "  door: {gpio: 4, mode: input, label: a}\n"
    assert [pin.label for pin in read(two).pins] == ["a", "a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "1: expected keys and values, got a list"),
        ("hello", '1: expected keys and values, got "hello"'),
        ("017", '1: expected keys and values, got "017"'),
        ("pins:\n  - a\n", "2: pins: expected keys and values, got a list"),
        ("pins: true", "1: pins: expected keys and values, got true"),
        ("pins:\n  lamp: 17", "2: pins.lamp: expected keys and values, got 17"),
        ("access: code", '1: access: expected keys and values, got "code"'),
        ("access: [code]", "1: access: expected keys and values, got a list"),
        ("? [a]\n: 1", "1: expected a word as key, got a list"),
        ("access:\n  ? {a: 1}\n  : 1", "2: access: expected a word as key, got a mapping"),
        ("access:\n  hosts: pi", f'2: access.hosts: {LIST}, got "pi"'),
        ("access: {hosts: {pi: 1}}", f"1: access.hosts: {LIST}, got a mapping"),
        ("mqtt: true", "1: mqtt: expected false or {url: mqtt://HOST, …}, got true"),
        ("mqtt:", "1: mqtt: expected false or {url: mqtt://HOST, …}, got nothing"),
        ("mqtt: [1]", "1: mqtt: expected false or {url: mqtt://HOST, …}, got a list"),
        ("mqtt: 017", "1: mqtt: expected a number without leading zeros, got 017"),
    ],
)
def test_other_value_in_place_of_keys_is_rejected(text, expected):
    """A list or a word in place of keys and values is rejected in its line."""
    assert errors(text) == [f"config.yaml:{expected}"]


# Pins


@pytest.mark.parametrize(
    ("name", "key", "shown"),
    [
        ("2Lamp", "2Lamp", '"2Lamp"'),
        ("x" * 33, "x" * 33, f'"{"x" * 33}"'),
        ('"lamp\\n"', '"lamp\\n"', '"lamp\\n"'),
        ("~", "~", '"~"'),
    ],
)
def test_pin_name_is_a_simple_word(name, key, shown):
    """A pin's name has small letters, digits, _ and -. Words such as `on` are names, too. Another
    name is rejected, and shown escaped."""
    for good in ("a", "on", "null", "lamp_2-x", "x" * 32):
        pin = one_pin("input", name=good)
        assert (pin.name, pin.label, str(pin)) == (good, good, f"{good} (GPIO17)")
    assert errors(pin_text("input", name=name)) == [
        f"config.yaml:2: pins.{key}: expected {NAME}, got {shown}"
    ]


def test_pin_without_gpio_or_mode_is_rejected():
    """A pin without a GPIO or a mode is rejected, in the line of its name."""
    no_gpio = f"pins.lamp.gpio: expected {GPIO}, got nothing"
    no_mode = "pins.lamp.mode: expected input, output or pwm, got nothing"
    assert errors("port: 1\npins:\n  lamp:\n") == [
        f"config.yaml:3: {no_gpio}",
        f"config.yaml:3: {no_mode}",
    ]
    assert errors("pins:\n  lamp: {gpio: 4}\n") == [f"config.yaml:2: {no_mode}"]
    assert errors("pins:\n  lamp: {mode: pwm}\n") == [f"config.yaml:2: {no_gpio}"]


@pytest.mark.parametrize("entry", ["initial: 0.5", "on_stop: keep", "pull: up", "frequency: 50"])
@pytest.mark.parametrize("mode", ["", "mode: pmw", "mode: 1"])
def test_unknown_mode_is_the_only_error_of_a_pin(mode, entry):
    """With a missing or misspelt mode, a key that some mode has is no further error."""
    text = "\n".join(["pins:", "  fan:", "    gpio: 18", f"    {entry}", f"    {mode}", ""])
    (error,) = errors(text)
    assert ": pins.fan.mode: expected input, output or pwm, got " in error


@pytest.mark.parametrize("mode", MODES)
def test_key_of_another_mode_is_rejected(mode):
    """A key such as `pulse` on an input is rejected, with the modes that have it."""
    keys = {key for keys in DEFAULTS.values() for key in keys}
    for key in keys - DEFAULTS[mode].keys():
        owners = " or ".join(mode for mode in MODES if key in DEFAULTS[mode])
        assert errors(pin_text(mode, f"{key}: on")) == [
            f"config.yaml:5: pins.lamp.{key}: expected only with mode: {owners},"
            f" got it with mode: {mode}"
        ]


@pytest.mark.parametrize("second", ["17", "'17'", "GPIO17", "BOARD11", "WPI0"])
def test_two_pins_on_one_gpio_are_rejected(second):
    """Two pins never share a GPIO, also if they use different names for it."""
    text = """
pins:
  lamp: {{gpio: 17, mode: output}}
  door: {{gpio: BOARD13, mode: input}}
  fan:
    mode: pwm
    gpio: {}
"""
    assert errors(text.format(second)) == [
        "config.yaml:7: pins.fan.gpio: expected a GPIO of its own, got GPIO17, which lamp has"
    ]
    assert [pin.gpio for pin in read(text.format(18)).pins] == [17, 27, 18]


def test_all_gpios_can_have_a_pin_in_the_order_of_the_file():
    """All 28 GPIOs can be used, by number and by position, and the pins keep the file's order."""
    pins = [
        f"  p{gpio}: {{gpio: {gpio if gpio % 2 else f'BOARD{place}'}, mode: output}}\n"
        for gpio, place in POSITION_BY_GPIO.items()
    ]
    assert [pin.gpio for pin in read("pins:\n" + "".join(pins)).pins] == list(POSITION_BY_GPIO)


# Rules for several keys


BROKERS = [
    ("user: me", "url: mqtt://b, user: me",
     "2: mqtt.url: expected a URL such as mqtt://HOST or mqtts://HOST:8883, got nothing"),
    ("url: mqtt://b, password_file: p", "url: mqtt://b, password_file: p, user: me",
     "3: mqtt.user: expected together with password_file, got nothing"),
    ("url: mqtts://b, key: k", "url: mqtts://b, key: k, certificate: c",
     "3: mqtt.certificate: expected together with key, got nothing"),
    ("url: mqtts://b, certificate: c", "certificate: c, key: k, url: mqtts://b",
     "3: mqtt.key: expected together with certificate, got nothing"),
    ("url: mqtt://b, ca: c", "url: mqtts://b, ca: c",
     "3: mqtt.ca: expected only with a url that begins with mqtts://"),
    ("url: mqtt://b, topic: pi, fleet: true", "url: mqtt://b, topic: house/pi, fleet: true",
     "3: mqtt.topic: expected two levels or more with fleet, such as house/pi, got pi"),
    ("url: b, ca: c", "url: mqtt://b, topic: pi, fleet: false",
     '2: mqtt.url: expected a URL such as mqtt://HOST or mqtts://HOST:8883, got "b"'),
]  # fmt: skip


@pytest.mark.parametrize(("rejected", "accepted", "error"), BROKERS)
def test_keys_of_mqtt_that_belong_together(rejected, accepted, error):
    """A broker needs a URL, a password needs a user, a certificate needs its key, and both need a
    URL with TLS."""
    assert errors("\n  ".join(["mqtt:", *rejected.split(", ")])) == [f"config.yaml:{error}"]
    assert read(f"mqtt: {{{accepted}}}").mqtt is not None


def test_certificate_of_a_broker_needs_tls():
    """With a URL without TLS, a certificate and its key are rejected."""
    text = "mqtt: {{url: {}://b, certificate: c, key: k}}"
    reason = "expected only with a url that begins with mqtts://"
    assert errors(text.format("mqtt")) == [
        f"config.yaml:1: mqtt.{key}: {reason}" for key in ("certificate", "key")
    ]
    assert read(text.format("mqtts")).mqtt.key == HERE / "k"


@pytest.mark.parametrize(("gpio", "number"), [(2, 2), ("BOARD5", 3)])
def test_inputs_with_a_fixed_pull_up_need_pull_up(gpio, number):
    """GPIO2 and GPIO3, with a pull-up on the board, are inputs only with `pull: up`."""
    reason = f"GPIO{number} has a pull-up on the board"
    assert errors(pin_text("input", "pull: down", gpio=gpio)) == [
        f"config.yaml:5: pins.lamp.pull: expected up, got down: {reason}"
    ]
    assert errors(pin_text("input", gpio=gpio)) == [
        f"config.yaml:2: pins.lamp.pull: expected up, got none: {reason}"
    ]
    assert one_pin("input", "pull: up", gpio=gpio).pull == "up"
    assert one_pin("output", gpio=gpio).gpio == one_pin("pwm", gpio=gpio).gpio == number
    assert one_pin("input", "pull: down", gpio=4).gpio == one_pin("input", gpio=1).gpio + 3 == 4


MOTOR = """  up: {gpio: 26, mode: output, group: motor}
  down: {gpio: 27, mode: output, group: motor}
"""
STOPPED = "could not switch it off while the server is stopped; write on_stop: off"
CRASHED = "could not switch it off after a crash; write on_failure: off"
IN_GROUP = "expected off, keep or input, got on, which a group does not allow"
ALONE = "expected a name that two outputs or more have, got"

CONFLICTS = [
    ("output, pulse: 4, on_stop: keep", "output, on_stop: keep",
     f"expected off or input, got keep: pulse {STOPPED}"),
    ("output, pulse: 4, max_on: 9, on_failure: on", "output, on_failure: on",
     f"expected off or input, got on: pulse {CRASHED}"),
    ("output, max_on: 4, on_stop: on", "output, max_on: 4, on_stop: off",
     f"expected off or input, got on: max_on {STOPPED}"),
    ("output, max_on: 4, on_failure: keep", "output, max_on: 4, on_failure: input",
     f"expected off or input, got keep: max_on {CRASHED}"),
    ("pwm, max_on: 4, on_stop: on", "pwm, on_stop: on",
     f"expected off or input, got on: max_on {STOPPED}"),
    ("pwm, max_on: 4, on_failure: on", "pwm, max_on: 4, on_failure: off",
     f"expected off or input, got on: max_on {CRASHED}"),
    ("output, pulse: 4, initial: on", "output, max_on: 4, initial: on",
     "expected off, keep or restore, got on: every start would press it; write initial: off"),
    ("output, group: motor, on_stop: on", "output, group: motor, on_stop: keep", IN_GROUP),
    ("output, group: motor, on_failure: on", "output, group: motor, on_failure: input", IN_GROUP),
    ("output, group: motor, max_on: 4, on_failure: on", "output, group: motor, on_failure: off",
     f"expected off or input, got on: max_on {CRASHED}"),
    ("output, group_pause: 2", "output, group: motor, group_pause: 2",
     "expected only beside group, got no group; write both or none"),
    ("output, group: motors", "output, group: motor",
     f"{ALONE} motors here only (did you mean motor?)"),
    ("output, group: blind", "output, group: motor",
     f"{ALONE} blind here only (one output alone needs no group)"),
]  # fmt: skip
"""Rejected keys of a pin beside accepted ones, and the error of the last rejected key."""


def lamp_beside_a_motor(keys):
    mode, *entries = keys.split(", ")
    return pin_text(mode, *entries) + MOTOR


@pytest.mark.parametrize(
    ("rejected", "accepted", "error"), CONFLICTS, ids=[rejected for rejected, _, _ in CONFLICTS]
)
def test_conflicting_keys_of_a_pin_are_rejected(rejected, accepted, error):
    """Keys that conflict are rejected, in the line of the wrong one. A configuration that has run
    under an older release runs without this key, with a warning."""
    *rest, wrong = rejected.split(", ")
    key = wrong.split(":")[0]
    place = f"config.yaml:{4 + len(rest)}: pins.lamp.{key}"
    assert errors(lamp_beside_a_motor(rejected)) == [f"{place}: {error}"]
    lamp = read(lamp_beside_a_motor(accepted)).pins[0]
    assert msgspec.structs.asdict(lamp).items() >= {"name": "lamp"}.items()
    warnings = []
    text = lamp_beside_a_motor(rejected).encode()
    found = parse(text, "config.yaml", HERE, warnings, has_run=True)
    assert found == read(lamp_beside_a_motor(", ".join(rest)))
    ignored = f"{place}: {error} (the last good configuration runs without this key)"
    assert [str(warning) for warning in warnings] == [ignored]


def test_pin_with_another_error_counts_in_its_group():
    """An error of one output of a group is no error of the other."""
    (error,) = errors("pins:\n" + MOTOR.replace("27", "28"))
    assert error.startswith("config.yaml:3: pins.down.gpio: ")


def test_at_most_one_output_of_a_group_starts_on():
    """Two outputs of one group, such as a motor's up and down, cannot both start on. One of each
    group can."""
    text = """pins:
  up: {{gpio: 5, mode: output, group: blind, initial: {}}}
  other: {{gpio: 13, mode: output, initial: on}}
  dimmer: {{gpio: 12, mode: pwm, initial: on}}
  down:
    {{gpio: 6, mode: output, group: {},
    initial: {}}}
  third: {{gpio: 19, mode: output, group: blind}}
  fourth: {{gpio: 26, mode: output, group: awning}}
  fifth: {{gpio: 20, mode: output, group: awning}}
"""
    assert errors(text.format("on", "blind", "on")) == [
        "config.yaml:7: pins.down.initial: expected off, got on, which up has:"
        " at most one output of group blind is on"
    ]
    for up, group, down in (
        ("on", "blind", "off"),
        ("off", "blind", "on"),
        ("keep", "blind", "keep"),
        ("on", "awning", "on"),
    ):
        pins = read(text.format(up, group, down)).pins
        assert [pin.initial for pin in pins[:4]] == [up, "on", "on", down]


def test_long_pulse_gets_a_warning():
    """A pulse of more than a minute gets a warning, since the number may be in milliseconds. A
    configuration that has run got it before."""
    text = b"""pins:
  gate: {gpio: 2, mode: output, pulse: 60}
  tap: {gpio: 3, mode: output, pulse: 60.5}
  pump: {gpio: 4, mode: output, max_on: 500}
"""
    warnings = []
    assert len(parse(text, "config.yaml", HERE, warnings).pins) == 3
    assert [str(warning) for warning in warnings] == [
        "config.yaml:3: pins.tap.pulse: 60.5 seconds are long for a press (half a second is 0.5);"
        " a switch that goes off by itself has max_on: 60.5 instead"
    ]
    parse(text, "config.yaml", HERE, again := [], has_run=True)
    assert again == []


@pytest.mark.parametrize(
    "value",
    [Config(), AccessConfig(), *map(one_pin, MODES), read("ssl: true").certificate],
    ids=lambda value: type(value).__name__,
)
def test_configuration_cannot_be_changed(value):
    """Once read, a configuration cannot be changed."""
    for key in value.__struct_fields__:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(value, key, getattr(value, key))


# Errors as people read them


def test_error_is_a_value_error_with_file_line_and_key():
    """An error has the file, the line and the key, also for programs that catch it."""
    text = "\n" * 11 + "pins:\n  lamp:\n    gpio: seventeen\n    mode: output\n"
    with pytest.raises(ValueError, match="seventeen") as caught:
        read(text)
    assert str(caught.value) == (
        'config.yaml:14: pins.lamp.gpio: expected a pin from GPIO0 to GPIO27, got "seventeen"'
    )
    (error,) = caught.value.errors
    assert (error.file, error.line, error.key) == ("config.yaml", 14, "pins.lamp.gpio")


MANY_ERRORS = """\
pins:
  up: {gpio: 5, mode: output, group: blind}
  Lamp:
    mode: output
    gpio: 99
    pulse: 0
  door:
    gpio: 17
    mode: input
    pulse: 1
  bell:
    gpio: BOARD11
    mode: input
    pull: sideways
access:
  view: nobody
  hosts: ["a b"]
ssl: on
port: 0
port: 1
wwww: x
interval: 017
"""


def test_all_errors_are_reported_in_the_order_of_the_file():
    """All errors are reported together, from top to bottom."""
    alone = "expected a name that two outputs or more have, got blind here only"
    assert errors(MANY_ERRORS) == [
        f"config.yaml:2: pins.up.group: {alone} (one output alone needs no group)",
        f'config.yaml:3: pins.Lamp: expected {NAME}, got "Lamp"',
        f"config.yaml:5: pins.Lamp.gpio: expected {GPIO}, got 99",
        f"config.yaml:6: pins.Lamp.pulse: expected {SECONDS}, got 0",
        "config.yaml:10: pins.door.pulse: expected only with mode: output, got it with mode: input",
        "config.yaml:12: pins.bell.gpio: expected a GPIO of its own, got GPIO17, which door has",
        'config.yaml:14: pins.bell.pull: expected up, down or none, got "sideways"',
        'config.yaml:16: access.view: expected everyone or code, got "nobody"',
        f'config.yaml:17: access.hosts: expected {HOST}, got "a b"',
        'config.yaml:18: ssl: expected true, false or {certificate: FILE, key: FILE}, got "on"',
        f"config.yaml:19: port: expected {PORT}, got 0",
        "config.yaml:20: port: expected each key once, got it in line 19 already",
        f"config.yaml:21: wwww: expected one of the keys {TOP_KEYS} (did you mean www?)",
        "config.yaml:22: interval: expected a number without leading zeros, got 017",
    ]


PLACES = [
    'port: "{0}"',
    '"{0}": 1',
    'access: {{hosts: ["{0}"]}}',
    'access: {{"{0}": 1}}',
    'access: "{0}"',
    'pins: {{"{0}": 1}}',
    'pins: {{a: {{gpio: "{0}", mode: input}}}}',
    'pins: {{a: {{gpio: 1, mode: input, "{0}": 1}}}}',
    'pins: {{a: {{gpio: 1, mode: output, group: "{0}"}}}}',
    'pins: {{"{0}": {{gpio: 1, mode: input}}, b: {{gpio: 1, mode: input}}}}',
    'port: 1\n"{0}": 1\n"{0}": 1\n',
    "port: !<{0}> 1",
]
CONTROLS = ["\\e]0;x\\a", "a\\nb", "a\\Lb", "a\\u202eb", "\\x9b31m", "x" * 900, "\\n" * 400]


@pytest.mark.parametrize("text", CONTROLS, ids=lambda text: text[:9])
def test_control_characters_and_long_values_stay_out_of_messages(text):
    """Control characters of the file are escaped in messages, and long values are shortened."""
    for place in PLACES:
        for error in errors(place.format(text)):
            assert error.isprintable(), place
            assert len(error) < 600, place
            assert "x" * 70 not in error, place


# Aliases


def test_alias_repeats_a_value():
    """Anchors and aliases repeat a value. A repeated pin is a second pin on the same GPIO."""
    text = """
pins:
  up: {gpio: 5, mode: output, max_on: &time 60, group: &group blind}
  down: {gpio: 6, mode: output, max_on: *time, group: *group}
"""
    assert [(pin.max_on, pin.group) for pin in read(text).pins] == [(60, "blind")] * 2
    assert errors("pins:\n  a: &pin {gpio: 5, mode: input}\n  b: *pin\n") == [
        "config.yaml:2: pins.b.gpio: expected a GPIO of its own, got GPIO5, which a has"
    ]


@pytest.mark.parametrize(
    "end",
    ["pins: *a10", "pins: {lamp: *a10}", "access: {hosts: *a10}", "access: *a10"]
    + ["port: *a10", "ssl: *a10", "mqtt: *a10"],
)
def test_nested_aliases_are_not_expanded(end):
    """A few lines that would expand to billions of values are rejected."""
    levels = ["a0: &a0 {x: 1, y: 1, z: 1}"]
    levels += [
        f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(9))}}}" for n in range(1, 11)
    ]
    found = errors("\n".join([*levels, end]))
    assert found[0].startswith(f"config.yaml:1: a0: expected one of the keys {TOP_KEYS}")
    assert 11 < len(found) < 300


@pytest.mark.parametrize(
    "text",
    [
        "&a {pins: *a}",
        "pins: {x: &a {gpio: *a, mode: *a, label: *a}}",
        "access: &a {hosts: *a, view: *a}",
        "access: {hosts: &a [*a, *a]}",
        "ssl: &a {certificate: *a, key: *a}",
        "mqtt: &a {url: *a}",
        "? &a [*a]\n: 1",
    ],
)
def test_alias_of_itself_is_rejected(text):
    """A value that contains itself is rejected like other wrong values."""
    assert all(": expected " in error for error in errors(text))


# Any file

WORDS = (
    "pins: port: access: hosts: ssl: mqtt: url: www: gpio: mode: label: initial: lamp: key: 17"
    " 017 -0 1e9 .nan .inf ~ null true on input output pwm keep 22:30 !!int ! !<x> !a!b &a *a &b *b"
    " | > |9 - ? : , [ ] { } [] {} # --- ... %YAML %TAG << = @ ` é"
    ' " \' "\\U00110000" "\\ud800" "\\x" "\\n"'
)
BREAKS = [" ", "\n", "\n  ", "\n    ", "\t", "\r", "\x85", "\u2028", "\ufeff"]
FRAGMENTS = st.lists(st.sampled_from([*WORDS.split(), *BREAKS, ": ", "- "]), max_size=25)
CUTS = st.tuples(st.integers(0, len(MANY_ERRORS)), st.integers(0, 40), st.binary(max_size=4))


def cut(data, start, length, instead):
    return data[:start] + instead + data[start + length :]


FILES = st.one_of(
    st.binary(max_size=200),
    FRAGMENTS.map(lambda parts: "".join(parts).encode()),
    FRAGMENTS.map(lambda parts: " ".join(parts).encode()),
    CUTS.map(lambda place: cut(MANY_ERRORS.encode(), *place)),
)


@settings(deadline=None, max_examples=100)
@given(FILES)
def test_any_file_is_a_configuration_or_a_list_of_errors(data):
    """Any file results in a configuration or in errors, one printable line each."""
    try:
        config = read(data)
    except ConfigError as error:
        assert error.errors
        for each in error.errors:
            assert str(each).isprintable()
            assert each.message.startswith("expected ")
    else:
        assert isinstance(config, Config)


@st.composite
def some_keys(draw, where):
    """Some keys of the table in any order, each with an accepted value: key to (YAML, meaning)."""
    rules = {rule.key: rule for rule in RULES if where in rule.where and rule.key != "gpio"}
    rules = {key: rule for key, rule in rules.items() if rule.good and key != "group"}
    chosen = draw(st.lists(st.sampled_from(list(rules)), unique=True))
    return {key: draw(st.sampled_from(list(rules[key].good.items()))) for key in chosen}


@settings(deadline=None, max_examples=75)
@given(st.data(), some_keys("top"), some_keys("access"), st.sampled_from(list(MODES)))
def test_valid_keys_are_read_as_written_and_one_wrong_value_is_reported(data, top, access, mode):
    """Accepted values, in any order and combination, are read as they are written. If one is
    replaced by a rejected value, exactly this key is reported."""
    pin = data.draw(some_keys(mode))
    pin.pop("group_pause", None)
    is_limited = "pulse" in pin or "max_on" in pin
    for key in ("initial", "on_stop", "on_failure") if is_limited else ():
        pin.pop(key, None)
    pin |= {"mode": (mode, mode), "gpio": ("17", 17)}

    def text():
        sections = ("", top), ("access:\n", access), ("pins:\n  lamp:\n", pin)
        parts = []
        for indent, (head, entries) in zip(("", "  ", "    "), sections, strict=True):
            parts += [head, *(f"{indent}{key}: {yaml}\n" for key, (yaml, _) in entries.items())]
        return "".join(parts)

    meant = {section: {key: value for key, (_, value) in entries.items()}
             for section, entries in (("top", top), ("access", access), ("pin", pin))}  # fmt: skip
    keys = {"name": "lamp", "label": "lamp", **meant["pin"]}
    keys.setdefault("active", "low" if keys.get("pull") == "up" else "high")
    expected = MODES[keys.pop("mode")](**keys)
    top_keys = {"www": HERE / "www", **meant["top"]}
    assert read(text()) == Config(
        **top_keys, access=AccessConfig(**meant["access"]), pins=(expected,)
    )

    places = [("", "top", top), ("access.", "access", access), ("pins.lamp.", mode, pin)]
    prefix, where, entries = data.draw(st.sampled_from([each for each in places if each[2]]))
    key = data.draw(st.sampled_from(list(entries)))
    (rule,) = [rule for rule in RULES if rule.key == key and where in rule.where]
    wrong, shown = data.draw(st.sampled_from(list(rule.bad.items())))
    entries[key] = wrong or '""', None
    (error,) = errors(text())
    reason = f" {prefix}{key}: expected {rule.expects}, got {shown}".removesuffix(HINT)
    assert error.removesuffix(HINT).endswith(reason)
