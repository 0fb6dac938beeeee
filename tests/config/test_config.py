"""config.yaml key by key: the documented values, and the error of every wrong one."""

import json
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raspi_server.config import source
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
from raspi_server.config.source import default_file, load

SHIPPED = Path(__file__).parents[2] / "config.yaml"
README = SHIPPED.with_name("README.md")
HERE = Path("/etc/raspi-server")
MODES = {"input": InputConfig, "output": OutputConfig, "pwm": PwmConfig}
HINT = " (text that looks like a number stands in quotes)"

PORT = "a whole number from 1 to 65535"
SECONDS = "a number of seconds from 0.01 to 86400"
GPIO = "a pin from GPIO0 to GPIO27"
NAME = "a name of at most 32 characters from a-z, 0-9, _ and -, a letter first"
LABEL = "1 to 64 characters of text"
HOST = "a host name such as pi.example.org, without a port"
TOP_KEYS = "port, address, ssl, interval, www, gpio, access, mqtt, metrics, log_level, pins"

thorough = settings(print_blob=True, deadline=None)


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


# ---------------------------------------------------------------- the file we ship


def test_the_shipped_file_says_what_happens_without_it():
    """The shipped file loads, and its values are the defaults."""
    assert load(SHIPPED) == msgspec.structs.replace(Config(), www=SHIPPED.parent / "www")


@pytest.mark.parametrize("key", Config.__struct_fields__)
def test_the_shipped_file_has_every_key_ready_to_be_changed(key):
    """Every top-level key stands in the shipped file uncommented, once, at the start of a line."""
    assert len(re.findall(rf"^{key}:", SHIPPED.read_text(), re.MULTILINE)) == 1


@pytest.mark.parametrize("key", AccessConfig.__struct_fields__)
def test_the_shipped_file_has_every_key_of_access(key):
    """Every key of `access` stands in the shipped file uncommented."""
    assert len(re.findall(rf"^  {key}:", SHIPPED.read_text(), re.MULTILINE)) == 1


@pytest.mark.parametrize("key", MqttConfig.__struct_fields__)
def test_the_shipped_file_explains_every_key_of_mqtt(key):
    """Every key of `mqtt` stands in the example of the shipped file."""
    assert re.search(rf"^#     {key}: \S", SHIPPED.read_text(), re.MULTILINE)


def test_the_example_of_a_broker_works_when_uncommented():
    """The example of a broker is valid once its comment signs are removed."""
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


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("mqtt: true", "1: mqtt: expected false or {url: mqtt://HOST, …}, got true"),
        ("mqtt:", "1: mqtt: expected false or {url: mqtt://HOST, …}, got nothing"),
        ("mqtt: [1]", "1: mqtt: expected false or {url: mqtt://HOST, …}, got a list"),
        ("mqtt: 017", "1: mqtt: expected a number without leading zeros, got 017"),
        ("mqtt: {user: me}", "1: mqtt.url: expected a URL such as mqtt://HOST or"
         " mqtts://HOST:8883, got nothing"),
        ("mqtt: {url: mqtt://b, password_file: p}",
         "1: mqtt.user: expected it beside password_file, got nothing"),
        ("mqtt: {url: mqtts://b, key: k}",
         "1: mqtt.certificate: expected it beside key, got nothing"),
        ("mqtt: {url: mqtt://b, topic: pi, fleet: true}",
         "1: mqtt.topic: expected two levels or more beside fleet, such as house/pi, got pi"),
        ("mqtt: {url: mqtt://b, ca: c}",
         "1: mqtt.ca: expected it only with a url that begins with mqtts://"),
    ],
)  # fmt: skip
def test_keys_of_mqtt_that_belong_together(text, error):
    """A broker needs a URL; a password a name, a certificate its key, and TLS a URL that asks for
    it."""
    (found,) = errors(text)
    assert found == f"config.yaml:{error}"


@pytest.mark.parametrize(
    "key", sorted({"mode"}.union(*(m.__struct_fields__ for m in MODES.values())) - {"name"})
)
def test_the_shipped_file_explains_every_key_of_a_pin(key):
    """Every key a pin can have is explained in the shipped file."""
    assert re.search(rf"^#   {key} +\S", SHIPPED.read_text(), re.MULTILINE)


@pytest.mark.parametrize("comment", ["#", "# "])
def test_the_examples_of_the_shipped_file_work_when_uncommented(comment):
    """The example pins are valid once their comment signs are removed."""
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


def test_the_example_of_the_readme_works():
    """The pins of README.md are a valid configuration without warnings."""
    (example,) = re.findall(r"^ {4}pins:\n(?: {6}.*\n)+", README.read_text(), re.MULTILINE)
    warnings = []
    pins = parse(textwrap.dedent(example).encode(), "README.md", HERE, warnings).pins
    assert [pin.name for pin in pins] == ["door", "lamp", "gate"]
    assert warnings == []


def test_a_user_without_a_file_in_etc_has_the_one_in_the_folder(tmp_path, monkeypatch):
    """The file in /etc counts where it exists, else config.yaml in the working directory."""
    assert Path("/etc/raspi-server/config.yaml") == source.SYSTEM_FILE
    monkeypatch.setattr(source, "SYSTEM_FILE", tmp_path / "config.yaml")
    assert default_file() == Path("config.yaml")
    (tmp_path / "config.yaml").touch()
    assert default_file() == tmp_path / "config.yaml"


# ---------------------------------------------------------------- the table, key by key


class Rule(NamedTuple):
    """One line of the table of keys."""

    key: str
    where: tuple[str, ...]
    """`top`, `access`, or the modes of the pins that have it."""
    expects: str
    good: dict[str, object]
    """The allowed values, as YAML, and their meaning."""
    bad: dict[str, str]
    """The rejected values, as YAML, and how the error shows them."""


def same(*texts):
    return {text: text for text in texts}


def quoted(*texts):
    return {text: f'"{text}"' for text in texts}


def numbers(*texts):
    return {text: float(text) for text in texts}


NO_NUMBERS = same(".nan", ".inf", "-.inf", "1e999", "true", "false") | quoted("on", "22:30", "1,5")
NO_WORDS = same("0", "1", "0.5", "true", "false", ".nan") | quoted("yes", "ON", "On", "")
ALL = ("input", "output", "pwm")
DRIVEN = ("output", "pwm")

