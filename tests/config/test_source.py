"""The configuration file: which one is read, errors of reading, and the last good one."""

import json
import os
from pathlib import Path

import pytest

from raspi_server.config import source
from raspi_server.config.errors import ConfigError
from raspi_server.config.source import ConfigSource, default_file, load


def error_of(call, *arguments):
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    return str(caught.value)


def test_default_file(tmp_path, monkeypatch):
    """The file in /etc is read if it exists, else the one here, by root only if it is root's."""
    assert Path("/etc/raspi-server/config.yaml") == source.SYSTEM_FILE
    system, local = tmp_path / "etc.yaml", tmp_path / "config.yaml"
    monkeypatch.setattr(source, "SYSTEM_FILE", system)
    monkeypatch.chdir(tmp_path)
    assert default_file() == Path("config.yaml")
    local.touch()
    os.chown(local, user := os.getuid() or 1, -1)
    monkeypatch.setattr(source.os, "geteuid", lambda: user)
    assert default_file() == Path("config.yaml")
    monkeypatch.setattr(source.os, "geteuid", lambda: 0)
    reason = "it belongs to another user: root reads it only if the command names it"
    assert error_of(default_file) == f"{local}: {reason}"
    system.touch()
    assert default_file() == system


def test_file_that_cannot_be_read_is_named(tmp_path):
    """A missing file, a folder, and a file that cannot be opened have errors of their own."""
    file, loop = tmp_path / "config.yaml", tmp_path / "loop"
    assert error_of(load, file) == f"{file}: expected a file, found none"
    file.write_text("port: 80\n")
    assert load(file).port == 80
    assert error_of(load, tmp_path) == f"{tmp_path}: expected a file, found a folder"
    loop.symlink_to("loop")
    assert error_of(load, loop) == f"{loop}: cannot be read: Too many levels of symbolic links"
    file.write_bytes(b"port: 80\nwww: caf\xe9\n")
    assert error_of(load, file) == (
        f"{file}:2: expected UTF-8 text, got byte 0xe9 (save the file as UTF-8)"
    )


