"""The machine's vital signs, read from files such as those of a Pi."""

import pytest

from raspi_server.system import vitals


@pytest.mark.parametrize(
    ("text", "expected"), [("51234\n", 51.2), ("0", 0.0), ("", None), ("hot", None)]
)
def test_temperature(tmp_path, monkeypatch, text, expected):
    """The temperature is in degrees Celsius, or unknown."""
    (tmp_path / "temp").write_text(text)
    monkeypatch.setattr(vitals, "_TEMPERATURE", tmp_path / "temp")
    assert vitals.temperature() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0\n", []),
        ("50005\n", ["under-voltage now", "throttled now", "under-voltage since boot",
                     "throttled since boot"]),
        ("80008", ["too hot now", "too hot since boot"]),
        ("?", None),
    ],
)  # fmt: skip
def test_throttled(tmp_path, monkeypatch, text, expected):
    """A weak power supply is named in words, now and since boot."""
    (tmp_path / "get_throttled").write_text(text)
    monkeypatch.setattr(vitals, "_THROTTLED", tmp_path / "get_throttled")
    assert vitals.throttled() == expected


def test_missing_files_are_unknown_values(tmp_path, monkeypatch):
    """On a machine without these files the values are None."""
    for name in ("_TEMPERATURE", "_THROTTLED", "_MEMORY", "_UPTIME"):
        monkeypatch.setattr(vitals, name, tmp_path / "missing")
    assert (vitals.temperature(), vitals.throttled(), vitals.memory()) == (None, None, None)
    assert vitals.uptime() is None


@pytest.mark.parametrize(
    ("text", "expected"), [("25312.08 20518.52\n", 25312.08), ("", None), ("long", None)]
)
def test_uptime(tmp_path, monkeypatch, text, expected):
    """The uptime is in seconds, or unknown."""
    (tmp_path / "uptime").write_text(text)
    monkeypatch.setattr(vitals, "_UPTIME", tmp_path / "uptime")
    assert vitals.uptime() == expected


def test_memory_disk_and_load_are_shares():
    """Memory and disk are used shares from 0 to 1, load is for each core."""
    assert 0 < vitals.memory() < 1  # type: ignore[operator]
    assert 0 < vitals.disk() < 1  # type: ignore[operator]
    assert vitals.load() >= 0  # type: ignore[operator]