RULES = [
    Rule(
        "port",
        ("top",),
        PORT,
        {"1": 1, "80": 80, "+80": 80, "65535": 65535},
        same("0", "-1", "65536", "8080.0", "1e3", "999999999999999999")
        | quoted("1_000", "0x50", "eighty")
        | {'"8080"': '"8080"', "9" * 30: "9" * 30}
        | NO_NUMBERS,
    ),
    Rule(
        "address",
        ("top",),
        'one IP address of this machine, or "" for all',
        {'""': "", "''": ""}
        | same("192.168.1.7", "0.0.0.0", "fe80::1%eth0", "2001:db8::1")
        | {"'::'": "::", "'::1'": "::1"},
        quoted("localhost", "192.168.1", "192.168.1.256", "192.168.1.7/24", "192.168.1.7:80", "all")
        | {"1.5": "1.5", "3232235777": "3232235777", "true": "true", "'[::1]'": '"[::1]"'},
    ),
    Rule(
        "ssl",
        ("top",),
        "true, false or {certificate: FILE, key: FILE}",
        {
            "false": False,
            "true": CertificateFiles(
                certificate=HERE / "tls/server.crt", key=HERE / "tls/server.key"
            ),
        },
        quoted("on", "off", "yes", "no", "True", "FALSE") | same("0", "1") | {"'true'": '"true"'},
    ),
    Rule(
        "interval",
        ("top",),
        "a number of seconds from 0.01 to 3600",
        numbers("0.01", "0.1", "1", "1e3", "3600", "3.6e3"),
        same("0", "0.009", "3600.001", "-1", "1e-3") | {"'1'": '"1"', "100ms": '"100ms"'}
        | NO_NUMBERS,
    ),
    Rule(
        "www",
        ("top",),
        "a path",
        {
            "www": HERE / "www",
            "my/pages": HERE / "my/pages",
            "/srv/pages": Path("/srv/pages"),
            "'2024'": HERE / "2024",
            "on": HERE / "on",
            "Ü b e r": HERE / "Ü b e r",
        },
        {'""': '""', '"a\\0b"': '"a\\u0000b"', "true": "true"},
    ),
    Rule("gpio", ("top",), "auto, real or simulated", same("auto", "real", "simulated"),
         NO_WORDS | quoted("Auto", "simulate")),
    Rule("metrics", ("top",), "true or false", {"true": True, "false": False},
         same("0", "1") | quoted("on", "no", "True", "") | {"'true'": '"true"'}),
    Rule(
        "url",
        ("mqtt",),
        "a URL such as mqtt://HOST or mqtts://HOST:8883",
        same("mqtt://broker", "mqtts://192.168.1.2:8883", "mqtt://pi.local:1", "mqtt://[::1]:65535"),
        quoted("broker", "http://broker", "mqtt://", "mqtt://:1883", "mqtt://broker:0", "")
        | quoted("mqtt://broker:65536", "mqtt://broker/", "mqtt://broker/topic", "mqtt://b:x")
        | {"mqtt://me:secret@broker": "one with a name, which goes into user, or a password, into"
           " password_file"}
        | same("1883", "true"),
    ),
    Rule("user", ("mqtt",), "a user's name", same("kitchen", "Küche 2", "x" * 100),
         {'""': '""', "x" * 101: f'"{"x" * 60}…"'} | same("true", "1.5")),
    *(
        Rule(key, ("mqtt",), "a path", {"some/file": HERE / "some/file", "/f": Path("/f")},
             {'""': '""', "true": "true", "3": "3"})
        for key in ("password_file", "ca", "certificate", "key")
    ),
    Rule(
        "topic",
        ("mqtt",),
        "a topic such as house/kitchen, without +, # and spaces",
        same("house/kitchen", "x", "a/b/c", "Küche"),
        quoted("/a", "a/", "a//b", "a/+/b", "+", "$SYS/a", "a b", "") | {"'#'": '"#"', "1": "1"},
    ),
    Rule("control", ("mqtt",), "true or false", {"true": True, "false": False},
         same("0", "1") | quoted("on", "code", "")),
    Rule("discovery", ("mqtt",), "false or a topic such as homeassistant",
         {"false": False, "homeassistant": "homeassistant", "a/b": "a/b"},
         same("true", "1") | quoted("", "a b", "a/")),
    Rule("fleet", ("mqtt",), "true or false", {"true": True, "false": False},
         same("0", "1") | quoted("on", "all", "")),
    Rule("log_level", ("top",), "debug, info, warning or error",
         same("debug", "info", "warning", "error"), NO_WORDS | quoted("INFO", "critical")),
    Rule("view", ("access",), "everyone or code", same("everyone", "code"),
         NO_WORDS | quoted("nobody", "Everyone")),
    Rule("control", ("access", *DRIVEN), "everyone, code or nobody",
         same("everyone", "code", "nobody"), NO_WORDS | quoted("none")),
    Rule(
        "gpio",
        ALL,
        GPIO,
        {"0": 0, "27": 27, "'17'": 17, "GPIO17": 17, "BOARD11": 17, "WPI0": 17, "J8:11": 17}
        | {"BCM17": 17, "gpio17": 17, "+17": 17},
        same("-1", "28", "17.0", "1e1") | quoted("seventeen", "GPIO28", "GPIO017", "BOARD1", "")
        | {"'017'": '"017"', "9" * 30: "9" * 30} | same(".nan", "true"),
    ),
    Rule("mode", ALL, "input, output or pwm", {}, NO_WORDS | quoted("in", "Output", "PWM")),
    Rule(
        "label",
        ALL,
        LABEL,
        same("Desk lamp", "on", "22:30", "x", "x" * 64, "Büro 1 °C", "True")
        | {"'17'": "17", "'true'": "true", "|-\n      two words": "two words"},
        {'""': '""', "x" * 65: f'"{"x" * 60}…"'} | same("true", "17", "1.5", "1e3", ".nan"),
    ),
    Rule("active", ALL, "high or low", same("high", "low"), NO_WORDS | quoted("High")),
    Rule("pull", ("input",), "up, down or none", same("up", "down", "none"), NO_WORDS),
    Rule(
        "debounce",
        ("input",),
        "a number of seconds from 0 to 5",
        numbers("0", "0.02", "5", "5.0"),
        same("-0.001", "5.001", "-1") | {"'0'": '"0"'} | NO_NUMBERS,
    ),
    Rule("initial", ("output",), "off, on, keep or restore", same("off", "on", "keep", "restore"),
         NO_WORDS | quoted("input")),
    Rule(
        "initial",
        ("pwm",),
        "off, on, keep or restore or a number from 0 to 1",
        same("off", "on", "keep", "restore") | numbers("0", "0.35", "1", "1.0", "1e-3"),
        same("-0.001", "1.001", "2", "true", "false", ".nan", ".inf") | quoted("ON", "half", "")
        | {"'0.5'": '"0.5"'},
    ),
    Rule("on_stop", ("output",), "off, on, keep or input", same("off", "on", "keep", "input"),
         NO_WORDS | quoted("restore")),
    Rule("on_failure", ("output",), "off, on, keep or input", same("off", "on", "keep", "input"),
         NO_WORDS | quoted("restore")),
    Rule("on_stop", ("pwm",), "off, on or input", same("off", "on", "input"),
         NO_WORDS | quoted("keep", "restore")),
    Rule("on_failure", ("pwm",), "off, on or input", same("off", "on", "input"),
         NO_WORDS | quoted("keep", "restore")),
    Rule("pulse", ("output",), SECONDS, numbers("0.01", "0.5", "86400", "1e3"),
         same("0", "0.009", "86400.001", "-1") | {"'1'": '"1"'} | NO_NUMBERS),
    Rule("max_on", DRIVEN, SECONDS, numbers("0.01", "60", "86400", "1e3"),
         same("0", "0.009", "86400.001", "-1") | {"'1'": '"1"'} | NO_NUMBERS),
    Rule(
        "group",
        ("output",),
        NAME,
        same("a", "blind", "on", "blind_2-x", "x" * 32),
        same("1", "true", ".nan") | quoted("Blind", "2blind", "_x", "a.b", "ä", "")
        | {"x" * 33: f'"{"x" * 33}"', '"a\\n"': '"a\\n"'},
    ),
    Rule("group_pause", ("output",), "a number of seconds from 0 to 60",
         numbers("0", "0.1", "60"), same("-0.001", "60.001") | {"'1'": '"1"'} | NO_NUMBERS),
    Rule("frequency", ("pwm",), "a number of hertz from 0.1 to 10000",
         numbers("0.1", "100", "1e4"), same("0", "0.09", "10000.1", "-1") | NO_NUMBERS),
    Rule("confirm", DRIVEN, "true or false", {"true": True, "false": False},
         same("0", "1") | quoted("on", "off", "yes", "no", "True", "") | {"'true'": '"true"'}),
]  # fmt: skip

