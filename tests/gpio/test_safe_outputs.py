"""Warnings about outputs. tests/config/test_config.py has the rules."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from raspi_server.cli.main import main
from tests.support.http import ask
from tests.support.server import Server

OLD = "pins:\n  gate: {gpio: 22, mode: output, pulse: 1, initial: on}\n"
LONG = "pins:\n  tap: {gpio: 3, mode: output, pulse: 500}\n"


def test_warnings(
    start_server: Callable[..., Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """`check`, `doctor`, a start and a reload warn of a pulse that may be meant in milliseconds,
    and of a last good configuration that an older release allowed. If the file is invalid, that one
    runs without the keys that are rejected now."""
    old = r"last-good.json:2: pins.gate.initial: expected .* \(the last good .* runs without"
    long = r"config-0.yaml:2: pins.tap.pulse: 500 seconds are long for a press"
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    kept = {"folder": str(tmp_path), "text": OLD}
    (tmp_path / "last-good.json").write_text(json.dumps(kept))
    server = start_server("pins: [lamp]\n", env=dict(os.environ))
    server.wait_for_log("the last good configuration runs")
    server.wait_for_log(f"WARNING .*{old}")
    assert ask(server, "GET", "/api/pins/gate").json["value"] == 0
    file = tmp_path / "config-0.yaml"
    file.write_text(LONG)
    assert main(["check", str(file)]) == 0
    shown = capfd.readouterr().err
    assert re.search(f"^warning: .*{long}", shown, re.MULTILINE)
    assert re.search(f"^warning: .*{old}", shown, re.MULTILINE)
    main(["doctor", "--config", str(file)])
    assert re.search(long, capfd.readouterr().out)
    server.reload(LONG)
    server.wait_for_log(f"WARNING .*{long}")
