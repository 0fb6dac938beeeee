"""Passwords in config.yaml: no message about a file has one, however it was written wrong."""

import logging
import random

import pytest

from raspi_server.cli.main import main
from raspi_server.config import masking
from tests.config.test_broken import GOOD_FILES, report

SECRET = "s3cretX"
KEYS = (
    "password", "Password", "PASSWORD", "pass", "passwd", "pwd", "pw", "passwort", "Kennwort",
    "pasword", "passwrd", "mqtt_password", "mqttPassword", "mqtt-password", "broker password",
    "secret", "token", "api_token", "auth", "credentials", "passphrase", "contraseña",
    "kata_sandi", "password_file", "passwordfile",
)  # fmt: skip
BROKER_KEYS = (*KEYS, "mdp", "heslo", "login", "key2", "x")
"""Below mqtt also words that nobody here knows."""
SEPARATORS = (
    ": ", ":", " : ", "  ", " ", "=", " = ", "; ", "：", ":\t", ":  ", ":\n    ", ":\n  ",
    ":\n  - ", ":\n- ", ":\n\n      ", "\n    ", ": |\n      ", ": >\n    ", ":\n    # hint\n    ",
)  # fmt: skip
BEFORE = ("", "", "", '"', "'", "*", "&", "!", "@", "%", "`", "- ", "? ", "[", "{", "“", "a: ", "#")
BEHIND = (
    "", "", "", '"', "'", "]", "}", ":", ": b", ",", "@", "@h", " #1", "#", "\\", "”", " b",
    ", b: c",
)  # fmt: skip
SCHEMES = ("mqtt://", "mqtts://", "http://", "MQTT://", "tcp://", "mqtt:", "//")
USERS = ("pi:{}@", "{}@", "pi:{}:x@", "pi:{}/x@", "pi:{}#x@", "p i:{}@", "pi:@{}@", "pi:x {}@")
HOSTS = ("broker.local", "192.168.1.5:1883", "", "broker:port", "broker/topic", "[::1]")
URL_LINES = (
    "mqtt: {}", "mqtt: {{url: {}}}", "mqtt: {{{}}}", "mqtt:\n  {}", "mqtt:\n  url: {}",
    "mqtt:\n  url {}", "mqtt:\n  url:{}", "mqtt:\n  url = {}", "mqtt:\n  url:\n    {}",
    "mqtt:\n  url: mqtt://h\n  topic: {}", "mqtt:\n  url: mqtt://h\n  control: {}",
    "mqtt:\n  broker: {}", "mqtt:\n  - {}", "mqtt:\n    url: {}\n  user: pi", "mqtt:\n\turl: {}",
    "access: {{hosts: [{}]}}", "access:\n  hosts:\n    - {}", "access: {{origins: [{}]}}",
    "access:\n  hosts: {}", "address: {}", "ssl: {}", "port: {}", "{}", "broker: {}",
    "pins: {{lamp: {{gpio: {}, mode: output}}}}",
)  # fmt: skip
PLACES = (
    "mqtt:\n  url: mqtt://h\n  {}\n  user: pi\n",
    "mqtt:\n  {}\n  url: mqtt://h\n",
    "mqtt:\n    url: mqtt://h\n  {}\n",
    "mqtt:\n  url: mqtt://h\n  user: pi\n     {}\n",
    "mqtt:\n  url mqtt://h\n  {}\n",
    "mqtt: {{url: mqtt://h, {}}}\n",
    "mqtt: {{url: mqtt://h, {}, fleet: true}}\n",
    "mqtt:\n  {{url: mqtt://h,\n   {}}}\n",
    "mqtt\n  url: mqtt://h\n  {}\n",
    "  mqtt:\n  url: mqtt://h\n  {}\n",
)
OTHER_PLACES = (
    "mqtt:\n  url: mqtt://h\n  user: pi {}\n",
    "mqtt:\n  url: mqtt://h?{}\n",
    "{}\nport: 8080\n",
    "access:\n  {}\n",
    "access: {{view: code, {}}}\n",
    "port: 80\nhttp:\n  {}\n",
    "pins:\n  lamp: {{gpio: 17, mode: output}}\n  {}\n",
)


def written_wrong(draw):
    """Return a configuration with the secret at a place where it does not belong."""
    if draw.random() < 0.4:
        user = draw.choice(USERS).format(SECRET)
        url = draw.choice(SCHEMES) + user + draw.choice(HOSTS)
        if draw.random() < 0.1:
            url = f"mqtt://pi:{SECRET}"  # without a host
        text = draw.choice(URL_LINES).format(draw.choice(("{}", "{}", '"{}"', '"{}')).format(url))
        return f"{text}\ninterval: 0\n"
    is_broker = draw.random() < 0.7
    key, places = (
        draw.choice(BROKER_KEYS if is_broker else KEYS),
        PLACES if is_broker else OTHER_PLACES,
    )
    value = draw.choice(BEFORE) + SECRET + draw.choice(BEHIND)
    text = draw.choice(places).format(key + draw.choice(SEPARATORS) + value)
    return f"{text}{draw.choice(('', 'interval: 0', 'x', 'port:80'))}\n"