DEFAULTS = {
    "input": {"pull": "none", "debounce": 0},
    "output": {
        "initial": "off",
        "on_stop": "off",
        "on_failure": "off",
        "pulse": None,
        "max_on": None,
        "group": None,
        "group_pause": 0.1,
        "confirm": False,
        "control": None,
    },
    "pwm": {
        "initial": "off",
        "on_stop": "off",
        "on_failure": "off",
        "max_on": None,
        "frequency": 100,
        "confirm": False,
        "control": None,
    },
}


def text_with(rule, where, value):
    """A configuration in which only this key is of interest, its line, and its dotted path."""
    if where == "top":
        return f"{rule.key}: {value}\n", 1, rule.key
    if where == "access":
        return f"access:\n  {rule.key}: {value}\n", 2, f"access.{rule.key}"
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


def cases(*kinds):
    """Every value of the table, with an id such as `output-pulse-0.01`."""
    for rule in RULES:
        for where in rule.where:
            for kind in kinds:
                for text, meaning in getattr(rule, kind).items():
                    name = json.dumps(text)[1:-1] if len(text) < 20 else f"{text[:8]}…"
                    yield pytest.param(
                        rule, where, text, meaning, id=f"{where}-{rule.key}-{name or 'empty'}"
                    )


@pytest.mark.parametrize(("rule", "where", "text", "meaning"), list(cases("good")))
def test_every_value_of_the_table_is_taken(rule, where, text, meaning):
    """Every key takes what the documentation says it takes, up to both ends of its range."""
    value, (text, _, _) = text, text_with(rule, where, text)
    if rule.key in ("group", "group_pause"):
        group = value if rule.key == "group" else "a"
        text += f"  other: {{gpio: 4, mode: output, group: {group}}}\n"
    config = read(text)
    owners = {"top": config, "access": config.access, "mqtt": config.mqtt}
    owner = owners.get(where) or config.pins[0]
    found = getattr(owner, rule.key)
    assert found == meaning
    assert type(found) is type(meaning)


@pytest.mark.parametrize(("rule", "where", "text", "shown"), list(cases("bad")))
def test_every_other_value_is_refused_with_its_reason(rule, where, text, shown):
    """A value of the wrong kind, or just beyond the range, is refused, with line, key,
    what was expected and what stood there."""
    text, line, key = text_with(rule, where, text or '""')
    (error,) = errors(text)
    expected = f"config.yaml:{line}: {key}: expected {rule.expects}, got {shown}"
    assert error.removesuffix(HINT) == expected


EVERY_KEY = [
    pytest.param(rule, where, id=f"{where}-{rule.key}") for rule in RULES for where in rule.where
]


@pytest.mark.parametrize(("rule", "where"), EVERY_KEY)
def test_no_key_takes_a_list_a_mapping_or_nothing(rule, where):
    """A list, keys and values, or nothing where one value is expected is refused for every key."""
    shown = {"[1]": "a list", "{a: 1}": "a mapping", "": "nothing", "~": "nothing"}
    if rule.key == "ssl":
        del shown["{a: 1}"]
    for value, word in shown.items():
        text, line, key = text_with(rule, where, value)
        expected = f"config.yaml:{line}: {key}: expected {rule.expects}, got {word}"
        assert errors(text) == [expected]


@pytest.mark.parametrize("text", ["017", "00", "-08"])
@pytest.mark.parametrize(("rule", "where"), EVERY_KEY)
def test_a_leading_zero_is_refused_for_every_key(rule, where, text):
    """`017` is never read as 15 nor as 17."""
    text, line, key = text_with(rule, where, text)
    (error,) = errors(text)
    assert error.startswith(f"config.yaml:{line}: {key}: expected a number without leading zeros, ")


def test_the_table_misses_no_key():
    """Every key of the configuration is tested above."""
    elsewhere = {"access", "mqtt", "pins", "hosts", "name"}
    for where, struct in {
        "top": Config,
        "access": AccessConfig,
        "mqtt": MqttConfig,
        **MODES,
    }.items():
        tested = {rule.key for rule in RULES if where in rule.where} - {"mode"}
        assert tested == set(struct.__struct_fields__) - elsewhere, where


@pytest.mark.parametrize("mode", MODES)
def test_a_pin_without_further_keys_has_the_defaults_of_the_table(mode):
    """A pin with nothing but `gpio` and `mode` behaves as the documentation says."""
    everywhere = {"name": "lamp", "gpio": 17, "label": "lamp", "active": "high"}
    pin = one_pin(mode)
    assert type(pin) is MODES[mode]
    assert msgspec.structs.asdict(pin) == everywhere | DEFAULTS[mode]


NO_CONTENT = ["", "\n", "# nothing\n", "---\n", "null\n", "{}\n", "pins:\n", "pins: {}\n", "\ufeff"]


@pytest.mark.parametrize("text", NO_CONTENT, ids=map(repr, NO_CONTENT))
def test_a_file_that_says_nothing_means_the_defaults(text):
    """An empty file, only comments, or `pins:` with nothing behind it is a configuration."""
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


@pytest.mark.parametrize("text", ["access:\n", "access: {}\n", "access:\n  hosts:\n"])
def test_access_with_nothing_behind_it_means_the_defaults(text):
    """`access:` and `hosts:` may stand there with nothing behind them."""
    assert read(text).access == AccessConfig()


@pytest.mark.parametrize(("pull", "active"), [("up", "low"), ("down", "high"), ("none", "high")])
def test_a_pull_makes_the_other_level_the_active_one(pull, active):
    """Against a pull the other level means 1, unless `active` says otherwise."""
    assert one_pin("input", f"pull: {pull}").active == active
    assert one_pin("input", f"pull: {pull}", "active: high").active == "high"
    assert one_pin("input", f"pull: {pull}", "active: low").active == "low"


# ---------------------------------------------------------------- ssl and paths


def test_ssl_takes_a_pair_of_files():
    """`ssl` takes the user's own certificate and key, relative to the folder of the file."""
    config = read("ssl: {certificate: my/own.crt, key: /srv/own.key}\n")
    pair = CertificateFiles(certificate=HERE / "my/own.crt", key=Path("/srv/own.key"))
    assert config.ssl == config.certificate == pair


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ssl: {certificate: a}", ["config.yaml:1: ssl.key: expected a file, got nothing"]),
        ("ssl: {key: a}", ["config.yaml:1: ssl.certificate: expected a file, got nothing"]),
        (
            "ssl: {}",
            [
                "config.yaml:1: ssl.certificate: expected a file, got nothing",
                "config.yaml:1: ssl.key: expected a file, got nothing",
            ],
        ),
        (
            "ssl:\n  certificate: a\n  key: 5\n",
            [f"config.yaml:3: ssl.key: expected a path, got 5{HINT}"],
        ),
        (
            "ssl:\n  certificate: a\n  kee: b\n",
            [
                "config.yaml:2: ssl.key: expected a file, got nothing",
                "config.yaml:3: ssl.kee: expected one of the keys certificate, key"
                " (did you mean key?)",
            ],
        ),
        (
            "ssl:\n  certificate: a\n  key: b\n  certificate: c\n",
            [
                "config.yaml:4: ssl.certificate: expected each key once,"
                " got it in line 2 already"
            ],
        ),
    ],
    ids=["no key", "no certificate", "neither", "number", "misspelt", "repeated"],
)  # fmt: skip
def test_half_a_pair_is_refused(text, expected):
    """A certificate without a key, or the other way round, is refused, and each error said once."""
    assert sorted(errors(text)) == sorted(expected)


