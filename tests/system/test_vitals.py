"""The machine's vital signs, read from files such as those of a Pi."""

import pytest

from raspi_server.system import vitals

SINCE_BOOT = ["under-voltage since boot", "throttled since boot"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("temperature", "51234\n", 51.2),
        ("temperature", "hot", None),
        ("temperature", None, None),
        ("throttled", "0\n", []),
        ("throttled", "50005\n", ["under-voltage now", "throttled now", *SINCE_BOOT]),
        ("throttled", "80008", ["too hot now", "too hot since boot"]),
        ("throttled", None, None),
        ("uptime", "25312.08 20518.52\n", 25312.08),
        ("uptime", "", None),
        ("uptime", None, None),
        ("memory", None, None),
    ],
)
def test_file_of_the_kernel(tmp_path, monkeypatch, name, text, expected):
    """Facts of the machine have their units and words, and are unknown without a valid file."""
    if text is not None:
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(vitals, f"_{name.upper()}", tmp_path / name)
    assert getattr(vitals, name)() == expected


def test_memory_disk_and_load_are_shares():
    """Memory and disk are used shares from 0 to 1, load is for each core."""
    assert 0 < vitals.memory() < 1  # type: ignore[operator]
    assert 0 < vitals.disk() < 1  # type: ignore[operator]
    assert vitals.load() >= 0  # type: ignore[operator]