def draws(count, seed=19):
    draw = random.Random(seed)
    return [written_wrong(draw) for _ in range(count)]


def test_no_message_has_a_password():
    """Of thousands of ways to write a password or the URL of a broker wrong, no error, warning or
    line of the file shows the password."""
    shown_in = []
    for text in draws(2000):
        errors, warnings, shown = report(text)
        told = f"{shown}\n" + "\n".join(map(str, (*errors, *warnings)))
        if SECRET.lower() in told.lower():
            shown_in.append(f"{text}\n{told}")
    assert not shown_in, f"{len(shown_in)}:\n" + "\n\n".join(shown_in[:8])


def test_neither_check_nor_the_log_has_a_password(tmp_path, capsys, caplog):
    """The command `check` and the log of a start show no password."""
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "config.yaml"
    for text in [text for text in draws(60, seed=7) if report(text)[0]]:
        file.write_text(text)
        for command in ("check", "run"):
            assert main([command, "--config", str(file)]) == 78
    out, err = capsys.readouterr()
    assert err.count("config.yaml:") >= 100
    assert SECRET.lower() not in (out + err + caplog.text).lower()


def test_reload_logs_no_password(start_server):
    """A reload that is rejected logs no password, and tells viewers none."""
    server = start_server("pins: {}\n")
    for count, line in enumerate(("mqtt: mqtt://pi:{}@broker", "mqtt:\n  password:\n  {}")):
        server.reload(f"{line.format(SECRET)}\n")
        server.wait_for_log("was rejected", again=count)
    assert SECRET not in server.log


@pytest.mark.parametrize(
    "line",
    [
        "password: {}", "password {}", "password={}", "password:{}", 'password: "{}',
        "password: *{}", "pw: {}", "pw: {}: b", "Kennwort: *{}", "auth: *{}",
        "credentials: @{}", "password:\n  {}", "password:\n  - {}", 'pw: "{}\n    {}"',
    ],
)  # fmt: skip
def test_password_is_told_to_go_into_a_file(line):
    """However a password is written, the one error says where it belongs."""
    text = f"mqtt:\n  url: mqtt://broker\n  user: pi\n  {line.replace('{}', SECRET)}\n"
    (error,), _, shown = report(text)
    assert error.line == 4 and "write password_file: FILE" in error.message, shown
    assert SECRET not in shown


def test_error_of_what_may_be_a_password_is_told_without_it():
    """A value that only its mask makes valid has an error that does not show it."""
    text = "mqtt:\n  url: mqtt://broker\n  user: me\n  password_file: .53\n"
    (error,), _, shown = report(text)
    assert error.line == 4 and "not shown: it may be a password" in error.message
    assert "53" not in shown


def test_code_is_told_to_be_made():
    """No code of a phone is in the file, and the error says which command makes one."""
    for key in ("password", "code", "secret"):
        (error,), _, shown = report(f"access:\n  {key}: {SECRET}\n")
        assert error.line == 2 and "raspi-server code --new control" in error.message
        assert SECRET not in shown


GOOD = """\
mqtt:
  url: mqtt://broker:1883
  user: me@example.org
  password_file: "secret/mqtt-password"   # not the password
access: {control: code, hosts: [secret.example.org, token.example.org]}
pins:
  token: {gpio: 4, mode: input, label: "Token: blue, or red"}
  secret_door:
    gpio: 5
    mode: input
    label: Secret door
    room: 'The code room # 2'
  passage: {gpio: 6, mode: output, label: "a@b, pass: c", group: pass}
  auth:
    {gpio: 7, mode: output,
     group: pass}
"""


def test_masking_hides_nothing_else():
    """Masking leaves valid files valid, so it adds no error to those that a file has."""
    for text in (GOOD, *GOOD_FILES):
        assert not report(text)[0], report(text)[2]
        assert not report(masking.masked(text))[0], masking.masked(text)
        (error,), _, _ = report(f"interval: -1\n{text.replace('interval: 0.5', '# x')}")
        assert error.line == 1


def test_lines_without_end_are_masked_fast():
    """Lines of any length are read in time. One that nobody wrote is hidden as a whole."""
    for part in ("a", ":", "a: ", "{", "://", "pass ", "a@"):
        text = f"x: {part * (200_000 // len(part))}{SECRET}@h\n"
        assert SECRET not in masking.masked(text)
    assert masking.masked("a" * 5000) == "a" * 5000