def test_paths_begin_at_the_folder_of_the_file(tmp_path, monkeypatch):
    """A relative path means the same wherever the server was started."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "config.yaml").write_text("www: pages\nssl: true\n")
    monkeypatch.chdir(tmp_path)
    config = load(Path("etc/config.yaml"))
    assert config.www == folder / "pages"
    assert config.ssl == CertificateFiles(
        certificate=folder / "tls/server.crt", key=folder / "tls/server.key"
    )
    (folder / "config.yaml").write_text("")
    assert load(Path("etc/config.yaml")).www == folder / "www"


# ---------------------------------------------------------------- hosts


def test_hosts_are_a_list_of_names():
    """Further names are taken in any case, and kept in lower case."""
    text = "access:\n  hosts: [Pi.Example.org, my_pi, 10.0.0.5, 'on', a, 5pi]\n"
    names = ("pi.example.org", "my_pi", "10.0.0.5", "on", "a", "5pi")
    assert read(text).access.hosts == names


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        ("pi.example.org:8080", '"pi.example.org:8080"'),
        ("http://pi", '"http://pi"'),
        ("'*'", '"*"'),
        ("'pi home'", '"pi home"'),
        ("'[::1]'", '"[::1]"'),
        ("-pi", '"-pi"'),
        ("pi.", '"pi."'),
        ("küche", '"küche"'),
        ('"pi\\n"', '"pi\\n"'),
        ("''", '""'),
        ("5", "5"),
        ("true", "true"),
        ("null", "nothing"),
        ("[pi]", "a list"),
        ("{pi: 1}", "a mapping"),
        ("x" * 254, f'"{"x" * 60}…"'),
    ],
    ids=lambda text: text[:20],
)
def test_a_host_is_a_name_without_more(item, shown):
    """A port, an address in brackets or a wildcard among the hosts is refused, in its own line."""
    text = f"access:\n  hosts:\n    - pi\n    - {item}\n"
    assert errors(text) == [f"config.yaml:4: access.hosts: expected {HOST}, got {shown}"]


@pytest.mark.parametrize(
    ("value", "shown"), [("pi", '"pi"'), ("true", "true"), ("{pi: 1}", "a mapping"), ("017", None)]
)
def test_hosts_are_nothing_but_a_list(value, shown):
    """One host without brackets is refused, with an example of a list."""
    (error,) = errors(f"access:\n  hosts: {value}\n")
    reason = f"expected a list such as [pi.example.org], got {shown}"
    assert error.startswith("config.yaml:2: access.hosts: " + (reason if shown else "expected "))


# ---------------------------------------------------------------- keys and pins


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prot: 1", f"1: prot: expected one of the keys {TOP_KEYS} (did you mean port?)"),
        ("zzz: 1", f"1: zzz: expected one of the keys {TOP_KEYS}"),
        ("Port: 1", f"1: Port: expected one of the keys {TOP_KEYS} (did you mean port?)"),
        ("on: 1", f"1: on: expected one of the keys {TOP_KEYS}"),
        ("<<: {port: 1}", f"1: <<: expected one of the keys {TOP_KEYS}"),
        (
            "access:\n  veiw: code",
            "2: access.veiw: expected one of the keys view, control, hosts (did you mean view?)",
        ),
        (
            pin_text("input", "debunce: 1"),
            "5: pins.lamp.debunce: expected one of the keys mode, gpio, label, active, pull,"
            " debounce (did you mean debounce?)",
        ),
        (
            pin_text("pwm", "name: x"),
            "5: pins.lamp.name: expected one of the keys mode, gpio, label, active, max_on,"
            " confirm, control, initial, on_stop, on_failure, frequency",
        ),
    ],
    ids=["typo", "far", "capital", "on", "merge", "access", "pin", "name"],
)
def test_an_unknown_key_is_refused_and_the_nearest_one_named(text, expected):
    """A misspelt key is never passed over in silence, and what was probably meant is said."""
    assert errors(text) == [f"config.yaml:{expected}"]


@pytest.mark.parametrize("text", ["zzz:\n  - 1\n", "access:\n  zzz:\n    - 1\n", "pins"])
def test_an_unknown_key_is_reported_in_its_own_line(text):
    """The line of an error is that of the unknown key, also where its value begins further down."""
    if text == "pins":
        text = pin_text("input", "zzz:", "  - 1")
    line = text.split("zzz")[0].count("\n") + 1
    (error,) = errors(text)
    assert error.startswith(f"config.yaml:{line}: ")


@pytest.mark.parametrize(
    ("text", "line", "key", "first"),
    [
        ("port: 1\nwww: x\nport: 1\n", 3, "port", 1),
        ("port: 1\n'port': 2\n", 2, "port", 1),
        ("access: {view: code}\naccess: {view: code}\n", 2, "access", 1),
        ("access:\n  view: code\n  view: everyone\n", 3, "access.view", 2),
        (pin_text("input", "pull: up", "pull: up"), 6, "pins.lamp.pull", 5),
        (pin_text("output", "group: a", "group: a"), 6, "pins.lamp.group", 5),
        (pin_text("input", "gpio: 4"), 5, "pins.lamp.gpio", 3),
        (pin_text("input") + "  lamp: {gpio: 4, mode: input}\n", 5, "pins.lamp", 2),
        ("pins: {}\npins: {}\n", 2, "pins", 1),
    ],
)
def test_a_repeated_key_is_refused(text, line, key, first):
    """A key that stands there twice is refused, with both lines: none of the two quietly wins."""
    expected = f"config.yaml:{line}: {key}: expected each key once, got it in line {first} already"
    assert errors(text) == [expected]


def test_the_same_key_in_two_pins_is_no_repetition():
    """Two pins may of course have the same keys."""
    text = pin_text("input", "label: a") + "  door: {gpio: 4, mode: input, label: a}\n"
    assert [pin.label for pin in read(text).pins] == ["a", "a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "1: expected keys and values, got a list"),
        ("hello", '1: expected keys and values, got "hello"'),
        ("5", "1: expected keys and values, got 5"),
        ("017", "1: expected keys and values, got "),
        ("pins: 017", "1: pins: expected "),
        ("pins:\n  - a\n", "2: pins: expected keys and values, got a list"),
        ("pins: true", "1: pins: expected keys and values, got true"),
        ("pins:\n  lamp: 17", "2: pins.lamp: expected keys and values, got 17"),
        ("pins:\n  lamp: 017", "2: pins.lamp: expected "),
        ("pins:\n  lamp: [17]", "2: pins.lamp: expected keys and values, got a list"),
        ("access: code", '1: access: expected keys and values, got "code"'),
        ("access: 017", "1: access: expected "),
        ("access: [code]", "1: access: expected keys and values, got a list"),
        ("? [a]\n: 1", "1: expected a word as key, got a list"),
        ("? {a: 1}\n: 1", "1: expected a word as key, got a mapping"),
        ("access:\n  ? [a]\n  : 1", "2: access: expected a word as key, got a list"),
    ],
)
def test_something_else_where_keys_and_values_belong_is_refused(text, expected):
    """A list or a word in place of keys and values is refused in its line."""
    (error,) = errors(text)
    assert error.startswith(f"config.yaml:{expected}")


@pytest.mark.parametrize("name", ["a", "on", "no", "y", "null", "lamp_2-x", "x" * 32])
def test_a_pin_may_have_any_simple_name(name):
    """A name of small letters, digits, _ and - is taken as it stands, `on` and `no` too."""
    pin = one_pin("input", name=name)
    assert (pin.name, pin.label) == (name, name)


@pytest.mark.parametrize(
    ("name", "key", "shown"),
    [
        ("Lamp", "Lamp", '"Lamp"'),
        ("2lamp", "2lamp", '"2lamp"'),
        ("_lamp", "_lamp", '"_lamp"'),
        ("desk lamp", "desk lamp", '"desk lamp"'),
        ("lämp", "lämp", '"lämp"'),
        ("a.b", "a.b", '"a.b"'),
        ("x" * 33, "x" * 33, f'"{"x" * 33}"'),
        ("x" * 100, f'"{"x" * 60}…"', f'"{"x" * 60}…"'),
        ('"lamp\\n"', '"lamp\\n"', '"lamp\\n"'),
        ('"\\e[31m"', '"\\u001b[31m"', '"\\u001b[31m"'),
        ("1", "1", '"1"'),
        ("~", "~", '"~"'),
    ],
)
def test_any_other_name_is_refused(name, key, shown):
    """A name with capitals, blanks, dots or worse is refused, and shown fit to be printed."""
    assert errors(pin_text("input", name=name)) == [
        f"config.yaml:2: pins.{key}: expected {NAME}, got {shown}"
    ]


def test_a_pin_needs_gpio_and_mode():
    """A pin without a GPIO or a mode is refused, in the line of its name."""
    assert errors("port: 1\npins:\n  lamp:\n") == [
        f"config.yaml:3: pins.lamp.gpio: expected {GPIO}, got nothing",
        "config.yaml:3: pins.lamp.mode: expected input, output or pwm, got nothing",
    ]
    assert errors("pins:\n  lamp: {gpio: 4}\n") == [
        "config.yaml:2: pins.lamp.mode: expected input, output or pwm, got nothing"
    ]
    assert errors("pins:\n  lamp: {mode: pwm}\n") == [
        f"config.yaml:2: pins.lamp.gpio: expected {GPIO}, got nothing"
    ]


@pytest.mark.parametrize("entry", ["initial: 0.5", "on_stop: keep", "pull: up", "frequency: 50"])
@pytest.mark.parametrize("mode", ["", "mode: pmw", "mode: 1"])
def test_a_pin_of_unknown_mode_is_blamed_for_nothing_else(mode, entry):
    """A missing or misspelt mode is one error: a key that is right in some mode is none."""
    text = "\n".join(["pins:", "  fan:", "    gpio: 18", f"    {entry}", f"    {mode}", ""])
    (error,) = errors(text)
    assert ": pins.fan.mode: expected input, output or pwm, got " in error


OWNERS = {
    key: " or ".join(mode for mode in MODES if key in MODES[mode].__struct_fields__)
    for key in {}.fromkeys(key for mode in DEFAULTS for key in DEFAULTS[mode])
}


@pytest.mark.parametrize(
    ("key", "mode"),
    [(key, mode) for key in OWNERS for mode in MODES if key not in DEFAULTS[mode]],
)
def test_a_key_of_another_mode_is_refused(key, mode):
    """A key such as `pulse` on an input is refused, with the mode it belongs to."""
    assert errors(pin_text(mode, f"{key}: on")) == [
        f"config.yaml:5: pins.lamp.{key}: expected only with mode: {OWNERS[key]},"
        f" got it with mode: {mode}"
    ]


SPELLINGS = ["17", "GPIO17", "BOARD11", "WPI0", "'17'", "BCM17", "J8:11", "gpio17"]


@pytest.mark.parametrize("second", SPELLINGS)
@pytest.mark.parametrize("first", SPELLINGS[:4])
def test_two_pins_on_one_gpio_are_refused_however_it_is_spelt(first, second):
    """Two pins never share a GPIO, whatever names they use for it."""
    text = """