@pytest.fixture
def file(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/config.yaml").write_text("www: pages\n")
    return tmp_path / "etc/config.yaml"


def test_command_line_overrides_the_file(file):
    """Keys of the command line replace those of the file. Warnings are those of the last read."""
    file.write_text("port: 80\npins: {gate: {gpio: 4, mode: output, pulse: 99}}\n")
    config_source = ConfigSource(file, {"port": 0, "gpio": "simulated"})
    config = config_source.load()
    assert (config.port, config.gpio, config.pins[0].pulse) == (0, "simulated", 99)
    (warning,) = config_source.warnings
    assert str(warning).startswith(f"{file}:2: pins.gate.pulse: 99 seconds are long")
    file.write_text("port: 80\n")
    config_source.load()
    assert config_source.warnings == []


def test_last_good_configuration_is_kept(file, tmp_path, monkeypatch):
    """The configuration that was loaded last is kept, without the overrides, if it has changed."""
    file.write_bytes(b"\xef\xbb\xbfwww: pages\n")
    kept = tmp_path / "last-good.json"
    monkeypatch.chdir(file.parent)
    config_source = ConfigSource(Path("config.yaml"), {"port": 1}, tmp_path)
    assert (config_source.last_good(), config_source.is_in_force()) == (None, None)
    config = config_source.load()
    config_source.keep()
    found = json.loads(kept.read_bytes())
    assert (found["folder"], found["text"]) == (str(file.parent), "www: pages\n")
    assert config_source.last_good() == config
    assert (config.port, config.www) == (1, file.parent / "pages")
    assert config_source.is_in_force() is True
    inode = kept.stat().st_ino
    config_source.keep()
    assert kept.stat().st_ino == inode
    file.write_text("www: others\n")
    assert config_source.is_in_force() is False
    assert ConfigSource(kept, {}, tmp_path).is_in_force() is None
    config_source.load()
    config_source.keep()
    assert config_source.last_good().www == file.parent / "others"
    file.unlink()
    assert config_source.is_in_force() is None


EVERY_KIND = """\
ssl: true
access:
  view: code
  control: everyone
  hosts: [pi.example.org, "*.example.net"]
  proxies: [127.0.0.1, 172.16.0.0/12]
  origins: [https://dash.example.org]
mqtt: {url: mqtts://broker, user: me, password_file: secret, discovery: homeassistant}
hooks: {ring: {pin: bell, do: pulse}, light: {pin: lamp, do: toggle, unattended: true}}
pins:
  door: {gpio: 17, mode: input, pull: up, debounce: 0.02}
  bell: {gpio: BOARD12, mode: output, pulse: 0.5, control: code, group: motors}
  horn: {gpio: 23, mode: output, active: low, initial: keep, label: Hupe, group: motors}
  lamp: {gpio: 27, mode: pwm, initial: 0.25, max_on: 3600, frequency: 200}
"""


def test_configuration_that_ran_last_is_not_parsed_again(file, tmp_path):
    """A start with an unchanged file gets the same configuration, with the overrides of this start.
    YAML is parsed again if the file, its folder or the release is another, or nothing was kept."""
    file.write_text(EVERY_KIND)
    config_source = ConfigSource(file, {}, tmp_path)
    assert config_source.load_unchanged() is None
    config = config_source.load()
    config_source.keep()
    assert ConfigSource(file, {}, tmp_path).load_unchanged() == config
    assert ConfigSource(file, {"port": 1}, tmp_path).load_unchanged().port == 1
    again = ConfigSource(file, {}, tmp_path)
    again.load_unchanged()
    kept = tmp_path / "last-good.json"
    inode = kept.stat().st_ino
    again.keep()
    assert kept.stat().st_ino == inode

    found = json.loads(kept.read_bytes())
    for change in (
        {"text": f"{EVERY_KIND}\n"},
        {"folder": "/srv"},
        {"release": "another"},
        {"parsed": None},
        {"parsed": {**found["parsed"], "port": 0}},
    ):
        kept.write_text(json.dumps({**found, **change}))
        assert config_source.load_unchanged() is None
    file.write_text("pins: {gate: {gpio: 4, mode: output, pulse: 99}}\n")
    config_source.load()
    config_source.keep()
    assert config_source.load_unchanged() is None  # each start has to tell its warning
    del found["release"], found["parsed"]  # as kept by a release before 0.5
    file.write_text(EVERY_KIND)
    kept.write_text(json.dumps(found))
    assert (config_source.load_unchanged(), config_source.last_good()) == (None, config)


def test_last_good_configuration_of_an_older_release(file, tmp_path):
    """A key that conflicts with others since a later release is ignored, with a warning."""
    kept = tmp_path / "last-good.json"
    gate = "pins: {gate: {gpio: 4, mode: output, pulse: 99, initial: on}}"
    kept.write_text(json.dumps({"folder": "/srv", "text": gate}))
    config_source = ConfigSource(file, {}, tmp_path)
    config = config_source.last_good()
    assert (config.pins[0].initial, config.www) == ("off", Path("/srv/www"))
    (warning,) = config_source.warnings
    assert str(warning).startswith(f"{kept}:1: pins.gate.initial: expected off, keep or restore")
    config_source.load()
    assert config_source.warnings == []


@pytest.mark.parametrize("data", ["{", '{"folder": "/", "text": "port: 0"}', "x" * 2**20 + "x"])
def test_unusable_last_good_configuration_is_none(file, tmp_path, data, caplog):
    """A last good configuration that cannot be read goes to the log, and is replaced."""
    (tmp_path / "last-good.json").write_text(data)
    config_source = ConfigSource(file, {}, tmp_path)
    assert config_source.last_good() is None
    assert caplog.messages[0].startswith(f"{tmp_path}/last-good.json: ")
    config_source.load()
    config_source.keep()
    assert config_source.last_good() is not None


def test_without_a_state_folder_nothing_is_kept(file, tmp_path, monkeypatch, caplog):
    """Without a state folder nothing is kept. One that cannot be written goes to the log."""
    for folder, is_kept in ((None, None), (tmp_path, True), (tmp_path / "gone", None)):
        monkeypatch.delenv("STATE_DIRECTORY", raising=False)
        if folder:
            monkeypatch.setenv("STATE_DIRECTORY", str(folder))
        config_source = ConfigSource(file, {})
        config_source.load()
        config_source.keep()
        assert config_source.is_in_force() is is_kept
        assert (config_source.last_good() is not None) == bool(is_kept)
    reason = "No such file or directory; it is not kept"
    assert caplog.messages == [f"{tmp_path / 'gone/last-good.json'}: {reason}"]