pins:
  lamp: {{gpio: {}, mode: output}}
  door: {{gpio: BOARD13, mode: input}}
  fan:
    mode: pwm
    gpio: {}
"""
    assert errors(text.format(first, second)) == [
        "config.yaml:7: pins.fan.gpio: expected a GPIO of its own, got GPIO17, which lamp has"
    ]
    assert [pin.gpio for pin in read(text.format(first, 18)).pins] == [17, 27, 18]


def test_every_gpio_can_have_its_pin():
    """All 28 pins of the header can be used at once, each with its own number and BOARD name."""
    pins = [
        f"  p{gpio}: {{gpio: {gpio if gpio % 2 else f'BOARD{place}'}, mode: output}}\n"
        for gpio, place in POSITION_BY_GPIO.items()
    ]
    assert [pin.gpio for pin in read("pins:\n" + "".join(pins)).pins] == list(POSITION_BY_GPIO)


def test_pins_keep_the_order_of_the_file():
    """Pins come in the order in which they stand in the file."""
    names = ["zebra", "ape", "mouse", "a", "yak", "b2", "b10"]
    text = "".join(f"  {name}: {{gpio: {4 + n}, mode: input}}\n" for n, name in enumerate(names))
    assert [pin.name for pin in read("pins:\n" + text).pins] == names


@pytest.mark.parametrize("gpio", [2, 3, "BOARD3", "BOARD5"])
@pytest.mark.parametrize("pull", ["down", "none", None])
def test_the_fixed_pull_ups_are_respected(gpio, pull):
    """GPIO2 and GPIO3, with a pull-up on the board, are inputs only with `pull: up`."""
    entries = [f"pull: {pull}"] if pull else []
    number = {"BOARD3": 2, "BOARD5": 3}.get(gpio, gpio)
    assert errors(pin_text("input", *entries, gpio=gpio)) == [
        f"config.yaml:{5 if pull else 2}: pins.lamp.pull: expected up, got {pull or 'none'}:"
        f" GPIO{number} has a pull-up on the board"
    ]
    assert one_pin("input", "pull: up", gpio=gpio).pull == "up"
    assert one_pin("output", gpio=gpio).gpio == one_pin("pwm", gpio=gpio).gpio == number
    assert one_pin("input", f"pull: {pull or 'none'}", gpio=4).gpio == 4


@pytest.mark.parametrize("limit", ["pulse", "max_on"])
def test_a_time_limit_does_not_go_with_keep_after_a_failure(limit):
    """An output with a time limit is never left on by a crash: `on_failure: keep` is rejected, in
    its own line. (tests/gpio/test_safe_outputs.py has the other pairs.)"""
    entries = [f"{limit}: 5", "on_failure: keep"]
    expected = (
        f"pins.lamp.on_failure: expected off or input, got keep: {limit} could not switch it off"
        " after a crash; write on_failure: off"
    )
    assert errors(pin_text("output", *entries)) == [f"config.yaml:6: {expected}"]
    assert errors(pin_text("output", *reversed(entries))) == [f"config.yaml:5: {expected}"]
    assert one_pin("output", f"{limit}: 5", "on_failure: off").on_failure == "off"
    assert one_pin("output", "on_failure: keep").on_failure == "keep"


def group_text(key, first, second, groups=("blind", "blind")):
    return "\n".join(
        [
            "pins:",
            f"  up: {{gpio: 5, mode: output, group: {groups[0]}, {key}: {first}}}",
            "  other: {gpio: 13, mode: output, initial: on, on_stop: on, on_failure: on}",
            "  down:",
            f"    {{gpio: 6, mode: output, group: {groups[1]},",
            f"    {key}: {second}}}",
            f"  third: {{gpio: 19, mode: output, group: {groups[0]}}}",
            f"  fourth: {{gpio: 26, mode: output, group: {groups[1]}}}",
        ]
    )


def test_of_a_group_at_most_one_is_told_to_be_on():
    """Two outputs of one group, such as a motor's up and down, cannot both be told to be on."""
    assert errors(group_text("initial", "on", "on")) == [
        "config.yaml:6: pins.down.initial: expected off, got on, which up has:"
        " at most one output of group blind is on"
    ]


@pytest.mark.parametrize("key", ["on_stop", "on_failure"])
def test_nothing_of_a_group_goes_on_at_a_stop(key):
    """At a stop or a failure no pause can be kept, so a motor cannot be told to start then."""
    assert errors(group_text(key, "on", "off")) == [
        f"config.yaml:2: pins.up.{key}: expected off, keep or input, got on,"
        " which a group does not allow"
    ]
    pins = read(group_text(key, "input", "off")).pins
    assert [getattr(pin, key) for pin in pins[:3]] == ["input", "on", "off"]


@pytest.mark.parametrize(
    ("first", "second", "groups"),
    [
        ("on", "off", ("blind", "blind")),
        ("off", "on", ("blind", "blind")),
        ("keep", "keep", ("blind", "blind")),
        ("on", "on", ("blind", "awning")),
    ],
)
def test_of_a_group_one_may_be_on(first, second, groups):
    """One output of a group may be on, and so may one of each of several groups."""
    pins = read(group_text("initial", first, second, groups)).pins
    assert [pin.initial for pin in pins[:3]] == [first, "on", second]


@pytest.mark.parametrize("value", [Config(), AccessConfig()], ids=["Config", "Access"])
def test_a_configuration_cannot_change(value):
    """Once checked, a configuration stays as it is."""
    for key in value.__struct_fields__:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(value, key, getattr(value, key))


@pytest.mark.parametrize("mode", MODES)
def test_a_pin_cannot_change(mode):
    """Once checked, a pin stays as it is."""
    pin = one_pin(mode)
    for key in pin.__struct_fields__:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(pin, key, getattr(pin, key))
    with pytest.raises(AttributeError, match="immutable"):
        read("ssl: true").certificate.key = Path("x")


# ---------------------------------------------------------------- the words of an error


def test_an_error_names_file_line_key_what_was_expected_and_what_stood_there(tmp_path, monkeypatch):
    """An error reads exactly as in the documentation."""
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(
        "\n" * 11 + "pins:\n  lamp:\n    gpio: seventeen\n    mode: output\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(Path("config.yaml"))
    assert str(caught.value) == (
        "config.yaml:14: pins.lamp.gpio:"
        ' expected a pin from GPIO0 to GPIO27, got "seventeen"'
    )  # fmt: skip
    (error,) = caught.value.errors
    assert (error.file, error.line, error.key) == ("config.yaml", 14, "pins.lamp.gpio")


def test_an_invalid_configuration_is_also_a_value_error():
    """A program that uses the package may catch the error as the ValueError it is."""
    with pytest.raises(ValueError, match=r"^config\.yaml:1: port: expected a whole number"):
        read("port: x")


MANY_ERRORS = """\
pins:
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
  fan:
    gpio: 18
    mode: pwm
    on_failure: keep
access:
  view: nobody
  hosts: ["a b"]
ssl: on
port: 0
port: 1
wwww: x
interval: 017
"""


def test_all_errors_are_reported_at_once_in_the_order_of_the_file():
    """One look at the messages shows everything that is to be mended, from top to bottom."""
    assert errors(MANY_ERRORS) == [
        f'config.yaml:2: pins.Lamp: expected {NAME}, got "Lamp"',
        f"config.yaml:4: pins.Lamp.gpio: expected {GPIO}, got 99",
        f"config.yaml:5: pins.Lamp.pulse: expected {SECONDS}, got 0",
        "config.yaml:9: pins.door.pulse: expected only with mode: output, got it with mode: input",
        "config.yaml:11: pins.bell.gpio: expected a GPIO of its own, got GPIO17, which door has",
        'config.yaml:13: pins.bell.pull: expected up, down or none, got "sideways"',
        'config.yaml:17: pins.fan.on_failure: expected off, on or input, got "keep"',
        'config.yaml:19: access.view: expected everyone or code, got "nobody"',
        f'config.yaml:20: access.hosts: expected {HOST}, got "a b"',
        'config.yaml:21: ssl: expected true, false or {certificate: FILE, key: FILE}, got "on"',
        f"config.yaml:22: port: expected {PORT}, got 0",
        "config.yaml:23: port: expected each key once, got it in line 22 already",
        f"config.yaml:24: wwww: expected one of the keys {TOP_KEYS} (did you mean www?)",
        "config.yaml:25: interval: expected a number without leading zeros, got 017",
    ]


@pytest.mark.parametrize(
    ("text", "line", "key", "expects"),
    [
        ("www: 2024", 1, "www", "a path"),
        (pin_text("input", "label: 17"), 5, "pins.lamp.label", LABEL),
        (pin_text("input", "label: 1.5"), 5, "pins.lamp.label", LABEL),
    ],
)
def test_a_number_where_text_is_expected_is_refused_with_a_hint(text, line, key, expects):
    """The error of a number in the place of text names the quotes."""
    number = text.split(": ")[-1].strip()
    assert errors(text) == [f"config.yaml:{line}: {key}: expected {expects}, got {number}{HINT}"]


NASTY = {
    "terminal": "\\e]0;x\\a",
    "new line": "a\\nb",
    "return": "a\\rb",
    "line separator": "a\\Lb",
    "NEL": "a\\Nb",
    "bidi": "a\\u202eb",
    "C1": "\\x9b31m",
    "long": "x" * 900,
    "long and nasty": "\\n" * 400,
}


@pytest.mark.parametrize(
    "text",
    [
        'port: "{}"',
        'address: "{}"',
        '"{}": 1',
        'access: {{hosts: ["{}"]}}',
        'access: {{"{}": 1}}',
        'access: "{}"',
        'pins: "{}"',
        'pins: {{"{}": 1}}',
        'pins: {{"{}": {{gpio: 1, mode: input}}}}',
        'pins: {{a: {{gpio: "{}", mode: input}}}}',
        'pins: {{a: {{gpio: 1, mode: "{}"}}}}',
        'pins: {{a: {{gpio: 1, mode: input, "{}": 1}}}}',
        'pins: {{a: {{gpio: 1, mode: output, group: "{}"}}}}',
        'pins: {{"{}": {{gpio: 1, mode: input}}, b: {{gpio: 1, mode: input}}}}',
        'port: 1\n"{0}": 1\n"{0}": 1\n',
        "port: !<{}> 1",
    ],
)
@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
def test_nothing_nasty_reaches_the_log(text, nasty):
    """Control characters and endless values from the file never stand raw in a message."""
    for error in errors(text.format(nasty)):
        assert error.isprintable()
        assert len(error) < 600
        assert "x" * 70 not in error


@pytest.mark.parametrize("text", ['www: "{}"', pin_text("input", 'label: "{}"')])
@pytest.mark.parametrize("escape", ["\\ud800", "a\\uDFFFb", "\\ude00\\ud83d"])
def test_half_a_character_is_refused(text, escape):
    """An escape that is no character, which no browser could be told, is refused at the door."""
    for error in errors(text.format(escape)):
        assert re.match(r"config\.yaml:\d+: .*expected .*\\ud", error)
    assert read(text.format("\\U0001F600"))


# ---------------------------------------------------------------- files and texts we cannot read


def load_error(file):
    with pytest.raises(ConfigError) as caught:
        load(file)
    (error,) = caught.value.errors
    assert (error.line, error.key) == (None, "")
    return str(error)


def test_a_file_that_is_not_there_or_cannot_be_read_is_named(tmp_path):
    """A missing file, a folder, and a file the system does not give us are each named for what
    they are."""
    there = tmp_path / "config.yaml"
    assert load_error(there) == f"{there}: expected a file, found none"
    there.symlink_to("nowhere.yaml")
    assert load_error(there) == f"{there}: expected a file, found none"
    assert load_error(tmp_path) == f"{tmp_path}: expected a file, found a folder"
    there.unlink()
    there.write_text("port: 80\n")
    assert load_error(there / "x") == f"{there / 'x'}: cannot be read: Not a directory"
    there.with_name("loop").symlink_to("loop")
    loop = there.with_name("loop")
    assert load_error(loop) == f"{loop}: cannot be read: Too many levels of symbolic links"
    assert load(there).port == 80


def test_a_file_behind_a_link_is_read_and_its_paths_begin_at_the_link(tmp_path):
    """A link to a configuration works like the file itself, in the folder where the link is."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/real.yaml").write_text("port: 80\n")
    (tmp_path / "config.yaml").symlink_to("elsewhere/real.yaml")
    config = load(tmp_path / "config.yaml")
    assert (config.port, config.www) == (80, tmp_path / "www")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"port: 80\nwww: caf\xe9\n", ":2: expected UTF-8 text, got byte 0xe9"),
        (b"port: 80\nwww: a\0b\n", ":2: expected text, got character 0x00"),
        (b"www: '\x1b[31m'\n", ":1: expected text, got character 0x1b"),
        (
            b"access:\n\tview: code\n",
            ":2: expected YAML: while scanning for the next token found character '\\t' that"
            " cannot start any token (indent with spaces, not tabs)",
        ),
        (
            b"port: 1\n---\nport: 2\n",
            ":2: expected YAML: expected a single document in the stream but found another"
            " document",
        ),
        (b"port: 1\n#" + b"x" * 262144, ": expected at most 262144 bytes, got 262153"),
        (b"[" * 5000, ": expected two or three levels of nesting, got hundreds"),
        (
            b"port: 80\npins: !!python/object/apply:os.system [reboot]\n",
            ":2: expected a value without a YAML tag, got"
            ' "tag:yaml.org,2002:python/object/apply:os.system"',
        ),
    ],
    ids=["Latin-1", "NUL", "escape", "tab", "documents", "long", "deep", "tag"],
)
def test_a_text_that_is_no_configuration_is_refused_with_its_line(data, expected, tmp_path):
    """A file that is not one short, plain YAML text is refused in one message with its line."""
    file = tmp_path / "config.yaml"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == f"{file}{expected}"


def test_windows_line_ends_and_a_byte_order_mark_are_fine():
    """A file saved by an editor on Windows is read, and its errors have the right lines."""
    assert read(b"\xef\xbb\xbfport: 80\r\nwww: x\r\n").port == 80
    assert errors(b"\xef\xbb\xbfwww: x\r\nport: 0\r\n")[0].startswith("config.yaml:2: port: ")


# ---------------------------------------------------------------- aliases


def test_a_value_may_be_used_again_by_its_alias():
    """Anchors and aliases, within YAML's own rules, save typing."""
    text = """
pins:
  up: {gpio: 5, mode: output, max_on: &time 60, group: &group blind}
  down: {gpio: 6, mode: output, max_on: *time, group: *group}
"""
    assert [(pin.max_on, pin.group) for pin in read(text).pins] == [(60, "blind")] * 2


def test_two_pins_cannot_be_one_by_an_alias():
    """A whole pin used again by its alias is a second pin on one GPIO, and refused."""
    assert errors("pins:\n  a: &pin {gpio: 5, mode: input}\n  b: *pin\n") == [
        "config.yaml:2: pins.b.gpio: expected a GPIO of its own, got GPIO5, which a has"
    ]


@pytest.mark.parametrize("place", ["pins", "pin", "hosts", "access", "port", "ssl", "root"])
def test_an_alias_bomb_is_answered_without_expanding_it(place):
    """A file of a few lines that would unfold to billions of values is simply refused."""
    levels = ["a0: &a0 {x: 1, y: 1, z: 1}"]
    levels += [
        f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(9))}}}" for n in range(1, 11)
    ]
    ends = {
        "pins": "pins: *a10",
        "pin": "pins: {lamp: *a10}",
        "hosts": "access: {hosts: *a10}",
        "access": "access: *a10",
        "port": "port: *a10",
        "ssl": "ssl: *a10",
        "root": "",
    }
    found = errors("\n".join([*levels, ends[place]]))
    assert found[0].startswith(f"config.yaml:1: a0: expected one of the keys {TOP_KEYS}")
    assert 11 <= len(found) < 300


@pytest.mark.parametrize(
    "text",
    [
        "&a {pins: *a}",
        "pins: &a {x: *a}",
        "pins: {x: &a {gpio: *a, mode: *a, label: *a}}",
        "access: &a {hosts: *a, view: *a}",
        "access: {hosts: &a [*a, *a]}",
        "ssl: &a {certificate: *a, key: *a}",
        "? &a [*a]\n: 1",
        "port: &a [[[*a]]]",
    ],
)
def test_an_alias_of_itself_is_refused(text):
    """A value that contains itself is refused like any other wrong value."""
    assert all(": expected " in error for error in errors(text))


# ---------------------------------------------------------------- for any file whatever

WORDS = (
    "pins: port: access: hosts: ssl: www: gpio: mode: label: initial: lamp: certificate: key: 17"
    " 017 -0 1e9 .nan .inf ~ null true on input output pwm keep 22:30 !!int ! !<x> !a!b &a *a &b *b"
    " | > |9 - ? : , [ ] { } [] {} # --- ... %YAML %TAG << = @ ` é"
    ' " \' "\\U00110000" "\\ud800" "\\x" "\\n"'
)
BREAKS = [" ", "\n", "\n  ", "\n    ", "\t", "\r", "\x85", "\u2028", "\ufeff"]
PHRASES = [": ", "- ", "%YAML 1.1\n---\n", "%TAG ! x\n---\n"]
FRAGMENTS = st.sampled_from([*WORDS.split(), *BREAKS, *PHRASES])
FILES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")),
    st.lists(FRAGMENTS, max_size=25).map(lambda parts: "".join(parts).encode()),
    st.lists(FRAGMENTS, max_size=25).map(lambda parts: " ".join(parts).encode()),
    st.tuples(st.integers(0, len(MANY_ERRORS) - 1), st.integers(0, 40), st.binary(max_size=4)).map(
        lambda cut: _cut(MANY_ERRORS.encode(), *cut)
    ),
)


def _cut(data, start, length, instead):
    return data[:start] + instead + data[start + length :]


@settings(thorough, max_examples=1000)
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


def in_quotes(text):
    return json.dumps(text, ensure_ascii=False)


def spelt(values):
    """Pairs of a value and its YAML, where the YAML of a value is that of JSON."""
    return values.map(lambda value: (value, json.dumps(value, ensure_ascii=False)))


def words(*choices):
    plain = st.sampled_from(choices).map(lambda word: (word, word))
    return plain | st.sampled_from(choices).map(lambda word: (word, f"'{word}'"))


def between(low, high):
    return spelt(st.floats(low, high) | st.sampled_from([low, high]))


LETTERS = st.characters(
    exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"], exclude_characters="\ufeff"
)
NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True)
AUDIENCES = words("everyone", "code", "nobody")
LABELS = spelt(st.text(LETTERS, min_size=1, max_size=64)) | words("on", "22:30", "Desk lamp", "no")
PATHS = st.text(LETTERS, min_size=1, max_size=30).map(lambda text: (HERE / text, in_quotes(text)))
HOSTS = st.lists(
    st.from_regex(r"[a-z0-9_]([a-z0-9_.-]{0,20}[a-z0-9_])?", fullmatch=True), max_size=3
).map(lambda names: (tuple(names), json.dumps(names)))
SECONDS_OF_PIN = between(0.01, 86400)

TOP = {
    "port": spelt(st.integers(1, 65535)),
    "address": spelt(st.ip_addresses().map(str) | st.just("")),
    "ssl": st.just((False, "false"))
    | st.tuples(PATHS, PATHS).map(
        lambda pair: (
            CertificateFiles(certificate=pair[0][0], key=pair[1][0]),
            f"{{key: {pair[1][1]}, certificate: {pair[0][1]}}}",
        )
    ),
    "interval": between(0.01, 3600),
    "www": PATHS,
    "gpio": words("auto", "real", "simulated"),
    "log_level": words("debug", "info", "warning", "error"),
}
ACCESS = {"view": words("everyone", "code"), "control": AUDIENCES, "hosts": HOSTS}
EVERY_PIN = {"label": LABELS, "active": words("high", "low")}
DRIVEN_PIN = {"max_on": SECONDS_OF_PIN, "confirm": spelt(st.booleans()), "control": AUDIENCES}
PINS = {
    "input": EVERY_PIN | {"pull": words("up", "down", "none"), "debounce": between(0, 5)},
    "output": EVERY_PIN
    | DRIVEN_PIN
    | {
        "initial": words("off", "on", "keep", "restore"),
        "on_stop": words("off", "on", "keep", "input"),
        "on_failure": words("off", "on", "keep", "input"),
        "pulse": SECONDS_OF_PIN,
        "group": spelt(NAMES),
        "group_pause": between(0, 60),
    },
    "pwm": EVERY_PIN
    | DRIVEN_PIN
    | {
        "initial": words("off", "on", "keep", "restore") | between(0, 1),
        "on_stop": words("off", "on", "input"),
        "on_failure": words("off", "on", "input"),
        "frequency": between(0.1, 10000),
    },
}
Keys = dict[str, tuple[object, str]]
"""Key to its value and the YAML for it, in the order of the file."""


@st.composite
def keys(draw, table):
    """Some of the keys of a table, in any order, each with a value."""
    chosen = draw(st.lists(st.sampled_from(list(table)), unique=True))
    return {key: draw(table[key]) for key in chosen}


@st.composite
def pins(draw):
    """Name to keys of each pin, on GPIOs of their own, within the rules that join keys."""
    found: dict[str, Keys] = {}
    gpios = draw(st.lists(st.integers(0, 27), max_size=3, unique=True))
    for name, gpio in zip(draw(distinct_names(len(gpios))), gpios, strict=True):
        spelling = draw(st.sampled_from(["{0}", "GPIO{0}", "'{0}'", "BCM{0}", "BOARD{1}"]))
        mode = draw(st.sampled_from(list(MODES)))
        entry = draw(keys(PINS[mode]))
        entry["gpio"] = gpio, spelling.format(gpio, POSITION_BY_GPIO[gpio])
        entry["mode"] = mode, mode
        if mode == "input" and gpio in (2, 3):
            entry["pull"] = "up", "up"
        limited = "pulse" in entry or "max_on" in entry
        for key in ("initial", "on_stop", "on_failure"):
            value = entry.get(key, ("", ""))[0]
            is_press = key == "initial" and "pulse" in entry
            refused = {"on"} if "group" in entry or is_press else set()
            refused |= {"on", "keep"} if limited and key != "initial" else set()
            if value in refused:
                entry[key] = "off", "off"
        order = draw(st.permutations(list(entry)))
        found[name] = {key: entry[key] for key in order}
    members = [entry for entry in found.values() if "group" in entry]
    for entry in members:
        entry["group"] = members[0]["group"]
    for entry in found.values():
        if len(members) == 1:
            entry.pop("group", None)
        if "group" not in entry:
            entry.pop("group_pause", None)
    return found


def distinct_names(count):
    return st.lists(NAMES, min_size=count, max_size=count, unique=True)


class Written(NamedTuple):
    """A valid configuration, still in its parts."""

    top: Keys
    access: Keys
    pins: dict[str, Keys]

    def text(self):
        """As a file in block style, in which every value keeps its own spelling."""
        lines = [f"{key}: {text}" for key, (_, text) in self.top.items()]
        lines += ["access:  # who may what", *self._entries(self.access, "  "), "", "pins:"]
        for name, entry in self.pins.items():
            lines += [f"  {name}:", *self._entries(entry, "    ")]
        return "\n".join([*lines, ""])

    @staticmethod
    def _entries(entry, indent):
        return [f"{indent}{key}: {text}" for key, (_, text) in entry.items()]

    def config(self):
        """Return the expected configuration, built without the parser."""

        def values(entry):
            return {key: value for key, (value, _) in entry.items()}

        found = []
        for name, entry in self.pins.items():
            meant = {"name": name, "label": name, **values(entry)}
            meant.setdefault("active", "low" if meant.get("pull") == "up" else "high")
            found.append(MODES[meant.pop("mode")](**meant))
        top = {"www": HERE / "www", **values(self.top)}
        return Config(**top, access=AccessConfig(**values(self.access)), pins=tuple(found))


WRITTEN = st.builds(Written, keys(TOP), keys(ACCESS), pins())


@settings(thorough, max_examples=150)
@given(WRITTEN)
def test_any_valid_configuration_is_read_as_it_was_meant(written):
    """Every value within the table, in any order and spelling, arrives as it was written."""
    assert read(written.text()) == written.config()


ODD_VALUES = "true false on off yes 22:30 017 ~ null .nan -.inf 0 -1 1e3 1_000 keep"
SCALARS = st.one_of(
    st.text(LETTERS, max_size=70).map(in_quotes),
    st.from_regex(r"[A-Za-z0-9.+_~][A-Za-z0-9.+_~-]{0,20}", fullmatch=True),
    st.sampled_from(ODD_VALUES.split()),
    st.integers().map(str),
    st.floats().map(str),
    st.just(""),
    *(values.map(lambda pair: pair[1]) for table in PINS.values() for values in table.values()),
)


@st.composite
def mutated(draw):
    """A valid configuration in which one value was replaced, and the parts of that value's path."""
    written = draw(WRITTEN.filter(lambda written: any([*written[:2], *written.pins.values()])))
    places = [((key,), written.top) for key in written.top]
    places += [(("access", key), written.access) for key in written.access]
    places += [(("pins", name, key), pin) for name, pin in written.pins.items() for key in pin]
    path, entry = draw(st.sampled_from(places))
    entry[path[-1]] = None, draw(SCALARS)
    return written.text(), path


@settings(thorough, max_examples=200)
@given(mutated())
def test_one_wrong_value_is_blamed_on_its_key(mutation):
    """One value replaced by anything either fits, or an error names the key where it stands."""
    text, path = mutation
    try:
        read(text)
    except ConfigError as error:
        key = ".".join(path)
        blamed = any(each.key == key for each in error.errors)
        if path[0] == "pins":
            # Another mode makes its neighbours wrong, a GPIO of others the other pin or the pull.
            name = path[1]
            if path[2] == "mode":
                blamed |= any(each.key.startswith(f"pins.{name}.") for each in error.errors)
            if path[2] == "gpio":
                blamed |= any(
                    each.message.endswith(f"which {name} has") or each.key == f"pins.{name}.pull"
                    for each in error.errors
                )
        assert blamed, f"{key} is not among\n{error}"
